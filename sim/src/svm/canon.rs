//! What the chain has confirmed, and what it once had: transactions that our fee payers pay for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use serde_json::json;
use tollway_devnet::svm::Address;

use super::Svm;
use super::land::Land;
use super::purse::Transfer;
use crate::side;

/// The chain, as it is known without a node in between.
#[derive(Debug, Default)]
pub struct Canon {
    /// The confirmed transactions, and whether each failed.
    pub now: BTreeMap<String, bool>,
    /// Transactions that were confirmed at any time, and whether they failed.
    pub ever: BTreeSet<(String, bool)>,
    /// Transactions that a fork took back.
    pub lost: BTreeSet<String>,
    /// What payers have signed, by the signature that it lands under.
    pub signed: BTreeMap<String, Transfer>,
    read: usize,
    slot: u64,
    /// Transactions and forks, and since how many slots there are so many.
    quiet: ((u64, u64), u64),
    twice: Option<String>,
}

impl Canon {
    /// Whether a fork took this payment, or another one of its payer's with its memo, out of a block at any time.
    #[must_use]
    pub fn is_shaken(&self, transfer: &Transfer) -> bool {
        self.lost.contains(&transfer.hash)
            || self.lost.iter().filter_map(|hash| self.signed.get(hash)).any(|one| is_same(one, transfer))
    }

    fn read_signed(&mut self, land: &Land) {
        let signed = land.signed.lock();
        for transfer in &signed[self.read..] {
            self.signed.insert(transfer.hash.clone(), transfer.clone());
        }
        self.read = signed.len();
    }

    fn read_chain(&mut self, land: &Land) {
        let mut now = BTreeMap::new();
        for signer in &land.signers {
            let found = land
                .ask("getSignaturesForAddress", &json!([signer.to_string(), {"commitment": "confirmed"}]));
            for one in found.as_array().unwrap() {
                let (hash, failed) = (one["signature"].as_str().unwrap(), !one["err"].is_null());
                now.insert(hash.to_owned(), failed);
            }
        }
        self.lost.extend(self.now.keys().filter(|hash| !now.contains_key(*hash)).cloned());
        self.ever.extend(now.iter().map(|(hash, failed)| (hash.clone(), *failed)));
        self.now = now;
        self.find_twice();
    }

    /// A payer's memo tells one payment from the next: two transfers with one are one payment, made twice.
    fn find_twice(&mut self) {
        let mut seen: BTreeMap<(Address, &str), &Transfer> = BTreeMap::new();
        let paid = self.now.iter().filter(|(_, failed)| !**failed);
        for transfer in paid.filter_map(|(hash, _)| self.signed.get(hash)) {
            let other = seen.insert((transfer.payer, &transfer.memo), transfer);
            if other.is_some() && !self.is_shaken(transfer) {
                self.twice = Some(format!("{}'s payment {}", transfer.payer, transfer.memo));
                return;
            }
        }
    }
}

/// Whether both are one intent of one payer.
pub(super) fn is_same(one: &Transfer, other: &Transfer) -> bool {
    (one.payer, &one.memo) == (other.payer, &other.memo)
}

impl side::Canon<Svm> for Canon {
    fn follow(&mut self, land: &Land) {
        self.read_signed(land);
        let slot = land.chain.slot();
        if slot == self.slot {
            return;
        }
        self.slot = slot;
        let info = land.ask("getEpochInfo", &json!([{"commitment": "confirmed"}]));
        let state = (info["transactionCount"].as_u64().unwrap(), land.forks.load(Ordering::Relaxed));
        let slots = if self.quiet.0 == state { self.quiet.1 + 1 } else { 0 };
        self.quiet = (state, slots);
        // What was executed in one slot is confirmed in the next.
        if slots < 2 {
            self.read_chain(land);
        }
    }

    fn twice(&self) -> Option<String> {
        self.twice.clone()
    }

    fn head(&self) -> String {
        self.slot.to_string()
    }

    fn is_lost(&self, hash: &str) -> bool {
        self.lost.contains(hash)
    }

    fn paid_in(&self, t: &Transfer) -> Option<String> {
        (self.now.get(&t.hash) == Some(&false)).then(|| t.hash.clone())
    }

    fn has(&self, t: &Transfer) -> bool {
        self.now.get(&t.hash) == Some(&false)
    }

    fn had(&self, t: &Transfer, hash: &str) -> bool {
        t.hash == hash && self.ever.contains(&(t.hash.clone(), false))
    }

    fn is_about(&self, t: &Transfer, hash: &str) -> bool {
        t.hash == hash || self.signed.get(hash).is_some_and(|other| is_same(other, t))
    }
}
