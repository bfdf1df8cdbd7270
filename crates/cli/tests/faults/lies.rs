//! A JSON-RPC server that a test makes lie, fail, lose its answers or hang.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing::post};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::patience::WITHIN;
use crate::world::lock;

/// What happens to a call.
pub(crate) enum Act {
    /// The chain answers.
    Pass,
    /// This is the answer; the chain hears nothing.
    Answer(Value),
    /// An error is the answer; the chain hears nothing.
    Error(&'static str),
    /// The chain does it, and an error is the answer.
    Refused(&'static str),
    /// The chain does it, and the connection breaks.
    Lost,
    /// The answer to all that was asked together is a page for people, with status 200.
    Page,
    /// Nobody ever answers; the chain hears nothing.
    Hang,
    /// The chain answers so much later.
    Late(Duration),
    /// The chain's answer, changed.
    Changed(Box<dyn FnOnce(Value) -> Value + Send>),
}

/// A call.
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    pub(crate) params: &'a Value,
}

type Rule = Box<dyn FnMut(&Call<'_>) -> Act + Send>;

/// What answers when nothing is wrong.
pub(crate) trait Behind: Send + Sync + 'static {
    /// The result, or the error.
    fn ask(&self, method: &str, params: &Value) -> Result<Value, Value>;

    /// Sees each call before anything is done about it.
    fn sees(&self, call: &Call<'_>) -> impl Future<Output = ()> + Send;
}

/// The server: what it is in front of, and the rule of the moment.
pub(crate) struct Lying<B> {
    pub(crate) behind: B,
    rule: Mutex<Rule>,
    counts: watch::Sender<BTreeMap<String, u64>>,
}

impl<B: Behind> Lying<B> {
    /// Serves; every call passes at first.
    pub(crate) async fn serve(behind: B) -> (Arc<Self>, SocketAddr) {
        let rule: Rule = Box::new(|_| Act::Pass);
        let this = Arc::new(Self { behind, rule: Mutex::new(rule), counts: watch::Sender::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(answer::<B>)).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (this, address)
    }

    /// From now on calls go by `rule`.
    pub(crate) fn rule(&self, rule: impl FnMut(&Call<'_>) -> Act + Send + 'static) {
        *lock(&self.rule) = Box::new(rule);
    }

    /// How many calls of the method there have been.
    pub(crate) fn count(&self, method: &str) -> u64 {
        self.counts.borrow().get(method).copied().unwrap_or(0)
    }

    /// Waits until there have been so many calls of the method.
    pub(crate) async fn until(&self, method: &str, count: u64) {
        let mut counts = self.counts.subscribe();
        let enough = counts.wait_for(|counts| counts.get(method).is_some_and(|n| *n >= count));
        let waited = tokio::time::timeout(WITHIN, enough).await.is_ok();
        assert!(waited, "{count} calls of {method} don't come: {:?}", self.counts.borrow());
    }

    fn counted(&self, method: &str) {
        self.counts.send_modify(|counts| *counts.entry(method.to_owned()).or_default() += 1);
    }

    async fn answer_one(&self, call: &Value) -> Result<Value, NoAnswer> {
        let (method, params) = (call["method"].as_str().unwrap(), &call["params"]);
        self.behind.sees(&Call { method, params }).await;
        let act = (lock(&self.rule))(&Call { method, params });
        let ask = || self.behind.ask(method, params);
        let error = |message: &str| Err(json!({"code": -32000, "message": message}));
        let answer = match act {
            Act::Pass => Ok(ask()),
            Act::Answer(result) => Ok(Ok(result)),
            Act::Error(message) => Ok(error(message)),
            Act::Refused(message) => {
                let _ = ask();
                Ok(error(message))
            }
            Act::Lost => {
                let _ = ask();
                Err(NoAnswer::Broken)
            }
            Act::Hang => {
                self.counted(method);
                std::future::pending().await
            }
            Act::Late(delay) => {
                // The fault itself: a slow node.
                tokio::time::sleep(delay).await;
                Ok(ask())
            }
            Act::Changed(change) => Ok(ask().map(change)),
            Act::Page => Err(NoAnswer::Page),
        };
        self.counted(method);
        answer.map(|answer| match answer {
            Ok(result) => json!({"jsonrpc": "2.0", "id": call["id"], "result": result}),
            Err(error) => json!({"jsonrpc": "2.0", "id": call["id"], "error": error}),
        })
    }
}

async fn answer<B: Behind>(State(lying): State<Arc<Lying<B>>>, body: axum::body::Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let answer = match body.as_array() {
        None => lying.answer_one(&body).await,
        Some(calls) => {
            let mut answers = Vec::new();
            for call in calls {
                answers.push(lying.answer_one(call).await);
            }
            answers.into_iter().collect::<Result<Vec<_>, _>>().map(Value::from)
        }
    };
    match answer {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(NoAnswer::Broken) => Response::new(Body::new(Broken)),
        Err(NoAnswer::Page) => axum::response::Html("<h1>Welcome</h1>").into_response(),
    }
}

/// What comes instead of an answer.
enum NoAnswer {
    Broken,
    Page,
}

/// A body that breaks off, and the connection with it.
struct Broken;

impl http_body::Body for Broken {
    type Data = axum::body::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Ready(Some(Err(std::io::Error::other("cut"))))
    }
}

/// The first `count` calls of a method go by `act`, the others pass.
pub(crate) fn first(
    method: &'static str,
    count: u64,
    act: impl Fn() -> Act + Send,
) -> impl FnMut(&Call<'_>) -> Act + Send {
    let mut left = count;
    move |call| {
        if call.method != method || left == 0 {
            return Act::Pass;
        }
        left -= 1;
        act()
    }
}
