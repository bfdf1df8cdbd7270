//! A node of the EVM chain, which can lie, and notes what it is given.

use std::sync::{Arc, Mutex};

use alloy_primitives::{B256, Bytes, keccak256};
use serde_json::{Value, json};
use tollway_devnet::evm::Chain;
use tollway_ledger::Journal;
use tollway_protocol::Network;

use crate::gate::Gate;
pub(crate) use crate::lies::{Act, Call};
use crate::lies::{Behind, Lying};
use crate::look::Look;
use crate::world::{SIGNERS, lock, signer};

pub(crate) const SEND: &str = "eth_sendRawTransaction";
pub(crate) const RECEIPT: &str = "eth_getTransactionReceipt";

/// A transaction that a facilitator gave to the node.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) hash: B256,
    pub(crate) raw: Bytes,
    /// Whether the ledger had it before; None when the ledger could not be asked.
    pub(crate) was_recorded: Option<bool>,
}

struct Chained {
    chain: Chain,
    given: Mutex<Vec<Given>>,
    ledger: Mutex<Option<Arc<Look>>>,
}

impl Behind for Chained {
    fn ask(&self, method: &str, params: &Value) -> Result<Value, Value> {
        self.chain
            .request(method, params)
            .map_err(|error| json!({"code": error.code, "message": error.message, "data": error.data}))
    }

    /// Notes a transaction, and whether the ledger had it before it came.
    async fn sees(&self, call: &Call<'_>) {
        if call.method != SEND {
            return;
        }
        let raw: Bytes = serde_json::from_value(call.params[0].clone()).unwrap();
        let hash = keccak256(&raw);
        let ledger = lock(&self.ledger).clone();
        let was_recorded = match ledger {
            Some(ledger) => is_recorded(&**ledger, hash).await,
            None => None,
        };
        lock(&self.given).push(Given { hash, raw, was_recorded });
    }
}

/// The node.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) gate: Gate,
    lying: Arc<Lying<Chained>>,
}

impl Node {
    pub(crate) async fn of(chain: Chain) -> Self {
        let behind = Chained { chain, given: Mutex::default(), ledger: Mutex::default() };
        let (lying, address) = Lying::serve(behind).await;
        Self { gate: Gate::to(address).await, lying }
    }

    /// From now on calls go by `rule`.
    pub(crate) fn rule(&self, rule: impl FnMut(&Call<'_>) -> Act + Send + 'static) {
        self.lying.rule(rule);
    }

    /// From now on every call passes.
    pub(crate) fn mend(&self) {
        self.rule(|_| Act::Pass);
        self.gate.open();
    }

    /// What the ledger is, in which every transaction must be before it gets here.
    pub(crate) fn check_against(&self, ledger: Option<Arc<Look>>) {
        let before = std::mem::replace(&mut *lock(&self.lying.behind.ledger), ledger);
        // Outside of the lock: it may take a while.
        drop(before);
    }

    /// What was given to it, in order.
    pub(crate) fn given(&self) -> Vec<Given> {
        lock(&self.lying.behind.given).clone()
    }

    pub(crate) fn count(&self, method: &str) -> u64 {
        self.lying.count(method)
    }

    /// Waits until there have been so many calls of the method.
    pub(crate) async fn until(&self, method: &str, count: u64) {
        self.lying.until(method, count).await;
    }
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
