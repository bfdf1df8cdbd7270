//! API keys, and limits per client address.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, StatusCode, header};
use serde_json::json;
use tollway_facilitator::api::{Key, Keys, Proxies, Rate};
use tollway_facilitator::{Api, Registry};
use tollway_protocol::door::UnixTime;

use crate::common::{Answer, Fake, NOW, TestClient, v2, world};

const SHOP: &str = "twk_0123456789abcdef0123456789abcdef";
const OTHER: &str = "twk_fedcba9876543210fedcba9876543210";

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second: NonZeroU32::new(per_second).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
}

fn key(name: &str, text: &str) -> Key {
    Key { name: name.to_owned(), hash: Key::hash(text), rate: None, payments_per_day: None }
}

fn client(keys: Vec<Key>) -> TestClient {
    TestClient(Api::new(world().registry).keys(Keys::new(keys)).router())
}

async fn with(client: &TestClient, path: &str, name: &str, value: &str) -> Answer {
    let request = Request::post(path).header(name, value).body(Body::from(v2("").to_string())).unwrap();
    client.send(request).await
}

async fn bearer(client: &TestClient, path: &str, key: &str) -> Answer {
    with(client, path, "authorization", &format!("Bearer {key}")).await
}

#[tokio::test]
async fn fa27_without_a_known_key_nothing_that_costs_is_answered() {
    let client = client(vec![key("shop", SHOP), key("other", OTHER)]);
    for path in ["/verify", "/settle"] {
        let anonymous = client.ask(path, &v2("")).await;
        assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED);
        assert_eq!(anonymous.headers[header::WWW_AUTHENTICATE], "Bearer");
        let body = anonymous.json();
        let (flag, reason) =
            if path == "/verify" { ("isValid", "invalidReason") } else { ("success", "errorReason") };
        assert_eq!((&body[flag], &body[reason]), (&json!(false), &json!("facilitator_unavailable")));
        for wrong in ["", "x", &SHOP[..35], &format!("{SHOP}0"), &"k".repeat(10_000)] {
            assert_eq!(bearer(&client, path, wrong).await.status, StatusCode::UNAUTHORIZED, "{wrong:.40}");
        }
        assert_eq!(with(&client, path, "authorization", &format!("Basic {SHOP}")).await.status, 401);
        for good in [SHOP, OTHER] {
            assert_eq!(bearer(&client, path, good).await.status, StatusCode::OK);
            assert_eq!(with(&client, path, "x-api-key", good).await.status, StatusCode::OK);
        }
    }
    assert_eq!(client.get("/settlements/eip155%3A84532%2Fx").await.status, StatusCode::UNAUTHORIZED);
    for free in ["/supported", "/healthz", "/readyz", "/openapi.json", "/"] {
        assert_eq!(client.get(free).await.status, StatusCode::OK, "{free}");
    }
}

