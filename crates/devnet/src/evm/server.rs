//! A chain behind HTTP and WebSocket.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
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

use super::{Chain, websocket};

/// Larger requests are refused.
const BODY: usize = 8 << 20;
/// More WebSocket connections are refused.
const SOCKETS: usize = 256;

#[derive(Clone)]
struct Serving {
    chain: Chain,
    sockets: Arc<Semaphore>,
    stopped: watch::Receiver<()>,
}

/// Serves a chain until the handle is dropped: JSON-RPC over HTTP, and over WebSocket at the same address. Any web page may ask: this is a development chain.
///
/// # Errors
/// The listener's address can't be read.
pub fn serve(chain: Chain, listener: TcpListener) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(());
    let serving = Serving { chain, sockets: Arc::new(Semaphore::new(SOCKETS)), stopped: stopped.clone() };
    let routes = Router::new()
        .route("/", post(answer).get(upgrade).options(preflight))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(serving);
    let server = axum::serve(listener, routes).with_graceful_shutdown(ended(stopped));
    let task = tokio::spawn(async { server.await });
    Ok(Server { address, stop: Some(stop), task })
}

/// A chain that is being served. Dropping it stops the server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<watch::Sender<()>>,
    task: JoinHandle<io::Result<()>>,
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

    /// Stops listening and waits for the requests that are being answered.
    ///
    /// # Errors
    /// The server had ended before, by an error.
    pub async fn shutdown(mut self) -> io::Result<()> {
        drop(self.stop.take());
        self.task.await.map_err(io::Error::other)?
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

async fn upgrade(
    State(serving): State<Serving>,
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
            () = websocket::converse(socket, serving.chain) => {}
            () = ended(serving.stopped) => {}
        }
        drop(place);
    })
}

async fn answer(State(serving): State<Serving>, body: Bytes) -> Response {
    // Contracts may run long: not on a thread that others wait for.
    let answer = spawn_blocking(move || serving.chain.answer_now(&body)).await;
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
