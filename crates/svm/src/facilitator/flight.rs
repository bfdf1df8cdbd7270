//! Settlements under way in this process, so that callers can wait for one together. The journal, not this, decides who
//! settles.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use solana_address::Address;
use tokio::sync::{Notify, watch};
use tollway_protocol::IdempotencyKey;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::scheme::Outcome;

/// How far a settlement is.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// The transaction, once it is recorded.
    pub(super) hash: Option<String>,
    /// How it ended.
    pub(super) outcome: Option<Outcome>,
    /// Whose it is besides: who began it may be about to be told in another process, or was by a ledger that is lost.
    pub(super) others: Others,
}

/// Who else may be told of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Others {
    #[default]
    Nobody,
    /// Another process has begun it.
    Process,
    /// It was on the chain before it was recorded here.
    LostLedger,
}

/// All of them.
#[derive(Clone)]
pub(super) struct Flights(Arc<Inner>);

struct Inner {
    open: Mutex<HashMap<PaymentKey, Open>>,
    landed: Notify,
    /// The most that are in the air at a time.
    most: usize,
}

/// What is known of one by others.
struct Open {
    progress: watch::Receiver<Progress>,
    /// Whether who began it still waits.
    began: Weak<()>,
    load: Load,
}

/// What a payment takes from its payer's token account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) source: Address,
    pub(super) amount: u64,
    /// What would be left there, as far as the chain knows.
    pub(super) left: u64,
}

/// A place in a flight, for as long as its caller waits. Who began it is told of success before all others.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) progress: watch::Receiver<Progress>,
    began: Result<Arc<()>, Weak<()>>,
    /// Whether someone may wait for it in another process, with nothing to be known by.
    pub(super) is_shared: bool,
    /// By what its pilot is known besides its own key.
    pub(super) key: Option<IdempotencyKey>,
}

/// One of them, as its pilot holds it; it is over when this is dropped.
pub(super) struct Flight {
    flights: Flights,
    key: PaymentKey,
    progress: watch::Sender<Progress>,
}

/// A place in a flight.
pub(super) enum Boarding {
    /// The caller flies it.
    Pilot(Flight, Seat),
    /// It is in the air.
    Passenger(Seat),
    /// The payer's balance is promised to its payments in the air.
    Overdrawn,
    /// As many are in the air as can be.
    Full,
}

impl Flights {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { open: Mutex::default(), landed: Notify::new(), most }))
    }

    pub(super) fn board(&self, key: &PaymentKey, load: Load) -> Boarding {
        let mut open = self.0.open.lock();
        if let Some(open) = open.get(key) {
            return Boarding::Passenger(open.seat());
        }
        if open.len() >= self.0.most {
            return Boarding::Full;
        }
        let theirs = open.values().filter(|open| open.load.source == load.source);
        let promised = theirs.fold(0u64, |sum, open| sum.saturating_add(open.load.amount));
        if promised > load.left {
            return Boarding::Overdrawn;
        }
        let (sender, progress) = watch::channel(Progress::default());
        let began = Arc::new(());
        open.insert(key.clone(), Open { progress: progress.clone(), began: Arc::downgrade(&began), load });
        let flight = Flight { flights: self.clone(), key: key.clone(), progress: sender };
        Boarding::Pilot(flight, Seat { progress, began: Ok(began), is_shared: false, key: None })
    }

    pub(super) fn find(&self, key: &PaymentKey) -> Option<Seat> {
        self.0.open.lock().get(key).map(Open::seat)
    }

    /// Waits until none is open.
    pub(super) async fn drained(&self) {
        loop {
            let landed = self.0.landed.notified();
            if self.0.open.lock().is_empty() {
                return;
            }
            landed.await;
        }
    }
}

impl Open {
    fn seat(&self) -> Seat {
        Seat { progress: self.progress.clone(), began: Err(self.began.clone()), is_shared: false, key: None }
    }
}

impl Seat {
    /// A seat with nobody before it in this process.
    pub(super) fn alone(progress: watch::Receiver<Progress>, is_shared: bool) -> Self {
        Self { progress, began: Err(Weak::new()), is_shared, key: None }
    }

    /// Whether someone else began the settlement and still waits for it.
    pub(super) fn is_second(&self) -> bool {
        self.began.as_ref().is_err_and(|began| began.strong_count() > 0)
    }
}

impl Flight {
    /// The transaction is recorded.
    pub(super) fn signed(&self, hash: &str) {
        self.progress.send_modify(|progress| progress.hash = Some(hash.to_owned()));
    }

    /// Somebody else may be told of it.
    pub(super) fn shared_with(&self, others: Others) {
        self.progress.send_modify(|progress| progress.others = others);
    }

    /// It ended so.
    pub(super) fn end(self, outcome: Outcome) {
        self.progress.send_modify(|progress| progress.outcome = Some(outcome));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.0.open.lock().remove(&self.key);
        self.flights.0.landed.notify_waiters();
    }
}
