//! `GET /settlements/{payment key}`, and how long callers of `/settle` wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use http::{Request, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tollway_facilitator::settlements::{Found, Settlements, State};
use tollway_facilitator::{Api, Registry};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Code, Network};

use crate::common::{Fake, NOW, PAYER, RPC, TOKEN, TestClient, v2, world};

struct Ledger(HashMap<String, Found>);

#[async_trait]
impl Settlements for Ledger {
    async fn find(&self, key: &PaymentKey) -> Result<Option<Found>, String> {
        match key.as_str() {
            "eip155:84532/broken" => Err(format!("POST {RPC}: disk I/O error")),
            "eip155:84532/slow" => std::future::pending().await,
            key => Ok(self.0.get(key).cloned()),
        }
    }
}

fn key(last: &str) -> PaymentKey {
    PaymentKey::new(&Network::eip155(84532), &[TOKEN, PAYER, last])
}

fn client() -> TestClient {
    let found = |state, transaction: Option<&str>, reason: Option<&str>| Found {
        network: Network::eip155(84532),
        state,
        transaction: transaction.map(str::to_owned),
        reason: reason.map(Code::new),
        message: reason.map(|_| format!("reverted at {RPC}")),
        created: UnixTime(NOW),
    };
    let rows = [
        (key("settled"), found(State::Settled, Some("0x1"), None)),
        (key("failed"), found(State::Failed, Some("0x2"), Some("invalid_exact_evm_transaction_failed"))),
        (key("pending"), found(State::Pending, Some("0x3"), Some("a reason of an earlier try"))),
        (key("a/b%2Fc"), found(State::Settled, Some("0x4"), None)),
    ];
    let ledger = Ledger(rows.into_iter().map(|(key, found)| (key.to_string(), found)).collect());
    let registry = Registry::builder()
        .mechanism(Fake::new("exact", "eip155:84532"))
        .clock(|| UnixTime(NOW))
        .ledger(Arc::new(ledger))
        .build()
        .unwrap();
    TestClient(Api::new(Arc::new(registry)).router())
}

fn path(key: &str) -> String {
    format!("/settlements/{}", utf8_percent_encode(key, NON_ALPHANUMERIC))
}

#[tokio::test]
async fn a_settlement_is_told_in_three_states_with_its_transaction() {
    let client = client();
    for (last, state, transaction) in [
        ("settled", "settled", "0x1"),
        ("failed", "failed", "0x2"),
        ("pending", "pending", "0x3"),
        ("a/b%2Fc", "settled", "0x4"),
    ] {
        let answer = client.get(&path(key(last).as_str())).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        let body = answer.json();
        assert_eq!(body["paymentKey"], json!(key(last).as_str()));
        assert_eq!((&body["state"], &body["transaction"]), (&json!(state), &json!(transaction)), "{last}");
        assert_eq!(body["network"], json!("eip155:84532"));
        assert_eq!(body["createdAt"], json!(NOW));
        let reason = (last == "failed").then_some("invalid_exact_evm_transaction_failed");
        assert_eq!(body.get("errorReason").and_then(Value::as_str), reason, "{last}");
        assert!(!answer.text.contains("SECRETKEY"), "{}", answer.text);
    }
}

#[tokio::test(start_paused = true)]
async fn cl7_absent_is_unknown_and_a_ledger_that_fails_is_unknown_too_never_failed() {
    let client = client();
    let absent = client.get(&path(key("never seen").as_str())).await;
    assert_eq!((absent.status, absent.json()["state"].clone()), (StatusCode::BAD_REQUEST, Value::Null));
    let absent = client.get(&path(key("never-seen").as_str())).await;
    assert_eq!((absent.status, absent.json()["state"].clone()), (StatusCode::OK, json!("unknown")));
    assert!(absent.json()["errorMessage"].as_str().unwrap().contains("never pay again"));
    for broken in ["eip155:84532/broken", "eip155:84532/slow"] {
        let answer = client.get(&path(broken)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
        assert_eq!(answer.json()["state"], json!("unknown"));
        assert!(!answer.text.contains("SECRETKEY"));
    }
    let without = world().client().get(&path(key("settled").as_str())).await;
    assert_eq!((without.status, without.json()["state"].clone()), (StatusCode::NOT_IMPLEMENTED, Value::Null));
}

#[tokio::test]
async fn i15_what_is_no_payment_key_is_a_4xx() {
    let client = client();
    let long = format!("eip155:1/{}", "a".repeat(600));
    for bad in [
        "/settlements/",
        "/settlements/eip155:84532/a/b",
        "/settlements/eip155%3A84532",
        "/settlements/eip155%3A84532%2F",
        "/settlements/base-sepolia%2Fa",
        "/settlements/eip155%3A1%2F%zz",
        "/settlements/eip155%3A1%2Fa%2",
        "/settlements/eip155%3A1%2Fa%00",
        "/settlements/eip155%3A1%2F%ff%fe",
        "/settlements/eip155%3A1%2F%C3%A9",
        &path(&long),
    ] {
        let answer = client.get(bad).await;
        assert!(answer.status.is_client_error(), "{bad:.80}: {}", answer.status);
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(client.ask(&path(key("settled").as_str()), &json!({})).await.status, 405);
}

fn settle(prefer: Option<&str>) -> Request<Body> {
    let mut request = Request::post("/settle");
    if let Some(prefer) = prefer {
        request = request.header("prefer", prefer);
    }
    request.body(Body::from(v2("slow").to_string())).unwrap()
}

#[tokio::test(start_paused = true)]
async fn fa32_a_caller_that_says_how_long_it_waits_is_answered_before_that() {
    let world = world();
    let client = world.client();
    for (prefer, applied, within) in [
        (None, None, Duration::from_secs(25)),
        (Some("wait=5"), Some("wait=5"), Duration::from_millis(4700)),
        (Some("wait=1"), Some("wait=1"), Duration::from_millis(800)),
        (Some("respond-async, Wait=\"10\"; x=1"), Some("wait=10"), Duration::from_millis(9700)),
        (Some("wait=60"), None, Duration::from_secs(25)),
        (Some("wait=0"), None, Duration::from_secs(25)),
        (Some("wait=-1"), None, Duration::from_secs(25)),
        (Some("wait=99999999999999999999999"), None, Duration::from_secs(25)),
    ] {
        let started = tokio::time::Instant::now();
        let answer = client.send(settle(prefer)).await;
        assert_eq!(started.elapsed(), within, "{prefer:?}");
        assert_eq!(answer.json()["errorReason"], json!("settlement_pending"));
        assert_eq!(answer.headers.get("preference-applied").map(|v| v.to_str().unwrap()), applied);
        let inner = world.fake.deadline.lock().unwrap();
        assert!(inner < within, "the mechanism, which knows the transaction, answers first");
    }
}

#[tokio::test(start_paused = true)]
async fn fa32_a_slow_body_does_not_lengthen_a_callers_wait() {
    let world = world();
    let client = world.client();
    let body = v2("slow").to_string();
    let slow = futures_util::stream::once(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok::<_, std::io::Error>(body)
    });
    let started = tokio::time::Instant::now();
    let request = Request::post("/settle").header("prefer", "wait=5").body(Body::from_stream(slow)).unwrap();
    assert_eq!(client.send(request).await.json()["errorReason"], json!("settlement_pending"));
    assert_eq!(started.elapsed(), Duration::from_millis(4700));
}
