//! Between a facilitator and the node: counts round trips and calls, and passes bytes on as they are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::http;

/// One facilitator's way to the node.
#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
}

/// What went through.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// HTTP requests.
    pub trips: u64,
    /// JSON-RPC calls, by method; a batch is several calls in one trip.
    pub calls: BTreeMap<String, u64>,
}

impl Counts {
    pub fn since(&self, before: &Self) -> Self {
        let calls = self.calls.iter().filter_map(|(method, count)| {
            let more = count - before.calls.get(method).copied().unwrap_or(0);
            (more > 0).then(|| (method.clone(), more))
        });
        Self { trips: self.trips - before.trips, calls: calls.collect() }
    }
}

impl Proxy {
    pub async fn start(node: SocketAddr, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let this = Self { address: listener.local_addr()?, counts: Arc::default() };
        let counts = this.counts.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let counts = counts.clone();
                tokio::spawn(async move {
                    // A closed connection is the usual end; a real failure shows in the facilitator's answers.
                    let _ = relay(client, node, delay, &counts).await;
                });
            }
        });
        Ok(this)
    }

    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap().clone()
    }
}

/// A connection to the node for each connection from the facilitator. Requests are read as messages,
/// answers flow back unread.
async fn relay(client: TcpStream, node: SocketAddr, delay: Duration, counts: &Mutex<Counts>) -> Result<()> {
    let server = TcpStream::connect(node).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = Vec::with_capacity(8192);
    loop {
        while let Some(head) = http::request_head(&buffer)? {
            let whole = head.length + head.body;
            if buffer.len() < whole {
                break;
            }
            count(&buffer[head.length..whole], counts);
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            to_server.write_all(&buffer[..whole]).await?;
            buffer.drain(..whole);
        }
        if from_client.read_buf(&mut buffer).await? == 0 {
            drop(to_server);
            back.await??;
            return Ok(());
        }
    }
}

fn count(body: &[u8], counts: &Mutex<Counts>) {
    let mut counts = counts.lock().unwrap();
    counts.trips += 1;
    // The name is our own clients' spelling, so a scan for it will do.
    let mut rest = body;
    while let Some(at) = memchr::memmem::find(rest, b"\"method\":\"") {
        rest = &rest[at + 10..];
        let end = rest.iter().position(|b| *b == b'"').unwrap_or(rest.len());
        let method = std::str::from_utf8(&rest[..end]).unwrap_or("?");
        match counts.calls.get_mut(method) {
            Some(count) => *count += 1,
            None => drop(counts.calls.insert(method.to_owned(), 1)),
        }
    }
}
