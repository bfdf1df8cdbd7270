//! What a node announces by itself: a subscription over WebSocket, as Ethereum's and Solana's nodes have them.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tollway_protocol::Secret;
use url::Url;

use crate::answer::Question;
use crate::transport::Unanswered;

/// The longest message that is read, in bytes: a block's head has one or two thousand.
const MAX_MESSAGE: usize = 64 * 1024;

pub(crate) const FAILED: Unanswered = Unanswered("the connection failed");
pub(crate) const UNREADABLE: Unanswered = Unanswered("a message can't be read");

/// Where a node announces. The URL may hold credentials: it is in no text of ours, and the request is reqwest's,
/// whose own log names the host only.
#[derive(Clone)]
pub struct Source {
    client: reqwest::Client,
    url: Url,
    patience: Duration,
}

pub(crate) type Socket = WebSocketStream<reqwest::Upgraded>;

/// A subscription that was confirmed, on a connection of its own, which ends when this is dropped.
pub struct Subscription {
    socket: Socket,
    id: Id,
    /// The method of its notices.
    notices: &'static str,
}

/// What a node calls a subscription: a text on Ethereum, a number on Solana.
#[derive(PartialEq, Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

/// What a node sends: the answer to our request, or a notice.
#[derive(Deserialize)]
pub(crate) struct Said<'a> {
    #[serde(default)]
    pub(crate) id: Option<u64>,
    #[serde(default)]
    pub(crate) method: Option<String>,
    #[serde(borrow, default)]
    pub(crate) params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Notice<'a> {
    subscription: Id,
    #[serde(borrow)]
    result: &'a RawValue,
}

impl Source {
    /// The node at `url` (`ws://` or `wss://`), which may take `patience` until it has confirmed; no I/O yet.
    ///
    /// # Errors
    /// What is wrong with the URL or the HTTP client, without the URL.
    pub fn new(url: &Secret<String>, patience: Duration) -> Result<Self, &'static str> {
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

    /// Connects, and calls `method` (as `eth_subscribe`) with `params`; what is subscribed to comes as calls of
    /// `notices` (as `eth_subscription`).
    ///
    /// # Errors
    /// Why there is no subscription.
    pub async fn subscribe<P: Serialize>(
        &self,
        method: &'static str,
        params: P,
        notices: &'static str,
    ) -> Result<Subscription, Unanswered> {
        let request = serde_json::to_string(&Question::new(1, method, params));
        let request = request.map_err(|_| Unanswered("the call can't be written"))?;
        let subscribe = async {
            let mut socket = self.connect().await?;
            socket.send(Message::text(request)).await.map_err(|_| FAILED)?;
            let id = confirmed(&mut socket).await?;
            Ok(Subscription { socket, id, notices })
        };
        timeout(self.patience, subscribe).await.unwrap_or(Err(Unanswered("no answer came in time")))
    }

    /// How long the node may take.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// RFC 6455, section 4.1.
    pub(crate) async fn connect(&self) -> Result<Socket, Unanswered> {
        let key = generate_key();
        let accept = derive_accept_key(key.as_bytes());
        let request = self
            .client
            .get(self.url.clone())
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, key);
        let response = request.send().await.map_err(|_| Unanswered("it can't be connected to"))?;
        let headers = response.headers();
        let upgrades =
            headers.get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let is_accepted = headers.get(SEC_WEBSOCKET_ACCEPT).is_some_and(|given| given == accept.as_str());
        if response.status() != reqwest::StatusCode::SWITCHING_PROTOCOLS || !upgrades || !is_accepted {
            return Err(Unanswered("it doesn't speak WebSocket"));
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

impl Subscription {
    /// What comes next. Calls of other methods, and other subscriptions' notices, are passed over; pings are answered
    /// meanwhile. There is no deadline: a silent node is the caller's to give up.
    ///
    /// # Errors
    /// Why nothing comes any more; what is no `R` is an error, too.
    pub async fn next<R: DeserializeOwned>(&mut self) -> Result<R, Unanswered> {
        loop {
            let text = text(&mut self.socket).await?;
            let said: Said<'_> = serde_json::from_str(&text).map_err(|_| UNREADABLE)?;
            let Some(params) = said.params.filter(|_| said.method.as_deref() == Some(self.notices)) else {
                continue;
            };
            let notice: Notice<'_> = serde_json::from_str(params.get()).map_err(|_| UNREADABLE)?;
            if notice.subscription == self.id {
                return serde_json::from_str(notice.result.get()).map_err(|_| UNREADABLE);
            }
        }
    }
}

/// The next message with a text. Pings are answered meanwhile.
pub(crate) async fn text(socket: &mut Socket) -> Result<String, Unanswered> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) | None => return Err(Unanswered("the node closed the connection")),
            Some(Ok(_)) => return Err(UNREADABLE),
            Some(Err(_)) => return Err(FAILED),
        }
    }
}

/// The subscription's id, once the node has answered.
async fn confirmed(socket: &mut Socket) -> Result<Id, Unanswered> {
    loop {
        let text = text(socket).await?;
        let said: Said<'_> = serde_json::from_str(&text).map_err(|_| UNREADABLE)?;
        if said.method.is_some() {
            continue;
        }
        let result = said.result.filter(|_| said.id == Some(1));
        let result = result.ok_or(Unanswered("it refuses to subscribe"))?;
        return serde_json::from_str(result.get()).map_err(|_| UNREADABLE);
    }
}
