//! Scheme `upto`: the handler says how much of the agreed amount is charged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use tollway_protocol::door::Amount;
use tollway_protocol::json::Object;
use tollway_protocol::{Settlement, header};
use tollway_seller::{Paid, SETTLEMENT_OVERRIDES, Terms};

use crate::common::*;

/// A shop whose handler answers with this header; at most 10,000 may be charged.
async fn charging(value: &'static str) -> (Shop, Client) {
    let shop = Shop::open().await;
    let terms = Terms::new(NETWORK, SELLER, "$0.01").scheme("upto");
    let handler = move || async move { ([("settlement-overrides", value)], "some words") };
    let client = shop.route(Paid::offers([terms]), get(handler));
    (shop, client)
}

fn amount(shop: &Shop, nonce: &str) -> Option<Amount> {
    shop.script.amounts.lock().unwrap().get(nonce).copied()
}

#[tokio::test]
async fn rs29_what_the_handler_charges_is_settled_and_told_and_its_header_stays() {
    for (value, charged) in [
        ("{}", 10_000),
        ("{\"amount\":\"1858\"}", 1_858),
        ("{\"amount\":\"10000\"}", 10_000),
        ("{\"amount\":\"12.5%\"}", 1_250),
        ("{\"amount\":\"100%\"}", 10_000),
        ("{\"amount\":\"0.01%\"}", 1),
        ("{\"amount\":\"$0.0025\"}", 2_500),
    ] {
        let (shop, client) = charging(value).await;
        let got = client.pay("0x01").await;
        assert_eq!((got.status, &got.body[..]), (StatusCode::OK, &b"some words"[..]), "{value}");
        let receipt = got.receipt().unwrap();
        assert_eq!((receipt.success, receipt.amount), (true, Some(charged.into())), "{value}");
        assert_eq!(amount(&shop, "0x01"), Some(charged.into()));
        assert!(!got.headers.contains_key(SETTLEMENT_OVERRIDES));
    }
}

#[tokio::test]
async fn nothing_charged_is_delivered_once_and_without_a_transaction() {
    let (shop, client) = charging("{\"amount\":\"0\"}").await;
    let offer = client.offer("/weather").await;
    let got = client.send(paid("/weather", &payment(&offer, "0x01"))).await;
    assert_eq!(got.status, StatusCode::OK);
    let receipt = got.receipt().unwrap();
    assert_eq!((receipt.success, receipt.amount, receipt.transaction), (true, Some(Amount::ZERO), None));
    let raw = header::decode_base64(got.headers[header::PAYMENT_RESPONSE].as_bytes()).unwrap();
    let raw: serde_json::Value = serde_json::from_slice(&raw).unwrap();
    assert_eq!((&raw["transaction"], &raw["amount"]), (&"".into(), &"0".into()));
    let again = client.send(paid("/weather", &payment(&offer, "0x01"))).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "what was free once is not free for ever");
    assert!(!again.json()["message"].as_str().unwrap().contains("transaction"));
    assert_eq!(shop.settles(), 1);
}

#[tokio::test]
async fn rs29_a_charge_above_what_was_agreed_to_is_the_sellers_failure_and_charges_nothing() {
    let values =
        ["{\"amount\":\"10001\"}", "{\"amount\":\"$0.02\"}", "{\"amount\":\"99999999999999999999999\"}"];
    for value in values {
        let (shop, client) = charging(value).await;
        let got = client.pay("0x01").await;
        assert_eq!(got.status, StatusCode::INTERNAL_SERVER_ERROR, "{value}");
        assert_eq!(got.json()["code"], "invalid_upto_evm_payload_settlement_exceeds_amount");
        assert!(!got.text().contains("some words"), "what is not paid for does not leave");
        assert_eq!((shop.settles(), shop.charged()), (0, 0));
    }
}

#[tokio::test]
async fn a_charge_that_can_not_be_read_charges_nothing_and_delivers_nothing() {
    for value in [
        "1858",
        "{\"amount\":1858}",
        "{\"amount\":\"-1\"}",
        "{\"amount\":\"1e3\"}",
        "{\"amount\":\"101%\"}",
        "{\"amount\":\"1.005%\"}",
        "{\"amount\":\"\"}",
        "{\"amount\":\"%\"}",
        "{\"amount\":\"1 USDC\"}",
        "[]",
        "{",
    ] {
        let (shop, client) = charging(value).await;
        let got = client.pay("0x01").await;
        assert_eq!(got.status, StatusCode::INTERNAL_SERVER_ERROR, "{value}");
        assert!(!got.text().contains("some words"));
        assert_eq!(shop.settles(), 0);
    }
}

