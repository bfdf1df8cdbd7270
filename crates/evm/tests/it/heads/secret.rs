//! The URL at which blocks are announced may hold credentials.

use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpListener;
use tollway_evm::facilitator::{Chain, ChainConfig};
use tollway_protocol::Secret;

use super::node::Played;
use super::{Gauge, HOUR, Quiet, until};
use crate::common::network;

/// Everything that is logged by `log` and `tracing`.
#[derive(Clone, Default)]
struct Log(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        self.0.lock().extend_from_slice(line.as_bytes());
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn the_websocket_url_is_in_no_log_and_no_error() {
    let (log, gauge) = (Log::default(), Gauge::new());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let _guard = tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish());
    log::set_boxed_logger(Box::new(log.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let (quiet, mut node) = (Quiet::new().await, Played::new().await);
    let host = node.url.strip_prefix("ws://").unwrap();
    let f = quiet.facilitator(HOUR, &format!("ws://user:SECRET1@{host}/SECRET2?key=SECRET3")).await;
    let mut socket = node.subscribed().await;
    gauge.until(1).await;
    socket.say(&json!("hello")).await;
    gauge.until(0).await;
    // The next time it is refused, and then nobody is there.
    let mut socket = node.asked().await;
    socket.say(&json!("hello")).await;
    assert!(socket.next().await.is_none());
    drop(f);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let f = quiet.facilitator(HOUR, &format!("ws://user:SECRET1@{nobody}/SECRET2")).await;
    let text = || String::from_utf8(log.0.lock().clone()).unwrap();
    until("a failure", || text().contains("it can't be connected to")).await;
    drop(f);
    let text = text();
    for expected in
        ["subscribed to new blocks", "polling", "a message can't be read", "tungstenite", "reqwest"]
    {
        assert!(text.contains(expected), "{expected}");
    }
    let mut told = vec![text];
    for url in ["http://SECRET1", "SECRET1", "ws://SECRET1:SECRET2", "wss://user:SECRET1@/SECRET2"] {
        let mut config = ChainConfig::new(network(), Secret::new(quiet.stack.rpc.clone()));
        config.ws = Some(Secret::new(url.to_owned()));
        let Err(error) = Chain::new(config) else { panic!("{url}") };
        told.push(format!("{error} {error:?}"));
    }
    for text in told {
        assert!(!text.to_uppercase().contains("SECRET"), "{text}");
    }
}
