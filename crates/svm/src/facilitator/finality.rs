//! What was confirmed is looked at until nothing can take it back.

use std::sync::Arc;

use tollway_ledger::Record;
use tollway_protocol::bind::PaymentKey;
use tollway_rpc::RpcError;

use crate::facilitator::cluster::{self, Commitment, MOST_STATUSES, Status};
use crate::facilitator::engine::Engine;

/// How many slots past a settlement's a node has to be for its not knowing of it to say anything.
const PAST: u64 = 32;
/// How many slots past it may have forgotten it.
const FORGOTTEN: u64 = 300;
/// How many pages of settlements are looked at, one after another.
const MOST_PAGES: usize = 16;
/// How many settlements are taken back at a time.
const MOST_UNDONE: usize = 8;
/// The last slot that a store can hold.
const EVER: u64 = i64::MAX as u64;

impl Engine {
    /// Makes final what a node says is finalized, and takes back what nodes say is in no block any more.
    pub(super) async fn finalize(self: &Arc<Self>) {
        for _page in 0..MOST_PAGES {
            if !self.finalize_page().await {
                return;
            }
        }
    }

    /// Whether there may be more.
    async fn finalize_page(self: &Arc<Self>) -> bool {
        let most = u32::try_from(MOST_STATUSES).unwrap_or(u32::MAX);
        let records = match self.journal.unfinal(self.network(), EVER, most).await {
            Ok(records) if !records.is_empty() => records,
            Ok(_) => return false,
            Err(error) => {
                tracing::warn!(%error, "what is not final can't be read");
                return false;
            }
        };
        let hashes: Vec<&str> =
            records.iter().map(|record| record.hash.as_deref().unwrap_or_default()).collect();
        let found = match cluster::statuses(&self.cluster.rpc, &hashes, true).await {
            // It keeps no history.
            Err(RpcError::Refused { .. }) => cluster::statuses(&self.cluster.rpc, &hashes, false).await,
            found => found,
        };
        let Ok(found) = found else { return false };
        let (mut done, mut lost) = (Vec::new(), Vec::new());
        for (record, status) in records.iter().zip(found.all) {
            match status {
                Some(status) if status.commitment() >= enough() && status.err.is_null() => {
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
            return false;
        }
        for record in lost.into_iter().take(MOST_UNDONE) {
            self.undo(record).await;
        }
        done.len() == MOST_STATUSES
    }

    /// A settled transaction is in no block, or failed, says a node: if all say so, it is followed again, and sent again
    /// while its blockhash lives.
    async fn undo(self: &Arc<Self>, record: &Record) {
        let Some(hash) = record.hash.as_deref() else { return };
        for node in 0..self.cluster.rpc.nodes() {
            // Until it has finalized a later block, the branch that has the transaction may still be the one that stays.
            let Ok(finalized) = cluster::finalized(&self.cluster.rpc, node).await else { return };
            if record.block.is_none_or(|block| finalized < block) {
                return;
            }
            // One that does not answer may know it.
            let Ok(found) = cluster::statuses_at(&self.cluster.rpc, node, &[hash], false).await else {
                return;
            };
            if !is_lost(record, found.all.first().and_then(Option::as_ref), found.slot) {
                return;
            }
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

/// What nothing takes back.
fn enough() -> Commitment {
    if crate::bug::on("s11-final-at-once") { Commitment::Confirmed } else { Commitment::Finalized }
}

/// Whether a node at `slot`, well past the settlement's and not so far that it may have forgotten it, says that the
/// transaction is not there; or that it failed.
fn is_lost(record: &Record, status: Option<&Status>, slot: u64) -> bool {
    match status {
        _ if crate::bug::on("s10-reopens-at-will") => true,
        None => record.block.is_some_and(|block| {
            (block.saturating_add(PAST)..block.saturating_add(FORGOTTEN)).contains(&slot)
        }),
        Some(status) => !status.err.is_null() && status.commitment() >= Commitment::Confirmed,
    }
}
