//! A node's word on new blocks: a subscription over WebSocket that wakes the watcher.
//!
//! Nothing is believed of what it says but that the chain should be looked at: without it, or with one that lies, the
//! chain is polled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use alloy_primitives::B256;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tollway_rpc::{Source, Unanswered};

use crate::facilitator::engine::Engine;
use crate::facilitator::lane::Lane;

/// After how long it is tried again, at first and at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Without a head for this long, and for this many blocks, the connection is given up.
const SILENCE: Duration = Duration::from_secs(30);
const SILENT_BLOCKS: u32 = 10;
/// How much longer the watcher rests while heads are announced, and how long at most.
const RESTS: u32 = 8;
const LONGEST_REST: Duration = Duration::from_secs(4);
/// For so many looks a transaction is new: the pauses between them double, up to the poll interval.
const NEW_FOR: u32 = 5;

/// What is heard of heads.
#[derive(Default)]
pub(super) struct Heads {
    /// The one who listens; it ends when this is dropped.
    listener: Mutex<JoinSet<()>>,
    is_subscribed: AtomicBool,
    /// The last block that was announced by the subscription.
    last: Mutex<Option<B256>>,
}

/// Why nothing is announced any more.
struct Lost {
    why: &'static str,
    /// Whether it had worked.
    after_heads: bool,
}

#[derive(Deserialize)]
struct Head {
    hash: B256,
}

impl Engine {
    /// Has new blocks announced from now on, if the network is configured so.
    pub(super) fn listen(self: &Arc<Self>) {
        let Some(source) = &self.chain.heads else { return };
        let mut listener = self.watch.heads.listener.lock();
        if listener.is_empty() {
            let network = self.chain.config.network.to_string();
            listener.spawn(keep_listening(Arc::downgrade(self), source.clone(), network));
        }
    }

    /// How long the watcher rests after a look, while something is on its way. Shorter if the node that was asked
    /// could not answer, or doesn't have the block yet that was announced; shorter, too, while a transaction is new
    /// and nothing is announced: a chain may mine it at once.
    pub(super) fn rest(&self, looked: bool) -> Duration {
        let (poll, heads) = (self.chain.config.poll, &self.watch.heads);
        if !looked {
            return poll;
        }
        if !heads.is_subscribed.load(Ordering::SeqCst) {
            let age = self.newest_looks().map_or(NEW_FOR, |looks| looks.min(NEW_FOR));
            return poll / 2_u32.saturating_pow(NEW_FOR.saturating_sub(age));
        }
        let announced = *heads.last.lock();
        let is_behind = announced.is_some() && announced != self.watch.state.lock().head;
        if is_behind { poll } else { poll.max(poll.saturating_mul(RESTS).min(LONGEST_REST)) }
    }

    /// How often the chain was looked at since the newest transaction left.
    fn newest_looks(&self) -> Option<u32> {
        let least = |lane: &Arc<Lane>| lane.state.lock().sent.values().map(|sent| sent.looks).min();
        self.lanes.iter().filter_map(least).min()
    }

    /// A head was announced.
    fn heard(&self, head: &Head) {
        let before = self.watch.heads.last.lock().replace(head.hash);
        if before != Some(head.hash) {
            self.wake();
        }
    }

    /// Has the chain looked at if something is on its way; the rest is not worth a look at each block.
    fn wake(&self) {
        if self.is_anything_sent() {
            self.watch.wakes.notify_one();
        }
    }

    fn silence(&self) -> Duration {
        SILENCE.max(self.chain.block_interval().saturating_mul(SILENT_BLOCKS))
    }
}

/// As long as it lives, heads are announced.
struct Subscribed<'a> {
    engine: &'a Weak<Engine>,
    network: &'a str,
}

impl<'a> Subscribed<'a> {
    /// What was mined before is looked for at once.
    fn new(engine: &'a Weak<Engine>, network: &'a str) -> Self {
        let this = Self { engine, network };
        this.set(true);
        this
    }

    fn set(&self, is_subscribed: bool) {
        gauge(self.network, is_subscribed);
        if let Some(engine) = self.engine.upgrade() {
            *engine.watch.heads.last.lock() = None;
            engine.watch.heads.is_subscribed.store(is_subscribed, Ordering::SeqCst);
            engine.wake();
        }
    }
}

impl Drop for Subscribed<'_> {
    fn drop(&mut self) {
        self.set(false);
    }
}

fn gauge(network: &str, is_subscribed: bool) {
    metrics::gauge!("tollway_evm_subscribed", "network" => network.to_owned()).set(f64::from(is_subscribed));
}

/// Subscribes again and again, as long as there is an engine.
async fn keep_listening(engine: Weak<Engine>, source: Source, network: String) {
    gauge(&network, false);
    let (mut wait, mut is_known) = (FIRST_WAIT, false);
    loop {
        let Some(Lost { why, after_heads }) = listened(&engine, &source, &network).await else { return };
        if after_heads {
            (wait, is_known) = (FIRST_WAIT, false);
        }
        if is_known {
            tracing::debug!(network, why, "no subscription to new blocks");
        } else {
            tracing::warn!(network, why, "no subscription to new blocks: polling");
        }
        is_known = true;
        sleep(wait).await;
        wait = wait.saturating_mul(2).min(LONGEST_WAIT);
    }
}

/// Listens until that is lost; nothing once the engine has gone.
async fn listened(engine: &Weak<Engine>, source: &Source, network: &str) -> Option<Lost> {
    let subscribed = source.subscribe("eth_subscribe", ["newHeads"], "eth_subscription").await;
    let mut subscription = match subscribed {
        Ok(subscription) => subscription,
        Err(Unanswered(why)) => return Some(Lost { why, after_heads: false }),
    };
    let _subscribed = Subscribed::new(engine, network);
    tracing::info!(network, "subscribed to new blocks");
    let mut after_heads = false;
    loop {
        let silence = engine.upgrade()?.silence();
        let head = timeout(silence, subscription.next::<Head>()).await;
        match head.unwrap_or(Err(Unanswered("no head came for long"))) {
            Ok(head) => engine.upgrade()?.heard(&head),
            Err(Unanswered(why)) => return Some(Lost { why, after_heads }),
        }
        after_heads = true;
    }
}
