//! The proof that a transaction did not land and never will.

use std::collections::HashMap;

use tollway_protocol::bind::PaymentKey;

use crate::facilitator::cluster;
use crate::facilitator::engine::Engine;
use crate::facilitator::watch::Landed;

/// For how many slots at least a blockhash is not asked about: it can be used for 150 blocks.
const YOUNG: u64 = 150;
/// Slots after which nodes may have thrown a block away: then that they don't know a transaction proves nothing.
const FORGOTTEN: u64 = 150_000;
/// How many blockhashes are asked about at a time.
const MOST: usize = 32;

impl Engine {
    /// Ends those of the absent that are proven dead; `slot` is the one that the nodes are at.
    ///
    /// A blockhash that a node knew at some slot, and that is not valid after a finalized block of that slot or a later
    /// one, is valid never again. A transaction that is in no block up to that one, says a node that has all of them,
    /// can't be in any later one.
    pub(super) async fn bury(&self, absent: &[PaymentKey], slot: u64) {
        let mut old: HashMap<String, Vec<(PaymentKey, String, u64)>> = HashMap::new();
        {
            let items = self.items.lock();
            for item in absent.iter().filter_map(|key| items.get(key)) {
                if slot <= item.known.saturating_add(YOUNG) {
                    continue;
                }
                let one = (item.key.clone(), item.transaction.hash.clone(), item.known);
                if old.len() < MOST || old.contains_key(&item.blockhash) {
                    old.entry(item.blockhash.clone()).or_default().push(one);
                }
            }
        }
        for (blockhash, those) in old {
            let Ok((finalized, is_alive)) = cluster::is_alive(&self.cluster.rpc, &blockhash).await else {
                return;
            };
            if !is_alive {
                self.bury_all(&those, finalized).await;
            }
        }
    }

    /// Ends those whose blockhash was known before the slot `finalized`, in which it is dead.
    async fn bury_all(&self, those: &[(PaymentKey, String, u64)], finalized: u64) {
        for part in those.chunks(cluster::MOST_STATUSES) {
            let hashes: Vec<&str> = part.iter().map(|(_, hash, _)| hash.as_str()).collect();
            let Ok(found) = cluster::statuses(&self.cluster.rpc, &hashes, true).await else { return };
            let has_all = found.slot >= finalized;
            let landed = part.iter().zip(found.all).filter_map(|((key, hash, known), status)| match status {
                Some(status) => self.landed(key, &status),
                None => {
                    let is_proof =
                        has_all && *known <= finalized && found.slot < known.saturating_add(FORGOTTEN);
                    is_proof.then(|| Landed::never(key.clone(), hash.clone()))
                }
            });
            self.record(landed.collect()).await;
        }
    }
}
