use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use axum::body::Body;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;
use tollway_protocol::json::Object;
use tollway_protocol::{Payment, header};
use tollway_seller::{Paid, PricedBody, Terms};
use tower::ServiceExt as _;

use crate::common::*;

#[tokio::test]
async fn i01_a_paid_request_gets_the_handlers_response_and_a_receipt_after_settlement() {
    let shop = Shop::open().await;
    let got = shop.selling(|| async { "sunny" }).pay("0x01").await;
    assert_eq!((got.status, &got.body[..]), (StatusCode::OK, &b"sunny"[..]));
    let receipt = got.receipt().unwrap();
    assert!(receipt.success);
    assert_eq!(receipt.payer.as_deref(), Some(PAYER));
    assert_eq!(receipt.transaction.as_ref(), shop.script.charged.lock().unwrap().get("0x01"));
    assert!(!got.headers.contains_key(header::PAYMENT_REQUIRED));
    assert_eq!((shop.settles(), shop.charged()), (1, 1));
}

#[tokio::test]
async fn i02_rs01_the_same_payment_again_is_refused_naming_its_transaction() {
    let shop = Shop::open().await;
    let client = shop.selling(|| async { "sunny" });
    let first = client.pay("0x01").await.receipt().unwrap().transaction.unwrap();
    let again = client.pay("0x01").await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(again.json()["code"], "payment_already_spent");
    // Where programs look, in the body and in the header.
    let (json, receipt) = (again.json(), again.receipt().unwrap());
    assert_eq!(
        (&json["transaction"], &json["network"], &json["payer"]),
        (&first.as_str().into(), &NETWORK.into(), &PAYER.into())
    );
    assert_eq!(
        (receipt.success, receipt.transaction, receipt.payer.as_deref()),
        (false, Some(first), Some(PAYER))
    );
    assert_eq!(receipt.error_reason.unwrap().as_str(), "payment_already_spent");
    assert_eq!(shop.settles(), 1);
}

