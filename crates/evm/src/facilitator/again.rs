//! One more look at settlements that were told: what a reorg has undone is taken back, reported, and made again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use tokio::time::Instant;
use tollway_ledger::{Ending, LedgerError};
use tollway_protocol::bind::PaymentKey;

use crate::facilitator::engine::Engine;
use crate::facilitator::job::Job;
use crate::facilitator::proof::Fate;
use crate::facilitator::rpc::{Given, Receipt, RpcError, ask};
use crate::facilitator::watch::Told;

/// How often a receipt must be denied to be believed lost, when its block's hash is not known.
const BELIEVED: u32 = 5;
/// How many receipts are asked for in one round trip.
const TOGETHER: usize = 64;
/// How many of those that were not found before are asked for in one look, each alone: what spoils one answer must not
/// spoil the others'.
const ALONE: usize = 16;
/// Round trips without an answer until the rest waits for the next look.
const FAILURES: u32 = 2;
/// How long a settlement is looked for that can neither be found nor shown to be lost, until it is set aside; and for
/// how long then. It does not become final.
const SET_ASIDE_AFTER: Duration = Duration::from_secs(120);
const SET_ASIDE_FOR: Duration = Duration::from_secs(600);

/// What a look showed.
#[derive(Default)]
struct Looked {
    /// Those that are made where the ledger says.
    seen: BTreeSet<PaymentKey>,
    /// Those that are not.
    lost: Vec<PaymentKey>,
    /// Those of which nothing is known.
    unseen: Vec<PaymentKey>,
}

impl Engine {
    /// Looks for the transactions of settlements that were told: in another block they are noted there; when their
    /// block is the chain's no more and they are in none, or they don't make the payment in the new one, the settlements
    /// are taken back and made again. Gives those that were found, when the ledger says so too; one that can't be found
    /// does not keep the others.
    pub(super) async fn look_again(
        self: &Arc<Self>,
        told: &BTreeMap<PaymentKey, Told>,
    ) -> BTreeSet<PaymentKey> {
        let mut by_hash: BTreeMap<B256, Vec<PaymentKey>> = BTreeMap::new();
        for (key, told) in told {
            by_hash.entry(told.hash).or_default().push(key.clone());
        }
        let keys_of = |hash: &B256| by_hash.get(hash).map(Vec::as_slice).unwrap_or_default();
        let (mut looked, mut failures) = (Looked::default(), 0_u32);
        for some in round_trips(told) {
            let asks: Vec<_> = some.iter().map(|hash| ask::receipt(*hash)).collect();
            match self.chain.rpc.together(&asks).await {
                Ok(given) => {
                    for (hash, given) in some.iter().zip(given) {
                        self.look_at(*hash, keys_of(hash), told, given, &mut looked).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "can't look again at what is settled");
                    failures = failures.saturating_add(1);
                    // When nothing is answered at all, that says nothing of these.
                    if self.chain.rpc.block().await.is_err() {
                        break;
                    }
                    looked.unseen.extend(some.iter().flat_map(|hash| keys_of(hash).iter().cloned()));
                    if failures >= FAILURES {
                        break;
                    }
                }
            }
        }
        self.note(&looked, told);
        // All at once, before any of them is resumed: a transaction must not look as if it helped nobody.
        let taken_back = match self.told_still(looked.lost, told).await {
            Ok(lost) => self.take_back(&lost).await,
            Err(error) => Err(error),
        };
        if let Err(error) = taken_back {
            tracing::error!(%error, "what a reorg undid can't be taken back");
        }
        looked.seen
    }

    /// What the answer for one transaction shows of its payments.
    async fn look_at(
        &self,
        hash: B256,
        keys: &[PaymentKey],
        told: &BTreeMap<PaymentKey, Told>,
        given: Given,
        looked: &mut Looked,
    ) {
        match given.read::<Option<Receipt>>() {
            Ok(Some(_)) if crate::bug::on("s10-reopens-at-will") => looked.lost.extend_from_slice(keys),
            Ok(Some(receipt)) if receipt.transaction_hash == hash => {
                if let Err(error) = self.look_in(keys, told, &receipt, looked).await {
                    tracing::error!(%error, "another block can't be recorded");
                    looked.unseen.extend(keys.iter().filter(|key| !looked.seen.contains(*key)).cloned());
                }
            }
            Ok(Some(_)) => {
                tracing::warn!("the node gave another transaction's receipt");
                looked.unseen.extend_from_slice(keys);
            }
            Ok(None) => {
                let first = keys.iter().filter_map(|key| Some((key, told.get(key)?)));
                let is_lost = match first.max_by_key(|(_, told)| told.block_hash.is_some()) {
                    Some((key, first)) => self.is_lost(key, first).await,
                    None => Ok(false),
                };
                match is_lost {
                    Ok(true) => looked.lost.extend_from_slice(keys),
                    Ok(false) => {
                        self.note_denial(keys);
                        looked.unseen.extend_from_slice(keys);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "can't tell whether it is lost");
                        looked.unseen.extend_from_slice(keys);
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%error, transaction = %hash, "no receipt");
                looked.unseen.extend_from_slice(keys);
            }
        }
    }

