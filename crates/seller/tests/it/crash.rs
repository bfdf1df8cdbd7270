use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use http::StatusCode;
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
async fn rs27_two_refusals_have_different_ids() {
    let client = Shop::open().await.selling(|| async { "sunny" });
    let id = |got: Got| got.json()["id"].as_str().unwrap().to_owned();
    assert_ne!(id(client.get("/weather").await), id(client.get("/weather").await));
}
