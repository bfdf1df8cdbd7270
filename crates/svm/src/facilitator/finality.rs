//! What was confirmed is looked at until nothing can take it back.

use std::sync::Arc;

use tollway_ledger::Record;
use tollway_protocol::bind::PaymentKey;

use crate::facilitator::cluster::{self, Commitment, MOST_STATUSES};
use crate::facilitator::engine::Engine;

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
        let Ok(statuses) = cluster::statuses(&self.cluster.rpc, &hashes, true).await else { return };
        let (mut done, mut lost) = (Vec::new(), Vec::new());
        for (record, status) in records.iter().zip(statuses) {
            match status {
                Some(status) if status.err.is_some() => lost.push(record),
                Some(status) if status.commitment() == Commitment::Finalized => done.push(record.key.clone()),
                Some(_) => {}
                None => lost.push(record),
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

    /// A settled transaction is in no block, says a node: if others say so too it is followed again, and sent again while
    /// its blockhash lives.
    async fn undo(self: &Arc<Self>, record: &Record) {
        let Some(hash) = record.hash.as_deref() else { return };
        let again = cluster::statuses(&self.cluster.rpc, &[hash], true).await;
        match again.map(|statuses| statuses.into_iter().next().flatten()) {
            Ok(None) => {}
            Ok(Some(status)) if status.err.is_some() => {}
            _ => return,
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
