//! When each block came, seen from here.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::http::{self, Connection};

/// How often the height is asked for: how precisely a block's coming is known.
const LOOK: Duration = Duration::from_millis(10);

/// Watches the chain's height for as long as it lives.
pub struct Blocks {
    height: watch::Receiver<u64>,
    seen: Arc<Mutex<Vec<(u64, Instant)>>>,
    task: JoinHandle<()>,
}

impl Blocks {
    pub async fn watch(node: SocketAddr) -> Result<Self> {
        let mut connection = Connection::open(node).await?;
        let question =
            http::request("/", br#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}"#);
        let first = height(&mut connection, &question).await?;
        let (sender, receiver) = watch::channel(first);
        let seen = Arc::new(Mutex::new(vec![(first, Instant::now())]));
        let list = seen.clone();
        let task = tokio::spawn(async move {
            // An error ends the watch; who waits for the next block is told so.
            while let Ok(now) = height(&mut connection, &question).await {
                if now > *sender.borrow() {
                    list.lock().unwrap().push((now, Instant::now()));
                    sender.send_replace(now);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Ok(Self { height: receiver, seen, task })
    }

    /// What tells the height, for a task of its own.
    pub fn receiver(&self) -> watch::Receiver<u64> {
        self.height.clone()
    }

    /// The next block's coming.
    pub async fn next(&self) -> Result<u64> {
        let mut height = self.height.clone();
        height.mark_unchanged();
        height.changed().await.context("the chain is gone")?;
        Ok(*height.borrow())
    }

    /// The moment this long after a block, the first that is not over.
    pub async fn after_block(&self, pause: Duration) -> Result<()> {
        loop {
            let last = self.seen.lock().unwrap().last().map(|(_, came)| *came + pause);
            if let Some(moment) = last
                && moment > Instant::now()
            {
                tokio::time::sleep_until(moment.into()).await;
                return Ok(());
            }
            self.next().await?;
        }
    }

    /// Between the comings of two blocks.
    pub fn between(&self, from: u64, to: u64) -> Duration {
        let seen = self.seen.lock().unwrap();
        let came = |block| seen.iter().find(|(height, _)| *height >= block).map(|(_, at)| *at);
        came(from).zip(came(to)).map_or(Duration::ZERO, |(from, to)| to.saturating_duration_since(from))
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn height(connection: &mut Connection, question: &[u8]) -> Result<u64> {
    let (_, answer) = connection.exchange(question).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let hex = answer["result"].as_str().and_then(|text| text.strip_prefix("0x")).context("no height")?;
    Ok(u64::from_str_radix(hex, 16)?)
}
