//! The proof that a transaction did not land and never will.
//!
//! A blockhash that a node knew at some slot, and that is not valid after a finalized block of that slot or a later one,
//! is valid never again. A transaction that a node does not know is in none of its blocks up to now, if the node knows
//! them all: for the last 300 slots every node does, of older ones it may have thrown some away or never had them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;
use tollway_protocol::bind::PaymentKey;

use crate::facilitator::cluster::{self, LastLook, MOST_STATUSES};
use crate::facilitator::engine::Engine;
use crate::facilitator::landed::Landed;

/// For how many slots at least a blockhash is not asked about: it can be used for 150 blocks.
const YOUNG: u64 = 150;
/// How many slots back a node surely knows every transaction.
const KNOWN: u64 = 300;
/// How many blockhashes are asked about at a time.
const MOST: usize = 32;

/// A transaction that may be dead.
#[derive(Clone)]
struct Old {
    key: PaymentKey,
    hash: String,
    /// A slot at which its blockhash was known.
    known: u64,
    /// Whether every node has to say so.
    is_dear: bool,
}

impl Engine {
    /// Ends those of the absent, in time, that are proven dead; `slot` is the one that the nodes are at. It is in a task of
    /// its own: nodes that hang keep nobody from looking.
    pub(super) fn bury(self: &Arc<Self>, absent: &[PaymentKey], slot: u64) {
        // One round at a time.
        let Ok(round) = self.burying.clone().try_lock_owned() else { return };
        let old = self.old(absent, slot);
        if old.is_empty() {
            return;
        }
        let engine = self.clone();
        tokio::spawn(async move {
            for (blockhash, old) in old {
                for part in old.chunks(MOST_STATUSES) {
                    engine.bury_some(&blockhash, part).await;
                }
            }
            drop(round);
        });
    }

    /// Those that may be dead, by their blockhashes; first those that were not asked about for longest.
    fn old(&self, absent: &[PaymentKey], slot: u64) -> BTreeMap<String, Vec<Old>> {
        let young = if crate::bug::on("s5-absent-is-dead") { 0 } else { YOUNG };
        let (now, pause) = (Instant::now(), self.cluster.config.resend);
        let rests = |asked: Option<Instant>| asked.is_some_and(|asked| now.duration_since(asked) < pause);
        let mut items = self.items.lock();
        let mut candidates: Vec<_> = absent
            .iter()
            .filter_map(|key| items.get(key))
            .filter(|item| slot > item.known.saturating_add(young) && !rests(item.asked))
            .map(|item| (item.asked, item.key.clone()))
            .collect();
        candidates.sort_by_key(|(asked, _)| *asked);
        let mut old: BTreeMap<String, Vec<Old>> = BTreeMap::new();
        for (_, key) in candidates {
            let Some(item) = items.get_mut(&key) else { continue };
            if old.len() < MOST || old.contains_key(&item.blockhash) {
                item.asked = Some(now);
                let hash = item.transaction.hash.clone();
                let one = Old { key, hash, known: item.known, is_dear: self.is_dear(item) };
                old.entry(item.blockhash.clone()).or_default().push(one);
            }
        }
        old
    }

    /// Ends those of `old` of which one node proves that they are dead; or, where that is too long ago for one or they are
    /// worth too much, all do.
    async fn bury_some(self: &Arc<Self>, blockhash: &str, old: &[Old]) {
        let rpc = &self.cluster.rpc;
        let hashes: Vec<&str> = old.iter().map(|one| one.hash.as_str()).collect();
        let Ok(look) = cluster::last_look(rpc, None, blockhash, &hashes).await else { return };
        let is_recent = |one: &Old| look.statuses.slot < one.known.saturating_add(KNOWN);
        let (by_one, by_all): (Vec<_>, Vec<_>) =
            old.iter().cloned().enumerate().partition(|(_, one)| is_recent(one) && !one.is_dear);
        let landed = by_one.into_iter().filter_map(|(place, one)| self.judge(&one, place, &look));
        self.record(landed.collect()).await;
        if by_all.is_empty() {
            return;
        }
        let by_all: Vec<Old> = by_all.into_iter().map(|(_, one)| one).collect();
        let proven = self.proven_by_all(blockhash, &by_all).await;
        let is_left = |one: &&Old| !is_recent(one) && proven.iter().all(|proven| !proven.is_of(&one.key));
        let unproven = by_all.iter().filter(is_left).count();
        metrics::gauge!("tollway_svm_unproven").set(unproven as f64);
        if unproven > 0 {
            tracing::error!(
                transactions = unproven,
                "too old to be told yet whether they landed: two nodes that keep their history are needed"
            );
        }
        self.record(proven).await;
    }

    /// Asks every node. That there is no block takes two of them: a hole in one's history is not in the other's.
    async fn proven_by_all(&self, blockhash: &str, old: &[Old]) -> Vec<Landed> {
        let rpc = &self.cluster.rpc;
        let hashes: Vec<&str> = old.iter().map(|one| one.hash.as_str()).collect();
        let looks = (0..rpc.nodes()).map(|node| cluster::last_look(rpc, Some(node), blockhash, &hashes));
        let mut left: Vec<Option<Landed>> = Vec::new();
        for (node, look) in futures_util::future::join_all(looks).await.into_iter().enumerate() {
            let judged = old
                .iter()
                .enumerate()
                .map(|(place, one)| look.as_ref().ok().and_then(|look| self.judge(one, place, look)));
            left = if node == 0 {
                judged.collect()
            } else {
                left.into_iter().zip(judged).map(|(before, now)| agreed(before, now)).collect()
            };
        }
        // One node can show a block, not that there is none.
        let is_proven = |landed: &Landed| rpc.nodes() >= 2 || landed.is_mined();
        left.into_iter().flatten().filter(is_proven).collect()
    }

    /// What a look proves of the transaction at `place` in it.
    fn judge(&self, one: &Old, place: usize, look: &LastLook) -> Option<Landed> {
        match look.statuses.all.get(place)? {
            Some(status) => self.landed(&one.key, status),
            None => {
                let is_dead =
                    (!look.is_alive && one.known <= look.finalized) || crate::bug::on("s5-absent-is-dead");
                let has_all = look.statuses.slot >= look.finalized;
                (is_dead && has_all).then(|| Landed::never(one.key.clone(), one.hash.clone()))
            }
        }
    }
}

/// What two nodes say together: a block that one of them knows counts, and that there is none only from both.
fn agreed(one: Option<Landed>, other: Option<Landed>) -> Option<Landed> {
    match (one, other) {
        (Some(found), _) if found.is_mined() => Some(found),
        (_, Some(found)) if found.is_mined() => Some(found),
        (Some(never), Some(_)) => Some(never),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tollway_protocol::Network;

    use super::*;

    #[test]
    fn fa22_a_block_that_one_node_knows_outweighs_the_other_s_not_knowing() {
        let key = PaymentKey::new(&Network::named("solana").unwrap(), &["key"]);
        let never = || Some(Landed::never(key.clone(), "hash".to_owned()));
        let mined = || Some(Landed::mined_for_test(key.clone()));
        assert!(agreed(mined(), never()).unwrap().is_mined());
        assert!(agreed(never(), mined()).unwrap().is_mined());
        assert!(agreed(mined(), None).unwrap().is_mined());
        assert!(!agreed(never(), never()).unwrap().is_mined());
        assert!(agreed(never(), None).is_none() && agreed(None, never()).is_none());
    }
}