#[tokio::test]
async fn the_price_of_exact_is_not_the_handlers_to_lower() {
    let shop = Shop::open().await;
    let client = shop.selling(|| async { ([("settlement-overrides", "{\"amount\":\"1\"}")], "sunny") });
    let got = client.pay("0x01").await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(!got.headers.contains_key(SETTLEMENT_OVERRIDES));
    assert_eq!(amount(&shop, "0x01"), None, "settled as it was verified");
}

#[tokio::test]
async fn i05_a_settlement_whose_answer_was_lost_stays_what_it_was_charged_first() {
    let shop = Shop::open().await;
    let runs = Arc::new(AtomicU64::new(0));
    let counted = runs.clone();
    let handler = move || async move {
        let mut response: Response = "some words".into_response();
        // Another charge each time that it runs.
        let charge = 100 * (1 + counted.fetch_add(1, SeqCst));
        tollway_seller::charge(response.headers_mut(), charge.into());
        response
    };
    let terms = Terms::new(NETWORK, SELLER, "$0.01").scheme("upto");
    let client = shop.route(Paid::offers([terms]), get(handler));
    let payment = payment(&client.offer("/weather").await, "0x01");
    shop.fault_settle([Fault::Unknown]);
    let got = client.send(paid("/weather", &payment)).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    let got = client.send(paid("/weather", &payment)).await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(got.receipt().unwrap().amount, Some(100.into()), "the first charge");
    assert_eq!((runs.load(SeqCst), shop.charged()), (2, 1));
}

#[tokio::test]
async fn i03_a_handler_that_fails_the_second_time_does_not_release_what_may_be_charged() {
    let shop = Shop::open().await;
    let runs = Arc::new(AtomicU64::new(0));
    let counted = runs.clone();
    let handler = move || async move {
        let ok = counted.fetch_add(1, SeqCst) != 1;
        if ok { "some words".into_response() } else { StatusCode::NOT_FOUND.into_response() }
    };
    let terms = Terms::new(NETWORK, SELLER, "$0.01").scheme("upto");
    let client = shop.route(Paid::offers([terms]), get(handler));
    let payment = payment(&client.offer("/weather").await, "0x01");
    shop.fault_settle([Fault::Unknown]);
    let statuses = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::NOT_FOUND, StatusCode::OK];
    for status in statuses {
        assert_eq!(client.send(paid("/weather", &payment)).await.status, status);
    }
    assert_eq!((runs.load(SeqCst), shop.charged()), (3, 1));
}

#[tokio::test]
async fn rs08_an_answer_about_more_than_was_agreed_to_or_without_a_transaction_proves_nothing() {
    let lies: [fn(&mut Settlement); 3] = [
        |settlement| settlement.amount = Some(10_001.into()),
        |settlement| settlement.transaction = None,
        |settlement| (settlement.amount, settlement.transaction) = (Some(1.into()), None),
    ];
    for lie in lies {
        let (shop, client) = charging("{\"amount\":\"1858\"}").await;
        shop.fault_settle([Fault::Settlement(lie)]);
        let got = client.pay("0x01").await;
        assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!got.text().contains("some words"));
    }
}

#[tokio::test]
async fn extensions_that_the_facilitator_has_are_declared_and_their_echo_is_checked() {
    let mut supported = supported();
    supported.extensions = vec!["eip2612GasSponsoring".into()];
    let script = Script { kinds: std::sync::Mutex::new(Some(supported)), ..Script::default() };
    let shop = Shop::unready(script, |builder| builder);
    shop.seller.ready().await;
    let terms = Terms::new(NETWORK, SELLER, "$0.01").scheme("upto");
    let client = shop.route(Paid::offers([terms]), get(|| async { "some words" }));
    let challenge = client.get("/weather").await.challenge();
    assert_eq!(challenge.extensions.0["eip2612GasSponsoring"]["info"]["version"], "1");
    let mut payment = payment(&challenge.accepts[0], "0x01");
    let echo = |version: &str| {
        let info = serde_json::json!({"info": {"version": version, "from": PAYER}});
        Object::new().with("eip2612GasSponsoring", info)
    };
    payment.extensions = echo("2");
    let got = client.send(paid("/weather", &payment)).await;
    assert_eq!(got.challenge().error.as_deref(), Some("extension_echo_mismatch"));
    payment.extensions = echo("1");
    assert_eq!(client.send(paid("/weather", &payment)).await.status, StatusCode::OK);
    // Without an offer that can use it, it is not declared.
    let plain = shop.selling(|| async { "sunny" });
    assert!(plain.get("/weather").await.challenge().extensions.is_empty());
}
