//! Settlements under way in this process, so that callers can wait for one together. The journal, not
//! this, decides who settles.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::{Address, U256};
use parking_lot::Mutex;
use tokio::sync::watch;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::scheme::Outcome;

use crate::facilitator::payment::Terms;

/// How far a settlement is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// The transaction, once one is signed and recorded.
    pub(crate) hash: Option<String>,
    /// How it ended.
    pub(crate) outcome: Option<Outcome>,
    /// Whether its transaction is mined, so that the payer's balance shows it.
    pub(crate) mined: bool,
}

/// All of them.
#[derive(Clone)]
pub(crate) struct Flights(Arc<Inner>);

struct Inner {
    table: Mutex<Table>,
    landed: tokio::sync::Notify,
    /// The most that are in the air at a time.
    most: usize,
}

#[derive(Default)]
struct Table {
    open: HashMap<PaymentKey, (Load, watch::Receiver<Progress>)>,
    /// The payments of each payer in each token.
    promised: HashMap<(Address, Address), Vec<PaymentKey>>,
}

/// One of them, as its pilot holds it; it counts as over when this is dropped.
pub(crate) struct Flight {
    flights: Flights,
    key: PaymentKey,
    payer: (Address, Address),
    progress: watch::Sender<Progress>,
    /// Whether it is in the table no more: another one of the payment may be.
    has_left: AtomicBool,
}

/// A place in a flight.
pub(crate) enum Boarding {
    /// The caller flies it.
    Pilot(Flight, watch::Receiver<Progress>),
    /// It is in the air.
    Passenger(watch::Receiver<Progress>),
    /// Another payment with the same key is in the air; whether something is signed for it.
    Taken(bool),
    /// The payer's balance is promised to its payments in the air.
    Overdrawn,
    /// As many are in the air as can be.
    Full,
}

/// A payment as far as it can clash with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) token: Address,
    pub(crate) payer: Address,
    pub(crate) value: U256,
    pub(crate) terms: Terms,
    /// What the payer has; asked for new settlements only.
    pub(crate) balance: Option<U256>,
}

impl Flights {
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { table: Mutex::default(), landed: tokio::sync::Notify::new(), most }))
    }

    pub(crate) fn board(&self, key: &PaymentKey, load: Load) -> Boarding {
        let mut table = self.0.table.lock();
        match table.open.get(key) {
            Some((theirs, progress)) if theirs.terms == load.terms || crate::bug::on("s2-join-by-key") => {
                return Boarding::Passenger(progress.clone());
            }
            Some((_, progress)) => return Boarding::Taken(progress.borrow().hash.is_some()),
            // What was taken before is finished, however many there are: it may have been broadcast.
            None if table.open.len() >= self.0.most && load.balance.is_some() => return Boarding::Full,
            None => {}
        }
        let payer = (load.token, load.payer);
        if load.balance.is_some_and(|balance| balance < table.due(payer, load.value)) {
            return Boarding::Overdrawn;
        }
        let (sender, receiver) = watch::channel(Progress::default());
        table.promised.entry(payer).or_default().push(key.clone());
        table.open.insert(key.clone(), (load, receiver.clone()));
        let has_left = AtomicBool::new(false);
        let flight = Flight { flights: self.clone(), key: key.clone(), payer, progress: sender, has_left };
        Boarding::Pilot(flight, receiver)
    }

    pub(crate) fn find(&self, key: &PaymentKey, terms: &Terms) -> Option<watch::Receiver<Progress>> {
        let table = self.0.table.lock();
        table.open.get(key).filter(|(theirs, _)| theirs.terms == *terms).map(|(_, progress)| progress.clone())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.table.lock().open.is_empty()
    }

    /// Waits until none is open.
    pub(crate) async fn drained(&self) {
        loop {
            let landed = self.0.landed.notified();
            tokio::pin!(landed);
            landed.as_mut().enable();
            if self.is_empty() {
                return;
            }
            landed.await;
        }
    }
}

