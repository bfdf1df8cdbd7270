//! Settlements under way in this process, so that callers can wait for one together. The journal, not
//! this, decides who settles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::{Address, U256};
use tokio::sync::watch;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::scheme::Outcome;

use crate::abi::TransferWithAuthorization;

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
#[derive(Clone, Default)]
pub(crate) struct Flights(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: Mutex<HashMap<PaymentKey, (Load, watch::Receiver<Progress>)>>,
    landed: tokio::sync::Notify,
}

/// One of them, as its pilot holds it; it counts as over when this is dropped.
pub(crate) struct Flight {
    flights: Flights,
    key: PaymentKey,
    progress: watch::Sender<Progress>,
}

/// A place in a flight.
pub(crate) enum Boarding {
    /// The caller flies it.
    Pilot(Flight, watch::Receiver<Progress>),
    /// It is in the air.
    Passenger(watch::Receiver<Progress>),
    /// Another payment with the same key is in the air.
    Taken,
    /// The payer's balance is promised to its payments in the air.
    Overdrawn,
    /// As many are in the air as can be.
    Full,
}

/// The most settlements in the air at a time.
const MOST: usize = 1024;

/// A payment as far as it can clash with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) token: Address,
    pub(crate) transfer: TransferWithAuthorization,
    /// What the payer has; asked for new settlements only.
    pub(crate) balance: Option<U256>,
}

impl Flights {
    pub(crate) fn board(&self, key: &PaymentKey, load: Load) -> Boarding {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get(key) {
            Some((theirs, progress)) if theirs.transfer == load.transfer => {
                return Boarding::Passenger(progress.clone());
            }
            Some(_) => return Boarding::Taken,
            // What was taken before is finished, however many there are: it may have been broadcast.
            None if open.len() >= MOST && load.balance.is_some() => return Boarding::Full,
            None => {}
        }
        let promised = open.values().filter(|(other, progress)| {
            other.token == load.token && other.transfer.from == load.transfer.from && !progress.borrow().mined
        });
        let due =
            promised.fold(load.transfer.value, |sum, (other, _)| sum.saturating_add(other.transfer.value));
        if load.balance.is_some_and(|balance| balance < due) {
            return Boarding::Overdrawn;
        }
        let (sender, receiver) = watch::channel(Progress::default());
        open.insert(key.clone(), (load, receiver.clone()));
        Boarding::Pilot(Flight { flights: self.clone(), key: key.clone(), progress: sender }, receiver)
    }

    pub(crate) fn find(
        &self,
        key: &PaymentKey,
        transfer: &TransferWithAuthorization,
    ) -> Option<watch::Receiver<Progress>> {
        let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(key).filter(|(theirs, _)| theirs.transfer == *transfer).map(|(_, progress)| progress.clone())
    }

    /// Waits until none is open.
    pub(crate) async fn drained(&self) {
        loop {
            let landed = self.0.landed.notified();
            tokio::pin!(landed);
            landed.as_mut().enable();
            if self.0.open.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                return;
            }
            landed.await;
        }
    }
}

impl Flight {
    pub(crate) fn key(&self) -> &PaymentKey {
        &self.key
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

    pub(crate) fn land(&self, outcome: Outcome) {
        self.progress.send_modify(|progress| progress.outcome = Some(outcome));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.0.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.flights.0.landed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollway_protocol::Network;

    #[test]
    fn i18_what_was_taken_before_finds_a_place_though_no_new_one_does() {
        let flights = Flights::default();
        let board = |n: usize, balance| {
            let key = PaymentKey::new(&Network::eip155(1), &[&n.to_string()]);
            let transfer = TransferWithAuthorization {
                from: Address::ZERO,
                to: Address::ZERO,
                value: U256::from(1),
                validAfter: U256::ZERO,
                validBefore: U256::ZERO,
                nonce: U256::from(n).into(),
            };
            flights.board(&key, Load { token: Address::ZERO, transfer, balance })
        };
        let open: Vec<_> = (0..MOST).map(|n| board(n, Some(U256::MAX))).collect();
        assert!(open.iter().all(|boarding| matches!(boarding, Boarding::Pilot(..))));
        assert!(matches!(board(MOST, Some(U256::MAX)), Boarding::Full));
        assert!(matches!(board(MOST, None), Boarding::Pilot(..)));
    }
}
