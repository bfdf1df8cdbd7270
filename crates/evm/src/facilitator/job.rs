//! A payment being settled, and the answers about it.

use tollway_ledger::{JournalState, LedgerError, Record};
use tollway_protocol::Reason;
use tollway_protocol::bind::Effects;
use tollway_protocol::scheme::Outcome;

use crate::facilitator::payment::Decoded;
use crate::facilitator::rpc::RpcError;

/// A payment being settled.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) payment: Decoded,
    pub(crate) effects: Effects,
}

impl Job {
    pub(crate) fn refuse(&self, reason: Reason, message: impl Into<String>) -> Outcome {
        Outcome::NotSettled { refusal: self.effects.refuse(reason, message), transaction: None }
    }

    pub(crate) fn unreachable(&self, error: &RpcError) -> Outcome {
        self.refuse(Reason::ChainUnreachable, error.to_string())
    }

    /// The store failed before anything was recorded.
    pub(crate) fn no_store(&self, error: &LedgerError) -> Outcome {
        self.refuse(Reason::StoreUnavailable, shown(error))
    }

    /// A finished record's outcome.
    pub(crate) fn ended(&self, record: &Record) -> Option<Outcome> {
        match record.state {
            JournalState::Settled => {
                Some(Outcome::Settled { transaction: record.hash.clone().unwrap_or_default() })
            }
            JournalState::Failed => Some(Outcome::NotSettled {
                refusal: self.effects.refuse(
                    record.reason.as_ref().map_or(Reason::TransactionFailed, tollway_protocol::Code::reason),
                    record.message.clone().unwrap_or_default(),
                ),
                transaction: record.hash.clone(),
            }),
            _ => None,
        }
    }
}

pub(crate) fn pending(transaction: Option<String>) -> Outcome {
    Outcome::Pending { transaction, message: "waiting for the chain: send the same payment again".into() }
}

pub(crate) fn shown(error: &LedgerError) -> String {
    tracing::error!(%error, "ledger");
    "the store can't be used just now".into()
}
