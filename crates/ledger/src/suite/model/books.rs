//! What the facilitator's half should hold, in lists.

use std::collections::{BTreeMap, BTreeSet};

use crate::suite::fixture::NOW;
use crate::{JournalState, Signing};

/// A transaction.
#[derive(Debug, Clone)]
pub(super) struct Carrier {
    pub(super) nonce: u64,
    pub(super) tag: String,
    pub(super) members: Vec<u64>,
    pub(super) sent: bool,
    pub(super) replaced: bool,
    /// The block, and what it cost.
    pub(super) mined: Option<(u64, u64)>,
    pub(super) reverted: BTreeSet<u64>,
    bid: u64,
    hour: u64,
    counted: u64,
}

impl Carrier {
    fn unmine(&mut self) {
        self.mined = None;
        self.reverted.clear();
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    Settled { tag: String, block: u64 },
    Failed { tag: String },
}

/// A settlement.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) order: u64,
    /// The number of the process that holds it.
    pub(super) holder: Option<usize>,
    pub(super) state: JournalState,
    /// The hash that it was told under when it ended.
    pub(super) told: Option<String>,
    pub(super) block: Option<u64>,
    pub(super) is_final: bool,
    /// Whether somebody was told that it is settled.
    pub(super) is_told: bool,
    /// The number of the caller whose key is known.
    asker: Option<u8>,
    /// The number of what it claims.
    pub(super) claim: Option<u8>,
}

impl Entry {
    pub(super) fn is_finished(&self) -> bool {
        matches!(self.state, JournalState::Settled | JournalState::Failed)
    }
}

/// A batch as an operation names it.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// The process that asks.
    pub(super) process: usize,
    pub(super) leased: bool,
    pub(super) new: &'a [u64],
    pub(super) again: &'a [u64],
    /// Payments, and the numbers of what they claim.
    pub(super) claims: &'a [(u64, u8)],
    pub(super) nonce: u64,
    pub(super) tag: &'a str,
    pub(super) bid: u64,
    pub(super) budget: u64,
}

/// What the facilitator's half should hold.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) entries: BTreeMap<u64, Entry>,
    pub(super) carriers: Vec<Carrier>,
    pub(super) hour: u64,
    taken: u64,
}

/// What should come of a batch.
#[derive(Debug, PartialEq)]
pub(super) enum Expected {
    Is(Signing),
    Taken(Vec<u64>),
    Claimed(Vec<u64>),
    Conflict,
}

/// Whether each claim is one new payment's, and no other one's.
fn claims_fit(asked: &Asked<'_>) -> bool {
    let payments: BTreeSet<_> = asked.claims.iter().map(|(n, _)| n).collect();
    let claims: BTreeSet<_> = asked.claims.iter().map(|(_, claim)| claim).collect();
    let each_once = (payments.len(), claims.len()) == (asked.claims.len(), asked.claims.len());
    each_once && payments.into_iter().all(|n| asked.new.contains(n))
}

/// Whose the payment is: the first ones are of callers without keys.
pub(super) fn asker(n: u64) -> Option<u8> {
    u8::try_from(n % 3).ok().filter(|caller| *caller > 0)
}

impl Books {
    pub(super) fn now(&self) -> tollway_protocol::door::UnixTime {
        NOW.plus(self.hour * 3_600)
    }

    pub(super) fn take(&mut self, n: u64, holder: Option<usize>) -> bool {
        if self.entries.contains_key(&n) {
            return false;
        }
        self.taken += 1;
        let state = JournalState::Prepared;
        let entry = Entry {
            order: self.taken,
            holder,
            state,
            told: None,
            block: None,
            is_final: false,
            is_told: asker(n).is_some(),
            asker: asker(n),
            claim: None,
        };
        self.entries.insert(n, entry);
        true
    }

    /// The transactions with the payment, oldest first.
    pub(super) fn history(&self, n: u64) -> impl Iterator<Item = &Carrier> {
        self.carriers.iter().filter(move |carrier| carrier.members.contains(&n))
    }

    /// Whether the process may sign for the payment.
    fn may_sign(&self, n: u64, process: usize) -> bool {
        let may = |entry: &Entry| !entry.is_finished() && entry.holder.is_none_or(|holder| holder == process);
        self.entries.get(&n).is_some_and(may)
    }

    pub(super) fn spent(&self) -> u64 {
        let counts = |carrier: &&Carrier| carrier.hour + 24 >= self.hour;
        self.carriers.iter().filter(counts).map(|carrier| carrier.counted).sum()
    }

