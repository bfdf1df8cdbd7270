//! Settlements under way in this process, so that callers can wait for one together. The journal, not this, decides who
//! settles.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::scheme::Outcome;

/// How far a settlement is.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// The transaction, once it is recorded.
    pub(super) hash: Option<String>,
    /// How it ended.
    pub(super) outcome: Option<Outcome>,
}

/// All of them.
#[derive(Clone)]
pub(super) struct Flights(Arc<Inner>);

struct Inner {
    open: Mutex<HashMap<PaymentKey, watch::Receiver<Progress>>>,
    landed: Notify,
    /// The most that are in the air at a time.
    most: usize,
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
    Pilot(Flight, watch::Receiver<Progress>),
    /// It is in the air.
    Passenger(watch::Receiver<Progress>),
    /// As many are in the air as can be.
    Full,
}

impl Flights {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { open: Mutex::default(), landed: Notify::new(), most }))
    }

    pub(super) fn board(&self, key: &PaymentKey) -> Boarding {
        let mut open = self.0.open.lock();
        match open.get(key) {
            Some(progress) => Boarding::Passenger(progress.clone()),
            None if open.len() >= self.0.most => Boarding::Full,
            None => {
                let (sender, receiver) = watch::channel(Progress::default());
                open.insert(key.clone(), receiver.clone());
                let flight = Flight { flights: self.clone(), key: key.clone(), progress: sender };
                Boarding::Pilot(flight, receiver)
            }
        }
    }

    pub(super) fn find(&self, key: &PaymentKey) -> Option<watch::Receiver<Progress>> {
        self.0.open.lock().get(key).cloned()
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

impl Flight {
    /// The transaction is recorded.
    pub(super) fn signed(&self, hash: &str) {
        self.progress.send_modify(|progress| progress.hash = Some(hash.to_owned()));
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
