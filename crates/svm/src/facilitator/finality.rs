//! What was confirmed is looked at until nothing can take it back.

use std::sync::Arc;

use tollway_ledger::Record;
use tollway_protocol::bind::PaymentKey;

use crate::facilitator::cluster::{self, Commitment, MOST_STATUSES, Status};
use crate::facilitator::engine::Engine;

/// How many slots past a settlement's a node has to be for its not knowing of it to say anything.
const PAST: u64 = 32;
/// The last slot that a store can hold.
const EVER: u64 = i64::MAX as u64;

impl Engine {
    /// Makes final what a node says is finalized, and takes back what it says is in no block any more.
    pub(super) async fn finalize(self: &Arc<Self>) {
        let most = u32::try_from(MOST_STATUSES).unwrap_or(u32::MAX);
        let records = match self.journal.unfinal(self.network(), EVER, most).await {
            Ok(records) if !records.is_empty() => records,
            Ok(_) => return,
            Err(error) => return tracing::warn!(%error, "what is not final can't be read"),
        };
        let hashes: Vec<&str> =
            records.iter().map(|record| record.hash.as_deref().unwrap_or_default()).collect();
        let Ok(found) = cluster::statuses(&self.cluster.rpc, &hashes, true).await else { return };
        let (mut done, mut lost) = (Vec::new(), Vec::new());
        for (record, status) in records.iter().zip(found.all) {
            match status {
                Some(status) if status.commitment() == Commitment::Finalized && status.err.is_null() => {
                    done.push(record.key.clone());
                }
                status if is_lost(record, status.as_ref(), found.slot) => lost.push(record),
                _ => {}
            }
        }
        if !done.is_empty()
            && let Err(error) = self.journal.finalize(self.network(), EVER, &done).await
        {
            tracing::warn!(%error, "what is final can't be recorded yet");
        }
        for record in lost {
            self.undo(record).await;
        }
    }

    /// A settled transaction is in no block, or failed, says a node: if no other says else, it is followed again, and
    /// sent again while its blockhash lives.
    async fn undo(self: &Arc<Self>, record: &Record) {
        let Some(hash) = record.hash.as_deref() else { return };
        let mut agree = 0u32;
        for node in 0..self.cluster.rpc.nodes() {
            // A node that does not answer says nothing.
            let Ok(found) = cluster::status_at(&self.cluster.rpc, node, hash).await else { continue };
            if !is_lost(record, found.all.first().and_then(Option::as_ref), found.slot) {
                return;
            }
            agree = agree.saturating_add(1);
        }
        if agree == 0 {
            return;
        }
        let keys: [PaymentKey; 1] = [record.key.clone()];
        if let Err(error) = self.journal.reopen(&keys).await {
            return tracing::warn!(payment = %record.key, %error, "a lost settlement can't be reopened yet");
        }
        tracing::error!(payment = %record.key, transaction = hash, "the cluster has taken a settlement back");
        metrics::counter!("tollway_svm_reversed_total").increment(1);
        self.take_up(record).await;
    }
}

/// Whether a node at `slot`, well past the settlement's, says that the transaction is not there, or failed.
fn is_lost(record: &Record, status: Option<&Status>, slot: u64) -> bool {
    match status {
        None => record.block.is_some_and(|block| slot >= block.saturating_add(PAST)),
        Some(status) => !status.err.is_null() && status.commitment() >= Commitment::Confirmed,
    }
}
