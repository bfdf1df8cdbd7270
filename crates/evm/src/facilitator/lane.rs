//! A sending account: the payments that wait for it, its nonces, and its transactions on their way.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tollway_ledger::{Lease, Record, SignedTransaction};
use tollway_protocol::bind::{PaymentKey, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::Outcome;

use crate::facilitator::fees::Purse;
use crate::facilitator::flight::Flight;
use crate::facilitator::job::Job;
use crate::facilitator::payment::{Decoded, Told};
use crate::keys::Key;

/// Seconds after a payment's window by which no block can hold it any more.
pub(crate) const DEAD_AFTER_SECONDS: u64 = 60;

/// A payment that waits to be sent.
pub(crate) struct Ticket {
    pub(crate) job: Arc<Job>,
    /// What takes it; none when it was taken before.
    pub(crate) claim: Option<Box<Verified>>,
    /// For one that was taken before: its latest transaction, none if there was none. Unless that is so when it is
    /// signed, another process has it. Not asked where this is none.
    pub(crate) last: Option<Option<String>>,
    /// What the payer is given, in wei, for the gas of its approval: with 0 it is the payment that is to be sent.
    pub(crate) gift: U256,
    pub(crate) flight: Arc<Flight>,
    pub(crate) word: oneshot::Sender<Word>,
}

/// What the engine tells a payment's pilot.
#[derive(Debug)]
pub(crate) enum Word {
    /// Its end is recorded.
    Ended(Outcome),
    /// It was not sent and nothing was recorded.
    Refused(Outcome),
    /// Another settlement had taken it.
    Taken(Box<Record>),
    /// Its transaction is mined, and that did not pay.
    Unpaid,
    /// Its transaction can't be mined: the nonce was spent otherwise.
    Spent,
    /// No account of this process can send now.
    NoSender,
    /// The store failed: whether it is recorded is not known.
    Unsure(String),
}

impl Ticket {
    pub(crate) fn tell(self, word: Word) {
        // The pilot may have gone with its runtime.
        let _ = self.word.send(word);
    }
}

/// A payment in a transaction.
pub(crate) struct Member {
    pub(crate) job: Arc<Job>,
    pub(crate) flight: Option<Arc<Flight>>,
    pub(crate) word: Option<oneshot::Sender<Word>>,
    /// Whether its transaction can't help it any more: it has ended, or its time is over.
    pub(crate) is_lost: bool,
}

impl Member {
    pub(crate) fn key(&self) -> &PaymentKey {
        &self.job.effects.key
    }

    pub(crate) fn tell(&mut self, word: Word) {
        if let Some(waiting) = self.word.take() {
            let _ = waiting.send(word);
        }
    }
}

/// A nonce that is signed for and not spent for good.
pub(crate) struct Sent {
    /// Every transaction that was signed under it, the latest last: any of them may be mined.
    pub(crate) versions: Vec<(B256, SignedTransaction)>,
    pub(crate) members: Vec<Member>,
    /// When the latest was broadcast.
    pub(crate) at: Instant,
    pub(crate) bumps: u32,
    /// Looks at the chain since then that did not find it.
    pub(crate) looks: u32,
    /// Which of them was found in which block, not deep enough yet.
    pub(crate) seen: Option<(B256, u64)>,
    /// Looks at which the nonce was spent and none of the versions was to be found.
    pub(crate) missing: u32,
}

impl Sent {
    pub(crate) fn new(hash: B256, signed: SignedTransaction, members: Vec<Member>) -> Self {
        let versions = vec![(hash, signed)];
        Self { versions, members, at: Instant::now(), bumps: 0, looks: 0, seen: None, missing: 0 }
    }

    pub(crate) fn latest(&self) -> Option<&(B256, SignedTransaction)> {
        self.versions.last()
    }

    /// Whether no payment has anything to gain from it at `now`.
    pub(crate) fn is_hopeless(&self, now: UnixTime) -> bool {
        self.members
            .iter()
            .all(|member| member.is_lost || member.job.effects.window.closes.plus(DEAD_AFTER_SECONDS) < now)
    }
}

/// A sending account on one network.
pub(crate) struct Lane {
    pub(crate) key: Key,
    pub(crate) purse: Purse,
    pub(crate) state: Mutex<State>,
    /// The right to send; held while transactions are signed, so that their nonces come in order.
    pub(crate) lease: tokio::sync::Mutex<Option<Lease>>,
    pub(crate) wakes: Notify,
}

/// What changes of it.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) queue: VecDeque<Ticket>,
    /// Whether a task works on the queue.
    pub(crate) is_driven: bool,
    /// The next nonce, when it is known.
    pub(crate) next: Option<u64>,
    pub(crate) sent: BTreeMap<u64, Sent>,
    pub(crate) last_sent: Option<Instant>,
    /// Whether this process has the lease.
    pub(crate) is_leased: bool,
}

