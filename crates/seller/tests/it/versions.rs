use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use axum::routing::any;
use base64::Engine as _;
use http::{Request, StatusCode};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::FacilitatorError;
use tollway_protocol::{Facilitator, PaymentRequest, Settlement, Supported, Verdict, header, v1, wire};
use tollway_seller::{Paid, Terms};

use crate::common::*;

fn v1_payment(offer: &wire::Offer, nonce: &str) -> Request<Body> {
    let payment = v1::Payment::of(&payment(offer, nonce)).unwrap();
    Request::get("/weather").header(header::X_PAYMENT, header::encode(&payment)).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn x402rs_31_one_route_serves_both_versions() {
    let shop = Shop::open().await;
    let client = shop.route(Paid::new("$0.01").description("Weather"), any(|| async { "sunny" }));
    let got = client.get("/weather").await;
    let old: v1::Challenge = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(old.accepts[0].network, "base-sepolia");
    assert_eq!(old.accepts[0].resource, "https://shop.example/weather");
    assert_eq!(old.accepts[0].description, "Weather");
    let got = client.send(v1_payment(&got.challenge().accepts[0], "0x01")).await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(got.receipt().is_none());
    let receipt: v1::Settlement = header::decode(got.headers[header::X_PAYMENT_RESPONSE].as_bytes()).unwrap();
    assert!(receipt.success);
    assert_eq!(receipt.network, "base-sepolia");
    assert!(client.pay("0x02").await.receipt().unwrap().success);
}

#[tokio::test]
async fn x402rs_31_a_version_1_payment_is_tried_against_every_offer_of_its_network() {
    let shop = Shop::open().await;
    let terms = [Terms::new("base-sepolia", SELLER, "$0.01"), Terms::new("base-sepolia", OTHER, "$0.02")];
    let client = shop.route(Paid::offers(terms), any(|| async { "sunny" }));
    let offers = client.get("/weather").await.challenge().accepts;
    assert_eq!(client.send(v1_payment(&offers[1], "0x01")).await.status, StatusCode::OK);
    assert_eq!(client.send(v1_payment(&offers[0], "0x02")).await.status, StatusCode::OK);
    let mut wrong = offers[0].clone();
    wrong.amount = 1u64.into();
    let got = client.send(v1_payment(&wrong, "0x03")).await;
    assert_eq!(got.status, StatusCode::PAYMENT_REQUIRED);
    // A v1 client is spoken to in v1's codes.
    assert_eq!(got.json()["error"], "invalid_exact_evm_authorization_value");
}

#[tokio::test]
async fn the_body_is_version_2_where_version_1_has_no_name_for_the_network_or_is_off() {
    let shop = Shop::open().await;
    let nameless = Paid::offers([Terms::new("eip155:10143", SELLER, "$0.01")]);
    let got = shop.route(nameless, any(|| async { "sunny" })).get("/weather").await;
    assert_eq!(
        serde_json::from_slice::<wire::Challenge>(&got.body).unwrap().accepts,
        got.challenge().accepts
    );
    let modern = Shop::with(|builder| builder.serve_v1(false)).await;
    let client = modern.selling(|| async { "sunny" });
    let got = client.get("/weather").await;
    assert_eq!(got.json()["x402Version"], 2);
    let got = client.send(v1_payment(&got.challenge().accepts[0], "0x01")).await;
    assert_eq!(got.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(modern.settles(), 0);
}

#[tokio::test]
async fn x402rs_29_everything_that_a_route_says_of_itself_is_in_the_challenge() {
    let shop = Shop::open().await;
    let extensions = Object::new().with("bazaar", serde_json::json!({"info": {}}));
    let paid = Paid::new("$0.01")
        .description("Weather")
        .mime_type("text/plain")
        .service_name("Shop")
        .tags(["sun", "rain"])
        .icon_url("https://shop.example/icon.png")
        .path("/api/weather")
        .max_timeout_seconds(60)
        .extensions(extensions.clone());
    let challenge = shop.route(paid, any(|| async { "sunny" })).get("/weather").await.challenge();
    assert_eq!(challenge.resource.url, "https://shop.example/api/weather");
    assert_eq!(challenge.resource.mime_type.as_deref(), Some("text/plain"));
    assert_eq!(challenge.resource.service_name.as_deref(), Some("Shop"));
    assert_eq!(challenge.resource.tags.unwrap(), ["sun", "rain"]);
    assert_eq!(challenge.resource.icon_url.as_deref(), Some("https://shop.example/icon.png"));
    assert_eq!((challenge.accepts[0].max_timeout_seconds, challenge.extensions), (60, extensions));
}

/// Keeps what it was asked to verify.
struct Tap(Script, Mutex<Vec<String>>);

#[async_trait]
impl Facilitator for Tap {
    async fn verify(&self, request: &PaymentRequest) -> Result<Verdict, FacilitatorError> {
        self.1.lock().unwrap().push(serde_json::to_string(request).unwrap());
        self.0.verify(request).await
    }
    async fn settle(&self, request: &PaymentRequest) -> Result<Settlement, FacilitatorError> {
        self.1.lock().unwrap().push(serde_json::to_string(request).unwrap());
        self.0.settle(request).await
    }
    async fn supported(&self) -> Result<Supported, FacilitatorError> {
        self.0.supported().await
    }
}

#[tokio::test]
async fn i01_the_facilitator_gets_the_members_that_the_seller_has_bound_and_no_other() {
    let tap = Arc::new(Tap(Script::default(), Mutex::default()));
    let shop = Shop::with(|builder| builder.facilitator(tap.clone())).await;
    let client = shop.selling(|| async { "sunny" });
    let offer = client.offer("/weather").await;
    let smuggled = serde_json::json!({"x402Version": 1, "scheme": "exact", "network": "base-sepolia",
        "payload": payload(&offer, "0x01"), "accepted": {"scheme": "smuggled"},
        "resource": {"url": "https://smuggled.example"}, "extensions": {"smuggled": {}}, "other": "smuggled"});
    let value = base64::engine::general_purpose::STANDARD.encode(smuggled.to_string());
    let request = Request::get("/weather").header(header::X_PAYMENT, value).body(Body::empty()).unwrap();
    assert_eq!(client.send(request).await.status, StatusCode::OK);
    let unknown = || Object::new().with("paymentRequirements", "smuggled").with("amount ", "smuggled");
    let mut modern = payment(&offer, "0x02");
    modern.unknown = unknown();
    modern.accepted.unknown = unknown();
    modern.resource = Some(wire::Resource { url: BASE.into(), unknown: unknown(), ..Default::default() });
    assert_eq!(client.send(paid("/weather", &modern)).await.status, StatusCode::OK);
    let sent = std::mem::take(&mut *tap.1.lock().unwrap());
    assert_eq!(sent.len(), 4);
    for sent in sent {
        assert!(!sent.contains("smuggled"), "{sent}");
        let read: PaymentRequest = serde_json::from_str(&sent).unwrap();
        assert_eq!(read.payment_requirements, offer);
    }
}
