//! The way of one settlement: joined, started, or refused before anything is taken.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tollway_ledger::{Holder, JournalState, LedgerError, Record, SignedTransaction, fault};
use tollway_protocol::bind::{Bound, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::Outcome;
use tollway_protocol::{IdempotencyKey, Reason, Refusal};

use crate::facilitator::cluster;
use crate::facilitator::engine::{self, Engine};
use crate::facilitator::flight::{Boarding, Flight, Load, Others, Progress, Seat};
use crate::facilitator::sign::Taken;
use crate::facilitator::trial::Tried;
use crate::facilitator::watch::Item;
use crate::layout::Limits;
use crate::payload::SvmPayment;

/// How often one who came second looks whether the first one was told.
const TURN: Duration = Duration::from_millis(10);
/// How long whoever began a settlement in another process goes before those who can't show that it was them.
const GRACE: Duration = Duration::from_secs(2);
/// How often a settlement of another process is looked at.
const FOLLOW: Duration = Duration::from_millis(250);
/// Reverts of one payer's payments in a day, at our cost, after which it is refused.
const REVERTS_PER_DAY: u64 = 10;
const DAY_SECONDS: u64 = 24 * 60 * 60;

pub(super) fn pending(transaction: Option<String>) -> Outcome {
    Outcome::Pending { transaction, message: "waiting for the chain: send the same payment again".into() }
}

fn no_store(payment: &Bound, error: &LedgerError) -> Outcome {
    tracing::error!(%error, "ledger");
    let refusal = payment.refuse(Reason::StoreUnavailable, "the store can't be used just now");
    Outcome::NotSettled { refusal, transaction: None }
}

impl Engine {
    pub(super) async fn settle(self: &Arc<Self>, payment: Bound, deadline: Duration) -> Outcome {
        let end = Instant::now() + deadline;
        fault::point("settle.parsed");
        let seat = match tokio::time::timeout_at(end, self.begin(&payment)).await {
            Ok(Ok(seat)) => seat,
            Ok(Err(outcome)) => return outcome,
            Err(_elapsed) => {
                let flight = self.flights.find(payment.key());
                return pending(flight.and_then(|seat| seat.progress.borrow().hash.clone()));
            }
        };
        match wait(seat.progress.clone(), end).await {
            Outcome::Settled { transaction } => self.tell(&payment, transaction, &seat, end).await,
            outcome => crate::bug::told(outcome),
        }
    }

    /// That it is settled is told to one caller: any number may present one payment, and one was meant. Where whoever began
    /// the settlement has named it by an idempotency key, that caller is known again, after a lost answer too. Else it is
    /// told once; who began and waits goes before those who came later, since by then anyone can read the payment.
    async fn tell(&self, payment: &Bound, transaction: String, seat: &Seat, end: Instant) -> Outcome {
        let twice = |transaction| {
            let message = "this payment was settled before, and somebody was told so";
            let refusal = payment.refuse(Reason::AlreadyUsed, message);
            Outcome::NotSettled { refusal, transaction: Some(transaction) }
        };
        while seat.is_second() && Instant::now() < end {
            tokio::time::sleep(TURN).await;
        }
        let others = seat.progress.borrow().others;
        if seat.is_shared || others == Others::Process {
            tokio::time::sleep_until(end.min(Instant::now() + GRACE)).await;
        }
        // Nobody may be listening any more.
        if seat.is_second() || Instant::now() >= end {
            return pending(Some(transaction));
        }
        let own = seat.key.as_ref().filter(|_| others != Others::LostLedger);
        match crate::bug::first(self.journal.tell(payment.key(), own.or(payment.idempotency_key())).await) {
            Ok(true) => Outcome::Settled { transaction },
            Ok(false) => twice(transaction),
            Err(error) => {
                tracing::error!(%error, "ledger");
                pending(Some(transaction))
            }
        }
    }

    /// Joins the payment's settlement or starts it; refuses what was never begun and can't be.
    async fn begin(self: &Arc<Self>, payment: &Bound) -> Result<Seat, Outcome> {
        let refused = |refusal| Outcome::NotSettled { refusal, transaction: None };
        // Whoever can't sign for it learns nothing of it. Whose fee payer it is, and what may be spent, matters to a new
        // settlement only: what was begun goes on when the configuration is another.
        let begun = engine::decode(payment, &Limits::NONE).map_err(refused)?;
        let decoded = engine::decode(payment, &self.cluster.config.limits);
        let decoded = decoded.and_then(|decoded| self.is_ours(payment, &decoded).map(|()| decoded));
        let is_signed = engine::is_signed(payment, &begun);
        let bad = is_signed.map_err(|bad| decoded.as_ref().err().cloned().unwrap_or(bad));
        bad.map_err(refused)?;
        if let Some(seat) = self.joined(payment).await? {
            return Ok(seat);
        }
        let decoded = decoded.map_err(refused)?;
        self.not_suspended(payment).await?;
        let tried = match self.try_out(payment, decoded).await {
            Ok(tried) => tried,
            Err(refusal) => return self.tried_in_vain(payment, &begun, refusal).await,
        };
        if tried.is_there
            && let Some(seat) = self.joined(payment).await?
        {
            return Ok(seat);
        }
        fault::point("settle.verified");
        // Of what the chain has already, no key shows who began it: it goes by one that nobody else has.
        let own = tried.is_there.then(unknown_key).flatten();
        let key = own.clone().or_else(|| payment.idempotency_key().cloned());
        let checked = payment.clone().keyed(key).at(self.now()).map_err(refused)?;
        let transfer = &tried.payment.transfer;
        let load = Load { source: transfer.source, amount: transfer.amount, left: tried.left };
        match self.flights.board(payment.key(), load) {
            Boarding::Passenger(seat) => Ok(seat),
            Boarding::Overdrawn => Err(refused(payment.refuse(
                // What has landed may still count: later it will be seen.
                Reason::FacilitatorUnavailable,
                "the payer's balance is promised to its payments that are being settled: send it again later",
            ))),
            Boarding::Full => Err(refused(payment.refuse(
                Reason::FacilitatorUnavailable,
                "too many settlements are in progress: send it again later",
            ))),
            Boarding::Pilot(flight, mut seat) => {
                seat.key = own;
                let engine = self.clone();
                tokio::spawn(async move { engine.fly(checked, tried, flight).await });
                Ok(seat)
            }
        }
    }

    /// What a payment that a node's trial stands against gets.
    async fn tried_in_vain(
        self: &Arc<Self>,
        payment: &Bound,
        decoded: &SvmPayment,
        refusal: Refusal,
    ) -> Result<Seat, Outcome> {
        let landed = self.landed_before(decoded, &refusal).await;
        // A parallel request's may be the very transaction that stands against it. Looked for last.
        if let Some(seat) = self.joined(payment).await? {
            return Ok(seat);
        }
        let message = "this transaction is on the chain already";
        let used = landed.is_some().then(|| payment.refuse(Reason::AlreadyUsed, message));
        Err(Outcome::NotSettled { refusal: used.unwrap_or(refusal), transaction: landed })
    }

    /// A seat in the payment's settlement, if there is one.
    async fn joined(self: &Arc<Self>, payment: &Bound) -> Result<Option<Seat>, Outcome> {
        if let Some(seat) = self.flights.find(payment.key()) {
            return Ok(Some(seat));
        }
        let record = self.recorded(payment).await?;
        // It may have begun meanwhile.
        if let Some(seat) = self.flights.find(payment.key()) {
            return Ok(Some(seat));
        }
        Ok(record.map(|record| Seat::alone(self.follow(payment, &record), self.is_shared(&record))))
    }

    /// Whether who began this settlement, by no key, may be about to be told that it succeeded: by another process, or by
    /// this one, which has just recorded it.
    fn is_shared(&self, record: &Record) -> bool {
        let is_old = |ended: UnixTime| ended.plus(GRACE.as_secs()) < self.now();
        !record.told && !record.ended.is_some_and(is_old)
    }

    async fn recorded(&self, payment: &Bound) -> Result<Option<Record>, Outcome> {
        self.journal.settlement(payment.key()).await.map_err(|error| no_store(payment, &error))
    }

    async fn not_suspended(&self, payment: &Bound) -> Result<(), Outcome> {
        let payer = payment.effects().payer.as_str();
        let since = self.now().minus(DAY_SECONDS);
        let reverts = self.journal.reverts(self.network(), payer, since).await;
        let reverts = reverts.map_err(|error| no_store(payment, &error))?;
        if reverts < REVERTS_PER_DAY {
            return Ok(());
        }
        let message = "too many of its payments failed on chain today";
        let refusal = payment.refuse(Reason::PayerSuspended, message);
        Err(Outcome::NotSettled { refusal, transaction: None })
    }

    /// Waits for a settlement that is recorded, whoever works on it.
    fn follow(self: &Arc<Self>, payment: &Bound, record: &Record) -> watch::Receiver<Progress> {
        let told = |payment: &Bound, record: &Record| Progress {
            hash: record.hash.clone().filter(|_| !crate::bug::on("s6-forgets-the-hash")),
            outcome: ended(payment, record),
            others: Others::Nobody,
        };
        let (sender, progress) = watch::channel(told(payment, record));
        let (engine, payment, record) = (self.clone(), payment.clone(), record.clone());
        tokio::spawn(async move {
            // Ours, and nobody has it in hand: its recording was not heard of.
            let is_in_hand = engine.items.lock().contains_key(&record.key);
            if record.holder == Holder::This && sender.borrow().outcome.is_none() && !is_in_hand {
                engine.take_up(&record).await;
            }
            let is_over = || sender.is_closed() || engine.is_draining.load(Ordering::SeqCst);
            while sender.borrow().outcome.is_none() && !is_over() {
                tokio::time::sleep(FOLLOW).await;
                if let Ok(Some(record)) = engine.journal.settlement(payment.key()).await {
                    sender.send_replace(told(&payment, &record));
                }
            }
        });
        progress
    }

    /// Signs and records; the watcher sends, and does the rest.
    async fn fly(self: Arc<Self>, verified: Verified, tried: Tried, flight: Flight) {
        let bound = verified.clone().into_bound();
        match self.take(verified, &tried).await {
            Ok(Taken::Ours(transaction)) => {
                fault::point("settle.signed");
                flight.signed(&transaction.hash);
                let is_there = tried.is_there && self.has_landed(&transaction, tried.slot).await;
                if is_there {
                    tracing::warn!(payment = %bound.key(), "the chain has what this ledger has not: was it restored?");
                    flight.shared_with(Others::LostLedger);
                }
                match Item::new(bound.key().clone(), &transaction, Some((flight, bound))) {
                    Some(item) if is_there => self.put_on_the_way(item),
                    Some(item) => self.send_first(item).await,
                    None => {}
                }
            }
            Ok(Taken::Theirs(record)) => {
                if let Some(hash) = &record.hash {
                    flight.signed(hash);
                }
                if self.is_shared(&record) {
                    flight.shared_with(Others::Process);
                }
                let mut progress = self.follow(&bound, &record);
                let outcome = progress.wait_for(|progress| progress.outcome.is_some()).await;
                if let Some(outcome) = outcome.ok().and_then(|progress| progress.outcome.clone()) {
                    flight.end(outcome);
                }
            }
            Err(outcome) => flight.end(outcome),
        }
    }

    /// Whether a transaction that a node knows at `slot` is on the chain, unless one that is as far says otherwise. It is asked
    /// for when it is recorded only: its id is a signature that it needs to land.
    async fn has_landed(&self, transaction: &SignedTransaction, slot: u64) -> bool {
        let found = cluster::statuses(&self.cluster.rpc, &[&transaction.hash], true).await;
        found.map_or(true, |found| found.slot < slot || found.all.iter().any(Option::is_some))
    }

    /// Gives the nodes a transaction that is recorded. Whatever they answer, it may have left.
    pub(super) async fn launch(&self, transaction: &SignedTransaction, is_first: bool) {
        match cluster::send(&self.cluster.rpc, &transaction.raw).await {
            Ok(()) if is_first => {
                fault::point("settle.sent");
                if let Err(error) = self.journal.sent(self.network(), &transaction.hash).await {
                    tracing::warn!(%error, transaction = transaction.hash, "that it was sent is not recorded");
                }
            }
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, transaction = transaction.hash, "no node took it yet");
            }
        }
    }
}

