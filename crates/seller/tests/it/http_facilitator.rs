use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tollway_protocol::scheme::{Ask, FacilitatorError, SellerScheme};
use tollway_protocol::{Facilitator, PaymentRequest, Reason, Secret};
use tollway_seller::{HttpFacilitator, UrlError};

use crate::common::*;

type Answer = (StatusCode, Vec<(&'static str, String)>, String);

fn json(status: u16, body: serde_json::Value) -> Answer {
    (
        StatusCode::from_u16(status).unwrap(),
        vec![("content-type", "application/json".into())],
        body.to_string(),
    )
}

/// A server that gives `answers` in turn, the last one for ever; counts requests and keeps the last headers.
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
    headers: Arc<std::sync::Mutex<HeaderMap>>,
}

async fn serve(answers: Vec<Answer>) -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x402", listener.local_addr().unwrap());
    let (asked, headers) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(HeaderMap::new())));
    let (count, last) = (asked.clone(), headers.clone());
    let router = Router::new().fallback(move |request: Request<Body>| {
        let at = count.fetch_add(1, SeqCst).min(answers.len() - 1);
        *last.lock().unwrap() = request.headers().clone();
        let (status, headers, body) = answers[at].clone();
        let mut response = http::Response::new(Body::from(body));
        *response.status_mut() = status;
        for (name, value) in headers {
            response.headers_mut().insert(name, value.try_into().unwrap());
        }
        std::future::ready(response)
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    Server { url, asked, headers }
}

impl Server {
    fn client(&self) -> HttpFacilitator {
        HttpFacilitator::builder(&self.url).timeout(Duration::from_secs(5)).build().unwrap()
    }
}

fn request() -> PaymentRequest {
    let ask = Ask {
        network: tollway_protocol::Network::new(NETWORK).unwrap(),
        price: tollway_protocol::money::Money::new("$0.01").unwrap().into(),
        pay_to: SELLER.into(),
        max_timeout_seconds: 300,
        extra: Default::default(),
    };
    let offer = Plain.offer(&ask, &supported().kinds[0]).unwrap();
    PaymentRequest::new(payment(&offer, "0x01"), offer)
}

#[tokio::test]
async fn protocol_answers_are_read_whatever_their_status() {
    let server = serve(vec![
        json(200, json!({"isValid": true, "payer": PAYER})),
        json(400, json!({"isValid": false, "invalidReason": "insufficient_funds"})),
        json(402, json!({"success": false, "errorReason": "insufficient_funds", "transaction": "", "network": ""})),
        json(503, json!({"success": false, "errorReason": "settlement_pending", "transaction": "0x1", "network": NETWORK})),
        json(200, serde_json::to_value(supported()).unwrap()),
    ])
    .await;
    let client = server.client();
    assert!(client.verify(&request()).await.unwrap().is_valid);
    let verdict = client.verify(&request()).await.unwrap();
    assert_eq!(verdict.invalid_reason.unwrap().reason(), Reason::InsufficientBalance);
    let settlement = client.settle(&request()).await.unwrap();
    assert_eq!((settlement.success, settlement.network.as_str()), (false, NETWORK));
    let pending = client.settle(&request()).await.unwrap();
    assert_eq!(pending.transaction.as_deref(), Some("0x1"));
    assert_eq!(client.supported().await.unwrap(), supported());
}

#[tokio::test]
async fn rs06_rs32_what_is_no_protocol_answer_to_settle_is_unknown() {
    let unknown = [
        json(500, json!({"success": true, "transaction": "0x1", "network": NETWORK})),
        json(
            500,
            json!({"success": false, "errorReason": "insufficient_funds", "transaction": "", "network": NETWORK}),
        ),
        json(200, json!({"success": "true", "transaction": "0x1", "network": NETWORK})),
        json(200, json!({"success": true, "transaction": "0x1"})),
        json(200, json!({"ok": true})),
        (StatusCode::OK, vec![("content-type", "text/html".into())], "<html>".into()),
        (StatusCode::OK, vec![], "{\"success\": true, \"transac".into()),
        (StatusCode::OK, vec![], String::new()),
        (StatusCode::BAD_GATEWAY, vec![], "upstream".into()),
        (StatusCode::OK, vec![], format!("\"{}\"", "x".repeat(1024 * 1024 + 1))),
    ];
    for (at, answer) in unknown.into_iter().enumerate() {
        let server = serve(vec![answer]).await;
        let error = server.client().settle(&request()).await.unwrap_err();
        assert!(matches!(error, FacilitatorError::Unknown(_)), "{at}: {error}");
        assert_eq!(server.asked.load(SeqCst), 1, "{at}: settle is asked once");
        assert!(!error.to_string().contains("127.0.0.1"), "x402rs_20: {error}");
    }
}

#[tokio::test]
async fn rs08_only_401_429_and_a_failed_connection_prove_that_nobody_was_asked_to_settle() {
    let elsewhere = serve(vec![json(200, json!({"success": true}))]).await;
    let redirect = (StatusCode::TEMPORARY_REDIRECT, vec![("location", elsewhere.url.clone())], String::new());
    for answer in [json(401, json!({})), json(429, json!({}))] {
        let server = serve(vec![answer]).await;
        let error = server.client().settle(&request()).await.unwrap_err();
        assert!(matches!(error, FacilitatorError::NotAsked(_)), "{error}");
        assert_eq!(server.asked.load(SeqCst), 1);
    }
    let proxies = [400, 403, 404, 405, 408, 409, 413, 415, 500, 504].map(|status| json(status, json!({})));
    for answer in proxies.into_iter().chain([redirect]) {
        let server = serve(vec![answer]).await;
        let error = server.client().settle(&request()).await.unwrap_err();
        assert!(matches!(error, FacilitatorError::Unknown(_)), "{error}");
        assert_eq!(server.asked.load(SeqCst), 1);
    }
    assert_eq!(elsewhere.asked.load(SeqCst), 0, "i14: no redirect is followed");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = HttpFacilitator::builder(nobody).build().unwrap().settle(&request()).await.unwrap_err();
    assert!(matches!(error, FacilitatorError::NotAsked(_)), "{error}");
    assert!(!error.to_string().contains("127.0.0.1"));
}

#[tokio::test]
async fn verify_and_supported_are_asked_again_after_429_with_retry_after_and_settle_is_not() {
    let busy = || (StatusCode::TOO_MANY_REQUESTS, vec![("retry-after", "0".to_owned())], String::new());
    let server = serve(vec![busy(), json(200, json!({"isValid": true}))]).await;
    assert!(server.client().verify(&request()).await.unwrap().is_valid);
    let server = serve(vec![busy(), busy(), json(200, serde_json::to_value(supported()).unwrap())]).await;
    assert!(server.client().supported().await.is_ok());
    let server = serve(vec![busy()]).await;
    assert!(server.client().settle(&request()).await.is_err());
    assert_eq!(server.asked.load(SeqCst), 1);
}

#[tokio::test]
async fn i16_headers_are_sent_and_secrets_stay_out_of_debug_output() {
    let server = serve(vec![json(200, json!({"isValid": true}))]).await;
    let client = HttpFacilitator::builder(&server.url)
        .header("x-static", Secret::new("SECRETKEY".to_owned()))
        .headers(|endpoint| async move {
            Ok(vec![("authorization".to_owned(), Secret::new(format!("Bearer {endpoint:?}")))])
        })
        .build()
        .unwrap();
    client.verify(&request()).await.unwrap();
    let sent = server.headers.lock().unwrap().clone();
    assert_eq!(
        (&sent["x-static"], &sent["authorization"]),
        (&"SECRETKEY".parse_it(), &"Bearer Verify".parse_it())
    );
    assert!(!format!("{client:?}").contains("SECRETKEY"));
    let broken =
        HttpFacilitator::builder(&server.url).headers(|_| async { Err(LEAK.to_owned()) }).build().unwrap();
    let error = broken.settle(&request()).await.unwrap_err();
    assert!(matches!(&error, FacilitatorError::NotAsked(_)) && !error.to_string().contains("SECRETKEY"));
}

trait ParseIt {
    fn parse_it(&self) -> http::HeaderValue;
}
impl ParseIt for str {
    fn parse_it(&self) -> http::HeaderValue {
        http::HeaderValue::from_str(self).unwrap()
    }
}

#[tokio::test]
async fn urls_that_cannot_be_used_are_refused() {
    for (url, error) in [
        ("", UrlError::Form),
        ("ftp://f.example", UrlError::Form),
        ("https://f.example?key=1", UrlError::Form),
        ("https://user:key@f.example", UrlError::Credentials),
    ] {
        assert_eq!(HttpFacilitator::builder(url).build().unwrap_err(), error, "{url}");
    }
    let header = HttpFacilitator::builder("https://f.example").header("a\nb", Secret::new(String::new()));
    assert_eq!(header.build().unwrap_err(), UrlError::Header);
}

#[tokio::test]
async fn i03_a_settlement_is_named_by_the_claim_and_a_verification_is_not() {
    let settled = json!({"success": true, "transaction": DEAD, "network": NETWORK, "payer": PAYER});
    let server = serve(vec![json(200, json!({"isValid": true})), json(200, settled)]).await;
    let key = tollway_protocol::IdempotencyKey::read("the-key-of-this-claim").unwrap();
    let mut request = PaymentRequest { idempotency_key: Some(key), ..request() };
    let named = || server.headers.lock().unwrap().get("idempotency-key").cloned();
    assert!(server.client().verify(&request).await.unwrap().is_valid);
    assert_eq!(named(), None);
    // Where everybody is told it says nothing, and not every facilitator takes it as we do.
    server.client().settle(&request).await.unwrap();
    assert_eq!(named(), None);
    request.payment_requirements.network = tollway_protocol::Network::named("solana").unwrap();
    assert!(server.client().verify(&request).await.is_err());
    assert_eq!(named(), None);
    server.client().settle(&request).await.unwrap();
    assert_eq!(named().unwrap(), "\"the-key-of-this-claim\"");
}

#[tokio::test]
async fn the_gate_sells_through_a_facilitator_behind_a_url() {
    let script = Arc::new(Script::default());
    let remote = script.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (verify, settle) = (remote.clone(), remote.clone());
    let router = Router::new()
        .route("/supported", axum::routing::get(|| async { axum::Json(supported()) }))
        .route(
            "/verify",
            axum::routing::post(move |axum::Json(request): axum::Json<PaymentRequest>| async move {
                axum::Json(verify.verify(&request).await.unwrap())
            }),
        )
        .route(
            "/settle",
            axum::routing::post(move |axum::Json(request): axum::Json<PaymentRequest>| async move {
                axum::Json(settle.settle(&request).await.unwrap())
            }),
        );
    tokio::spawn(async move { axum::serve(listener, router).await });
    let facilitator = Arc::new(HttpFacilitator::builder(url).build().unwrap());
    let limits = tollway_seller::Limits::default();
    let shop = Shop::with(|builder| builder.facilitator(facilitator).limits(limits)).await;
    let got = shop.selling(|| async { "sunny" }).pay("0x01").await;
    assert!(got.receipt().unwrap().success);
    assert_eq!(script.charged.lock().unwrap().len(), 1);
}
