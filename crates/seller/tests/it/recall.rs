//! A payment that may have been charged, when its request has other offers by now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use axum::body::Body;
use http::{Request, StatusCode};
use tollway_protocol::door::Amount;
use tollway_protocol::{header, v1, wire};
use tollway_seller::{Paid, Terms};

use crate::common::*;

const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

/// A route whose price is what the number says.
fn moving(shop: &Shop) -> (Arc<AtomicU64>, Client) {
    let price = Arc::new(AtomicU64::new(10_000));
    let now = price.clone();
    let priced = Paid::priced(move |_| {
        let amount = Amount::from(now.load(SeqCst));
        Box::pin(async move { Ok(vec![Terms::atomic("base-sepolia", SELLER, USDC, amount)]) })
    });
    (price, shop.route(priced, axum::routing::any(|| async { "sunny" })))
}

fn in_v1(offer: &wire::Offer, nonce: &str) -> Request<Body> {
    let payment = v1::Payment::of(&payment(offer, nonce)).unwrap();
    Request::get("/weather").header(header::X_PAYMENT, header::encode(&payment)).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn i03_a_customer_who_has_paid_is_served_and_not_asked_again_because_the_price_moved() {
    let shop = Shop::open().await;
    let (price, client) = moving(&shop);
    let offer = client.offer("/weather").await;
    type Present = fn(&wire::Offer, &str) -> Request<Body>;
    let requests: [(&str, Present); 2] =
        [("v2", |offer, nonce| paid("/weather", &payment(offer, nonce))), ("v1", in_v1)];
    for (nonce, (what, request)) in ["0x01", "0x02"].into_iter().zip(requests) {
        price.store(10_000, SeqCst);
        shop.fault_settle([Fault::Unknown]);
        let got = client.send(request(&offer, nonce)).await;
        assert_eq!(got.json()["code"], "settlement_pending", "{what}");
        price.store(11_000, SeqCst);
        let got = client.send(request(&offer, nonce)).await;
        assert_eq!((got.status, &got.body[..]), (StatusCode::OK, &b"sunny"[..]), "{what}");
        // Once, and what it did is still told.
        let got = client.send(request(&offer, nonce)).await;
        assert_eq!(
            (got.status, &got.json()["code"]),
            (StatusCode::CONFLICT, &"payment_already_spent".into())
        );
        assert!(got.json()["transaction"].is_string(), "{what}");
    }
    assert_eq!(shop.charged(), 2);
}

#[tokio::test]
async fn i05_a_payment_that_is_still_pending_stays_pending_when_the_price_moved() {
    let shop = Shop::open().await;
    let (price, client) = moving(&shop);
    let offer = client.offer("/weather").await;
    shop.fault_settle([Fault::Unknown, Fault::Unknown]);
    client.pay("0x01").await;
    price.store(11_000, SeqCst);
    let got = client.send(paid("/weather", &payment(&offer, "0x01"))).await;
    assert_eq!(got.json()["code"], "settlement_pending");
    assert!(!got.headers.contains_key(header::PAYMENT_REQUIRED));
}

#[tokio::test]
async fn i01_a_payment_that_was_never_taken_buys_nothing_at_an_old_price() {
    let shop = Shop::open().await;
    let (price, client) = moving(&shop);
    let offer = client.offer("/weather").await;
    // Taken and given back; then with other offers than any that it had.
    shop.fault_settle([Fault::NotAsked]);
    client.pay("0x01").await;
    price.store(11_000, SeqCst);
    for nonce in ["0x01", "0x02"] {
        let got = client.send(paid("/weather", &payment(&offer, nonce))).await;
        assert_eq!(got.status, StatusCode::PAYMENT_REQUIRED);
        assert_eq!(got.challenge().accepts[0].amount.to_string(), "11000");
    }
    assert_eq!(shop.charged(), 0);
}

#[tokio::test]
async fn i20_a_recalled_payment_goes_on_for_its_own_request_and_signature_only() {
    let shop = Shop::open().await;
    let (price, client) = moving(&shop);
    let offer = client.offer("/weather").await;
    let owned = payment(&offer, "0x01");
    shop.fault_settle([Fault::Unknown]);
    client.send(paid("/weather", &owned)).await;
    price.store(11_000, SeqCst);
    let mut forged = owned.clone();
    forged.payload = forged.payload.with("signature", "0xforged");
    let mut altered = owned.clone();
    altered.accepted.max_timeout_seconds = 1;
    for (uri, other) in [("/weather", &forged), ("/weather", &altered), ("/weather?elsewhere", &owned)] {
        let got = client.send(paid(uri, other)).await;
        assert_eq!(got.status, StatusCode::CONFLICT);
        assert_eq!(got.json()["code"], "payment_bound_to_another_request");
    }
    assert_eq!(shop.settles(), 1);
    assert_eq!(client.send(paid("/weather", &owned)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn i19_with_the_store_away_a_payment_for_another_offer_is_not_asked_for_anew() {
    let shop = Shop::open().await;
    let (price, client) = moving(&shop);
    let offer = client.offer("/weather").await;
    price.store(11_000, SeqCst);
    shop.ledger.fail.lock().unwrap().push("recall");
    let got = client.send(paid("/weather", &payment(&offer, "0x01"))).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!got.headers.contains_key(header::PAYMENT_REQUIRED) && !got.text().contains("SECRETKEY"));
}
