//! A settlement's way, from what waits for an account to the payment's end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tollway_ledger::{Holder, Prepared, Record, fault};
use tollway_protocol::Reason;
use tollway_protocol::bind::Verified;
use tollway_protocol::scheme::Outcome;

use crate::facilitator::engine::Engine;
use crate::facilitator::flight::Flight;
use crate::facilitator::job::{Job, pending, shown};
use crate::facilitator::lane::{Lane, Ticket, Word};
use crate::facilitator::prove::Proof;
use crate::facilitator::watch::CHECK_EVERY;

/// A payment's flight and what is flown.
pub(crate) struct Pilot {
    pub(crate) engine: Arc<Engine>,
    pub(crate) job: Arc<Job>,
    pub(crate) flight: Arc<Flight>,
}

impl Pilot {
    /// Settles a payment that no record is of.
    pub(crate) async fn new_one(self, verified: Verified) -> Outcome {
        fault::point("settle.before_journal");
        self.send(Some(Box::new(verified))).await
    }

    /// Goes on with a settlement that was left open.
    pub(crate) async fn open_one(self, record: Record) -> Outcome {
        match record.holder {
            Holder::Other => self.elsewhere().await,
            Holder::This | Holder::Nobody => self.take_up(record).await,
        }
    }

    /// Records that someone else's transaction carries the payment, and waits until it counts.
    pub(crate) async fn adopted(self, verified: Verified) -> Outcome {
        let now = self.engine.chain.host_now();
        match self.engine.journal.prepare(&[verified], true, now).await.map(|mut all| all.pop()) {
            Ok(Some(Prepared::New)) => match self.prove().await {
                Some(outcome) => outcome,
                None => self.send(None).await,
            },
            Ok(Some(Prepared::Exists(record))) => self.other(*record).await,
            Ok(None) => pending(None),
            Err(error) => self.job.no_store(&error),
        }
    }

    /// Has it sent by an account of this process, or leaves it to a process that has one.
    async fn send(&self, mut claim: Option<Box<Verified>>) -> Outcome {
        loop {
            let Some(lane) = self.engine.lane(self.job.payment.sender()).await else {
                return match claim {
                    Some(verified) => self.hand_over(*verified).await,
                    None => self.elsewhere().await,
                };
            };
            let (word, told) = oneshot::channel();
            let (job, flight) = (self.job.clone(), self.flight.clone());
            self.engine.queue(&lane, Ticket { job, claim: claim.clone(), flight, word });
            match self.hear(told).await {
                Heard::Over(outcome) => return outcome,
                Heard::Refused(refused) if claim.is_some() => return self.reconsider(refused, claim).await,
                Heard::Refused(refused) => return self.give_up(refused).await,
                Heard::Taken(record) => return self.other(*record).await,
                Heard::NoSender => {}
                Heard::Undecided => {
                    claim = None;
                    if let Some(outcome) = self.prove().await {
                        return outcome;
                    }
                }
            }
        }
    }

    /// Waits for the engine's word; if that takes long, looks whether the payment was made otherwise.
    async fn hear(&self, mut told: oneshot::Receiver<Word>) -> Heard {
        let mut patience = self.patience();
        loop {
            let word = match tokio::time::timeout(patience, &mut told).await {
                Ok(Ok(word)) => word,
                Ok(Err(_)) => return Heard::Over(pending(self.flight.hash())),
                Err(_elapsed) => {
                    patience = patience.saturating_mul(2).min(self.most_patience());
                    if self.flight.hash().is_some()
                        && let Some(outcome) = self.look_aside().await
                    {
                        return Heard::Over(outcome);
                    }
                    continue;
                }
            };
            return match word {
                Word::Ended(outcome) => Heard::Over(outcome),
                Word::Refused(outcome) => Heard::Refused(outcome),
                Word::Taken(record) => Heard::Taken(record),
                Word::NoSender => Heard::NoSender,
                Word::Unpaid | Word::Spent => Heard::Undecided,
                Word::Unsure(message) => {
                    Heard::Over(Outcome::Pending { transaction: self.flight.hash(), message })
                }
            };
        }
    }

    fn patience(&self) -> Duration {
        let chain = &self.engine.chain;
        (chain.config.poll * CHECK_EVERY).max(chain.block_interval().min(chain.config.poll * 16) * 2)
    }

    fn most_patience(&self) -> Duration {
        self.engine.chain.config.poll * 64
    }

