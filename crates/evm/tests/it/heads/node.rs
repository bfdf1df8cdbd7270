//! The WebSocket side of a node, as a test plays it.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// A node of which the test plays the WebSocket side.
pub(crate) struct Played {
    pub(crate) url: String,
    /// Nothing for a connection that was not made to the end.
    sockets: mpsc::UnboundedReceiver<Option<Socket>>,
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(crate) struct Socket(pub(crate) WebSocketStream<Box<dyn Stream>>);

impl Played {
    pub(crate) async fn new() -> Self {
        Self::with(None).await
    }

    /// By TLS, with a certificate for `localhost`.
    pub(crate) async fn behind(tls: TlsAcceptor) -> Self {
        Self::with(Some(tls)).await
    }

    async fn with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = match tls {
            Some(_) => format!("wss://localhost:{}", address.port()),
            None => format!("ws://{address}"),
        };
        let (give, sockets) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream: Option<Box<dyn Stream>> = match &tls {
                    Some(tls) => tls.accept(stream).await.ok().map(|stream| Box::new(stream) as _),
                    None => Some(Box::new(stream)),
                };
                let socket = match stream {
                    Some(stream) => tokio_tungstenite::accept_async(stream).await.ok().map(Socket),
                    None => None,
                };
                let _ = give.send(socket);
            }
        });
        Self { url, sockets }
    }

    /// A connection that the other side does not want.
    pub(crate) async fn refused(&mut self) {
        assert!(self.sockets.recv().await.unwrap().is_none());
    }

    pub(crate) fn is_alone(&mut self) -> bool {
        self.sockets.try_recv().is_err()
    }

    async fn connected(&mut self) -> Socket {
        self.sockets.recv().await.unwrap().unwrap()
    }

    /// The next connection, with its request for a subscription read.
    pub(crate) async fn asked(&mut self) -> Socket {
        let mut socket = self.connected().await;
        let asked: Value = serde_json::from_str(socket.next().await.unwrap().to_text().unwrap()).unwrap();
        assert_eq!((&asked["method"], &asked["params"]), (&json!("eth_subscribe"), &json!(["newHeads"])));
        socket
    }

    /// The next connection, with its subscription confirmed.
    pub(crate) async fn subscribed(&mut self) -> Socket {
        let mut socket = self.asked().await;
        socket.say(&json!({"jsonrpc": "2.0", "id": 1, "result": "0xcafe"})).await;
        socket
    }
}

impl Socket {
    /// Nothing once the other side has gone.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        self.0.next().await?.ok().filter(|message| !message.is_close())
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn announce(&mut self, subscription: &str, hash: u8) {
        let head = json!({"number": "0x1", "hash": format!("0x{}", hex::encode([hash; 32]))});
        let params = json!({"subscription": subscription, "result": head});
        self.say(&json!({"jsonrpc": "2.0", "method": "eth_subscription", "params": params})).await;
    }
}
