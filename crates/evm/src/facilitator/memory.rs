//! What this process remembers of payments, bounded; nothing of it decides who is paid.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use alloy_primitives::{Address, B256};
use parking_lot::Mutex;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;

use crate::facilitator::payment::Terms;

/// The most entries that are kept.
const MOST: usize = 65_536;

/// A map that forgets its oldest entries.
struct Recent<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn new() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }

    fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

/// Payments that were found good and unused here: only these may be found settled by a stranger's
/// transaction, so that nobody presents here what was paid elsewhere.
///
/// The terms are in boxes, as they are large and the map is rebuilt as it grows.
pub(crate) struct Unused(Mutex<Recent<PaymentKey, Box<Terms>>>);

impl Unused {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Recent::new()))
    }

    pub(crate) fn note(&self, key: &PaymentKey, terms: &Terms) {
        self.0.lock().insert(key.clone(), Box::new(terms.clone()));
    }

    pub(crate) fn was(&self, key: &PaymentKey, terms: &Terms) -> bool {
        let recent = self.0.lock();
        recent.entries.get(key).is_some_and(|known| **known == *terms)
    }
}

/// Delegations that were redeemed in vain, by manager and delegator. Not kept in the ledger under the delegator's name:
/// anyone can name a delegator, who would then be refused for it by every method.
#[derive(Default)]
pub(crate) struct InVain(Mutex<Option<Recent<Whose, Vec<UnixTime>>>>);

/// A manager and a delegator.
type Whose = (Address, Address);

impl InVain {
    pub(crate) fn note(&self, whose: Whose, now: UnixTime) {
        let mut all = self.0.lock();
        let recent = all.get_or_insert_with(Recent::new);
        let mut times = recent.entries.get(&whose).cloned().unwrap_or_default();
        times.retain(|at| *at > now.minus(DAY_SECONDS));
        times.push(now);
        recent.insert(whose, times);
    }

    /// How many that were in the 24 hours before `now`.
    pub(crate) fn times(&self, whose: Whose, now: UnixTime) -> u64 {
        let all = self.0.lock();
        let times = all.as_ref().and_then(|recent| recent.entries.get(&whose));
        times.map_or(0, |times| times.iter().filter(|at| **at > now.minus(DAY_SECONDS)).count() as u64)
    }
}

/// Transactions of ours that did not make a payment, without the chain's telling why, by payer. Not kept in the ledger,
/// as a node may not tell: what turns out to be paid is taken out again.
#[derive(Default)]
pub(crate) struct Unexplained(Mutex<Option<Recent<Address, Vec<Unmade>>>>);

/// A payment that a transaction did not make, and when that was found.
#[derive(Clone)]
struct Unmade {
    key: PaymentKey,
    transaction: B256,
    at: UnixTime,
}

impl Unexplained {
    pub(crate) fn note(&self, payer: Address, key: &PaymentKey, transaction: B256, now: UnixTime) {
        let mut all = self.0.lock();
        let recent = all.get_or_insert_with(Recent::new);
        let mut theirs = recent.entries.get(&payer).cloned().unwrap_or_default();
        theirs.retain(|unmade| {
            let is_it = unmade.key == *key && unmade.transaction == transaction;
            !is_it && unmade.at > now.minus(DAY_SECONDS)
        });
        if theirs.len() >= MOST_OF_ONE {
            theirs.remove(0);
        }
        theirs.push(Unmade { key: key.clone(), transaction, at: now });
        recent.insert(payer, theirs);
    }

    /// The payment is made after all.
    pub(crate) fn clear(&self, payer: Address, key: &PaymentKey) {
        if let Some(recent) = self.0.lock().as_mut()
            && let Some(theirs) = recent.entries.get_mut(&payer)
        {
            theirs.retain(|unmade| unmade.key != *key);
        }
    }

    /// How many there were in the 24 hours before `now`.
    pub(crate) fn times(&self, payer: Address, now: UnixTime) -> u64 {
        let all = self.0.lock();
        let theirs = all.as_ref().and_then(|recent| recent.entries.get(&payer));
        theirs.map_or(0, |theirs| {
            theirs.iter().filter(|unmade| unmade.at > now.minus(DAY_SECONDS)).count() as u64
        })
    }
}

/// The most that is kept of one payer.
const MOST_OF_ONE: usize = 256;
const DAY_SECONDS: u64 = 24 * 60 * 60;
