//! A node's word on new blocks: a subscription over WebSocket that wakes the watcher.
//!
//! Nothing is believed of what it says but that the chain should be looked at: without it, or with one that lies, the
//! chain is polled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use alloy_primitives::B256;
use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tollway_protocol::Secret;
use url::Url;

use crate::facilitator::engine::Engine;
use crate::facilitator::lane::Lane;

/// The longest message that is read, in bytes: a head has one or two thousand.
const MAX_MESSAGE: usize = 64 * 1024;
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

/// Where heads are announced. The URL may hold credentials: it is in no text of ours, and the request is reqwest's,
/// whose own log names the host only.
#[derive(Clone)]
pub(super) struct Source {
    client: reqwest::Client,
    url: Url,
    patience: Duration,
}

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

type Socket = WebSocketStream<reqwest::Upgraded>;

/// A subscription that was confirmed.
struct Subscription {
    socket: Socket,
    id: String,
}

/// What a node sends: the answer to our request, or a notice.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Notice<'a> {
    subscription: String,
    #[serde(borrow)]
    result: &'a RawValue,
}

#[derive(Deserialize)]
struct Head {
    hash: B256,
}

impl Source {
    /// Heads from the node at `url`, which may take `patience` until it has confirmed; no I/O yet.
    ///
    /// # Errors
    /// What is wrong with the URL or the HTTP client, without the URL.
    pub(super) fn new(url: &Secret<String>, patience: Duration) -> Result<Self, &'static str> {
        let mut url = Url::parse(url.expose()).map_err(|_| "the WebSocket URL can't be read")?;
        let scheme = match url.scheme() {
            "ws" => "http",
            "wss" => "https",
            _ => return Err("the WebSocket URL must begin with ws:// or wss://"),
        };
        url.set_scheme(scheme).map_err(|()| "the WebSocket URL can't be read")?;
        let client = reqwest::Client::builder()
            .http1_only()
            .connect_timeout(patience)
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| "the HTTP client can't be made")?;
        Ok(Self { client, url, patience })
    }

    /// Connects and subscribes.
    async fn subscribe(&self) -> Result<Subscription, &'static str> {
        let subscribe = async {
            let mut socket = self.connect().await?;
            let request = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;
            socket.send(Message::text(request)).await.map_err(|_| FAILED)?;
            let id = confirmed(&mut socket).await?;
            Ok(Subscription { socket, id })
        };
        timeout(self.patience, subscribe).await.unwrap_or(Err("no answer came in time"))
    }

    /// RFC 6455, section 4.1.
    async fn connect(&self) -> Result<Socket, &'static str> {
        let key = generate_key();
        let accept = derive_accept_key(key.as_bytes());
        let request = self
            .client
            .get(self.url.clone())
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, key);
        let response = request.send().await.map_err(|_| "it can't be connected to")?;
        let headers = response.headers();
        let upgrades =
            headers.get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let is_accepted = headers.get(SEC_WEBSOCKET_ACCEPT).is_some_and(|given| given == accept.as_str());
        if response.status() != reqwest::StatusCode::SWITCHING_PROTOCOLS || !upgrades || !is_accepted {
            return Err("it doesn't speak WebSocket");
        }
        let stream = response.upgrade().await.map_err(|_| FAILED)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_MESSAGE)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await)
    }
}

const FAILED: &str = "the connection failed";
const UNREADABLE: &str = "a message can't be read";

/// The next message with a text. Pings are answered meanwhile.
async fn text(socket: &mut Socket) -> Result<String, &'static str> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) | None => return Err("the node closed the connection"),
            Some(Ok(_)) => return Err(UNREADABLE),
            Some(Err(_)) => return Err(FAILED),
        }
    }
}

/// The subscription's id, once the node has answered.
async fn confirmed(socket: &mut Socket) -> Result<String, &'static str> {
    loop {
        let text = text(socket).await?;
        let said: Said<'_> = serde_json::from_str(&text).map_err(|_| UNREADABLE)?;
        if said.method.is_some() {
            continue;
        }
        let result = said.result.filter(|_| said.id == Some(1)).ok_or("it refuses to subscribe")?;
        return serde_json::from_str(result.get()).map_err(|_| UNREADABLE);
    }
}

impl Subscription {
    /// The next head.
    async fn head(&mut self) -> Result<Head, &'static str> {
        loop {
            let text = text(&mut self.socket).await?;
            let said: Said<'_> = serde_json::from_str(&text).map_err(|_| UNREADABLE)?;
            let (Some("eth_subscription"), Some(params)) = (said.method.as_deref(), said.params) else {
                continue;
            };
            let notice: Notice<'_> = serde_json::from_str(params.get()).map_err(|_| UNREADABLE)?;
            if notice.subscription == self.id {
                return serde_json::from_str(notice.result.get()).map_err(|_| UNREADABLE);
            }
        }
    }
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
    let mut subscription = match source.subscribe().await {
        Ok(subscription) => subscription,
        Err(why) => return Some(Lost { why, after_heads: false }),
    };
    let _subscribed = Subscribed::new(engine, network);
    tracing::info!(network, "subscribed to new blocks");
    let mut after_heads = false;
    loop {
        let silence = engine.upgrade()?.silence();
        match timeout(silence, subscription.head()).await.unwrap_or(Err("no head came for long")) {
            Ok(head) => engine.upgrade()?.heard(&head),
            Err(why) => return Some(Lost { why, after_heads }),
        }
        after_heads = true;
    }
}
