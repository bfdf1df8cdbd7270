//! How transactions end.

use tollway_ledger::{Ending, Mined};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::{Dialect, Reason};

use crate::facilitator::cluster::Status;

/// Where a transaction landed, says a node.
pub(super) struct Mark<'a> {
    pub(super) hash: &'a str,
    pub(super) block: u64,
}

/// How a transaction ended.
pub(super) struct Landed {
    pub(super) key: PaymentKey,
    pub(super) mined: Option<Mined>,
    pub(super) ending: Ending,
    /// Whether two nodes have to say so.
    pub(super) is_dear: bool,
}

impl Landed {
    /// A block has it.
    pub(super) fn mined(key: PaymentKey, hash: String, fee: u64, status: &Status) -> Self {
        let is_paid = status.err.is_null();
        let reverted = if is_paid { Vec::new() } else { vec![key.clone()] };
        let mined = Mined { hash: hash.clone(), block: status.slot, fee_gwei: fee, reverted };
        let ending = if is_paid {
            Ending::Settled { hash, block: status.slot }
        } else {
            failed(short(&status.err), hash)
        };
        Self { key, mined: Some(mined), ending, is_dear: false }
    }

    /// As it is, for one that two nodes have to show.
    pub(super) fn dear(self, is_dear: bool) -> Self {
        Self { is_dear, ..self }
    }

    /// The same transaction, as `status` tells of it.
    pub(super) fn shown_by(self, status: &Status) -> Option<Self> {
        let Mined { hash, fee_gwei, .. } = self.mined?;
        Some(Self::mined(self.key, hash, fee_gwei, status))
    }

    /// Where it is, if it is in a block.
    pub(super) fn mark(&self) -> Option<Mark<'_>> {
        let mined = self.mined.as_ref()?;
        Some(Mark { hash: &mined.hash, block: mined.block })
    }

    pub(super) fn is_of(&self, key: &PaymentKey) -> bool {
        self.key == *key
    }

    /// Whether it is in a block.
    pub(super) fn is_mined(&self) -> bool {
        self.mined.is_some()
    }

    #[cfg(test)]
    pub(super) fn mined_for_test(key: PaymentKey) -> Self {
        let hash = "hash".to_owned();
        let mined = Mined { hash: hash.clone(), block: 1, fee_gwei: 1, reverted: Vec::new() };
        Self { key, mined: Some(mined), ending: Ending::Settled { hash, block: 1 }, is_dear: false }
    }

    /// The transaction, when it is in no block and never will be.
    pub(super) fn never_landed(&self) -> Option<&str> {
        match (&self.mined, &self.ending) {
            (None, Ending::Failed { hash, .. }) => hash.as_deref(),
            _ => None,
        }
    }

    /// It is in no block and never will be.
    pub(super) fn never(key: PaymentKey, hash: String) -> Self {
        let message = "the transaction's blockhash died before any block took it: nothing was paid";
        Self { key, mined: None, ending: failed(message.to_owned(), hash), is_dear: false }
    }
}

/// The transaction is named, and did not pay: sellers take this as the proof.
fn failed(message: String, hash: String) -> Ending {
    let reason = Reason::TransactionFailed.code(Dialect::ExactSvm);
    Ending::Failed { reason, message, hash: Some(hash) }
}

fn short(error: &serde_json::Value) -> String {
    error.to_string().chars().filter(|c| !c.is_control()).take(200).collect()
}
