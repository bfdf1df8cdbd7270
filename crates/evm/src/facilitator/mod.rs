//! The facilitator's side: verify in one round trip at most, settle once through the journal.

mod again;
mod audit;
mod blame;
mod chain;
mod check;
mod codes;
mod decode;
mod diagnose;
mod engine;
mod envelope;
mod estimate;
mod evidence;
mod fees;
mod finality;
mod flight;
mod given;
mod heads;
mod job;
mod lane;
mod memory;
mod own;
mod payment;
mod pilot;
mod prelude;
mod proof;
mod prove;
mod resume;
mod rpc;
mod send;
mod settle;
mod share;
mod sponsor;
mod tend;
mod tenure;
mod upto;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tollway_ledger::Journal;
use tollway_protocol::bind::{Bound, Effects, Presented, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::{FacilitatorScheme, NotReady, Outcome};
use tollway_protocol::wire::Kind;
use tollway_protocol::{Network, Refusal};

use crate::exact::SCHEME;
use crate::keys::Key;
use crate::permit2::{APPROVAL_EXTENSION, PERMIT_EXTENSION};
pub use audit::{Audit, AuditError, Difference, DifferenceKind};
pub use chain::{Chain, ChainConfig, ChainError, Clock, Finality};
use engine::Engine;
pub use rpc::{Http, Transport, Unanswered};
pub use upto::UptoFacilitator;

/// `exact` on one network, for facilitators.
///
/// It sends from one account or several; any number of processes may share accounts and journal.
#[derive(Clone)]
pub struct ExactFacilitator {
    engine: Arc<Engine>,
}

impl ExactFacilitator {
    /// Settles on `chain` from `key`'s account, through `journal`.
    #[must_use]
    pub fn new(chain: Chain, key: Key, journal: Arc<dyn Journal>) -> Self {
        Self::with_keys(chain, vec![key], journal)
    }

    /// Settles on `chain` from these accounts, through `journal`.
    #[must_use]
    pub fn with_keys(chain: Chain, keys: Vec<Key>, journal: Arc<dyn Journal>) -> Self {
        Self { engine: Engine::new(chain, keys, journal) }
    }

    /// `upto` on the same network, from the same accounts.
    #[must_use]
    pub fn upto(&self) -> UptoFacilitator {
        UptoFacilitator::new(self.engine.clone())
    }

    /// Compares what the journal has of payments taken since then with the chain's own logs. Changes nothing.
    ///
    /// # Errors
    /// [`AuditError`] when one of them can't be asked.
    pub async fn audit(&self, since: UnixTime) -> Result<Audit, AuditError> {
        self.engine.audit(since).await
    }

    /// Compares the last day every five minutes from now on, in a task of its own: differences are logged, and counted
    /// in the gauge `tollway_evm_unreconciled`.
    pub fn keep_auditing(&self) {
        tokio::spawn(audit::keep_auditing(Arc::downgrade(&self.engine)));
    }

    /// The network's side, for its figures.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.engine.chain
    }
}

#[async_trait]
impl FacilitatorScheme for ExactFacilitator {
    fn kind(&self) -> Kind {
        Kind {
            x402_version: 2,
            scheme: SCHEME.to_owned(),
            network: self.engine.chain.config.network.to_string(),
            extra: tollway_protocol::json::Object::new(),
            unknown: tollway_protocol::json::Object::new(),
        }
    }

    fn network(&self) -> &Network {
        &self.engine.chain.config.network
    }

    fn signers(&self) -> Vec<String> {
        self.engine.lanes.iter().map(|lane| lane.name()).collect()
    }

    fn extensions(&self) -> Vec<&'static str> {
        vec![PERMIT_EXTENSION, APPROVAL_EXTENSION]
    }

    fn now(&self, host: UnixTime) -> UnixTime {
        self.engine.chain.now(host)
    }

    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        self.engine.chain.effects(presented)
    }

    async fn verify(&self, payment: &Verified) -> Result<(), Refusal> {
        self.engine.verify(payment).await
    }

    async fn settle(&self, payment: Bound, deadline: Duration) -> Outcome {
        self.engine.settle(payment, deadline).await
    }

    async fn recover(&self) {
        self.engine.recover().await;
    }

    async fn ready(&self) -> Result<(), NotReady> {
        self.engine.ready().await.map_err(|problem| NotReady { network: self.network().clone(), problem })
    }

    async fn drain(&self) {
        self.engine.drain().await;
    }
}

impl Engine {
    async fn drain(&self) {
        // Or it would never end: others leave payments to whoever has an account.
        self.is_draining.store(true, std::sync::atomic::Ordering::SeqCst);
        self.flights.drained().await;
        self.give_back().await;
    }

    /// # Errors
    /// What keeps payments from being settled now, and what to do.
    async fn ready(&self) -> Result<(), String> {
        self.chain.ready().await.map_err(|error| error.to_string())?;
        let mut problem = "no account is configured".to_owned();
        for lane in &self.lanes {
            match lane.purse.fees(&self.chain, self.chain.config.gas_cap).await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => problem = format!("{} can't pay for gas: fund it", lane.address()),
                Err(error) => problem = error.to_string(),
            }
        }
        Err(problem)
    }
}
