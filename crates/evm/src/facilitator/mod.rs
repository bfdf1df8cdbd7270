//! The facilitator's side: verify in one round trip, settle once through the journal.

mod chain;
mod check;
mod flight;
mod lane;
mod memory;
mod payment;
mod proof;
mod pursue;
mod rpc;
mod settle;

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
pub use chain::{Chain, ChainConfig, ChainError};
use flight::Flights;
use lane::Lane;
use memory::{Reverts, Unused};

/// `exact` by EIP-3009 on one network, for facilitators.
///
/// It sends from one account; run one process per account and journal.
#[derive(Clone)]
pub struct ExactFacilitator {
    chain: Arc<Chain>,
    lane: Arc<Lane>,
    journal: Arc<dyn Journal>,
    flights: Flights,
    unused: Arc<Unused>,
    reverts: Arc<Reverts>,
}

impl ExactFacilitator {
    /// Settles on `chain` from `key`'s account, through `journal`.
    #[must_use]
    pub fn new(chain: Chain, key: Key, journal: Arc<dyn Journal>) -> Self {
        let chain = Arc::new(chain);
        let lane = Arc::new(Lane::new(key, chain.clone(), journal.clone()));
        let (unused, reverts) = (Arc::new(Unused::new()), Arc::new(Reverts::new()));
        Self { chain, lane, journal, flights: Flights::default(), unused, reverts }
    }

    /// The network's side, for its figures.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }
}

/// The time of this machine.
fn host_now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixTime(since.map_or(0, |d| d.as_secs()))
}

#[async_trait]
impl FacilitatorScheme for ExactFacilitator {
    fn kind(&self) -> Kind {
        Kind {
            x402_version: 2,
            scheme: SCHEME.to_owned(),
            network: self.chain.config.network.to_string(),
            extra: tollway_protocol::json::Object::new(),
            unknown: tollway_protocol::json::Object::new(),
        }
    }

    fn network(&self) -> &Network {
        &self.chain.config.network
    }

    fn signers(&self) -> Vec<String> {
        vec![self.lane.address().to_string()]
    }

    fn now(&self, host: UnixTime) -> UnixTime {
        self.chain.now(host)
    }

    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        self.chain.effects(presented)
    }

    async fn verify(&self, payment: &Verified) -> Result<(), Refusal> {
        let decoded = self.chain.decode(payment)?;
        self.chain.verify(&decoded, payment.effects()).await?;
        self.unused.note(payment.key(), &decoded.authorization.transfer);
        Ok(())
    }

    async fn settle(&self, payment: Bound, deadline: Duration) -> Outcome {
        self.settle_by(payment, deadline).await
    }

    async fn recover(&self) {
        // So that the first verification costs one round trip too; what is wrong, `ready` tells.
        let _ = self.chain.ready().await;
        self.resume_all().await;
    }

    async fn ready(&self) -> Result<(), NotReady> {
        let not = |problem: String| NotReady { network: self.chain.config.network.clone(), problem };
        self.chain.ready().await.map_err(|error| not(error.to_string()))?;
        match self.lane.can_pay().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(not(format!("{} can't pay for gas: fund it", self.lane.address()))),
            Err(error) => Err(not(error.to_string())),
        }
    }

    async fn drain(&self) {
        self.flights.drained().await;
    }
}
