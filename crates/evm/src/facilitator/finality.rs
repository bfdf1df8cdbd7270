//! Reorgs: what was settled in a block that the chain has lost is taken back, reported, and made again.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::B256;
use tollway_ledger::{Ending, LedgerError};
use tollway_protocol::bind::PaymentKey;

use crate::facilitator::chain::{Chain, Finality};
use crate::facilitator::engine::Engine;
use crate::facilitator::payment::Decoded;
use crate::facilitator::proof::Fate;
use crate::facilitator::rpc::{Ask, Block, Receipt, RpcError};
use crate::facilitator::watch::Told;

/// How often a node is asked for its final block.
const ASK_TAG_EVERY: std::time::Duration = std::time::Duration::from_secs(10);
/// How often a receipt must be denied to be believed lost, when its block's hash is not known.
const BELIEVED: u32 = 5;
/// How many blocks' hashes are remembered.
const REMEMBERED: usize = 256;

impl Engine {
    /// Compares the latest block with those seen before; when the chain has changed, looks for all that was told.
    pub(super) async fn follow_blocks(self: &Arc<Self>, head: &Block) -> Result<(), RpcError> {
        let Some(hash) = head.hash else { return Ok(()) };
        let number: u64 = head.number.to();
        let is_reorg = self.is_reorg(head, hash).await?;
        let told = {
            let mut state = self.watch.state.lock();
            if is_reorg {
                // From here on all is new; a lost node's old blocks must not be compared with.
                state.blocks.clear();
                state.is_shaken = true;
            }
            state.blocks.insert(number, hash);
            while state.blocks.len() > REMEMBERED {
                state.blocks.pop_first();
            }
            if !state.is_shaken {
                return Ok(());
            }
            state.unfinal.clone()
        };
        // Until all that was told has been found or taken back, each block has it looked for.
        let looked = self.look_again(told).await;
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
        self.watch.state.lock().is_shaken = !looked?;
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
        let told = match self.told_up_to(deep).await {
            Ok(told) => told,
            Err(error) => {
                tracing::error!(%error, "what is to become final can't be read");
                return;
            }
        };
        let network = &self.chain.config.network;
        match self.look_again(told).await {
            Ok(false) => {}
            Ok(true) => match self.journal.finalize(network, deep).await {
                Ok(_) => self.watch.state.lock().unfinal.retain(|_, told| told.block > deep),
                Err(error) => tracing::error!(%error, "what is final can't be recorded"),
            },
            Err(error) => tracing::debug!(%error, "can't look again at what is settled"),
        }
    }

    /// All that would become final with block `deep`. What other processes told is looked at too: they may be gone, and
    /// a reorg that came meanwhile was seen by nobody.
    async fn told_up_to(&self, deep: u64) -> Result<BTreeMap<PaymentKey, Told>, LedgerError> {
        let records = self.journal.unfinal(&self.chain.config.network, deep).await?;
        let mut state = self.watch.state.lock();
        for record in records {
            let Some(recorded) = Told::recorded(&record) else { continue };
            let told = state.unfinal.entry(record.key).or_insert(recorded);
            if told.hash != recorded.hash || told.block > deep {
                *told = recorded;
            }
        }
        let due = state.unfinal.iter().filter(|(_, told)| told.block <= deep);
        Ok(due.map(|(key, told)| (key.clone(), *told)).collect())
    }

