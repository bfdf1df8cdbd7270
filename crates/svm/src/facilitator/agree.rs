//! What is worth much takes the word of two nodes.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tollway_rpc::RpcError;

use crate::facilitator::cluster::{self, Commitment, MOST_STATUSES, Status, Statuses};
use crate::facilitator::engine::Engine;
use crate::facilitator::landed::{Landed, Mark};
use crate::facilitator::watch::Item;

/// How many slots after a transaction's own a node may have to look it up in its history.
const OLD: u64 = 150;

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

    /// Those of which two nodes say the same: as those two say it, whatever a third one says.
    async fn agreed(&self, dear: Vec<Landed>) -> Vec<Landed> {
        let marks: Vec<Option<Mark<'_>>> = dear.iter().map(Landed::mark).collect();
        let mut asked: FuturesUnordered<_> =
            (0..self.cluster.rpc.nodes()).map(|node| self.seen_by(node, &marks)).collect();
        let mut votes: Vec<Votes> = dear.iter().map(|_| Votes::default()).collect();
        while let Some(seen) = asked.next().await {
            for (votes, status) in votes.iter_mut().zip(seen) {
                votes.count(status);
            }
            if votes.iter().all(|votes| votes.agreed.is_some()) {
                break;
            }
        }
        drop(asked);
        for (mark, _) in marks.iter().zip(&votes).filter(|(_, votes)| votes.agreed.is_none()) {
            let transaction = mark.as_ref().map(|mark| mark.hash);
            tracing::warn!(transaction, "the nodes don't agree on it yet");
        }
        drop(marks);
        dear.into_iter().zip(votes).filter_map(|(landed, votes)| landed.shown_by(&votes.agreed?)).collect()
    }

    /// What a node says of each that it is sure enough of.
    async fn seen_by(&self, node: usize, marks: &[Option<Mark<'_>>]) -> Vec<Option<Status>> {
        let Ok(found) = self.statuses_of(node, marks).await else { return Vec::new() };
        let least = self.cluster.config.commitment.max(Commitment::Confirmed);
        found.all.into_iter().map(|status| status.filter(|status| status.commitment() >= least)).collect()
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

/// What nodes say of one transaction, until two say the same.
#[derive(Default)]
struct Votes {
    one: Vec<Status>,
    agreed: Option<Status>,
}

impl Votes {
    fn count(&mut self, status: Option<Status>) {
        let Some(status) = status.filter(|_| self.agreed.is_none()) else { return };
        let is_same = |other: &Status| other.slot == status.slot && other.err == status.err;
        if self.one.iter().any(is_same) {
            self.agreed = Some(status);
        } else {
            self.one.push(status);
        }
    }
}
