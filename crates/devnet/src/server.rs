//! A chain behind HTTP and WebSocket.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, State,
        ws::{WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::{JoinHandle, spawn_blocking},
};

/// Larger requests are refused.
const BODY: usize = 8 << 20;
/// More WebSocket connections are refused.
const SOCKETS: usize = 256;

/// A chain that can be asked by JSON-RPC.
pub(crate) trait Node: Clone + Send + Sync + 'static {
    /// The answer to a body of JSON-RPC; empty if nothing asked for one.
    fn answer_now(&self, body: &[u8]) -> String;

    /// Talks with one client until it goes.
    fn converse(self, socket: WebSocket) -> impl Future<Output = ()> + Send;
}

#[derive(Clone)]
struct Serving<N> {
    node: N,
    sockets: Arc<Semaphore>,
    stopped: watch::Receiver<()>,
}

/// Serves a node at each of the listeners, HTTP and WebSocket alike. Any web page may ask.
pub(crate) fn serve<N: Node>(
    node: N,
    listener: TcpListener,
    second: Option<TcpListener>,
) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let second_address = second.as_ref().map(TcpListener::local_addr).transpose()?;
    let (stop, stopped) = watch::channel(());
    let serving = Serving { node, sockets: Arc::new(Semaphore::new(SOCKETS)), stopped: stopped.clone() };
    let routes = Router::new()
        .route("/", post(answer::<N>).get(upgrade::<N>).options(preflight))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(serving);
    let start = |listener| {
        let server = axum::serve(listener, routes.clone()).with_graceful_shutdown(ended(stopped.clone()));
        tokio::spawn(async { server.await })
    };
    let tasks = [Some(listener), second].into_iter().flatten().map(start).collect();
    Ok(Server { address, second: second_address, stop: Some(stop), tasks })
}

/// A chain that is being served. Dropping it stops the server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    second: Option<SocketAddr>,
    stop: Option<watch::Sender<()>>,
    tasks: Vec<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients are given.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What clients are given for subscriptions: the address after the first where that one is served too, as on
    /// Solana, else the same.
    #[must_use]
    pub fn websocket_url(&self) -> String {
        format!("ws://{}", self.second.unwrap_or(self.address))
    }

    /// Stops listening and waits for the requests that are being answered.
    ///
    /// # Errors
    /// The server had ended before, by an error.
    pub async fn shutdown(mut self) -> io::Result<()> {
        drop(self.stop.take());
        for task in self.tasks {
            task.await.map_err(io::Error::other)??;
        }
        Ok(())
    }
}

async fn preflight() -> Response {
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS")),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*")),
    ];
    (StatusCode::NO_CONTENT, allow_any_page(), allowed).into_response()
}

/// When the handle is dropped.
async fn ended(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

async fn upgrade<N: Node>(
    State(serving): State<Serving<N>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade.max_message_size(BODY).max_frame_size(BODY),
        Err(rejection) => return rejection.into_response(),
    };
    let Ok(place) = serving.sockets.try_acquire_owned() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    upgrade.on_upgrade(async move |socket| {
        tokio::select! {
            () = serving.node.converse(socket) => {}
            () = ended(serving.stopped) => {}
        }
        drop(place);
    })
}

async fn answer<N: Node>(State(serving): State<Serving<N>>, body: Bytes) -> Response {
    // Contracts may run long: not on a thread that others wait for.
    let answer = spawn_blocking(move || serving.node.answer_now(&body)).await;
    match answer {
        Ok(text) => {
            let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            (allow_any_page(), kind, text).into_response()
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, allow_any_page()).into_response(),
    }
}

fn allow_any_page() -> HeaderMap {
    HeaderMap::from_iter([(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))])
}
