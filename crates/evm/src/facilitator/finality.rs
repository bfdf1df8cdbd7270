//! When what was settled becomes final, and what a reorg does until then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_primitives::B256;
use tollway_ledger::LedgerError;
use tollway_protocol::bind::PaymentKey;

use crate::facilitator::chain::{Chain, Finality};
use crate::facilitator::engine::Engine;
use crate::facilitator::payment::Decoded;
use crate::facilitator::rpc::{Block, Receipt, RpcError};
use crate::facilitator::watch::Told;

/// How often a node is asked for its final block.
const ASK_TAG_EVERY: std::time::Duration = std::time::Duration::from_secs(10);
/// How many blocks' hashes are remembered.
const REMEMBERED: usize = 256;
/// How many settlements are made final at a time.
const SOME: u32 = 512;
/// How many settlements are looked for in one look after a reorg.
const SHAKEN_AT_ONCE: usize = 4096;

impl Engine {
    /// Compares the latest block with those seen before; when the chain has changed, looks for all that was told.
    pub(super) async fn follow_blocks(self: &Arc<Self>, head: &Block) -> Result<(), RpcError> {
        let Some(hash) = head.hash else { return Ok(()) };
        let number: u64 = head.number.to();
        let is_reorg = self.is_reorg(head, hash).await?;
        {
            let mut state = self.watch.state.lock();
            if is_reorg {
                // From here on all is new; a lost node's old blocks must not be compared with.
                state.blocks.clear();
                for told in state.unfinal.values_mut() {
                    told.is_shaken = true;
                    told.rests_until = None;
                }
            }
            state.blocks.insert(number, hash);
            while state.blocks.len() > REMEMBERED {
                state.blocks.pop_first();
            }
        }
        self.look_at_shaken().await;
        if is_reorg {
            tracing::warn!(network = %self.chain.config.network, block = number, "the chain was reorganised");
            metrics::counter!("tollway_evm_reorgs_total", "network" => self.chain.config.network.to_string())
                .increment(1);
            // Nonces that were spent may be free again, and later ones wait behind them.
            for lane in self.lanes.iter().filter(|lane| lane.state.lock().is_leased) {
                if let Err(error) = self.reload(lane).await {
                    tracing::warn!(signer = lane.name(), %error, "its nonces can't be read just now");
                }
            }
        }
        Ok(())
    }

    /// Looks for what was told before a reorg, at each block until it has been found or taken back.
    pub(super) async fn look_at_shaken(self: &Arc<Self>) {
        let (shaken, is_all) = {
            let state = self.watch.state.lock();
            let mut shaken = state.unfinal.iter().filter(|(_, told)| told.is_shaken && !told.rests());
            let some = shaken.by_ref().take(SHAKEN_AT_ONCE);
            let some: BTreeMap<_, _> = some.map(|(key, told)| (key.clone(), *told)).collect();
            (some, shaken.next().is_none())
        };
        if shaken.is_empty() {
            return;
        }
        self.look_again(&shaken).await;
        if !is_all {
            // The next look goes on, whether there is another block or not.
            self.watch.state.lock().head = None;
        }
    }

    /// Whether a block that was seen before is not in the chain that ends with `head`.
    async fn is_reorg(&self, head: &Block, hash: B256) -> Result<bool, RpcError> {
        let number: u64 = head.number.to();
        let (last, is_other) = {
            let state = self.watch.state.lock();
            let other = |at: u64, hash: B256| state.blocks.get(&at).is_some_and(|known| *known != hash);
            let parent = number.checked_sub(1).zip(head.parent_hash);
            let is_other = other(number, hash) || parent.is_some_and(|(at, parent)| other(at, parent));
            (state.blocks.last_key_value().map(|(at, hash)| (*at, *hash)), is_other)
        };
        match last {
            _ if is_other => Ok(true),
            Some((last, _)) if last > number => Ok(true),
            // Blocks came between that were not seen: is the last one that was seen still there?
            Some((last, known)) if last.saturating_add(1) < number => {
                let now = self.chain.rpc.block_at(last).await?;
                Ok(now.and_then(|block| block.hash).is_some_and(|hash| hash != known))
            }
            _ => Ok(false),
        }
    }

