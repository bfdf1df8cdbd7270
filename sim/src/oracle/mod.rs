//! What has to hold: S1 to S11 of the threat model, as far as a facilitator can break them. It sees what leaves the
//! processes, what the store holds and what the chain has, and never what the engine thinks.

mod answers;
mod ending;
mod ledger;

use std::collections::{BTreeMap, BTreeSet};

use tollway_ledger::JournalState;
use tollway_protocol::bind::PaymentKey;

use crate::side::{Canon as _, Side};
use crate::world::World;

pub use answers::Call;
pub use ending::Verdict;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its name, as in the threat model.
    pub rule: &'static str,
    /// How.
    pub text: String,
}

/// What the run's facilitators may do.
#[derive(Debug, Clone)]
pub struct Limits<A> {
    /// The accounts that they send from.
    pub signers: Vec<A>,
    /// The most that may be bid in a day, in gwei or lamports.
    pub budget: u64,
    /// Reverts of a payer until it is refused.
    pub reverts: u64,
}

/// How a settlement was when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// How far it was.
    pub state: JournalState,
    /// The transaction that it ended in.
    pub hash: Option<String>,
    /// Whether it was to stay so.
    pub is_final: bool,
}

/// When a payment was taken, by whom, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Birth<T> {
    pub(crate) millis: u64,
    pub(crate) replica: usize,
    /// How many calls for it were open then: of one alone it is known that it was the cause.
    pub(crate) calls: i64,
    pub(crate) transfer: T,
}

/// What was seen so far.
pub struct Oracle<S: Side> {
    /// The first rule that was broken.
    pub broken: Option<Violation>,
    /// What the chain has.
    pub canon: S::Canon,
    /// What may be done.
    pub limits: Limits<S::Account>,
    /// What the chain's own rules remember.
    pub notes: S::Notes,
    rows: BTreeMap<PaymentKey, Shadow>,
    txs: usize,
    pub(crate) births: BTreeMap<PaymentKey, Birth<S::Transfer>>,
    settled: BTreeSet<(PaymentKey, String)>,
    /// When an answer first named a payment's transaction, and whose answer that was.
    named: BTreeMap<PaymentKey, (u64, usize)>,
    only_verified: BTreeSet<PaymentKey>,
    /// When each payment was first asked to be settled, and how often it was.
    asked: BTreeMap<PaymentKey, (u64, u64)>,
    /// How many calls for each payment are not answered; those that a dead replica had never are.
    open: BTreeMap<PaymentKey, i64>,
    /// When each payer's reverts were recorded.
    reverts: BTreeMap<String, Vec<u64>>,
}

impl<S: Side> Oracle<S> {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(limits: Limits<S::Account>) -> Self {
        Self {
            broken: None,
            canon: S::Canon::default(),
            limits,
            notes: S::Notes::default(),
            rows: BTreeMap::new(),
            txs: 0,
            births: BTreeMap::new(),
            settled: BTreeSet::new(),
            named: BTreeMap::new(),
            only_verified: BTreeSet::new(),
            asked: BTreeMap::new(),
            open: BTreeMap::new(),
            reverts: BTreeMap::new(),
        }
    }

    /// Says that a rule is broken; the first one counts.
    pub fn breaks(&mut self, world: &World<S>, rule: &'static str, text: String) {
        if self.broken.is_none() {
            world.trace.note(&format!("BROKEN {rule}: {text}"));
            self.broken = Some(Violation { rule, text });
        }
    }

    /// A payment that is only to be verified.
    pub fn only_verified(&mut self, key: &PaymentKey) {
        self.only_verified.insert(key.clone());
    }

    /// A payment is asked to be settled; says how often that was before.
    pub fn asked(&mut self, key: &PaymentKey, millis: u64) -> u64 {
        let (_, times) = self.asked.entry(key.clone()).or_insert((millis, 0));
        *times += 1;
        *self.open.entry(key.clone()).or_default() += 1;
        *times - 1
    }

    /// S9: a transaction leaves a replica; it has to be in the store.
    pub fn left(&mut self, world: &World<S>, replica: usize, hash: &str, raw: &[u8]) {
        world.trace.note(&format!("r{replica} sends {hash}"));
        let is_stored =
            world.tables.lock().txs.iter().any(|tx| tx.signed.hash == hash && tx.signed.raw == raw);
        if !is_stored {
            self.breaks(world, "S9", format!("r{replica} sent {hash}, which the store doesn't have"));
        }
    }

    /// After each step and each block.
    pub fn looks(&mut self, world: &World<S>) {
        self.canon.follow(&world.land);
        if let Some(payment) = self.canon.twice() {
            self.breaks(world, "S3", format!("{payment} was made twice"));
        }
        let unknown = S::conserves(world, self, &world.tables.lock());
        if let Some((rule, text)) = unknown {
            self.breaks(world, rule, text);
        }
    }
}
