//! Clients that want to hold the server up (threat FA29).

use std::fmt::Write as _;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tollway_facilitator::serve::Limits;

use crate::common::world;
use crate::serve::{post_text, quick, read_all, start, talk};

const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn fa29_ten_thousand_headers_are_a_4xx() {
    let running = start(world().client().0, quick()).await;
    let mut head = String::from("POST /settle HTTP/1.1\r\nhost: x\r\n");
    for n in 0..10_000 {
        write!(head, "h{n}: {n}\r\n").unwrap();
    }
    let answer = talk(running.addr, format!("{head}\r\n").as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer:.100}");
    let few: String = (0..101).map(|n| format!("h{n}: {n}\r\n")).collect();
    let answer = talk(running.addr, format!("GET /healthz HTTP/1.1\r\n{few}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer:.100}");
    assert!(talk(running.addr, HEALTHZ).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn fa29_a_chunked_body_without_end_is_cut_at_its_limit() {
    let running = start(world().client().0, quick()).await;
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    stream
        .write_all(b"POST /settle HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let chunk = format!("400\r\n{}\r\n", "a".repeat(0x400));
    let (mut reader, mut writer) = stream.split();
    let endless = async { while writer.write_all(chunk.as_bytes()).await.is_ok() {} };
    let mut answer = Vec::new();
    let (_, read) = tokio::join!(endless, reader.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413") || read.is_err(), "{answer}");
    assert!(answer.is_empty() || answer.contains("\"errorReason\":\"invalid_payload\""), "{answer}");
    assert!(talk(running.addr, HEALTHZ).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn fa29_json_that_is_nested_deeply_is_a_400_and_no_stack_overflow() {
    let running = start(world().client().0, quick()).await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [33, 10_000] {
            let body = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for path in ["/verify", "/settle"] {
                let answer = talk(running.addr, post_text(path, &body).as_bytes()).await;
                assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
                assert!(answer.contains("nested deeper than 32 levels"), "{answer}");
            }
        }
    }
}

#[tokio::test]
async fn fa29_a_body_that_dribbles_is_cut_off_though_it_never_pauses() {
    let api = tollway_facilitator::Api::new(world().registry).limits(tollway_facilitator::api::Limits {
        body_read: Duration::from_millis(300),
        ..Default::default()
    });
    let running = start(api.router(), Limits { body_pause: Duration::from_secs(60), ..quick() }).await;
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    stream.write_all(b"POST /settle HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n").await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let dribble = async {
        while writer.write_all(b" ").await.is_ok() {
            tick.tick().await;
        }
    };
    let mut first = [0; 12];
    let ((), read) = tokio::join!(dribble, reader.read_exact(&mut first));
    read.unwrap();
    assert_eq!(&first, b"HTTP/1.1 408");
}

#[tokio::test]
async fn fa29_a_reader_that_takes_nothing_frees_its_slot() {
    let large = Router::new()
        .route("/large", get(|| async { "x".repeat(64 << 20) }))
        .route("/healthz", get(|| async { "alive" }));
    let limits = Limits { connections: 1, write_pause: Duration::from_millis(200), ..quick() };
    let running = start(large, limits).await;
    let mut deaf = TcpStream::connect(running.addr).await.unwrap();
    deaf.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut one = [0];
    deaf.read_exact(&mut one).await.unwrap();
    // The only slot is the deaf one's: this is served once that was cut off.
    assert!(talk(running.addr, HEALTHZ).await.ends_with("alive"));
}

#[tokio::test]
async fn fa29_one_address_has_so_many_connections_and_gets_them_back() {
    let running = start(world().client().0, Limits { per_address: 2, ..quick() }).await;
    let idle =
        [TcpStream::connect(running.addr).await.unwrap(), TcpStream::connect(running.addr).await.unwrap()];
    assert_eq!(talk(running.addr, HEALTHZ).await, "", "the third is closed");
    drop(idle);
    // The server sees the end of the first two before it takes the next one off the queue, or soon after.
    let mut answer = String::new();
    while answer.is_empty() {
        answer = talk(running.addr, HEALTHZ).await;
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_what_follows_an_unread_body_is_not_a_request() {
    let running = start(world().client().0, quick()).await;
    let two = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = talk(running.addr, two).await;
    let (first, second) = (answer.find("200 OK").unwrap(), answer.find("404 Not Found").unwrap());
    assert!(first < second, "{answer}");
    let smuggled = b"POST /settle HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    stream.write_all(smuggled).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413") && !answer.contains("alive"), "{answer}");
}
