//! The facilitator's half: each payment's settlement, written before anything leaves.
//!
//! ```text
//! (none) ─prepare─▶ prepared ─signed─▶ signed ─broadcast─▶ broadcast ─finish─▶ settled | failed
//!                      └─abandon─▶ (none)   └───────finish───────▶
//! ```
//!
//! A transaction is in the store before it is on the wire. A replacement starts again from `signed`;
//! a finished settlement never changes.

use async_trait::async_trait;
use tollway_protocol::bind::{PaymentKey, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Code, Network};

use crate::LedgerError;

/// How far a settlement got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JournalState {
    /// Taken; nothing signed.
    Prepared,
    /// A transaction is signed and stored; it may or may not have left.
    Signed,
    /// A node was given the transaction.
    Broadcast,
    /// Final: the money moved.
    Settled,
    /// Final: the money did not move and this settlement can't move it.
    Failed,
}

/// A settlement's record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The payment.
    pub key: PaymentKey,
    /// Where.
    pub network: Network,
    /// How far it got.
    pub state: JournalState,
    /// What was asked for, as JSON of the [`tollway_protocol::PaymentRequest`]: enough to finish it
    /// in another process.
    pub request: String,
    /// The latest transaction, once one is signed.
    pub transaction: Option<SignedTransaction>,
    /// The transaction that carried the payment when it is another's, or the latest one's hash.
    pub hash: Option<String>,
    /// Why it failed.
    pub reason: Option<Code>,
    /// Why it failed, for people.
    pub message: Option<String>,
    /// When it was taken.
    pub created: UnixTime,
}

/// A transaction that is ready to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransaction {
    /// The account that sends it.
    pub signer: String,
    /// The account's nonce in it.
    pub nonce: u64,
    /// Its hash.
    pub hash: String,
    /// Its bytes, as they go on the wire.
    pub raw: Vec<u8>,
}

/// One of the transactions that were signed for a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The transaction.
    pub transaction: SignedTransaction,
    /// Whether a node was given it.
    pub sent: bool,
    /// Whether a later one took its place. It may be mined all the same.
    pub replaced: bool,
    /// Whether it can never be mined ([`Journal::rejected`]).
    pub rejected: bool,
}

/// What came of [`Journal::prepare`].
#[derive(Debug, Clone, PartialEq)]
pub enum Prepared {
    /// The settlement is this caller's to make.
    New,
    /// It exists. Its request may have other terms than the one presented now: a payer can sign two
    /// payments with one key.
    Exists(Box<Record>),
}

/// How a settlement ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The money moved in this transaction, ours or another's.
    Settled {
        /// The transaction.
        hash: String,
    },
    /// It did not move, and can't in this settlement.
    Failed {
        /// Why.
        reason: Code,
        /// Why, for people.
        message: String,
        /// The transaction that failed, if one was broadcast.
        hash: Option<String>,
    },
}

/// The facilitator's half of a ledger.
///
/// Each call is atomic across every process that shares the store, and durable when it returns.
/// On [`LedgerError`] the caller must not go on to the effect that the call announces.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Takes the payment for settlement, unless it was taken before.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn prepare(&self, payment: &Verified, now: UnixTime) -> Result<Prepared, LedgerError>;

    /// Records a signed transaction, before it is broadcast; replaces an earlier one of the same
    /// payment, which stays in the store's history. A nonce carries one payment only.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when the payment is finished or the nonce is another payment's.
    async fn signed(&self, key: &PaymentKey, transaction: SignedTransaction) -> Result<(), LedgerError>;

    /// Records that a node has the latest transaction. Changes nothing when the settlement is finished.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn broadcast(&self, key: &PaymentKey) -> Result<(), LedgerError>;

    /// Records how it ended. The same ending twice is fine (the first message stays); another
    /// one is a conflict.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn finish(&self, key: &PaymentKey, ending: Ending) -> Result<(), LedgerError>;

    /// Forgets a settlement for which nothing was signed.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when something was.
    async fn abandon_settlement(&self, key: &PaymentKey) -> Result<(), LedgerError>;

    /// A payment's record.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn settlement(&self, key: &PaymentKey) -> Result<Option<Record>, LedgerError>;

    /// Every transaction that was signed for the payment, oldest first: any of those that were not
    /// rejected may be the one that is mined.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn history(&self, key: &PaymentKey) -> Result<Vec<Attempt>, LedgerError>;

    /// Every unfinished settlement on `network`, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn open(&self, network: &Network) -> Result<Vec<Record>, LedgerError>;

    /// The nonce after the highest that `signer` used on `network`, if it used any that still counts.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn next_nonce(&self, network: &Network, signer: &str) -> Result<Option<u64>, LedgerError>;

    /// Marks the payment's latest transaction as one that can never be mined, so that its nonce is
    /// free again: a node proved that it was not accepted, and it was sent nowhere else. The one that it
    /// replaced is the latest again; with none left the settlement is `prepared` again.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn rejected(&self, key: &PaymentKey) -> Result<(), LedgerError>;

    /// All settled payments on `network`: key, transaction, and the request's JSON.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn settlements(&self, network: &Network) -> Result<Vec<Record>, LedgerError>;

    /// Whether the store can be written now.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    async fn healthy(&self) -> Result<(), LedgerError>;
}
