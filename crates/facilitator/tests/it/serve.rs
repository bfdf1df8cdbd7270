use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tollway_facilitator::serve::{Drained, Limits};
use tollway_facilitator::{Api, Server};

use crate::common::{v2, world};

pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Drained>,
}

pub(crate) async fn start(router: Router, limits: Limits) -> Running {
    let server = Server::bind(("127.0.0.1", 0)).await.unwrap().limits(limits);
    let addr = server.addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    Running { addr, stop, server: tokio::spawn(server.serve(router, shutdown)) }
}

pub(crate) fn post_text(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) async fn talk(addr: SocketAddr, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let _ = stream.write_all(text).await;
    read_all(&mut stream).await
}

pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ =
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.expect("no end");
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn quick() -> Limits {
    Limits {
        header_read: Duration::from_millis(200),
        body_pause: Duration::from_millis(200),
        drain: Duration::from_secs(5),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_payment_settles_over_a_real_socket() {
    let running = start(world().client().0, Limits::default()).await;
    let answer = talk(running.addr, post_text("/settle", &v2("").to_string()).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"success\":true"), "{answer}");
}

#[tokio::test]
async fn fa29_slowloris_heads_are_cut_off_and_free_their_slots() {
    let limits = Limits { connections: 4, ..quick() };
    let running = start(world().client().0, limits).await;
    let started = Instant::now();
    let mut slow = Vec::new();
    for text in ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: x\r\nx: "] {
        let mut stream = TcpStream::connect(running.addr).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // All slots are taken: this one is served as soon as one is cut off.
    let answer = talk(running.addr, b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for mut stream in slow {
        assert!(!read_all(&mut stream).await.contains("200 OK"));
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn fa29_an_idle_connection_is_closed() {
    let running = start(world().client().0, quick()).await;
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(read_all(&mut stream).await.contains("alive"));
}

#[tokio::test]
async fn fa29_a_body_that_stops_arriving_is_answered_and_closed() {
    let running = start(world().client().0, quick()).await;
    let answer =
        talk(running.addr, b"POST /settle HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("\"errorReason\":\"invalid_payload\""), "{answer}");
}

#[tokio::test]
async fn fa29_a_declared_10_gb_body_is_refused_unread() {
    let running = start(world().client().0, quick()).await;
    let answer =
        talk(running.addr, b"POST /verify HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000000\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn i15_malformed_heads_never_reach_5xx() {
    let running = start(world().client().0, quick()).await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    for text in [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST /settle HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST /settle HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "POST /settle HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        &long,
        &many,
    ] {
        let answer = talk(running.addr, text.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{text:.60}: {answer:.200}");
    }
    let answer = talk(running.addr, b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn fx_s1_shutdown_finishes_requests_in_flight_and_accepts_no_more() {
    let world = world();
    let running = start(Api::new(world.registry.clone()).router(), quick()).await;
    let text = post_text("/settle", &v2("gated").to_string());
    let addr = running.addr;
    let call = tokio::spawn(async move { talk(addr, text.as_bytes()).await });
    while world.fake.deadline.lock().is_none() {
        tokio::task::yield_now().await;
    }
    running.stop.send(()).unwrap();
    // The listener is closed before anything is drained.
    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    world.fake.gate.notify_one();
    let answer = call.await.unwrap();
    assert!(answer.contains("\"success\":true"), "{answer}");
    assert_eq!(running.server.await.unwrap(), Drained { cut: 0 });
    world.registry.drain(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn fx_s1_shutdown_is_bounded() {
    let world = world();
    let limits = Limits { drain: Duration::from_millis(100), ..quick() };
    let running = start(Api::new(world.registry.clone()).router(), limits).await;
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    stream.write_all(post_text("/settle", &v2("gated").to_string()).as_bytes()).await.unwrap();
    while world.fake.deadline.lock().is_none() {
        tokio::task::yield_now().await;
    }
    running.stop.send(()).unwrap();
    assert_eq!(running.server.await.unwrap(), Drained { cut: 1 });
    // What was cut is the connection, not the settlement.
    world.fake.gate.notify_one();
    world.registry.drain(Duration::from_secs(5)).await.unwrap();
    assert_eq!(world.fake.answered.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn any_router_is_served_and_knows_its_peer() {
    let router = Router::new()
        .route(
            "/peer",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }),
        )
        .route("/echo", post(|body: String| async move { json!({ "said": body }).to_string() }));
    let running = start(router, Limits::default()).await;
    let answer = talk(running.addr, b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
    assert!(talk(running.addr, post_text("/echo", "hi").as_bytes()).await.ends_with("{\"said\":\"hi\"}"));
}