    /// Makes final what is deep enough and was found by one more look.
    pub(super) async fn tend_finality(self: &Arc<Self>) {
        let Some(deep) = self.deep_block().await else { return };
        {
            let mut state = self.watch.state.lock();
            state.spent_in = state.spent_in.filter(|block| *block > deep);
        }
        let due = match self.told_up_to(deep).await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "what is to become final can't be read");
                return;
            }
        };
        let seen: Vec<_> = self.look_again(&due).await.into_iter().collect();
        if seen.is_empty() {
            return;
        }
        match self.journal.finalize(&self.chain.config.network, deep, &seen).await {
            Ok(_) => {
                let mut state = self.watch.state.lock();
                for key in seen {
                    if state.unfinal.get(&key).is_some_and(|told| told.block <= deep) {
                        state.unfinal.remove(&key);
                    }
                }
            }
            Err(error) => tracing::error!(%error, "what is final can't be recorded"),
        }
    }

    /// What would become final with block `deep`, the oldest blocks' first, without what is set aside. What other
    /// processes told is looked at too: they may be gone, and a reorg that came meanwhile was seen by nobody.
    async fn told_up_to(&self, deep: u64) -> Result<BTreeMap<PaymentKey, Told>, LedgerError> {
        let (before, resting) = {
            let state = self.watch.state.lock();
            let before = state.unfinal.iter().filter(|(_, told)| told.block <= deep);
            let before: BTreeSet<_> = before.map(|(key, _)| key.clone()).collect();
            (before, state.unfinal.values().filter(|told| told.rests()).count())
        };
        let limit = SOME.saturating_add(u32::try_from(resting).unwrap_or(u32::MAX));
        let records = self.journal.unfinal(&self.chain.config.network, deep, limit).await?;
        let is_all = u32::try_from(records.len()).is_ok_and(|count| count < limit);
        let listed: BTreeSet<_> = records.iter().map(|record| record.key.clone()).collect();
        let mut state = self.watch.state.lock();
        state.has_more = !is_all;
        if is_all {
            // Another process has made them final, or taken them back.
            state.unfinal.retain(|key, _| !before.contains(key) || listed.contains(key));
        }
        let mut due = BTreeMap::new();
        for record in records {
            let Some(recorded) = Told::recorded(&record) else { continue };
            let told = state.unfinal.entry(record.key.clone()).or_insert(recorded);
            if told.hash != recorded.hash || told.block > deep {
                *told = recorded;
            }
            if !told.rests() {
                due.insert(record.key, *told);
            }
        }
        Ok(due)
    }

    /// The last block that no reorg is expected to take back, when something that is not final may be in it.
    async fn deep_block(&self) -> Option<u64> {
        let (head, first) = {
            let state = self.watch.state.lock();
            let waiting = state.unfinal.values().filter(|told| !told.rests()).map(|told| told.block);
            let first = if state.has_more { Some(0) } else { waiting.chain(state.spent_in).min() }?;
            (*state.blocks.last_key_value()?.0, first)
        };
        let deep = self.deep_under(head).await?;
        (first <= deep).then_some(deep)
    }

    /// The last block that no reorg is expected to take back when the chain's last one is `head`.
    async fn deep_under(&self, head: u64) -> Option<u64> {
        match self.chain.config.finality {
            Finality::Blocks(_) if crate::bug::on("s11-final-at-once") => Some(head),
            Finality::Blocks(blocks) => head.saturating_add(1).checked_sub(blocks),
            Finality::Tag(tag) => self.tagged_block(tag).await,
        }
    }

    /// Takes up what is deep enough and not final, while nothing else has the chain looked at: a process that is gone
    /// may have told it.
    pub(super) async fn look_back(self: &Arc<Self>) -> Result<(), RpcError> {
        if self.watch.state.lock().is_running {
            return Ok(());
        }
        let head = self.chain.rpc.block().await?.number.to();
        if let Some(deep) = self.deep_under(head).await
            && self.told_up_to(deep).await.is_ok_and(|told| !told.is_empty())
        {
            self.look_soon();
        }
        Ok(())
    }

    /// The number of the node's block of this tag, asked for now and then.
    async fn tagged_block(&self, tag: &'static str) -> Option<u64> {
        let mut asked = self.watch.tagged.lock().await;
        if asked.is_none_or(|(at, _)| at.elapsed() >= ASK_TAG_EVERY) {
            let block = self.chain.rpc.block_of(tag).await.ok()??;
            *asked = Some((tokio::time::Instant::now(), block.number.to()));
        }
        asked.map(|(_, number)| number)
    }
}

impl Chain {
    /// Whether one node's word is not enough for the payment.
    pub(crate) fn is_dear(&self, payment: &Decoded) -> bool {
        self.config.agree_above.is_some_and(|above| payment.value() >= above)
    }

    /// Whether a second node shows the transaction in the same block; true when there is no other.
    pub(crate) async fn is_agreed(&self, receipt: &Receipt) -> Result<bool, RpcError> {
        if self.rpc.nodes() < 2 {
            return Ok(true);
        }
        let mut agree = 0u32;
        for node in 0..self.rpc.nodes() {
            let params = (receipt.transaction_hash,);
            let theirs = self.rpc.request_of::<_, Option<Receipt>>(node, "eth_getTransactionReceipt", params);
            if let Ok(Some(theirs)) = theirs.await {
                let same = theirs.block_hash == receipt.block_hash && theirs.logs == receipt.logs;
                agree = agree.saturating_add(u32::from(same && theirs.succeeded() == receipt.succeeded()));
            }
        }
        if agree < 2 {
            tracing::warn!(transaction = %receipt.transaction_hash, "the nodes don't agree on it yet");
        }
        Ok(agree >= 2)
    }
}