#[tokio::test]
async fn fa29_a_body_without_a_key_is_not_read() {
    let client = client(vec![key("shop", SHOP)]);
    let never = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let answer = client.send(Request::post("/settle").body(never).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn fa29_a_key_has_a_rate_of_its_own() {
    let keys = vec![Key { rate: Some(rate(1, 2)), ..key("shop", SHOP) }, key("other", OTHER)];
    let client = client(keys);
    for _ in 0..2 {
        assert_eq!(bearer(&client, "/verify", SHOP).await.status, StatusCode::OK);
    }
    let refused = bearer(&client, "/verify", SHOP).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    assert_eq!(refused.json()["isValid"], json!(false));
    assert_eq!(bearer(&client, "/verify", OTHER).await.status, StatusCode::OK);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(bearer(&client, "/verify", SHOP).await.status, StatusCode::OK);
    assert_eq!(bearer(&client, "/settle", SHOP).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_key_has_payments_a_day_for_each_operation() {
    let now = Arc::new(AtomicU64::new(NOW));
    let clock = now.clone();
    let registry = Registry::builder()
        .mechanism(Fake::new("exact", "eip155:84532"))
        .clock(move || UnixTime(clock.load(Ordering::SeqCst)))
        .build()
        .unwrap();
    let keys = Keys::new([Key { payments_per_day: Some(2), ..key("shop", SHOP) }]);
    let client = TestClient(Api::new(Arc::new(registry)).keys(keys).router());
    for path in ["/verify", "/settle"] {
        // What is no payment is not counted.
        let request = Request::post(path).header("x-api-key", SHOP).body(Body::from("{}")).unwrap();
        assert_eq!(client.send(request).await.status, StatusCode::BAD_REQUEST);
        for _ in 0..2 {
            assert_eq!(bearer(&client, path, SHOP).await.status, StatusCode::OK);
        }
        let refused = bearer(&client, path, SHOP).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        let rest = 86_400 - NOW % 86_400;
        assert_eq!(refused.headers[header::RETRY_AFTER], rest.to_string().as_str());
    }
    now.fetch_add(86_400, Ordering::SeqCst);
    assert_eq!(bearer(&client, "/verify", SHOP).await.status, StatusCode::OK);
}

fn from(address: &str, forwarded: &[&str]) -> Request<Body> {
    let peer = SocketAddr::new(IpAddr::from_str(address).unwrap(), 1);
    let mut request = Request::get("/supported").extension(ConnectInfo(peer));
    for value in forwarded {
        request = request.header("x-forwarded-for", *value);
    }
    request.body(Body::empty()).unwrap()
}

async fn asks(client: &TestClient, address: &str, forwarded: &[&str]) -> StatusCode {
    client.send(from(address, forwarded)).await.status
}

#[tokio::test(start_paused = true)]
async fn fa29_each_address_has_a_rate_and_headers_of_strangers_change_nothing() {
    let client = TestClient(Api::new(world().registry).per_address(rate(1, 1)).router());
    assert_eq!(asks(&client, "192.0.2.1", &[]).await, StatusCode::OK);
    assert_eq!(asks(&client, "192.0.2.1", &["198.51.100.9"]).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(asks(&client, "192.0.2.2", &[]).await, StatusCode::OK);
    assert_eq!(asks(&client, "::ffff:192.0.2.2", &[]).await, StatusCode::TOO_MANY_REQUESTS);
    // One household has a /64.
    assert_eq!(asks(&client, "2001:db8::1", &[]).await, StatusCode::OK);
    assert_eq!(asks(&client, "2001:db8::2", &[]).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(asks(&client, "2001:db8:0:1::1", &[]).await, StatusCode::OK);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(asks(&client, "192.0.2.1", &[]).await, StatusCode::OK);
    // Probes are free.
    assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_trusted_proxy_tells_the_client_and_what_the_client_wrote_before_it_does_not_count() {
    let proxies = Proxies {
        header: http::HeaderName::from_static("x-forwarded-for"),
        trusted: vec![ipnet::IpNet::from_str("10.0.0.0/8").unwrap()],
    };
    let api = Api::new(world().registry).per_address(rate(1, 1)).proxies(proxies);
    let client = TestClient(api.router());
    assert_eq!(asks(&client, "10.0.0.1", &["192.0.2.1"]).await, StatusCode::OK);
    for same in [
        &["192.0.2.1"][..],
        &["198.51.100.1, 192.0.2.1"],
        &["198.51.100.2", "192.0.2.1:4711"],
        &["192.0.2.1, 10.9.9.9"],
    ] {
        assert_eq!(asks(&client, "10.0.0.1", same).await, StatusCode::TOO_MANY_REQUESTS, "{same:?}");
    }
    assert_eq!(asks(&client, "10.0.0.1", &["192.0.2.7"]).await, StatusCode::OK);
    // Garbage leaves the proxy itself, so that nobody gains a bucket by it.
    assert_eq!(asks(&client, "10.0.0.1", &["rubbish 1"]).await, StatusCode::OK);
    assert_eq!(asks(&client, "10.0.0.1", &["rubbish 2"]).await, StatusCode::TOO_MANY_REQUESTS);
}