/// A key that nobody else has.
fn unknown_key() -> Option<IdempotencyKey> {
    IdempotencyKey::read(&format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())).ok()
}

/// A finished record's outcome.
pub(super) fn ended(payment: &Bound, record: &Record) -> Option<Outcome> {
    match record.state {
        JournalState::Settled => {
            Some(Outcome::Settled { transaction: record.hash.clone().unwrap_or_default() })
        }
        JournalState::Failed => {
            Some(Outcome::NotSettled { refusal: refusal(payment, record), transaction: record.hash.clone() })
        }
        _ => None,
    }
}

fn refusal(payment: &Bound, record: &Record) -> Refusal {
    let reason = record.reason.as_ref().map_or(Reason::TransactionFailed, tollway_protocol::Code::reason);
    payment.refuse(reason, record.message.clone().unwrap_or_default())
}

/// Waits until the settlement has ended or the caller's time has.
async fn wait(mut progress: watch::Receiver<Progress>, end: Instant) -> Outcome {
    let ended = progress.wait_for(|progress| progress.outcome.is_some());
    let outcome = match tokio::time::timeout_at(end, ended).await {
        Ok(Ok(progress)) => progress.outcome.clone(),
        _ => None,
    };
    outcome.unwrap_or_else(|| pending(progress.borrow().hash.clone()))
}
