#![doc = include_str!("../README.md")]

pub mod claims;
mod digest;
pub mod fault;
pub mod journal;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod sqlite;
#[cfg(feature = "suite")]
pub mod suite;

pub use claims::{Claim, Claimed, Claims, Delivery, Paid, Recalled, RequestId, Turn, is_transaction};
pub use journal::{
    Attempt, Batch, Ending, Filter, Holder, Journal, JournalState, Lease, MAX_CLAIM, Mined, Prepared, Record,
    SignedTransaction, Signing,
};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresLedger, PostgresOptions};
pub use sqlite::{Options, SqliteLedger};

/// Both halves in one store.
pub trait Ledger: Claims + Journal {}
impl<T: Claims + Journal> Ledger for T {}

/// The store failed: nothing may be served, signed or broadcast on the strength of the call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The store can't be reached or written: disk full, locked, away.
    #[error("the ledger can't be used: {0}")]
    Unavailable(String),
    /// The row is not in the state that the call needs: another process has moved it on.
    #[error("the ledger's record of {key} is {found}, expected {expected}")]
    Conflict {
        /// The payment.
        key: String,
        /// Its state.
        found: String,
        /// The state that the call needs.
        expected: &'static str,
    },
    /// The store holds something that this version can't read.
    #[error("the ledger is damaged or from another version: {0}")]
    Damaged(String),
}
