use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use axum::body::Body;
use axum::routing::any;
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tollway_protocol::header;
use tollway_seller::{Paid, PriceError, Terms};

use crate::common::*;

fn of(method: &str) -> Request<Body> {
    Request::builder().method(method).uri("/weather").body(Body::empty()).unwrap()
}

#[tokio::test]
async fn rs18_an_unpaid_request_gets_a_challenge_that_no_cache_keeps() {
    let ran = Arc::new(AtomicU64::new(0));
    let got = Shop::open().await.selling(counting(&ran)).get("/weather").await;
    assert_eq!(got.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(got.headers["cache-control"], "no-store");
    assert_eq!(got.headers["vary"], "PAYMENT-SIGNATURE, X-PAYMENT");
    let exposed = got.headers["access-control-expose-headers"].to_str().unwrap();
    assert_eq!(exposed, "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE");
    let challenge = got.challenge();
    assert_eq!(challenge.error.as_deref(), Some("Payment required"));
    assert_eq!(challenge.accepts[0].amount.to_string(), "10000");
    assert_eq!(challenge.accepts[0].pay_to, SELLER);
    assert_eq!(challenge.accepts[0].max_timeout_seconds, 300);
    // For programs, and for people as version 1 has it.
    assert_eq!(
        (&got.json()["code"], &got.json()["error"]),
        (&"payment_required".into(), &"Payment required".into())
    );
    assert!(got.json()["help"].is_string());
    assert_eq!(ran.load(SeqCst), 0);
}

#[tokio::test]
async fn rs16_x402rs_28_the_resource_url_is_the_sellers_own_whatever_the_request_says() {
    let client = Shop::open().await.selling(|| async { "sunny" });
    let request = Request::get("http://evil.example/weather?token=1")
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("forwarded", "host=evil.example;proto=http")
        .body(Body::empty())
        .unwrap();
    let got = client.send(request).await;
    assert_eq!(got.challenge().resource.url, "https://shop.example/weather");
    assert!(!got.text().contains("evil"));
}

#[tokio::test]
async fn rs12_head_is_answered_as_get_without_a_body_and_never_paid() {
    let shop = Shop::open().await;
    let ran = Arc::new(AtomicU64::new(0));
    let client = shop.selling(counting(&ran));
    let (as_get, as_head) = (client.send(of("GET")).await, client.send(of("HEAD")).await);
    assert_eq!(as_head.status, StatusCode::PAYMENT_REQUIRED);
    assert!(as_head.body.is_empty());
    assert_eq!(as_get.headers[header::PAYMENT_REQUIRED], as_head.headers[header::PAYMENT_REQUIRED]);
    let mut request = paid("/weather", &payment(&as_get.challenge().accepts[0], "0x01"));
    *request.method_mut() = Method::HEAD;
    assert_eq!(client.send(request).await.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!((ran.load(SeqCst), shop.settles()), (0, 0));
}

#[tokio::test]
async fn rs12_options_is_answered_by_the_gate_and_never_runs_what_is_sold() {
    let shop = Shop::open().await;
    let ran = Arc::new(AtomicU64::new(0));
    let client = shop.selling(counting(&ran));
    let mut preflight = of("OPTIONS");
    preflight.headers_mut().insert("origin", "https://elsewhere.example".parse_header());
    preflight.headers_mut().insert("access-control-request-method", "GET".parse_header());
    for request in [of("OPTIONS"), preflight] {
        let got = client.send(request).await;
        assert_eq!(got.status, StatusCode::NO_CONTENT);
        assert!(got.body.is_empty());
        let said = |name: &str| name == "allow" || name.starts_with("access-control-");
        assert!(!got.headers.keys().any(|name| said(name.as_str())), "{:?}", got.headers);
        assert_eq!(got.headers["cache-control"], "no-store");
    }
    assert_eq!(ran.load(SeqCst), 0);
}

#[tokio::test]
async fn rs12_options_passes_where_the_route_says_so_and_carries_no_content() {
    let shop = Shop::open().await;
    let handler =
        || async { ([("access-control-allow-origin", "*"), ("cache-control", "public")], "secret") };
    let got = shop.route(Paid::new("$0.01").pass_options(), any(handler)).send(of("OPTIONS")).await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(got.headers["access-control-allow-origin"], "*");
    assert_eq!(got.headers["cache-control"], "private");
    assert!(got.body.is_empty());
}

#[tokio::test]
async fn rs26_unpaid_conditional_and_range_requests_learn_nothing() {
    let ran = Arc::new(AtomicU64::new(0));
    let client = Shop::open().await.selling(counting(&ran));
    for (name, value) in
        [("if-none-match", "*"), ("if-modified-since", "x"), ("range", "bytes=0-1"), ("upgrade", "websocket")]
    {
        let mut request = of("GET");
        request.headers_mut().insert(name, value.parse_header());
        assert_eq!(client.send(request).await.status, StatusCode::PAYMENT_REQUIRED);
    }
    assert_eq!(ran.load(SeqCst), 0);
}

trait ParseHeader {
    fn parse_header(&self) -> http::HeaderValue;
}
impl ParseHeader for str {
    fn parse_header(&self) -> http::HeaderValue {
        http::HeaderValue::from_str(self).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn rs31_x402rs_30_a_facilitator_that_is_down_at_boot_means_503_until_it_answers() {
    let script = Script::default();
    script.down.store(true, SeqCst);
    let shop = Shop::unready(script, |builder| builder);
    let ran = Arc::new(AtomicU64::new(0));
    let client = shop.selling(counting(&ran));
    let got = client.get("/weather").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(got.headers.contains_key("retry-after"));
    assert_eq!(got.headers["cache-control"], "no-store");
    assert!(!got.headers.contains_key(header::PAYMENT_REQUIRED));
    assert_eq!(shop.seller.supported_age(), None);
    shop.script.down.store(false, SeqCst);
    client.get("/weather").await;
    shop.seller.ready().await;
    assert_eq!(client.get("/weather").await.status, StatusCode::PAYMENT_REQUIRED);
    // Down again, it goes on with what it knows.
    shop.script.down.store(true, SeqCst);
    tokio::time::advance(std::time::Duration::from_secs(3600)).await;
    assert_eq!(client.get("/weather").await.status, StatusCode::PAYMENT_REQUIRED);
    assert!(shop.seller.supported_age().unwrap().as_secs() >= 3600);
    assert_eq!(ran.load(SeqCst), 0);
}

#[tokio::test]
async fn rs31_a_facilitator_that_serves_none_of_the_offers_means_503_and_no_empty_challenge() {
    let shop = Shop::open().await;
    let paid = Paid::offers([Terms::new("base", SELLER, "$0.01")]);
    let got = shop.route(paid, any(|| async { "sunny" })).get("/weather").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!got.headers.contains_key(header::PAYMENT_REQUIRED));
}

#[tokio::test]
async fn x402rs_32_a_price_function_that_fails_or_says_nothing_serves_nothing() {
    let shop = Shop::open().await;
    let ran = Arc::new(AtomicU64::new(0));
    let broken: [Paid; 4] = [
        Paid::priced(|_| Box::pin(async { Err(PriceError::new(LEAK)) })),
        Paid::priced(|_| Box::pin(async { Ok(Vec::new()) })),
        Paid::priced(|_| Box::pin(async { Ok(vec![Terms::new("base-sepolia", SELLER, "$0")]) })),
        Paid::priced(|_| Box::pin(async { Ok(vec![Terms::new("base-sepolia", SELLER, "1,50")]) })),
    ];
    for paid in broken {
        let got = shop.route(paid, any(counting(&ran))).get("/weather").await;
        assert_eq!(got.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(got.json()["code"], "price_unavailable");
        assert!(!got.text().contains("SECRETKEY"));
    }
    assert_eq!(ran.load(SeqCst), 0);
}

#[tokio::test]
async fn x402rs_32_a_price_function_sees_method_uri_headers_and_extensions() {
    let paid = Paid::priced(|request| {
        let dear = request.method == Method::POST
            || request.uri.query() == Some("big")
            || request.headers.contains_key("x-big")
            || request.extensions.get::<axum::extract::MatchedPath>().is_none();
        let price = if dear { "$0.05" } else { "$0.01" };
        Box::pin(async move { Ok(vec![Terms::new("base-sepolia", SELLER, price)]) })
    });
    let client = Shop::open().await.route(paid, any(|| async { "sunny" }));
    let price = |got: Got| got.challenge().accepts[0].amount.to_string();
    assert_eq!(price(client.send(of("POST")).await), "50000");
    assert_eq!(price(client.get("/weather?big").await), "50000");
    assert_eq!(price(client.get("/weather").await), "10000");
}

#[tokio::test]
async fn i15_paths_that_would_not_fit_into_the_challenge_get_414() {
    let shop = Shop::open().await;
    let layer = shop.seller.gate(Paid::new("$0.01")).unwrap();
    let router = axum::Router::new().route("/{*rest}", any(|| async { "sunny" }).layer(layer));
    let got = Client(router).get(&format!("/{}", "a".repeat(3000))).await;
    assert_eq!(got.status, StatusCode::URI_TOO_LONG);
    // So does a shorter one where the route says much of itself.
    let layer = shop.seller.gate(Paid::new("$0.01").description("d".repeat(11_000))).unwrap();
    let router = axum::Router::new().route("/{*rest}", any(|| async { "sunny" }).layer(layer));
    let got = Client(router.clone()).get(&format!("/{}", "a".repeat(2_000))).await;
    assert_eq!((got.status, &got.json()["code"]), (StatusCode::URI_TOO_LONG, &"path_too_long".into()));
    assert_eq!(Client(router).get("/short").await.status, StatusCode::PAYMENT_REQUIRED);
}

#[tokio::test]
async fn rs13_no_spelling_of_a_path_reaches_a_paid_handler_unpaid() {
    let shop = Shop::open().await;
    let ran = Arc::new(AtomicU64::new(0));
    let gate = || shop.seller.gate(Paid::new("$0.01")).unwrap();
    let router = axum::Router::new()
        .route("/paid/weather", axum::routing::get(counting(&ran)).route_layer(gate()))
        .route("/paid/by/{city}", any(counting(&ran)).layer(gate()))
        .route("/free", any(|| async { "free" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut seen = std::collections::BTreeSet::new();
    for path in [
        "/paid/weather",
        "/paid/weather/",
        "/paid//weather",
        "//paid/weather",
        "/paid%2Fweather",
        "/paid%2fweather",
        "/paid%5Cweather",
        "/paid%252Fweather",
        "/paid\\weather",
        "\\paid\\weather",
        "/paid/./weather",
        "/paid/../paid/weather",
        "/free/../paid/weather",
        "/free/%2e%2e/paid/weather",
        "/%2e%2e/paid/weather",
        "/paid/%2e/weather",
        "/paid/weather%",
        "/paid/weather%2",
        "/paid/weather%zz",
        "/paid/%77eather",
        "/paid/weather;a=b",
        "/paid;a=b/weather",
        "/paid/weather%3Ba",
        "/PAID/WEATHER",
        "/paid/Weather",
        "/paid/weather%00",
        "/paid/weather%20",
        "/paid/weather#free",
        "/paid/weather?x=/free",
        "/paid/by/gh%2Fent",
        "/paid/by/gh%252Fent",
        "/paid/by/%2e%2e",
        "/paid/by/..",
        "/paid/by/gh%zz",
        "/paid/by/gh;ent",
        "/paid/by/",
        "http://elsewhere.example/paid/weather",
        "paid/weather",
        "*",
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS", "get", "BREW"] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // A request that is no HTTP may be cut off.
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            assert_eq!(ran.load(SeqCst), 0, "{method} {path}");
            assert!(!answer.contains("sunny"), "{method} {path}: {answer}");
            let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
            assert!(!status.starts_with('2') || method == "OPTIONS", "{method} {path}: {answer}");
            seen.insert(status);
        }
    }
    assert!(seen.contains("402") && seen.contains("404"), "{seen:?}");
    assert_eq!(shop.settles(), 0);
}
