use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use http::StatusCode;
use tollway_protocol::door::UnixTime;
use tollway_protocol::header;

use crate::common::*;

#[tokio::test]
async fn i19_rs04_without_the_store_nothing_is_asked_and_nothing_served() {
    let shop = Shop::open().await;
    let ran = Arc::new(AtomicU64::new(0));
    let client = shop.selling(counting(&ran));
    shop.ledger.fail.lock().unwrap().push("claim");
    let got = client.pay("0x01").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(got.headers.contains_key("retry-after"));
    assert!(!got.text().contains("SECRETKEY"));
    assert_eq!((ran.load(SeqCst), shop.script.verified.load(SeqCst)), (0, 0));
    shop.ledger.fail.lock().unwrap().push("settling");
    let got = client.pay("0x01").await;
    assert_eq!((got.status, shop.settles()), (StatusCode::SERVICE_UNAVAILABLE, 0));
    assert!(!got.text().contains("SECRETKEY") && !got.text().contains("sunny"));
    shop.seller.idle().await;
    assert_eq!(client.pay("0x01").await.status, StatusCode::OK);
}

#[tokio::test]
async fn i03_rs09_a_settlement_that_could_not_be_recorded_is_found_again_and_served_once() {
    let shop = Shop::open().await;
    let client = shop.selling(|| async { "sunny" });
    shop.ledger.fail.lock().unwrap().push("settled");
    let got = client.pay("0x01").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    let named = got.receipt().unwrap().transaction;
    assert!(named.is_some() && !got.text().contains("sunny"));
    let got = client.pay("0x01").await;
    assert_eq!((got.status, got.receipt().unwrap().transaction), (StatusCode::OK, named));
    assert_eq!(shop.charged(), 1);
}

#[tokio::test]
async fn i03_rs09_cut_off_between_settlement_and_delivery_the_payment_is_served_without_a_second_charge() {
    let shop = Shop::open().await;
    let ran = Arc::new(AtomicU64::new(0));
    let client = shop.selling(counting(&ran));
    shop.ledger.fail.lock().unwrap().push("deliver");
    let got = client.pay("0x01").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(got.receipt().unwrap().transaction.is_some() && !got.text().contains("sunny"));
    let got = client.pay("0x01").await;
    assert_eq!((got.status, &got.body[..]), (StatusCode::OK, &b"sunny"[..]));
    assert!(got.receipt().unwrap().success);
    assert_eq!((shop.settles(), shop.charged(), ran.load(SeqCst)), (1, 1, 2));
    assert_eq!(client.pay("0x01").await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn i03_a_handler_that_fails_on_a_paid_retry_answers_with_the_receipt_and_can_be_tried_again() {
    let shop = Shop::open().await;
    shop.ledger.fail.lock().unwrap().push("deliver");
    assert_eq!(shop.selling(|| async { "sunny" }).pay("0x01").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let fails = shop.selling(|| async { (StatusCode::BAD_GATEWAY, "broken") });
    for _ in 0..2 {
        let got = fails.pay("0x01").await;
        assert_eq!(got.status, StatusCode::BAD_GATEWAY);
        assert!(got.receipt().unwrap().success, "it says that it was paid");
        assert!(!got.headers.contains_key(header::PAYMENT_REQUIRED));
    }
    assert_eq!(shop.selling(|| async { "sunny" }).pay("0x01").await.status, StatusCode::OK);
    assert_eq!((shop.settles(), shop.charged()), (1, 1));
}

#[tokio::test]
async fn i20_who_knows_a_payment_from_the_chain_does_not_get_what_it_paid_for() {
    let shop = Shop::open().await;
    let client = shop.selling(|| async { "sunny" });
    let offer = client.offer("/weather").await;
    let owned = payment(&offer, "0x01");
    // Payer, nonce, value and window are in the chain's logs and calldata; the signature is made up.
    let mut forged = owned.clone();
    forged.payload = forged.payload.with("signature", "0xforged");
    let mut extended = owned.clone();
    extended.extensions = extended.extensions.with("payment-identifier", "mine");
    for fault in ["settled", "deliver"] {
        // Settling, then settled.
        shop.ledger.fail.lock().unwrap().push(fault);
        let got = client.send(paid("/weather", &owned)).await;
        assert_eq!((got.status, shop.charged()), (StatusCode::SERVICE_UNAVAILABLE, 1));
        let settles = shop.settles();
        for other in [&forged, &extended] {
            let got = client.send(paid("/weather", other)).await;
            assert_eq!((got.status, shop.settles()), (StatusCode::CONFLICT, settles), "{fault}");
            assert_eq!(got.json()["code"], "payment_bound_to_another_request");
            assert!(!got.text().contains("sunny"));
        }
    }
    assert_eq!(client.send(paid("/weather", &owned)).await.status, StatusCode::OK);
    assert_eq!(shop.charged(), 1);
}

#[tokio::test]
async fn rs10_a_store_that_was_away_for_a_moment_does_not_hold_a_payment_until_the_restart() {
    let shop = Shop::open().await;
    let client = shop.selling(|| async { "sunny" });
    shop.ledger.fail.lock().unwrap().extend(["settling", "abandon"]);
    assert_eq!(client.pay("0x01").await.status, StatusCode::SERVICE_UNAVAILABLE);
    shop.seller.idle().await;
    assert!(shop.ledger.fail.lock().unwrap().is_empty());
    assert_eq!(client.pay("0x01").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn rs33_what_is_not_needed_any_more_is_forgotten_at_the_start_and_every_hour() {
    let shop = Shop::open().await;
    let (began, mut last) = (std::time::Instant::now(), None);
    for times in 1..=4 {
        while shop.ledger.forgotten.lock().unwrap().len() < times {
            assert!(began.elapsed() < Duration::from_secs(30), "{times}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let now = tokio::time::Instant::now();
        let since = last.replace(now).map(|last| now - last);
        assert!(since.is_none_or(|since| since >= Duration::from_secs(3_590)), "{since:?}");
    }
    assert_eq!(shop.ledger.forgotten.lock().unwrap()[0], UnixTime(NOW));
}

#[tokio::test]
async fn rs27_two_refusals_have_different_ids() {
    let client = Shop::open().await.selling(|| async { "sunny" });
    let id = |got: Got| got.json()["id"].as_str().unwrap().to_owned();
    assert_ne!(id(client.get("/weather").await), id(client.get("/weather").await));
}