    /// While its transaction waits: the payment may be made by a stranger's, or its time may be over.
    async fn look_aside(&self) -> Option<Outcome> {
        match self.engine.proof(&self.job).await {
            Ok(Proof::Paid(receipt)) => {
                let outcome = self.settled(&receipt).await;
                self.lose();
                Some(outcome)
            }
            Ok(Proof::Over | Proof::Gone(_)) => {
                // Its transaction can't pay any more; what becomes of the nonce is told in time.
                self.lose();
                None
            }
            Ok(Proof::Nothing) => None,
            Err(error) => {
                tracing::debug!(payment = %self.flight.key(), %error, "can't look aside");
                None
            }
        }
    }

    fn lose(&self) {
        for lane in &self.engine.lanes {
            lane.lose(self.flight.key());
        }
    }

    /// Watches a payment that no transaction of ours on its way carries, until its fate is proven; None when it can be
    /// sent again, as its nonce was spent by a transaction that is not ours.
    async fn prove(&self) -> Option<Outcome> {
        let mut pause = self.engine.chain.config.poll;
        let mut looks = 0u32;
        loop {
            match self.engine.proof(&self.job).await {
                Ok(Proof::Paid(receipt)) => return Some(self.settled(&receipt).await),
                Ok(Proof::Gone(receipt)) => return Some(self.gone(&receipt).await),
                Ok(Proof::Over) if !self.is_carried() => return Some(self.over().await),
                Ok(Proof::Nothing) if looks >= 1 && self.may_be_sent_again().await => return None,
                Ok(Proof::Over | Proof::Nothing) => {}
                Err(error) => tracing::debug!(payment = %self.flight.key(), %error, "can't look"),
            }
            looks = looks.saturating_add(1);
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(self.most_patience());
        }
    }

    fn is_carried(&self) -> bool {
        self.engine.lanes.iter().any(|lane| lane.carries(self.flight.key()))
    }

    /// Whether nothing of ours was mined for it, so that sending it can't cost a second time.
    async fn may_be_sent_again(&self) -> bool {
        if self.is_carried() {
            return false;
        }
        let Ok(attempts) = self.engine.journal.history(self.flight.key()).await else { return false };
        if attempts.iter().any(|attempt| attempt.block.is_some()) {
            return false;
        }
        self.engine.chain.verify(&self.job.payment, &self.job.effects).await.is_ok()
    }

    /// What was good a moment ago is refused now: perhaps it has just been settled.
    async fn reconsider(&self, refused: Outcome, claim: Option<Box<Verified>>) -> Outcome {
        let is_about_us = |reason: &Reason| {
            matches!(
                reason,
                Reason::FacilitatorUnavailable | Reason::ChainUnreachable | Reason::StoreUnavailable
            )
        };
        if matches!(&refused, Outcome::NotSettled { refusal, .. } if is_about_us(&refusal.reason)) {
            return refused;
        }
        match self.engine.journal.settlement(self.flight.key()).await {
            Ok(Some(record)) => return self.other(record).await,
            Err(error) => return self.job.no_store(&error),
            Ok(None) => {}
        }
        match self.engine.proof(&self.job).await {
            Ok(Proof::Paid(_)) => match claim {
                Some(verified) => Box::pin(self.clone().adopted(*verified)).await,
                None => pending(None),
            },
            Ok(Proof::Gone(_) | Proof::Over) => refused,
            Ok(Proof::Nothing) => {
                match self.engine.chain.verify(&self.job.payment, &self.job.effects).await {
                    Err(refusal) if refusal.reason == Reason::AlreadyUsed => pending(None),
                    Err(refusal) => Outcome::NotSettled { refusal, transaction: None },
                    Ok(_) => refused,
                }
            }
            Err(error) => self.job.unreachable(&error),
        }
    }

    /// A record exists already: its answer, or a place in its settlement.
    async fn other(&self, record: Record) -> Outcome {
        if Job::terms_of(&record).is_none_or(|terms| terms != self.job.payment.terms()) {
            return self.job.refuse(Reason::AlreadyUsed, "its nonce belongs to another payment");
        }
        match self.job.ended(&record) {
            Some(outcome) => outcome,
            None => Box::pin(self.clone().open_one(record)).await,
        }
    }

    /// Nothing was ever signed for it: it is free again.
    async fn give_up(&self, refused: Outcome) -> Outcome {
        match self.engine.journal.history(self.flight.key()).await {
            Ok(attempts) if attempts.is_empty() => {}
            _ => return pending(self.flight.hash()),
        }
        match self.engine.journal.abandon_settlement(self.flight.key()).await {
            Ok(()) => refused,
            Err(error) => Outcome::Pending { transaction: None, message: shown(&error) },
        }
    }

