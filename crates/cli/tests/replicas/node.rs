//! The node that replicas have: the chain, and a note of every transaction that each replica gave to it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use alloy_primitives::{B256, Bytes, keccak256};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing::post};
use serde_json::{Value, json};
use tokio::sync::watch;
use tollway_devnet::evm::Chain;

use crate::world::{WITHIN, lock};

const SEND: &str = "eth_sendRawTransaction";

/// A transaction that a replica gave to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    /// Which replica.
    pub(crate) by: usize,
    pub(crate) hash: B256,
}

struct Shared {
    chain: Chain,
    given: watch::Sender<Vec<Given>>,
    /// Replicas whose transactions get lost on their way.
    deaf: Mutex<BTreeSet<usize>>,
}

#[derive(Clone)]
pub(crate) struct Node {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
}

impl Node {
    pub(crate) async fn of(chain: Chain) -> Self {
        let shared = Arc::new(Shared { chain, given: watch::Sender::default(), deaf: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/{replica}", post(answer)).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    /// Where the replica finds it.
    pub(crate) fn url(&self, replica: usize) -> String {
        format!("http://{}/{replica}", self.address)
    }

    /// Whether the replica's transactions get lost, from now on.
    pub(crate) fn lose(&self, replica: usize, lost: bool) {
        let mut deaf = lock(&self.shared.deaf);
        if lost {
            deaf.insert(replica)
        } else {
            deaf.remove(&replica)
        };
    }

    /// All that was given to it, in order.
    pub(crate) fn given(&self) -> Vec<Given> {
        self.shared.given.borrow().clone()
    }

    /// Waits until the replica has given it so many.
    pub(crate) async fn until_given(&self, replica: usize, count: usize) {
        let mut given = self.shared.given.subscribe();
        let enough = given.wait_for(|all| all.iter().filter(|one| one.by == replica).count() >= count);
        assert!(tokio::time::timeout(WITHIN, enough).await.is_ok(), "replica {replica} sends no {count}");
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Path(by): Path<usize>,
    body: axum::body::Bytes,
) -> Response {
    let calls: Value = serde_json::from_slice(&body).unwrap();
    let all = calls.as_array().cloned().unwrap_or_else(|| vec![calls.clone()]);
    for call in all.iter().filter(|call| call["method"] == SEND) {
        let raw: Bytes = serde_json::from_value(call["params"][0].clone()).unwrap();
        let given = Given { by, hash: keccak256(&raw) };
        shared.given.send_modify(|all| all.push(given));
        if lock(&shared.deaf).contains(&by) {
            let error = json!({"code": -32000, "message": "lost on its way"});
            return axum::Json(json!({"jsonrpc": "2.0", "id": call["id"], "error": error})).into_response();
        }
    }
    shared.chain.answer(&body).await.into_response()
}
