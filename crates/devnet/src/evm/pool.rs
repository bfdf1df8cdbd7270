//! Transactions that wait for a block.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::Arc,
};

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_primitives::{Address, B256, U256};

use super::state::State;

/// More waiting transactions than this are refused.
const CAPACITY: usize = 65_536;
/// By how many percent a replacement must raise the fees.
const RAISE: u128 = 10;

/// A transaction whose sender is known.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) transaction: TxEnvelope,
    pub(crate) from: Address,
    /// Sent by `eth_sendTransaction` for an account whose key nobody has.
    pub(crate) impersonated: bool,
}

impl Candidate {
    pub(crate) fn hash(&self) -> B256 {
        *self.transaction.tx_hash()
    }

    /// The most that it can take from its sender.
    pub(crate) fn cost(&self) -> U256 {
        let fee = U256::from(self.transaction.max_fee_per_gas()) * U256::from(self.transaction.gas_limit());
        fee.saturating_add(self.transaction.value())
    }

    fn outbids(&self, other: &Self) -> bool {
        let raised = |new: u128, old: u128| {
            new >= old.saturating_add((old.saturating_mul(RAISE)).div_ceil(100).max(1))
        };
        let (new, old) = (&self.transaction, &other.transaction);
        raised(new.max_fee_per_gas(), old.max_fee_per_gas()) && raised(tip(new), tip(old))
    }
}

fn tip(transaction: &TxEnvelope) -> u128 {
    transaction.max_priority_fee_per_gas().unwrap_or_else(|| transaction.max_fee_per_gas())
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolError {
    #[error("already known")]
    Known,
    #[error("replacement transaction underpriced")]
    Underpriced,
    #[error("txpool is full")]
    Full,
}

#[derive(Clone)]
struct Waiting {
    candidate: Arc<Candidate>,
    arrival: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Pool {
    senders: HashMap<Address, BTreeMap<u64, Waiting>>,
    hashes: HashMap<B256, Arc<Candidate>>,
    arrivals: u64,
}

impl Pool {
    pub(crate) fn get(&self, hash: &B256) -> Option<&Arc<Candidate>> {
        self.hashes.get(hash)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Takes a candidate, in place of one with the same nonce if it pays more.
    pub(crate) fn insert(&mut self, candidate: impl Into<Arc<Candidate>>) -> Result<B256, PoolError> {
        let candidate = candidate.into();
        let (hash, nonce) = (candidate.hash(), candidate.transaction.nonce());
        if self.hashes.contains_key(&hash) {
            return Err(PoolError::Known);
        }
        let replaced = self.senders.get(&candidate.from).and_then(|queue| queue.get(&nonce));
        match replaced.map(|waiting| &waiting.candidate) {
            Some(old) if !candidate.outbids(old) => return Err(PoolError::Underpriced),
            Some(old) => {
                let old = old.hash();
                self.hashes.remove(&old);
            }
            None if self.hashes.len() >= CAPACITY => return Err(PoolError::Full),
            None => {}
        }
        self.hashes.insert(hash, candidate.clone());
        let waiting = Waiting { candidate: candidate.clone(), arrival: self.arrivals };
        self.senders.entry(candidate.from).or_default().insert(nonce, waiting);
        self.arrivals += 1;
        Ok(hash)
    }

    /// Takes one out.
    pub(crate) fn drop_transaction(&mut self, hash: &B256) -> bool {
        let Some(candidate) = self.hashes.remove(hash) else { return false };
        if let Some(queue) = self.senders.get_mut(&candidate.from) {
            queue.remove(&candidate.transaction.nonce());
            if queue.is_empty() {
                self.senders.remove(&candidate.from);
            }
        }
        true
    }

    pub(crate) fn clear(&mut self) {
        self.senders.clear();
        self.hashes.clear();
    }

    /// Forgets what can never be mined any more.
    pub(crate) fn forget_used_nonces(&mut self, state: &State) {
        let hashes = &mut self.hashes;
        self.senders.retain(|sender, queue| {
            let kept = queue.split_off(&state.nonce(*sender));
            for waiting in std::mem::replace(queue, kept).into_values() {
                hashes.remove(&waiting.candidate.hash());
            }
            !queue.is_empty()
        });
    }

    /// The nonce after the ones that follow each other from the state's.
    pub(crate) fn next_nonce(&self, sender: Address, state: &State) -> u64 {
        let first = state.nonce(sender);
        let Some(queue) = self.senders.get(&sender) else { return first };
        queue
            .range(first..)
            .map(|(nonce, _)| *nonce)
            .zip(first..)
            .take_while(|(have, want)| have == want)
            .count() as u64
            + first
    }

    /// What the other waiting transactions of this sender can take from it.
    pub(crate) fn promised(&self, sender: Address, except_nonce: u64) -> U256 {
        let Some(queue) = self.senders.get(&sender) else { return U256::ZERO };
        let others = queue.iter().filter(|(nonce, _)| **nonce != except_nonce);
        others.fold(U256::ZERO, |sum, (_, waiting)| sum.saturating_add(waiting.candidate.cost()))
    }

    /// How many can be mined, and how many wait for a nonce before them.
    pub(crate) fn counts(&self, state: &State) -> (u64, u64) {
        let pending = |sender: &Address| self.next_nonce(*sender, state) - state.nonce(*sender);
        let ready = self.senders.keys().map(pending).sum::<u64>();
        (ready, (self.hashes.len() as u64).saturating_sub(ready))
    }

    /// The order in which a block takes them: the highest tip first, then the oldest, each sender's by nonce.
    pub(crate) fn queue<'a>(&'a self, state: &State, base_fee: u64) -> Queue<'a> {
        let mut queue = Queue { pool: self, base_fee, heap: BinaryHeap::new() };
        for sender in self.senders.keys() {
            queue.offer(*sender, state.nonce(*sender));
        }
        queue
    }
}

/// See [`Pool::queue`].
pub(crate) struct Queue<'a> {
    pool: &'a Pool,
    base_fee: u64,
    heap: BinaryHeap<(u128, Reverse<u64>, Address, u64)>,
}

impl<'a> Queue<'a> {
    pub(crate) fn pop(&mut self) -> Option<&'a Arc<Candidate>> {
        let (_, _, sender, nonce) = self.heap.pop()?;
        Some(&self.pool.senders.get(&sender)?.get(&nonce)?.candidate)
    }

    /// The candidate went into the block: its sender's next one may follow.
    pub(crate) fn taken(&mut self, candidate: &Candidate) {
        self.offer(candidate.from, candidate.transaction.nonce() + 1);
    }

    fn offer(&mut self, sender: Address, nonce: u64) {
        let Some(waiting) = self.pool.senders.get(&sender).and_then(|queue| queue.get(&nonce)) else {
            return;
        };
        if let Some(tip) = waiting.candidate.transaction.effective_tip_per_gas(self.base_fee) {
            self.heap.push((tip, Reverse(waiting.arrival), sender, nonce));
        }
    }
}