impl State {
    /// Transactions that are in no block yet.
    pub(crate) fn on_their_way(&self) -> usize {
        self.sent.values().filter(|sent| sent.seen.is_none()).count()
    }

    /// Takes the next payments for one transaction: one that must go alone, or up to `most` that may share it.
    pub(crate) fn group(&mut self, most: usize) -> Vec<Ticket> {
        // What failed beside others goes alone the next time.
        let alone = |ticket: &Ticket| !ticket.job.payment.is_safe() || matches!(ticket.last, Some(Some(_)));
        if most == 1 || self.queue.front().is_some_and(alone) {
            return self.queue.pop_front().into_iter().collect();
        }
        let (mut group, mut rest) = (Vec::new(), VecDeque::new());
        let mut told = Transfers::default();
        for ticket in self.queue.drain(..) {
            if group.len() < most && !alone(&ticket) && told.admits(&ticket.job.payment) {
                group.push(ticket);
            } else {
                rest.push_back(ticket);
            }
        }
        self.queue = rest;
        group
    }
}

/// The transfers in one transaction. One by Permit2 is known by its transfer alone: no other payment, by whatever
/// method, may make the same one beside it.
#[derive(Default)]
struct Transfers {
    all: HashSet<Told>,
    alone: HashSet<Told>,
}

impl Transfers {
    /// Adds the payment's transfer, if it can be told from the others.
    fn admits(&mut self, payment: &Decoded) -> bool {
        let told = payment.told();
        let clashes = if payment.is_told_by_transfer() { &self.all } else { &self.alone };
        if clashes.contains(&told) {
            return false;
        }
        self.all.insert(told);
        if payment.is_told_by_transfer() {
            self.alone.insert(told);
        }
        true
    }
}

impl Lane {
    pub(crate) fn new(key: Key) -> Self {
        Self {
            purse: Purse::new(key.address()),
            key,
            state: Mutex::default(),
            lease: tokio::sync::Mutex::new(None),
            wakes: Notify::new(),
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.key.address()
    }

    pub(crate) fn name(&self) -> String {
        self.key.address().to_string()
    }

    /// Whether one of its transactions that can still be mined carries the payment.
    pub(crate) fn carries(&self, key: &PaymentKey) -> bool {
        let state = self.state.lock();
        state.sent.values().any(|sent| sent.members.iter().any(|member| member.key() == key))
    }

    /// Has `word` told when the payment's transaction is decided; gives it back when none carries the payment.
    pub(crate) fn attach(
        &self,
        key: &PaymentKey,
        flight: &Arc<Flight>,
        word: oneshot::Sender<Word>,
    ) -> Result<(), oneshot::Sender<Word>> {
        let mut state = self.state.lock();
        let members = state.sent.values_mut().flat_map(|sent| sent.members.iter_mut());
        match members.into_iter().find(|member| member.key() == key && !member.is_lost) {
            Some(member) => {
                member.flight = Some(flight.clone());
                member.word = Some(word);
                Ok(())
            }
            None => Err(word),
        }
    }

    /// Says that the payment has nothing to gain from its transaction any more.
    pub(crate) fn lose(&self, key: &PaymentKey) {
        let mut state = self.state.lock();
        let members = state.sent.values_mut().flat_map(|sent| sent.members.iter_mut());
        for member in members.filter(|member| member.key() == key) {
            member.is_lost = true;
        }
    }
}
