//! A node of the cluster, which can be away or lie, and notes what it is given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollway_devnet::svm::{self, Chain, Server};
use tollway_protocol::bind::PaymentKey;

use crate::gate::Gate;
use crate::lies::{Act, Behind, Call, Lying};
use crate::look::Look;
use crate::payment::Signed;
use crate::world::lock;

pub(crate) const SEND: &str = "sendTransaction";
pub(crate) const STATUSES: &str = "getSignatureStatuses";

/// A transaction that a facilitator gave to the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) transaction: String,
    pub(crate) raw: Vec<u8>,
    /// Whether the ledger had it before; None when the ledger could not be asked.
    pub(crate) was_recorded: Option<bool>,
}

struct Cluster {
    chain: Chain,
    given: Mutex<Vec<Given>>,
    ledger: Mutex<Option<Arc<Look>>>,
    /// The payments, by their transactions.
    keys: Mutex<BTreeMap<String, PaymentKey>>,
}

impl Behind for Cluster {
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
        let raw = STANDARD.decode(call.params[0].as_str().unwrap()).unwrap();
        let transaction = bs58::encode(&raw[1..65]).into_string();
        let (ledger, key) = (lock(&self.ledger).clone(), lock(&self.keys).get(&transaction).cloned());
        let was_recorded = match (ledger, key) {
            (Some(ledger), Some(key)) => {
                let record = ledger.settlement(&key).await.ok();
                record.map(|record| record.is_some_and(|one| one.hash.as_ref() == Some(&transaction)))
            }
            // Nobody's payment.
            (Some(_), None) => Some(false),
            (None, _) => None,
        };
        lock(&self.given).push(Given { transaction, raw, was_recorded });
    }
}

/// A node that outlives the facilitators.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) gate: Gate,
    lying: Arc<Lying<Cluster>>,
    /// The chain's own door, which nothing is wrong with; slots are made while it is open.
    _server: Arc<Server>,
    honest: String,
}

impl Node {
    pub(crate) async fn of(chain: Chain) -> Self {
        let server = svm::serve(chain.clone(), TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
        let behind =
            Cluster { chain, given: Mutex::default(), ledger: Mutex::default(), keys: Mutex::default() };
        let (lying, address) = Lying::serve(behind).await;
        let honest = server.url();
        Self { gate: Gate::to(address).await, lying, _server: Arc::new(server), honest }
    }

    pub(crate) fn url(&self) -> String {
        self.gate.url()
    }

    /// Where the chain answers as it is.
    pub(crate) fn honest(&self) -> &str {
        &self.honest
    }

    /// Cuts every connection, and each new one at once; or lets them through again.
    pub(crate) fn away(&self, is_away: bool) {
        if is_away { self.gate.shut() } else { self.gate.open() }
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

    /// A payment whose transaction may come.
    pub(crate) fn knows(&self, payment: &Signed) {
        lock(&self.lying.behind.keys).insert(payment.transaction.clone(), payment.key.clone());
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
