//! The facilitator's side: verify in one round trip, settle once through the journal.

mod agree;
mod audit;
mod chain;
mod cluster;
mod config;
mod dead;
mod engine;
mod finality;
mod flight;
mod landed;
mod lane;
mod listen;
mod mints;
mod settle;
mod sign;
mod trial;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tollway_ledger::Journal;
use tollway_protocol::Network;
use tollway_protocol::Refusal;
use tollway_protocol::bind::{Bound, Effects, Presented, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{FacilitatorScheme, NotReady, Outcome};
use tollway_protocol::wire::Kind;

use crate::SCHEME;
use crate::keys::Key;
use crate::layout::Limits;
use crate::payload::SvmPayment;
pub use audit::{Audit, AuditError, Difference, DifferenceKind, Sum, Unknown};
pub use chain::{Cluster, ClusterError};
pub use cluster::Commitment;
pub use config::ClusterConfig;
use engine::Engine;

/// `exact` on one cluster, for facilitators.
///
/// It pays the fees from one account or several; any number of processes may share accounts and journal.
#[derive(Clone)]
pub struct ExactFacilitator {
    engine: Arc<Engine>,
}

impl ExactFacilitator {
    /// Settles on `cluster` with `keys` as fee payers, through `journal`.
    ///
    /// # Errors
    /// [`ClusterError::NoFeePayer`] without a key.
    pub fn new(cluster: Cluster, keys: Vec<Key>, journal: Arc<dyn Journal>) -> Result<Self, ClusterError> {
        Engine::new(cluster, keys, journal).map(|engine| Self { engine })
    }

    /// Judges a payment by everything that needs no node: the scheme's rules, whose fee payer it is, and the payer's
    /// signature. [`FacilitatorScheme::verify`] begins so.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn examine(&self, payment: &Bound) -> Result<(), Refusal> {
        self.engine.examine(payment).map(drop)
    }

    /// The fee payer that `/supported` names at this time: each has its turn for ten minutes.
    #[must_use]
    pub fn fee_payer(&self, at: UnixTime) -> String {
        self.engine.fee_payer(at)
    }

    /// Compares what the journal has of payments taken since then with the chain, from both sides. Changes nothing.
    ///
    /// # Errors
    /// [`AuditError`] when one of them can't be asked.
    pub async fn audit(&self, since: UnixTime) -> Result<Audit, AuditError> {
        self.engine.audit(since).await
    }

    /// Compares the last day every five minutes from now on, in a task of its own: differences are logged, and counted
    /// in the gauge `tollway_svm_unreconciled`; what nodes can't tell, in `tollway_svm_uncompared`.
    pub fn keep_auditing(&self) {
        tokio::spawn(audit::keep_auditing(Arc::downgrade(&self.engine)));
    }

    /// RPC round trips made so far.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.engine.cluster.rpc.trips()
    }
}

#[async_trait]
impl FacilitatorScheme for ExactFacilitator {
    fn kind(&self) -> Kind {
        Kind {
            x402_version: 2,
            scheme: SCHEME.to_owned(),
            network: self.network().to_string(),
            extra: Object::new().with("feePayer", self.fee_payer(self.engine.now())),
            unknown: Object::new(),
        }
    }

    fn network(&self) -> &Network {
        &self.engine.cluster.config.network
    }

    fn signers(&self) -> Vec<String> {
        self.engine.lanes.iter().map(|lane| lane.key.address().to_string()).collect()
    }

    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        // What may be spent is looked at where something is begun.
        SvmPayment::effects(presented, &Limits::NONE).map(|(_, effects)| effects)
    }

    async fn verify(&self, payment: &Verified) -> Result<(), Refusal> {
        if crate::bug::on("s7-verify-takes") {
            let payments = std::slice::from_ref(payment);
            let _ = self.engine.journal.prepare(payments, true, self.engine.now()).await;
        }
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