    pub(super) fn sign(&mut self, asked: &Asked<'_>) -> Expected {
        if !asked.leased {
            return Expected::Is(Signing::Lost);
        }
        let taken: Vec<_> = asked.new.iter().copied().filter(|n| self.entries.contains_key(n)).collect();
        if !taken.is_empty() {
            return Expected::Taken(taken);
        }
        let claimants = self.claimants(asked.claims);
        if !claimants.is_empty() {
            return Expected::Claimed(claimants);
        }
        let under: Vec<_> = self.carriers.iter().filter(|carrier| carrier.nonce == asked.nonce).collect();
        let stranger = |n: &u64| under.first().is_some_and(|first: &&Carrier| !first.members.contains(n));
        let same = self.carriers.iter().position(|carrier| carrier.tag == asked.tag);
        let all = || asked.new.iter().chain(asked.again).copied();
        let differs = same.is_some_and(|at| {
            let known = &self.carriers[at];
            known.nonce != asked.nonce
                || known.members.iter().copied().collect::<BTreeSet<_>>() != all().collect()
        });
        if !asked.again.iter().all(|n| self.may_sign(*n, asked.process))
            || asked.new.iter().any(|n| asked.again.contains(n))
            || under.iter().any(|carrier| carrier.mined.is_some())
            || all().any(|n| stranger(&n))
            || differs
            || !claims_fit(asked)
        {
            return Expected::Conflict;
        }
        if same.is_none() {
            let counted: u64 = under.iter().map(|carrier| carrier.counted).sum();
            let extra = asked.bid.saturating_sub(counted);
            if extra > 0 && self.spent() + extra > asked.budget {
                return Expected::Is(Signing::OverBudget);
            }
            self.record(asked, extra);
            for (n, claim) in asked.claims {
                self.entries.get_mut(n).unwrap().claim = Some(*claim);
            }
        }
        for n in asked.again {
            self.entries.get_mut(n).unwrap().holder = Some(asked.process);
        }
        Expected::Is(Signing::Done)
    }

    /// Who holds what is claimed, in the order of the claims.
    fn claimants(&self, claims: &[(u64, u8)]) -> Vec<u64> {
        let mut found = Vec::new();
        for (_, claim) in claims {
            let holds = |(_, entry): &(&u64, &Entry)| {
                entry.claim == Some(*claim) && entry.state != JournalState::Failed
            };
            let holder = self.entries.iter().find(holds).map(|(n, _)| *n);
            found.extend(holder.filter(|n| !found.contains(n)));
        }
        found
    }

    fn record(&mut self, asked: &Asked<'_>, counted: u64) {
        for carrier in self.carriers.iter_mut().filter(|carrier| carrier.nonce == asked.nonce) {
            carrier.replaced = true;
        }
        let members: Vec<_> = asked.new.iter().chain(asked.again).copied().collect();
        for n in &members {
            self.take(*n, Some(asked.process));
            let entry = self.entries.get_mut(n).unwrap();
            (entry.state, entry.told) = (JournalState::Signed, None);
        }
        self.carriers.push(Carrier {
            nonce: asked.nonce,
            tag: asked.tag.to_owned(),
            members,
            sent: false,
            replaced: false,
            mined: None,
            reverted: BTreeSet::new(),
            bid: asked.bid,
            hour: self.hour,
            counted,
        });
    }

    pub(super) fn sent(&mut self, tag: &str) -> bool {
        let Some(at) = self.carriers.iter().position(|carrier| carrier.tag == tag) else { return false };
        self.carriers[at].sent = true;
        for n in self.carriers[at].members.clone() {
            let is_latest = self.history(n).last().unwrap().tag == tag;
            let entry = self.entries.get_mut(&n).unwrap();
            if is_latest && entry.state == JournalState::Signed {
                entry.state = JournalState::Broadcast;
            }
        }
        true
    }

    pub(super) fn mine(&mut self, tag: &str, block: u64, fee: u64, reverted: &[u64]) {
        let Some(at) = self.carriers.iter().position(|carrier| carrier.tag == tag) else { return };
        if self.carriers[at].mined.is_some_and(|(known, _)| known > block) {
            return;
        }
        let is_again = self.carriers[at].mined.is_some_and(|(known, _)| known == block);
        let before = if is_again { self.carriers[at].reverted.clone() } else { BTreeSet::new() };
        let nonce = self.carriers[at].nonce;
        for carrier in self.carriers.iter_mut().filter(|carrier| carrier.nonce == nonce) {
            carrier.unmine();
            carrier.counted = 0;
        }
        let mined = &mut self.carriers[at];
        (mined.mined, mined.counted) = (Some((block, fee)), fee);
        let now = reverted.iter().copied().filter(|n| mined.members.contains(n));
        mined.reverted = before.into_iter().chain(now).collect();
    }

