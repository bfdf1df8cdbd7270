//! Settlements that no request waits for: gone on with, and seen through to their ends.

use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use tokio::sync::watch;
use tollway_ledger::{Holder, Record};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::scheme::Outcome;

use crate::facilitator::engine::Engine;
use crate::facilitator::flight::Progress;
use crate::facilitator::tenure::Backoff;

impl Engine {
    /// Goes on with a settlement that no request waits for.
    pub(super) fn resume(self: &Arc<Self>, record: Record) {
        if self.is_draining.load(Ordering::SeqCst) {
            return;
        }
        let Some(job) = self.job_of(&record) else {
            tracing::error!(payment = %record.key, "its record can't be read: left as it is");
            return;
        };
        tracing::info!(payment = %record.key, transaction = record.hash, "resumed");
        let key = record.key.clone();
        // Until another payment with its nonce has landed, it waits.
        let progress = self.fly(&Arc::new(job), None, |pilot| pilot.open_one(record)).ok();
        let is_seen = match self.seeing.lock().entry(key.clone()) {
            Entry::Occupied(mut seen) => {
                *seen.get_mut() = true;
                true
            }
            Entry::Vacant(place) => {
                place.insert(false);
                false
            }
        };
        if !is_seen {
            tokio::spawn(see_through(Arc::downgrade(self), key, progress));
        }
    }

    /// The next flight of a payment that is seen through, if one can begin now.
    ///
    /// # Errors
    /// [`Over`] when this process does not hold it any more.
    async fn flown_again(
        self: &Arc<Self>,
        key: &PaymentKey,
    ) -> Result<Option<watch::Receiver<Progress>>, Over> {
        if self.is_draining.load(Ordering::SeqCst) {
            return Err(Over);
        }
        let Ok(record) = self.journal.settlement(key).await else { return Ok(None) };
        let held = record.filter(|record| record.holder == Holder::This && record.ended.is_none());
        let job = held.as_ref().and_then(|record| self.job_of(record));
        let (record, job) = held.zip(job).ok_or(Over)?;
        Ok(self.fly(&Arc::new(job), None, |pilot| pilot.open_one(record)).ok())
    }

    /// Ends the seeing through of a payment, unless it was taken up again meanwhile; says whether it is over.
    fn has_seen_through(&self, key: &PaymentKey) -> bool {
        let mut seeing = self.seeing.lock();
        let is_again = seeing.get_mut(key).is_some_and(std::mem::take);
        if !is_again {
            seeing.remove(key);
        }
        !is_again
    }
}

/// A payment is not this process's to see through any more.
struct Over;

/// Goes on with what this process holds once its flight is over, and ever more rarely when that fails: the flight may
/// have begun before it was this process's, and have ended without knowing of that. There is one for each payment.
async fn see_through(engine: Weak<Engine>, key: PaymentKey, mut progress: Option<watch::Receiver<Progress>>) {
    let mut backoff = Backoff::default();
    loop {
        let began = tokio::time::Instant::now();
        let mut is_settled = false;
        if let Some(mut progress) = progress.take() {
            let landed = progress.wait_for(|progress| progress.outcome.is_some()).await;
            is_settled = landed.is_ok_and(|p| matches!(p.outcome, Some(Outcome::Settled { .. })));
        }
        if began.elapsed() > Backoff::LONGEST {
            backoff = Backoff::default();
        }
        if !is_settled {
            tokio::time::sleep(backoff.next()).await;
        }
        let Some(this) = engine.upgrade() else { return };
        let next = if is_settled { Err(Over) } else { this.flown_again(&key).await };
        match next {
            Ok(flight) => progress = flight,
            Err(Over) if this.has_seen_through(&key) => return,
            Err(Over) => {}
        }
    }
}
