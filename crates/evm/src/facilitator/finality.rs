//! Reorgs: what was settled in a block that the chain has lost is taken back, reported, and made again.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::B256;
use tollway_ledger::Ending;
use tollway_protocol::bind::PaymentKey;

use crate::facilitator::chain::{Chain, Finality};
use crate::facilitator::engine::Engine;
use crate::facilitator::payment::Decoded;
use crate::facilitator::rpc::{Ask, Block, Receipt, RpcError};
use crate::facilitator::watch::Told;

/// How often a node is asked for its final block.
const ASK_TAG_EVERY: std::time::Duration = std::time::Duration::from_secs(10);
/// How many blocks' hashes are remembered.
const REMEMBERED: usize = 256;

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
            }
            state.blocks.insert(number, hash);
            while state.blocks.len() > REMEMBERED {
                state.blocks.pop_first();
            }
        }
        if is_reorg {
            tracing::warn!(network = %self.chain.config.network, block = number, "the chain was reorganised");
            metrics::counter!("tollway_evm_reorgs_total", "network" => self.chain.config.network.to_string())
                .increment(1);
            let told = self.watch.state.lock().unfinal.clone();
            self.look_again(told).await?;
        }
        Ok(())
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

    /// Makes final what is deep enough, after one more look at it.
    pub(super) async fn tend_finality(self: &Arc<Self>) {
        let Some(deep) = self.deep_block().await else { return };
        let told: BTreeMap<_, _> = {
            let state = self.watch.state.lock();
            state
                .unfinal
                .iter()
                .filter(|(_, told)| told.block <= deep)
                .map(|(k, t)| (k.clone(), *t))
                .collect()
        };
        if told.is_empty() {
            return;
        }
        let network = &self.chain.config.network;
        match self.look_again(told.clone()).await {
            Ok(()) => match self.journal.finalize(network, deep).await {
                Ok(_) => self.watch.state.lock().unfinal.retain(|_, told| told.block > deep),
                Err(error) => tracing::error!(%error, "what is final can't be recorded"),
            },
            Err(error) => tracing::debug!(%error, "can't look again at what is settled"),
        }
    }

    /// The last block that no reorg is expected to take back, when something that is not final may be in it.
    async fn deep_block(&self) -> Option<u64> {
        let (head, first) = {
            let state = self.watch.state.lock();
            let first = state.unfinal.values().map(|told| told.block).min()?;
            (*state.blocks.last_key_value()?.0, first)
        };
        let deep = match self.chain.config.finality {
            Finality::Blocks(blocks) => head.saturating_add(1).checked_sub(blocks)?,
            Finality::Tag(tag) => self.tagged_block(tag).await?,
        };
        (first <= deep).then_some(deep)
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

    /// Looks for the transactions of settlements that were told: in another block they are noted there, in none
    /// the settlements are taken back and made again.
    pub(super) async fn look_again(
        self: &Arc<Self>,
        told: BTreeMap<PaymentKey, Told>,
    ) -> Result<(), RpcError> {
        let mut by_hash: BTreeMap<B256, Vec<PaymentKey>> = BTreeMap::new();
        for (key, told) in &told {
            by_hash.entry(told.hash).or_default().push(key.clone());
        }
        let hashes: Vec<B256> = by_hash.keys().copied().collect();
        for some in hashes.chunks(64) {
            let asks: Vec<_> = some.iter().map(|hash| Ask::receipt(*hash)).collect();
            let given = self.chain.rpc.together(&asks).await?;
            for (hash, given) in some.iter().zip(given) {
                let keys = by_hash.get(hash).map(Vec::as_slice).unwrap_or_default();
                match given.read::<Option<Receipt>>()? {
                    Some(receipt) if receipt.transaction_hash == *hash && receipt.succeeded() => {
                        self.moved(keys, &told, &receipt).await;
                    }
                    Some(receipt) if receipt.transaction_hash != *hash => {}
                    _ => self.take_back(keys, *hash).await,
                }
            }
        }
        Ok(())
    }

    /// The transaction is in another block than before: notes that.
    async fn moved(&self, keys: &[PaymentKey], told: &BTreeMap<PaymentKey, Told>, receipt: &Receipt) {
        let (hash, block): (_, u64) = (receipt.transaction_hash, receipt.block_number.to());
        let moved: Vec<_> =
            keys.iter().filter(|key| told.get(key).is_some_and(|told| told.block != block)).collect();
        if moved.is_empty() {
            return;
        }
        let ending = Ending::Settled { hash: hash.to_string(), block };
        let endings: Vec<_> = moved.iter().map(|key| ((*key).clone(), ending.clone())).collect();
        let (network, now) = (&self.chain.config.network, self.chain.host_now());
        if let Err(error) = self.journal.finish(network, &[], &endings, now).await {
            tracing::error!(%error, "another block can't be recorded");
            return;
        }
        let mut state = self.watch.state.lock();
        for key in moved {
            state.unfinal.insert(key.clone(), Told { hash, block });
        }
    }

    /// The transaction is in no block: its settlements are open again, and followed as they were before.
    async fn take_back(self: &Arc<Self>, keys: &[PaymentKey], hash: B256) {
        if let Err(error) = self.journal.reopen(keys).await {
            self.doubt();
            tracing::error!(%error, transaction = %hash, "what a reorg undid can't be taken back");
            return;
        }
        for key in keys {
            tracing::error!(payment = %key, transaction = %hash, "a reorg has undone its settlement: it is made again");
            metrics::counter!("tollway_evm_reversals_total").increment(1);
            self.watch.state.lock().unfinal.remove(key);
        }
        for lane in &self.lanes {
            self.resync(lane);
        }
        for key in keys {
            match self.journal.settlement(key).await {
                Ok(Some(record)) => self.resume(record),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, payment = %key, "its record can't be read"),
            }
        }
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
