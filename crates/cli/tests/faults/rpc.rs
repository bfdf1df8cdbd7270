//! A JSON-RPC node that a test makes lie, fail, lose its answers or go away.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::{B256, Bytes, keccak256};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing::post};
use serde_json::{Value, json};
use tokio::sync::watch;
use tollway_devnet::evm::Chain;
use tollway_ledger::Journal;
use tollway_protocol::Network;

use crate::gate::Gate;
use crate::look::Look;
use crate::patience::WITHIN;
use crate::world::{SIGNERS, lock, signer};

pub(crate) const SEND: &str = "eth_sendRawTransaction";
pub(crate) const RECEIPT: &str = "eth_getTransactionReceipt";

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

/// A transaction that a facilitator gave to the node.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) hash: B256,
    pub(crate) raw: Bytes,
    /// Whether the ledger had it before; None when the ledger could not be asked.
    pub(crate) was_recorded: Option<bool>,
}

struct Shared {
    chain: Chain,
    rule: Mutex<Rule>,
    counts: watch::Sender<BTreeMap<String, u64>>,
    given: Mutex<Vec<Given>>,
    ledger: Mutex<Option<Arc<Look>>>,
}

/// The node.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) gate: Gate,
    shared: Arc<Shared>,
}

impl Node {
    pub(crate) async fn of(chain: Chain) -> Self {
        let shared = Arc::new(Shared {
            chain,
            rule: Mutex::new(Box::new(|_| Act::Pass)),
            counts: watch::Sender::default(),
            given: Mutex::default(),
            ledger: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(answer)).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { gate: Gate::to(address).await, shared }
    }

    /// From now on calls go by `rule`.
    pub(crate) fn rule(&self, rule: impl FnMut(&Call<'_>) -> Act + Send + 'static) {
        *lock(&self.shared.rule) = Box::new(rule);
    }

    /// From now on every call passes.
    pub(crate) fn mend(&self) {
        self.rule(|_| Act::Pass);
        self.gate.open();
    }

    /// What the ledger is, in which every transaction must be before it gets here.
    pub(crate) fn check_against(&self, ledger: Option<Arc<Look>>) {
        let before = std::mem::replace(&mut *lock(&self.shared.ledger), ledger);
        // Outside of the lock: it may take a while.
        drop(before);
    }

    /// What was given to it, in order.
    pub(crate) fn given(&self) -> Vec<Given> {
        lock(&self.shared.given).clone()
    }

    pub(crate) fn count(&self, method: &str) -> u64 {
        self.shared.counts.borrow().get(method).copied().unwrap_or(0)
    }

    /// Waits until there have been so many calls of the method.
    pub(crate) async fn until(&self, method: &str, count: u64) {
        let mut counts = self.shared.counts.subscribe();
        let enough = counts.wait_for(|counts| counts.get(method).is_some_and(|n| *n >= count));
        let waited = tokio::time::timeout(WITHIN, enough).await;
        assert!(waited.is_ok(), "{count} calls of {method} don't come: {:?}", self.shared.counts.borrow());
    }
}

async fn answer(State(shared): State<Arc<Shared>>, body: axum::body::Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let answer = match body.as_array() {
        None => answer_one(&shared, &body).await,
        Some(calls) => {
            let mut answers = Vec::new();
            for call in calls {
                answers.push(answer_one(&shared, call).await);
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

async fn answer_one(shared: &Shared, call: &Value) -> Result<Value, NoAnswer> {
    let method = call["method"].as_str().unwrap();
    if method == SEND {
        note(shared, &call["params"]).await;
    }
    let act = (lock(&shared.rule))(&Call { method, params: &call["params"] });
    let ask = || match shared.chain.request(method, &call["params"]) {
        Ok(result) => Ok(result),
        Err(error) => Err(json!({"code": error.code, "message": error.message, "data": error.data})),
    };
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
            count(shared, method);
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
    count(shared, method);
    answer.map(|answer| match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "id": call["id"], "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "id": call["id"], "error": error}),
    })
}

fn count(shared: &Shared, method: &str) {
    shared.counts.send_modify(|counts| *counts.entry(method.to_owned()).or_default() += 1);
}

/// Notes a transaction, and whether the ledger had it before it came.
async fn note(shared: &Shared, params: &Value) {
    let raw: Bytes = serde_json::from_value(params[0].clone()).unwrap();
    let hash = keccak256(&raw);
    let ledger = lock(&shared.ledger).clone();
    let was_recorded = match ledger {
        Some(ledger) => is_recorded(&**ledger, hash).await,
        None => None,
    };
    lock(&shared.given).push(Given { hash, raw, was_recorded });
}

async fn is_recorded(ledger: &dyn Journal, hash: B256) -> Option<bool> {
    for seed in 0..SIGNERS {
        let name = signer(seed).address().to_string();
        let attempts = ledger.nonces(&Network::eip155(84532), &name, 0).await.ok()?;
        if attempts.iter().any(|attempt| attempt.transaction.hash == hash.to_string()) {
            return Some(true);
        }
    }
    Some(false)
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