    /// Takes it for a process that has an account to send from, and waits for that.
    async fn hand_over(&self, verified: Verified) -> Outcome {
        let now = self.engine.chain.host_now();
        match self.engine.journal.prepare(&[verified], false, now).await.map(|mut all| all.pop()) {
            Ok(Some(Prepared::New)) => self.elsewhere().await,
            Ok(Some(Prepared::Exists(record))) => self.other(*record).await,
            Ok(None) => pending(None),
            Err(error) => self.job.no_store(&error),
        }
    }

    /// Waits for another process to settle it; goes on itself when that one is gone.
    async fn elsewhere(&self) -> Outcome {
        loop {
            match self.engine.journal.settlement(self.flight.key()).await {
                Ok(Some(record)) => {
                    if let Some(outcome) = self.job.ended(&record) {
                        return outcome;
                    }
                    if let Some(hash) = &record.hash {
                        self.flight.signed(hash);
                    }
                    let ours = match record.holder {
                        Holder::This => true,
                        Holder::Nobody => self.engine.lane(self.job.payment.sender()).await.is_some(),
                        Holder::Other => false,
                    };
                    if ours {
                        return Box::pin(self.take_up(record)).await;
                    }
                }
                Ok(None) => return self.refused_elsewhere().await,
                Err(error) => tracing::warn!(payment = %self.flight.key(), %error, "can't read its record"),
            }
            tokio::time::sleep(self.engine.chain.config.poll.clamp(ELSEWHERE, ELSEWHERE * 5)).await;
        }
    }

    /// The process that had it found that it can't be settled, and forgot it.
    async fn refused_elsewhere(&self) -> Outcome {
        match self.engine.chain.verify(&self.job.payment, &self.job.effects).await {
            Err(refusal) => Outcome::NotSettled { refusal, transaction: None },
            Ok(_) => self.job.refuse(
                Reason::FacilitatorUnavailable,
                "no account could send it just now: send the same payment again",
            ),
        }
    }

    /// Goes on with a settlement that this process holds.
    async fn take_up(&self, record: Record) -> Outcome {
        if let Some(hash) = &record.hash {
            self.flight.signed(hash);
        }
        let Some(signed) = &record.transaction else { return self.take_up_unsigned().await };
        if let Some(lane) = self.lane_of(&signed.signer) {
            match self.engine.lease(&lane).await {
                Ok(true) => {}
                Ok(false) => return self.elsewhere().await,
                Err(_) => return pending(record.hash),
            }
            if self.engine.reload(&lane).await.is_err() {
                return pending(record.hash);
            }
            let (word, told) = oneshot::channel();
            if lane.attach(self.flight.key(), &self.flight, word).is_ok() {
                self.engine.look_soon();
                return match self.hear(told).await {
                    Heard::Over(outcome) => outcome,
                    Heard::NoSender => self.elsewhere().await,
                    _ => self.prove_or_send().await,
                };
            }
        } else {
            // Its account is not one of ours any more: it can still be mined.
            self.engine.broadcast_raw(signed).await;
        }
        self.prove_or_send().await
    }

    async fn prove_or_send(&self) -> Outcome {
        match self.prove().await {
            Some(outcome) => outcome,
            None => self.send(None).await,
        }
    }

    async fn take_up_unsigned(&self) -> Outcome {
        match self.engine.chain.verify(&self.job.payment, &self.job.effects).await {
            Ok(_) => self.send(None).await,
            Err(refusal) if refusal.reason == Reason::AlreadyUsed => self.prove_or_send().await,
            Err(refusal) if refusal.reason == Reason::ChainUnreachable => {
                tokio::time::sleep(self.engine.chain.config.poll * CHECK_EVERY).await;
                pending(None)
            }
            Err(refusal) => self.give_up(Outcome::NotSettled { refusal, transaction: None }).await,
        }
    }

    fn lane_of(&self, signer: &str) -> Option<Arc<Lane>> {
        self.engine.lanes.iter().find(|lane| lane.name().eq_ignore_ascii_case(signer)).cloned()
    }
}

/// How often a settlement of another process is looked at.
const ELSEWHERE: Duration = Duration::from_millis(100);

/// What a pilot heard.
enum Heard {
    Over(Outcome),
    Refused(Outcome),
    Taken(Box<Record>),
    NoSender,
    Undecided,
}

impl Clone for Pilot {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), job: self.job.clone(), flight: self.flight.clone() }
    }
}
