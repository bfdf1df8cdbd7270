//! What became of a payment, from the ledger's point of view.

use async_trait::async_trait;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Code, Network};

/// How far a settlement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The money moved.
    Settled,
    /// It did not move, and this settlement can't move it any more.
    Failed,
    /// Not known yet.
    Pending,
}

/// A settlement that the ledger has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub network: Network,
    /// How far it is.
    pub state: State,
    /// The transaction: the one that carried the payment, or the latest that may.
    pub transaction: Option<String>,
    /// Why it failed.
    pub reason: Option<Code>,
    /// Why it failed, for people.
    pub message: Option<String>,
    /// When it was taken.
    pub created: UnixTime,
}

/// Where settlements are looked up: the facilitator's ledger.
#[async_trait]
pub trait Settlements: Send + Sync {
    /// The settlement of a payment; nothing when this ledger never took it, which is no proof that the money did
    /// not move.
    ///
    /// # Errors
    /// What is wrong with the ledger, in words that may be logged: then nothing is known.
    async fn find(&self, key: &PaymentKey) -> Result<Option<Found>, String>;
}