impl Table {
    /// What the payer needs for `value` more, beside what is promised and does not show in its balance yet.
    fn due(&self, payer: (Address, Address), value: U256) -> U256 {
        let theirs = self.promised.get(&payer).into_iter().flatten();
        let open = theirs.filter_map(|key| self.open.get(key));
        let unseen = open.filter(|(_, progress)| !progress.borrow().mined);
        unseen.fold(value, |sum, (other, _)| sum.saturating_add(other.value))
    }

    fn remove(&mut self, key: &PaymentKey, payer: (Address, Address)) {
        self.open.remove(key);
        if let Some(theirs) = self.promised.get_mut(&payer) {
            theirs.retain(|other| other != key);
            if theirs.is_empty() {
                self.promised.remove(&payer);
            }
        }
    }
}

impl Flight {
    pub(crate) fn key(&self) -> &PaymentKey {
        &self.key
    }

    /// The transaction, once there is one.
    pub(crate) fn hash(&self) -> Option<String> {
        self.progress.borrow().hash.clone()
    }

    pub(crate) fn signed(&self, hash: &str) {
        self.progress.send_modify(|progress| progress.hash = Some(hash.to_owned()));
    }

    pub(crate) fn mined(&self) {
        self.progress.send_if_modified(|progress| {
            progress.mined = true;
            false
        });
    }

    /// It is over, though a transaction may hold it for longer: from here on the payment flies anew.
    pub(crate) fn land(&self, outcome: Outcome) {
        self.progress.send_modify(|progress| progress.outcome = Some(outcome));
        self.leave();
    }

    fn leave(&self) {
        if !self.has_left.swap(true, Ordering::SeqCst) {
            self.flights.0.table.lock().remove(&self.key, self.payer);
            self.flights.0.landed.notify_waiters();
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::TransferWithAuthorization;
    use tollway_protocol::Network;

    const MOST: usize = 8;

    fn board(flights: &Flights, n: usize, value: u64, balance: Option<U256>) -> Boarding {
        let key = PaymentKey::new(&Network::eip155(1), &[&n.to_string()]);
        let value = U256::from(value);
        let transfer = TransferWithAuthorization {
            from: Address::ZERO,
            to: Address::ZERO,
            value,
            validAfter: U256::ZERO,
            validBefore: U256::ZERO,
            nonce: U256::from(n).into(),
        };
        let terms = Terms::Transfer(transfer);
        flights.board(&key, Load { token: Address::ZERO, payer: Address::ZERO, value, terms, balance })
    }

    #[test]
    fn i18_what_was_taken_before_finds_a_place_though_no_new_one_does() {
        let flights = Flights::new(MOST);
        let open: Vec<_> = (0..MOST).map(|n| board(&flights, n, 1, Some(U256::MAX))).collect();
        assert!(open.iter().all(|boarding| matches!(boarding, Boarding::Pilot(..))));
        assert!(matches!(board(&flights, MOST, 1, Some(U256::MAX)), Boarding::Full));
        assert!(matches!(board(&flights, MOST, 1, None), Boarding::Pilot(..)));
    }

    #[test]
    fn fa15_a_balance_is_promised_once_and_free_again_when_a_flight_is_over() {
        let flights = Flights::new(MOST);
        let first = board(&flights, 1, 60, Some(U256::from(100)));
        assert!(matches!(first, Boarding::Pilot(..)));
        assert!(matches!(board(&flights, 2, 60, Some(U256::from(100))), Boarding::Overdrawn));
        drop(first);
        assert!(matches!(board(&flights, 2, 60, Some(U256::from(100))), Boarding::Pilot(..)));
    }

    #[test]
    fn s10_a_payment_flies_anew_once_its_flight_has_landed() {
        let flights = Flights::new(MOST);
        let Boarding::Pilot(first, _) = board(&flights, 1, 1, None) else { panic!("nobody flies it") };
        first.land(Outcome::Pending { transaction: None, message: String::new() });
        let Boarding::Pilot(second, _) = board(&flights, 1, 1, None) else { panic!("the first has landed") };
        drop(first);
        assert!(matches!(board(&flights, 1, 1, None), Boarding::Passenger(_)));
        drop(second);
        assert!(flights.is_empty());
    }
}