    /// The transaction is in a block, perhaps another than before: in that it may have made other payments.
    async fn look_in(
        &self,
        keys: &[PaymentKey],
        told: &BTreeMap<PaymentKey, Told>,
        receipt: &Receipt,
        looked: &mut Looked,
    ) -> Result<(), LedgerError> {
        let (hash, block): (_, u64) = (receipt.transaction_hash, receipt.block_number.to());
        let mut endings = Vec::new();
        for key in keys {
            let Some(told) = told.get(key) else { continue };
            // The number alone does not tell a block from the one that took its place.
            if told.block == block && told.block_hash.is_some() && told.block_hash == receipt.block_hash {
                looked.seen.insert(key.clone());
                continue;
            }
            let Some(job) = self.journal.settlement(key).await?.and_then(|record| self.job_of(&record))
            else {
                looked.unseen.push(key.clone());
                continue;
            };
            if job.payment.is_paid_by(receipt) {
                if told.block == block {
                    self.found_in(key, receipt);
                    looked.seen.insert(key.clone());
                } else {
                    endings.push((key.clone(), Ending::Settled { hash: hash.to_string(), block }));
                }
                continue;
            }
            match self.is_unmade(&job, hash, block, Some(receipt)).await {
                // What failed there may go another way in another block.
                Ok(true) => looked.lost.push(key.clone()),
                Ok(false) => {
                    tracing::warn!(
                        payment = %key, transaction = %hash,
                        "the node's receipt does not fit with what else it says: not taken back"
                    );
                    looked.unseen.push(key.clone());
                }
                Err(error) => {
                    tracing::warn!(payment = %key, %error, "can't be established as undone");
                    looked.unseen.push(key.clone());
                }
            }
        }
        if endings.is_empty() {
            return Ok(());
        }
        let (network, now) = (&self.chain.config.network, self.chain.host_now());
        let answers = self.journal.finish(network, &[], &endings, now).await?;
        for ((key, _), answer) in endings.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    self.found_in(&key, receipt);
                    looked.seen.insert(key);
                }
                Err(error) => {
                    tracing::error!(payment = %key, %error, "another block can't be recorded");
                    looked.unseen.push(key);
                }
            }
        }
        Ok(())
    }

    /// It is made in the receipt's block.
    fn found_in(&self, key: &PaymentKey, receipt: &Receipt) {
        self.watch.state.lock().unfinal.insert(key.clone(), Told::by(receipt));
    }

    /// Notes what was found, and since when nothing is known of the others.
    fn note(&self, looked: &Looked, told: &BTreeMap<PaymentKey, Told>) {
        let mut state = self.watch.state.lock();
        let same = |key: &PaymentKey, now: &Told| told.get(key).is_some_and(|told| told.hash == now.hash);
        for key in &looked.seen {
            if let Some(told) = state.unfinal.get_mut(key).filter(|now| same(key, now)) {
                let (hash, block, block_hash) = (told.hash, told.block, told.block_hash);
                *told = Told { block_hash, ..Told::at(hash, block) };
            }
        }
        for key in &looked.unseen {
            let Some(told) = state.unfinal.get_mut(key).filter(|now| same(key, now)) else { continue };
            told.unseen = told.unseen.saturating_add(1);
            let since = *told.unseen_since.get_or_insert_with(Instant::now);
            if since.elapsed() < SET_ASIDE_AFTER {
                continue;
            }
            told.rests_until = Instant::now().checked_add(SET_ASIDE_FOR);
            tracing::error!(
                payment = %key, transaction = %told.hash, block = told.block,
                "it was told as settled, and can neither be found nor shown to be lost: set aside, not final"
            );
            let network = self.chain.config.network.to_string();
            metrics::counter!("tollway_evm_set_aside_total", "network" => network).increment(1);
        }
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
            (Some(_), None) if told.denials >= BELIEVED => {
                let record = self.journal.settlement(key).await;
                let record = record.map_err(|_| RpcError::Unreachable("the ledger can't be read"))?;
                let Some(job) = record.and_then(|record| self.job_of(&record)) else { return Ok(false) };
                self.is_unmade(&job, told.hash, told.block, None).await
            }
            (Some(_), None) | (None, _) => Ok(false),
        }
    }

    /// Whether the payment is not made in transaction `hash`, by more than the receipt: another one made or ended it, or
    /// its nonce is free. `shown` is the receipt that doesn't show it, if there is one; one without its logs looks the
    /// same.
    async fn is_unmade(
        &self,
        job: &Job,
        hash: B256,
        block: u64,
        shown: Option<&Receipt>,
    ) -> Result<bool, RpcError> {
        match self.chain.fate(&job.payment).await? {
            Fate::Paid(receipt) | Fate::Gone(receipt) => Ok(receipt.transaction_hash != hash),
            Fate::Untold if job.payment.is_delegated() => match shown {
                Some(receipt) => self.chain.is_confirmed(&job.payment, receipt).await,
                None => Ok(true),
            },
            Fate::Untold => {
                let head = self.chain.rpc.block().await?.number;
                Ok(head.to::<u64>() >= block && !self.chain.is_used_at(&job.payment, head).await?)
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

/// Which receipts are asked for in which round trip: those that were not found before alone, and last.
fn round_trips(told: &BTreeMap<PaymentKey, Told>) -> Vec<Vec<B256>> {
    let mut unseen: BTreeMap<B256, u32> = BTreeMap::new();
    for told in told.values() {
        let most = unseen.entry(told.hash).or_default();
        *most = told.unseen.max(*most);
    }
    let (clean, mut doubtful): (Vec<_>, Vec<_>) = unseen.into_iter().partition(|(_, unseen)| *unseen == 0);
    let clean: Vec<B256> = clean.into_iter().map(|(hash, _)| hash).collect();
    doubtful.sort_by_key(|(_, unseen)| *unseen);
    let alone = doubtful.into_iter().take(ALONE).map(|(hash, _)| vec![hash]);
    clean.chunks(TOGETHER).map(<[B256]>::to_vec).chain(alone).collect()
}