    pub(super) fn end(&mut self, n: u64, end: &End) -> bool {
        let Some(entry) = self.entries.get_mut(&n) else { return false };
        let (state, tag, block) = match end {
            End::Settled { tag, block } => (JournalState::Settled, tag, Some(*block)),
            End::Failed { tag } => (JournalState::Failed, tag, None),
        };
        if entry.is_finished() {
            let same = entry.state == state && entry.told.as_ref() == Some(tag);
            if same && !entry.is_final {
                entry.block = entry.block.max(block);
            }
            return same;
        }
        (entry.state, entry.told, entry.block) = (state, Some(tag.clone()), block);
        (entry.holder, entry.is_final) = (None, state == JournalState::Failed);
        true
    }

    pub(super) fn never_mined(&mut self, tag: &str) {
        let dead = |carrier: &&mut Carrier| carrier.tag == tag && carrier.mined.is_none();
        if let Some(carrier) = self.carriers.iter_mut().find(dead) {
            carrier.counted = 0;
        }
    }

    /// Whether this caller is told; None when it is not settled.
    pub(super) fn tell(&mut self, n: u64, asker: Option<u8>) -> Option<bool> {
        let entry = self.entries.get_mut(&n).filter(|entry| entry.state == JournalState::Settled)?;
        let is_first = entry.asker.is_none() && !entry.is_told;
        if is_first {
            (entry.is_told, entry.asker) = (true, asker);
            return Some(true);
        }
        let is_known = asker.is_some() && entry.asker == asker;
        entry.is_told |= is_known;
        Some(is_known)
    }

    pub(super) fn take_back(&mut self, keys: &[u64], process: usize) -> bool {
        let may = |n| {
            let entry: Option<&Entry> = self.entries.get(n);
            entry.is_some_and(|entry| entry.state == JournalState::Settled && !entry.is_final)
        };
        if !keys.iter().all(may) {
            return false;
        }
        for n in keys {
            let entry = self.entries.get_mut(n).unwrap();
            let from = entry.block.take();
            (entry.state, entry.holder) = (JournalState::Broadcast, Some(process));
            for at in 0..self.carriers.len() {
                let carrier = &self.carriers[at];
                if carrier.members.contains(n) && carrier.mined.is_some_and(|(block, _)| Some(block) >= from)
                {
                    let nonce = carrier.nonce;
                    let bids = self.carriers.iter().filter(|other| other.nonce == nonce);
                    let highest = bids.map(|other| other.bid).max().unwrap();
                    self.carriers[at].unmine();
                    self.carriers[at].counted = highest;
                }
            }
        }
        true
    }

    pub(super) fn finalize(&mut self, upto: u64) -> u64 {
        let mut count = 0;
        for entry in self.entries.values_mut() {
            if entry.state == JournalState::Settled && !entry.is_final && entry.block <= Some(upto) {
                entry.is_final = true;
                count += 1;
            }
        }
        count
    }

    pub(super) fn abandon(&mut self, n: u64, process: usize) -> bool {
        let Some(entry) = self.entries.get(&n) else { return true };
        let may = entry.state == JournalState::Prepared
            && self.history(n).next().is_none()
            && entry.holder.is_none_or(|holder| holder == process);
        if may {
            self.entries.remove(&n);
        }
        may
    }

    /// The settlements, oldest first.
    pub(super) fn in_order(&self) -> Vec<(u64, &Entry)> {
        let mut all: Vec<_> = self.entries.iter().map(|(n, entry)| (*n, entry)).collect();
        all.sort_unstable_by_key(|(_, entry)| entry.order);
        all
    }

    /// Without those that have a transaction, when its account is leased to another process.
    pub(super) fn take_over(&mut self, limit: usize, process: usize, leased_away: bool) -> Vec<u64> {
        let free = |(n, entry): &(u64, &Entry)| {
            let left = leased_away && self.history(*n).next().is_some();
            (!entry.is_finished() && entry.holder.is_none() && !left).then_some(*n)
        };
        let taken: Vec<_> = self.in_order().iter().filter_map(free).take(limit).collect();
        for n in &taken {
            self.entries.get_mut(n).unwrap().holder = Some(process);
        }
        taken
    }

    pub(super) fn fee(&self, n: u64) -> Option<u64> {
        let shares = self
            .history(n)
            .filter_map(|carrier| carrier.mined.map(|(_, fee)| fee.div_ceil(carrier.members.len() as u64)));
        shares.reduce(|sum, share| sum + share)
    }

    pub(super) fn reverts(&self) -> u64 {
        self.carriers.iter().map(|carrier| carrier.reverted.len() as u64).sum()
    }
}
