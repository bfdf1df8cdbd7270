//! What this process remembers of payments and payers, bounded; nothing of it decides who is paid.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use tollway_protocol::bind::PaymentKey;

use crate::abi::TransferWithAuthorization;

/// The most entries that are kept.
const MOST: usize = 65_536;
/// Reverts of one payer's payments, at our cost, after which it is refused for a day.
const MOST_REVERTS: u32 = 3;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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
pub(crate) struct Unused(Mutex<Recent<PaymentKey, TransferWithAuthorization>>);

impl Unused {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Recent::new()))
    }

    pub(crate) fn note(&self, key: &PaymentKey, transfer: &TransferWithAuthorization) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), transfer.clone());
    }

    pub(crate) fn was(&self, key: &PaymentKey, transfer: &TransferWithAuthorization) -> bool {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.entries.get(key) == Some(transfer)
    }
}

/// Payers whose payments passed every check and then reverted on chain.
pub(crate) struct Reverts(Mutex<Recent<Address, (u32, Instant)>>);

impl Reverts {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Recent::new()))
    }

    pub(crate) fn count(&self, payer: Address) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = recent.entries.get(&payer).filter(|(_, since)| since.elapsed() < DAY);
        let (n, since) = before.copied().unwrap_or((0, Instant::now()));
        recent.insert(payer, (n.saturating_add(1), since));
    }

    pub(crate) fn too_many(&self, payer: Address) -> bool {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.entries.get(&payer).is_some_and(|(n, since)| *n >= MOST_REVERTS && since.elapsed() < DAY)
    }
}