    /// The last block that no reorg is expected to take back, when something that is not final may be in it.
    async fn deep_block(&self) -> Option<u64> {
        let (head, first) = {
            let state = self.watch.state.lock();
            let first = state.unfinal.values().map(|told| told.block).min()?;
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

    /// Looks for the transactions of settlements that were told: in another block they are noted there; when their
    /// block is the chain's no more and they are in none, the settlements are taken back and made again. Says whether
    /// every one of them was found or taken back, and the ledger says so too.
    pub(super) async fn look_again(
        self: &Arc<Self>,
        told: BTreeMap<PaymentKey, Told>,
    ) -> Result<bool, RpcError> {
        let mut by_hash: BTreeMap<B256, Vec<PaymentKey>> = BTreeMap::new();
        for (key, told) in &told {
            by_hash.entry(told.hash).or_default().push(key.clone());
        }
        let hashes: Vec<B256> = by_hash.keys().copied().collect();
        let (mut all_seen, mut lost) = (true, Vec::new());
        for some in hashes.chunks(64) {
            let asks: Vec<_> = some.iter().map(|hash| Ask::receipt(*hash)).collect();
            let given = self.chain.rpc.together(&asks).await?;
            for (hash, given) in some.iter().zip(given) {
                let keys = by_hash.get(hash).map(Vec::as_slice).unwrap_or_default();
                match given.read::<Option<Receipt>>()? {
                    Some(_) if crate::bug::on("s10-reopens-at-will") => lost.extend_from_slice(keys),
                    Some(receipt) if receipt.transaction_hash != *hash => all_seen = false,
                    Some(receipt) => match self.moved(keys, &told, &receipt).await {
                        Ok(unpaid) => lost.extend(unpaid),
                        Err(error) => {
                            all_seen = false;
                            tracing::error!(%error, "another block can't be recorded");
                        }
                    },
                    None => match keys.first().and_then(|key| Some((key, told.get(key)?))) {
                        Some((key, first)) if self.is_lost(key, first).await? => {
                            lost.extend_from_slice(keys);
                        }
                        _ => {
                            all_seen = false;
                            self.note_denial(keys);
                        }
                    },
                }
            }
        }
        // All at once, before any of them is resumed: a transaction must not look as if it helped nobody.
        let taken_back = match self.told_still(lost, &told).await {
            Ok(lost) => self.take_back(&lost).await,
            Err(error) => Err(error),
        };
        if let Err(error) = taken_back {
            tracing::error!(%error, "what a reorg undid can't be taken back");
            all_seen = false;
        }
        Ok(all_seen)
    }

    /// Those of the payments that the ledger has as told here; another process may have taken back the others, or
    /// settled them anew.
    async fn told_still(
        &self,
        lost: Vec<PaymentKey>,
        told: &BTreeMap<PaymentKey, Told>,
    ) -> Result<Vec<PaymentKey>, LedgerError> {
        let mut still = Vec::with_capacity(lost.len());
        for key in lost {
            let record = self.journal.settlement(&key).await?;
            let now = record.as_ref().filter(|record| !record.is_final).and_then(Told::recorded);
            if now.is_some_and(|now| told.get(&key).is_some_and(|told| told.hash == now.hash)) {
                still.push(key);
            } else {
                self.watch.state.lock().unfinal.remove(&key);
            }
        }
        Ok(still)
    }

    /// Whether the block where it was told is not the chain's any more. That a node denies the receipt is no proof.
    async fn is_lost(&self, key: &PaymentKey, told: &Told) -> Result<bool, RpcError> {
        let now = self.chain.rpc.block_at(told.block).await?.and_then(|block| block.hash);
        match (now, told.block_hash) {
            (Some(now), Some(then)) => Ok(now != then),
            // Another process told it: which block that was is not known.
            (Some(_), None) if told.denials >= BELIEVED => self.is_unmade(key, told).await,
            (Some(_), None) | (None, _) => Ok(false),
        }
    }

    /// Whether the token knows nothing of the payment, or another transaction made or ended it.
    async fn is_unmade(&self, key: &PaymentKey, told: &Told) -> Result<bool, RpcError> {
        let record = self.journal.settlement(key).await;
        let record = record.map_err(|_| RpcError::Unreachable("the ledger can't be read"))?;
        let Some(job) = record.and_then(|record| self.job_of(&record)) else { return Ok(false) };
        match self.chain.fate(&job.payment).await? {
            Fate::Paid(receipt) | Fate::Gone(receipt) => Ok(receipt.transaction_hash != told.hash),
            Fate::Untold if job.payment.is_delegated() => Ok(true),
            Fate::Untold => {
                let head = self.chain.rpc.block().await?.number;
                Ok(head.to::<u64>() >= told.block && !self.chain.is_used_at(&job.payment, head).await?)
            }
        }
    }

    fn note_denial(&self, keys: &[PaymentKey]) {
        let mut state = self.watch.state.lock();
        for key in keys {
            if let Some(told) = state.unfinal.get_mut(key) {
                told.denials = told.denials.saturating_add(1);
            }
        }
    }

    /// The transaction is in a block, perhaps another than before: notes that. Returns the payments that it does not make
    /// there.
    async fn moved(
        &self,
        keys: &[PaymentKey],
        told: &BTreeMap<PaymentKey, Told>,
        receipt: &Receipt,
    ) -> Result<Vec<PaymentKey>, LedgerError> {
        let (hash, block): (_, u64) = (receipt.transaction_hash, receipt.block_number.to());
        let is_there = |told: &Told| {
            told.block == block && told.block_hash.is_none_or(|h| Some(h) == receipt.block_hash)
        };
        let moved = keys.iter().filter(|key| told.get(key).is_some_and(|told| !is_there(told)));
        let (mut endings, mut lost) = (Vec::new(), Vec::new());
        for key in moved {
            // What failed beside them may go another way in another block.
            match self.journal.settlement(key).await?.and_then(|record| self.job_of(&record)) {
                Some(job) if job.payment.is_paid_by(receipt) => {
                    endings.push((key.clone(), Ending::Settled { hash: hash.to_string(), block }));
                }
                Some(_) => lost.push(key.clone()),
                None => {}
            }
        }
        if !endings.is_empty() {
            let (network, now) = (&self.chain.config.network, self.chain.host_now());
            self.journal.finish(network, &[], &endings, now).await?;
        }
        let mut state = self.watch.state.lock();
        for (key, _) in endings {
            state.unfinal.insert(key, Told::by(receipt));
        }
        Ok(lost)
    }

    /// These are in no block: they are open again, and followed as they were before.
    async fn take_back(self: &Arc<Self>, keys: &[PaymentKey]) -> Result<(), LedgerError> {
        if keys.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.journal.reopen(keys).await {
            self.doubt();
            return Err(error);
        }
        for key in keys {
            tracing::error!(payment = %key, "a reorg has undone its settlement: it is made again");
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
                Err(error) => {
                    self.doubt();
                    tracing::error!(%error, payment = %key, "its record can't be read");
                }
            }
        }
        Ok(())
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
