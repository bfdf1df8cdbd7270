//! Which bank a request is about.

use serde::Deserialize;
use serde_json::json;

use super::{
    super::{RpcError, bank::Bank, history::Record, node::Node},
    params::Options,
};

/// How sure a client wants to be. The order is that of certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Commitment {
    Processed,
    Confirmed,
    #[default]
    Finalized,
}

impl Commitment {
    pub(crate) fn bank(self, node: &Node) -> &Bank {
        match self {
            Self::Processed => node.processed(),
            Self::Confirmed => node.confirmed(),
            Self::Finalized => node.finalized(),
        }
    }

    /// How far a transaction has got.
    pub(super) fn of(record: &Record, node: &Node) -> Self {
        if record.height <= node.finalized().height {
            Self::Finalized
        } else if record.height <= node.confirmed().height {
            Self::Confirmed
        } else {
            Self::Processed
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Confirmed => "confirmed",
            Self::Finalized => "finalized",
        }
    }
}

impl Options {
    /// The bank of the commitment that is asked for.
    pub(super) fn bank<'a>(&self, node: &'a Node) -> Result<&'a Bank, RpcError> {
        let bank = self.commitment.unwrap_or_default().bank(node);
        match self.min_context_slot {
            Some(slot) if slot > bank.slot => Err(RpcError {
                data: Some(json!({ "contextSlot": bank.slot })),
                ..RpcError::new(-32016, "Minimum context slot has not been reached")
            }),
            _ => Ok(bank),
        }
    }
}
