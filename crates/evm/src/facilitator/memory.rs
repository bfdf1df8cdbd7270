//! What this process remembers of payments, bounded; nothing of it decides who is paid.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use parking_lot::Mutex;
use tollway_protocol::bind::PaymentKey;

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
pub(crate) struct Unused(Mutex<Recent<PaymentKey, Terms>>);

impl Unused {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Recent::new()))
    }

    pub(crate) fn note(&self, key: &PaymentKey, terms: &Terms) {
        self.0.lock().insert(key.clone(), terms.clone());
    }

    pub(crate) fn was(&self, key: &PaymentKey, terms: &Terms) -> bool {
        let recent = self.0.lock();
        recent.entries.get(key) == Some(terms)
    }
}
