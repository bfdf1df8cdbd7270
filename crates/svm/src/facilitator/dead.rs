//! The proof that a transaction did not land and never will.

use std::sync::Arc;

use tokio::time::Instant;
use tollway_protocol::bind::PaymentKey;

use crate::facilitator::cluster::{self, LastLook};
use crate::facilitator::engine::Engine;
use crate::facilitator::watch::Landed;

/// For how many blocks a blockhash can be used.
const BLOCKHASH_LIVES: u64 = 150;
/// How many transactions are dated, and how many proven dead, at a time.
const MOST: usize = 32;

impl Engine {
    /// Finds out when those die that have been in no block for a while. A blockhash that one node calls valid at some
    /// height is dead 150 blocks later. One that no node calls valid any more was valid when the transaction was
    /// taken; nodes that lag are given as many blocks again.
    pub(super) async fn date(&self, absent: &[PaymentKey]) {
        let waiting: Vec<(PaymentKey, String)> = {
            let items = self.items.lock();
            let (now, while_ago) = (Instant::now(), self.cluster.config.resend);
            let of = |key: &PaymentKey| items.get(key);
            let undated = absent.iter().filter_map(of).filter(|item| item.dies.is_none());
            let undated = undated.filter(|item| now.duration_since(item.sent) >= while_ago);
            undated.map(|item| (item.key.clone(), item.blockhash.clone())).take(MOST).collect()
        };
        if waiting.is_empty() {
            return;
        }
        let blockhashes: Vec<String> = waiting.iter().map(|(_, blockhash)| blockhash.clone()).collect();
        let Ok((height, valid)) = cluster::alive(&self.cluster.rpc, &blockhashes).await else { return };
        let mut items = self.items.lock();
        for ((key, _), is_valid) in waiting.iter().zip(valid) {
            if let Some(item) = items.get_mut(key) {
                let lives = if is_valid { BLOCKHASH_LIVES } else { 2 * BLOCKHASH_LIVES };
                item.dies = Some(height.saturating_add(lives));
            }
        }
    }

    /// Ends those that are proven dead.
    pub(super) async fn bury(self: &Arc<Self>, absent: &[PaymentKey]) {
        let dated: Vec<(PaymentKey, u64)> = {
            let items = self.items.lock();
            absent.iter().filter_map(|key| Some((key.clone(), items.get(key)?.dies?))).collect()
        };
        if dated.is_empty() {
            return;
        }
        let Ok(height) = cluster::height(&self.cluster.rpc).await else { return };
        let old = dated.into_iter().filter(|(_, dies)| height > *dies).take(MOST);
        for (key, dies) in old {
            if let Some(landed) = self.last_look(&key, dies).await {
                self.record(vec![landed]).await;
            }
        }
    }

    /// It never lands when one node says of its last finalized block that it is later than any that could take the
    /// transaction, that the blockhash is not valid after it, and that the transaction is in no block up to now.
    async fn last_look(&self, key: &PaymentKey, dies: u64) -> Option<Landed> {
        let (hash, blockhash) = {
            let items = self.items.lock();
            let item = items.get(key)?;
            (item.transaction.hash.clone(), item.blockhash.clone())
        };
        let looked = cluster::last_look(&self.cluster.rpc, &hash, &blockhash).await.ok()?;
        let LastLook { status, height, is_alive } = looked;
        match status {
            Some(status) => self.landed(key, &status),
            None => (!is_alive && height > dies).then(|| Landed::never(key.clone(), hash)),
        }
    }
}
