//! A chain behind HTTP.

use std::{io, net::SocketAddr};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
};

use super::{Chain, RpcError};

/// Larger requests are refused.
const BODY: usize = 8 << 20;
/// More requests in a batch are refused.
const BATCH: usize = 1_000;

/// Serves a chain until the handle is dropped. Any web page may ask: this is a development chain.
///
/// # Errors
/// The listener's address can't be read.
pub fn serve(chain: Chain, listener: TcpListener) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = Router::new()
        .route("/", post(answer).options(preflight))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(chain);
    let server = axum::serve(listener, routes).with_graceful_shutdown(async {
        // Both a word and a dropped handle end it.
        let _ = stopped.await;
    });
    let task = tokio::spawn(async { server.await });
    Ok(Server { address, stop: Some(stop), task })
}

/// A chain that is being served. Dropping it stops the server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
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

async fn answer(State(chain): State<Chain>, body: Bytes) -> Response {
    // Contracts may run long: not on a thread that others wait for.
    let answer = spawn_blocking(move || answer_text(&chain, &body)).await;
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

/// Empty if the body held notifications only.
fn answer_text(chain: &Chain, body: &[u8]) -> String {
    let answer = match serde_json::from_slice(body) {
        Err(_) => Some(failure(&Value::Null, &RpcError::new(-32700, "parse error"))),
        Ok(Value::Array(batch)) if batch.is_empty() => Some(invalid("empty batch")),
        Ok(Value::Array(batch)) if batch.len() > BATCH => Some(invalid("batch too large")),
        Ok(Value::Array(batch)) => {
            let answers: Vec<Value> = batch.iter().filter_map(|request| answer_one(chain, request)).collect();
            (!answers.is_empty()).then_some(Value::Array(answers))
        }
        Ok(request) => answer_one(chain, &request),
    };
    answer.map(|answer| answer.to_string()).unwrap_or_default()
}

/// Nothing for a notification: a request without id.
fn answer_one(chain: &Chain, request: &Value) -> Option<Value> {
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        return Some(invalid("invalid request"));
    };
    let none = Value::Array(Vec::new());
    let params = match request.get("params") {
        None | Some(Value::Null) => &none,
        Some(params) => params,
    };
    let result = match params {
        Value::Array(_) => chain.request(method, params),
        _ => Err(RpcError::params("non-array args")),
    };
    let id = request.get("id")?;
    Some(match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(error) => failure(id, &error),
    })
}

fn invalid(message: &str) -> Value {
    failure(&Value::Null, &RpcError::new(-32600, message))
}

fn failure(id: &Value, error: &RpcError) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}