#[tokio::test]
async fn i18_a_busy_payment_and_one_of_another_request_name_their_transaction_in_header_and_body() {
    let shop = Shop::open().await;
    shop.ledger.fail.lock().unwrap().push("deliver");
    let named = shop.selling(|| async { "sunny" }).pay("0x01").await.receipt().unwrap().transaction;
    let (entered, go) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (running, wait) = (entered.clone(), go.clone());
    let client = shop.selling(move || {
        let (running, wait) = (running.clone(), wait.clone());
        async move {
            running.notify_one();
            wait.notified().await;
            "sunny"
        }
    });
    let payment = payment(&client.offer("/weather").await, "0x01");
    let first = tokio::spawn(client.0.clone().oneshot(paid("/weather", &payment)));
    entered.notified().await;
    for (uri, code) in
        [("/weather", "payment_in_progress"), ("/weather?elsewhere", "payment_bound_to_another_request")]
    {
        let got = client.send(paid(uri, &payment)).await;
        assert_eq!((got.status, &got.json()["code"]), (StatusCode::CONFLICT, &code.into()));
        let receipt = got.receipt().unwrap();
        assert_eq!((receipt.success, &receipt.transaction), (false, &named));
        assert_eq!(receipt.error_reason.unwrap().as_str(), code);
        assert_eq!(got.json()["transaction"].as_str(), named.as_deref());
    }
    go.notify_one();
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn i15_a_receipt_has_the_members_that_are_known_and_is_short_enough_to_reach_the_payer() {
    let shop = Shop::open().await;
    let client = shop.selling(|| async { "sunny" });
    shop.fault_settle([
        Fault::Settlement(|s| {
            s.unknown = s.unknown.clone().with("debug", format!("{LEAK} {}", "x".repeat(200_000)));
            s.extra = Object::new().with("long", "x".repeat(200_000));
            s.extensions = Object::new().with("long", "x".repeat(200_000));
        }),
        Fault::Settlement(|s| s.extra = Object::new().with("short", "kept")),
    ]);
    let got = client.pay("0x01").await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(got.headers[header::PAYMENT_RESPONSE].len() < 1024 && !got.text().contains("SECRETKEY"));
    assert!(got.receipt().unwrap().success);
    assert_eq!(client.pay("0x02").await.receipt().unwrap().extra.str("short"), Some("kept"));
}

#[tokio::test]
async fn i02_rs02_parallel_copies_of_a_payment_settle_once_and_one_is_served() {
    let shop = Shop::open().await;
    let ran = Arc::new(AtomicU64::new(0));
    let client = shop.selling(counting(&ran));
    let payment = payment(&client.offer("/weather").await, "0x01");
    let copies = (0..32).map(|_| {
        let (client, request) = (client.clone(), paid("/weather", &payment));
        tokio::spawn(async move { client.send(request).await })
    });
    let mut served = 0;
    for got in futures_util::future::join_all(copies).await {
        let got = got.unwrap();
        match got.status {
            StatusCode::OK => served += 1,
            StatusCode::CONFLICT => {
                let busy = got.json()["code"] == "payment_in_progress";
                assert_eq!(busy, got.headers.contains_key("retry-after"));
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!((served, shop.settles(), ran.load(SeqCst)), (1, 1, 1));
}

#[tokio::test]
async fn rs03_rs14_a_payment_for_another_route_or_query_is_refused_before_anything_is_asked() {
    let shop = Shop::open().await;
    let by_query = Paid::priced(|request| {
        let price = if request.uri.query() == Some("big") { "$0.05" } else { "$0.01" };
        Box::pin(async move { Ok(vec![Terms::new("base-sepolia", SELLER, price)]) })
    });
    let client = shop.route(by_query, any(|| async { "sunny" }));
    let cheap = payment(&client.offer("/weather").await, "0x01");
    let got = client.send(paid("/weather?big", &cheap)).await;
    assert_eq!(got.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(got.challenge().error.as_deref(), Some("No matching payment requirements"));
    assert_eq!(got.challenge().accepts[0].amount.to_string(), "50000");
    assert_eq!((shop.script.verified.load(SeqCst), shop.settles()), (0, 0));
}

#[tokio::test]
async fn i02_a_payment_taken_for_one_request_buys_no_other_at_the_same_price() {
    let shop = Shop::open().await;
    shop.fault_settle([Fault::Unknown]);
    let client = shop.selling(|| async { "sunny" });
    let payment = payment(&client.offer("/weather").await, "0x01");
    assert_eq!(
        client.send(paid("/weather?city=ghent", &payment)).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let elsewhere = client.send(paid("/weather?city=rome", &payment)).await;
    assert_eq!(elsewhere.status, StatusCode::CONFLICT);
    assert_eq!(elsewhere.json()["code"], "payment_bound_to_another_request");
    assert_eq!(client.send(paid("/weather?city=ghent", &payment)).await.status, StatusCode::OK);
    assert_eq!(shop.charged(), 1);
}

#[tokio::test]
async fn rs15_rs22_rs30_an_altered_offer_or_another_amount_is_refused_before_anything_is_asked() {
    let shop = Shop::open().await;
    let client = shop.selling(|| async { "sunny" });
    let offer = client.offer("/weather").await;
    let good = payment(&offer, "0x01");
    type Alter = fn(&mut Payment);
    let altered: [(&str, Alter); 11] = [
        ("payTo", |p| p.accepted.pay_to = OTHER.into()),
        ("asset", |p| p.accepted.asset = OTHER.into()),
        ("amount", |p| p.accepted.amount = 1u64.into()),
        ("network", |p| p.accepted.network = tollway_protocol::Network::eip155(8453)),
        ("timeout", |p| p.accepted.max_timeout_seconds = 1),
        ("scheme", |p| p.accepted.scheme = "upto".into()),
        ("flow", |p| p.accepted.extra = Object::new().with("paymentFlow", "upfront")),
        ("flow as number", |p| p.accepted.extra = Object::new().with("paymentFlow", 1)),
        ("signed recipient", |p| p.payload = p.payload.clone().with("to", OTHER)),
        ("one less", |p| p.payload = p.payload.clone().with("value", "9999")),
        ("one more", |p| p.payload = p.payload.clone().with("value", "10001")),
    ];
    for (what, alter) in altered {
        let mut payment = good.clone();
        alter(&mut payment);
        let got = client.send(paid("/weather", &payment)).await;
        assert_eq!(got.status, StatusCode::PAYMENT_REQUIRED, "{what}");
        assert_eq!(got.challenge().accepts, vec![offer.clone()], "{what}");
    }
    assert_eq!((shop.script.verified.load(SeqCst), shop.settles()), (0, 0));
    // What a client may do: add to `extra`.
    let mut more = good;
    more.accepted.extra = Object::new().with("mine", true);
    assert_eq!(client.send(paid("/weather", &more)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_extension_that_is_echoed_altered_is_refused() {
    let shop = Shop::open().await;
    let extensions: Object = serde_json::from_value(json!({"terms": {"info": {"version": 3}}})).unwrap();
    let client = shop.route(Paid::new("$0.01").extensions(extensions.clone()), any(|| async { "sunny" }));
    let mut payment = payment(&client.offer("/weather").await, "0x01");
    payment.extensions = serde_json::from_value(json!({"terms": {"info": {"version": 2}}})).unwrap();
    let got = client.send(paid("/weather", &payment)).await;
    assert_eq!(got.challenge().error.as_deref(), Some("extension_echo_mismatch"));
    payment.extensions = extensions;
    assert_eq!(client.send(paid("/weather", &payment)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn rs24_status_and_headers_are_the_handlers_but_for_those_of_payments() {
    let handler = |headers: HeaderMap| async move {
        assert!(!headers.contains_key(header::PAYMENT_SIGNATURE), "the handler sees no payment");
        let answer = [
            ("location", "/weather/7"),
            ("payment-response", "forged"),
            ("x-payment-response", "forged"),
            ("payment-required", "forged"),
            ("settlement-overrides", "{}"),
            ("x-own", "kept"),
        ];
        (StatusCode::CREATED, answer, "made")
    };
    let shop = Shop::open().await;
    let got = shop.selling(handler).pay("0x01").await;
    assert_eq!(got.status, StatusCode::CREATED);
    assert_eq!(
        (&got.headers["location"], &got.headers["x-own"]),
        (&"/weather/7".parse_value(), &"kept".parse_value())
    );
    assert!(got.receipt().unwrap().success);
    for name in ["x-payment-response", "payment-required", "settlement-overrides"] {
        assert!(!got.headers.contains_key(name), "{name}");
    }
}

trait ParseValue {
    fn parse_value(&self) -> http::HeaderValue;
}
impl ParseValue for str {
    fn parse_value(&self) -> http::HeaderValue {
        http::HeaderValue::from_str(self).unwrap()
    }
}

#[tokio::test]
async fn i06_rs17_x402rs_27_paid_answers_never_stay_in_a_shared_cache() {
    let handler = || async {
        let headers = [
            ("cache-control", "public, max-age=60, s-maxage=600"),
            ("cdn-cache-control", "max-age=600"),
            ("cloudflare-cdn-cache-control", "public, max-age=3600"),
            ("vercel-cdn-cache-control", "public, max-age=3600"),
            ("x-accel-expires", "3600"),
            ("edge-control", "cache-maxage=1h"),
            ("surrogate-control", "max-age=3600"),
            ("etag", "\"1\""),
            ("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ("vary", "accept"),
        ];
        (headers, "sunny")
    };
    let shop = Shop::open().await;
    let got = shop.selling(handler).pay("0x01").await;
    assert_eq!(got.headers["cache-control"], "private, max-age=60");
    for name in [
        "etag",
        "last-modified",
        "cdn-cache-control",
        "cloudflare-cdn-cache-control",
        "vercel-cdn-cache-control",
        "x-accel-expires",
        "edge-control",
        "surrogate-control",
    ] {
        assert!(!got.headers.contains_key(name), "{name}");
    }
    let vary: BTreeSet<_> = got.headers.get_all("vary").iter().map(|v| v.to_str().unwrap()).collect();
    assert_eq!(vary, BTreeSet::from(["accept", "PAYMENT-SIGNATURE, X-PAYMENT"]));
    let kept = shop.route(Paid::new("$0.01").keep_validators(), any(handler)).pay("0x02").await;
    assert_eq!(kept.headers["etag"], "\"1\"");
    let silent = shop.selling(|| async { "sunny" }).pay("0x03").await;
    assert_eq!(silent.headers["cache-control"], "private, no-store");
}

#[tokio::test]
async fn rs25_a_body_is_streamed_and_not_buffered() {
    let shop = Shop::open().await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let client = shop.selling(move || {
        let mut receiver = receiver.lock().unwrap().take().unwrap();
        let stream = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        async move { Body::from_stream(stream) }
    });
    let offer = client.offer("/weather").await;
    // Nothing of the body exists yet when the response's head leaves.
    let response = client.0.clone().oneshot(paid("/weather", &payment(&offer, "0x01"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    for part in ["sun", "ny"] {
        sender.send(Ok(Bytes::from(part))).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), part);
    }
    drop(sender);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn rs14_a_price_that_depends_on_the_body_is_bound_to_the_body() {
    let shop = Shop::open().await;
    shop.fault_settle([Fault::Unknown]);
    let priced = Paid::priced(|request| {
        let length = request.extensions.get::<PricedBody>().map_or(0, |body| body.0.len());
        let price = format!("$0.0{}", length.min(9));
        Box::pin(async move { Ok(vec![Terms::new("base-sepolia", SELLER, price)]) })
    });
    let client = shop.route(priced.priced_by_body(64), any(|body: String| async move { body }));
    let post = |body: &'static str| Request::post("/weather").body(Body::from(body)).unwrap();
    let offer = client.send(post("abc")).await.challenge().accepts.remove(0);
    assert_eq!(offer.amount.to_string(), "30000");
    let payment = payment(&offer, "0x01");
    let pay = |body: &'static str| {
        let request = paid("/weather", &payment);
        let (mut parts, _) = request.into_parts();
        parts.method = http::Method::POST;
        Request::from_parts(parts, Body::from(body))
    };
    assert_eq!(client.send(pay("abcd")).await.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(client.send(pay("abc")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.send(pay("xyz")).await.status, StatusCode::CONFLICT);
    let got = client.send(pay("abc")).await;
    assert_eq!((got.status, &got.body[..]), (StatusCode::OK, &b"abc"[..]));
    let long = "x".repeat(65);
    let request = Request::post("/weather").body(Body::from(long)).unwrap();
    assert_eq!(client.send(request).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn rs33_an_expired_payment_is_refused_without_asking_anyone() {
    let shop = Shop::open().await;
    let client = shop.selling(|| async { "sunny" });
    let mut payment = payment(&client.offer("/weather").await, "0x01");
    payment.payload = payment.payload.with("validBefore", (NOW - 61).to_string());
    let got = client.send(paid("/weather", &payment)).await;
    assert_eq!(got.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(got.json()["invalidReason"], "invalid_exact_evm_payload_authorization_valid_before");
    assert_eq!(shop.script.verified.load(SeqCst), 0);
}

#[tokio::test]
async fn x402rs_33_the_service_that_was_polled_is_the_one_that_is_called() {
    #[derive(Clone)]
    struct Fussy {
        ready: bool,
    }
    impl tower::Service<Request<Body>> for Fussy {
        type Response = http::Response<Body>;
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
            self.ready = true;
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<Body>) -> Self::Future {
            assert!(std::mem::take(&mut self.ready), "called without being polled");
            std::future::ready(Ok(http::Response::new(Body::from("sunny"))))
        }
    }
    let shop = Shop::open().await;
    let layer = shop.seller.gate(Paid::new("$0.01")).unwrap();
    let service = tower::Layer::layer(&layer, Fussy { ready: false });
    let offer = shop.selling(|| async {}).offer("/weather").await;
    let response = service.oneshot(paid("/weather", &payment(&offer, "0x01"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}
