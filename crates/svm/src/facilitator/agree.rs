//! What is worth much takes the word of two nodes.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tollway_rpc::RpcError;

use crate::facilitator::cluster::{self, Commitment, MOST_STATUSES, Statuses};
use crate::facilitator::engine::Engine;
use crate::facilitator::landed::{Landed, Mark};
use crate::facilitator::watch::Item;

/// How many slots after a transaction's own a node may have to look it up in its history.
const OLD: u64 = 150;
/// How many nodes have to say the same.
const ENOUGH: u32 = 2;

impl Engine {
    /// Whether one node's word is not enough for the payment.
    pub(super) fn is_dear(&self, item: &Item) -> bool {
        self.cluster.config.agree_above.is_some_and(|above| item.amount >= above)
    }

    /// Has those recorded, in time, of which two nodes say the same. It is in a task of its own: nodes that hang keep nobody
    /// else waiting. What is not agreed on now is found again at the next look.
    pub(super) fn agree(self: &Arc<Self>, dear: Vec<Landed>) {
        // One round at a time.
        let Ok(round) = self.agreeing.clone().try_lock_owned() else { return };
        let engine = self.clone();
        tokio::spawn(async move {
            let mut dear = dear.into_iter();
            loop {
                let part: Vec<Landed> = dear.by_ref().take(MOST_STATUSES).collect();
                if part.is_empty() {
                    break;
                }
                let agreed = engine.agreed(part).await;
                engine.record_now(agreed).await;
            }
            drop(round);
        });
    }

    /// Those of which two nodes say the same: the first two that do.
    async fn agreed(&self, dear: Vec<Landed>) -> Vec<Landed> {
        let marks: Vec<Option<Mark<'_>>> = dear.iter().map(Landed::mark).collect();
        let mut asked: FuturesUnordered<_> =
            (0..self.cluster.rpc.nodes()).map(|node| self.seen_by(node, &marks)).collect();
        let mut agree = vec![0u32; marks.len()];
        while let Some(seen) = asked.next().await {
            for (agree, seen) in agree.iter_mut().zip(seen) {
                *agree = agree.saturating_add(u32::from(seen));
            }
            if agree.iter().all(|agree| *agree >= ENOUGH) {
                break;
            }
        }
        drop(asked);
        for (mark, _) in marks.iter().zip(&agree).filter(|(_, agree)| **agree < ENOUGH) {
            let transaction = mark.as_ref().map(|mark| mark.hash);
            tracing::warn!(transaction, "the nodes don't agree on it yet");
        }
        dear.into_iter().zip(agree).filter(|(_, agree)| *agree >= ENOUGH).map(|(landed, _)| landed).collect()
    }

    /// Of each mark, whether a node sees it.
    async fn seen_by(&self, node: usize, marks: &[Option<Mark<'_>>]) -> Vec<bool> {
        let Ok(found) = self.statuses_of(node, marks).await else { return Vec::new() };
        let least = self.cluster.config.commitment.max(Commitment::Confirmed);
        let is_seen = |(mark, status): (&Option<Mark<'_>>, _)| match (mark, status) {
            (Some(mark), Some(status)) => mark.is_of(&status) && status.commitment() >= least,
            _ => false,
        };
        marks.iter().zip(found.all).map(is_seen).collect()
    }

    async fn statuses_of(&self, node: usize, marks: &[Option<Mark<'_>>]) -> Result<Statuses, RpcError> {
        let hashes: Vec<&str> = marks.iter().map(|mark| mark.as_ref().map_or("", |mark| mark.hash)).collect();
        let rpc = &self.cluster.rpc;
        let found = cluster::statuses_at(rpc, node, &hashes, false).await?;
        let is_forgotten = |(mark, status): (&Option<Mark<'_>>, &Option<_>)| {
            status.is_none() && mark.as_ref().is_some_and(|mark| found.slot > mark.block.saturating_add(OLD))
        };
        if !marks.iter().zip(&found.all).any(is_forgotten) {
            return Ok(found);
        }
        // It may keep no history.
        Ok(cluster::statuses_at(rpc, node, &hashes, true).await.unwrap_or(found))
    }
}
