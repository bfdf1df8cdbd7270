//! A settlement's way, from what waits for an account to the payment's end.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use tokio::sync::oneshot;
use tollway_ledger::{Holder, Prepared, Record, fault};
use tollway_protocol::Reason;
use tollway_protocol::bind::Verified;
use tollway_protocol::scheme::Outcome;

use crate::facilitator::engine::Engine;
use crate::facilitator::envelope::is_gift;
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

/// What a pilot does next.
pub(super) enum Step {
    /// Has an account of this process send it.
    Send(Option<Box<Verified>>),
    /// As [`Step::Send`], for one that was taken before and whose latest transaction, if any, is dead.
    SendAgain(Option<String>),
    /// Leaves it to a process that has an account.
    HandOver(Box<Verified>),
    /// Takes it, as a stranger has submitted it.
    Adopt(Box<Verified>),
    /// Looks at what another settlement made of it.
    Other(Box<Record>),
    /// Waits for another process.
    Elsewhere,
    /// Goes on with what this process holds, or nobody.
    TakeUp(Box<Record>),
    /// Watches for proof.
    Prove,
    /// Thinks again: what was good a moment ago is refused now.
    Reconsider(Outcome, Box<Verified>),
    /// Is done.
    Over(Outcome),
}

impl Pilot {
    /// Settles a payment that no record is of.
    pub(crate) async fn new_one(self, verified: Verified) -> Outcome {
        fault::point("settle.before_journal");
        self.fly(Step::Send(Some(Box::new(verified)))).await
    }

    /// Goes on with a settlement that was left open.
    pub(crate) async fn open_one(self, record: Record) -> Outcome {
        self.fly(Step::Other(Box::new(record))).await
    }

    /// Records that someone else's transaction carries the payment, and waits until it counts.
    pub(crate) async fn adopted(self, verified: Verified) -> Outcome {
        self.fly(Step::Adopt(Box::new(verified))).await
    }

    async fn fly(mut self, mut step: Step) -> Outcome {
        // What is refused again and again is looked at ever more rarely.
        let mut pause = self.engine.chain.config.poll;
        loop {
            step = match step {
                Step::Send(claim) => self.send(claim, None).await,
                Step::SendAgain(last) => self.send(None, Some(last)).await,
                Step::HandOver(verified) => self.take(*verified, false).await,
                Step::Adopt(verified) => self.take(*verified, true).await,
                Step::Other(record) => {
                    self.charge_as(&record);
                    self.other(*record)
                }
                Step::Elsewhere => self.elsewhere().await,
                Step::TakeUp(record) => self.take_up(*record).await,
                Step::Prove => self.prove(&mut pause).await,
                Step::Reconsider(refused, verified) => self.reconsider(refused, verified).await,
                Step::Over(outcome) => return outcome,
            }
        }
    }

    /// What was charged first counts, whatever this request would charge.
    fn charge_as(&mut self, record: &Record) {
        if self.job.payment.is_metered()
            && let Some(first) = self.engine.job_of(record)
            && first.payment.terms() == self.job.payment.terms()
        {
            self.job = Arc::new(first);
        }
    }

    fn onwards(record: Record) -> Step {
        match record.holder {
            Holder::Other => Step::Elsewhere,
            Holder::This | Holder::Nobody => Step::TakeUp(Box::new(record)),
        }
    }

    /// Takes the payment without a transaction of ours: because a stranger's carries it, or for another process.
    async fn take(&self, verified: Verified, adopted: bool) -> Step {
        let now = self.engine.chain.host_now();
        match self.engine.journal.prepare(&[verified], adopted, now).await.map(|mut all| all.pop()) {
            Ok(Some(Prepared::New)) if adopted => Step::Prove,
            Ok(Some(Prepared::New)) => Step::Elsewhere,
            Ok(Some(Prepared::Exists(record))) => Step::Other(record),
            Ok(None) => Step::Over(pending(None)),
            Err(error) => {
                // It may be taken all the same.
                self.engine.doubt();
                Step::Over(Outcome::Pending { transaction: None, message: shown(&error) })
            }
        }
    }

    /// Has it sent by an account of this process, or leaves it to a process that has one.
    async fn send(&self, claim: Option<Box<Verified>>, last: Option<Option<String>>) -> Step {
        let claim = match self.allow(claim).await {
            Ok(claim) => claim,
            Err(step) => return step,
        };
        let Some(lane) = self.engine.lane(self.job.payment.sender()).await else {
            return claim.map_or(Step::Elsewhere, Step::HandOver);
        };
        let (word, told) = oneshot::channel();
        let (job, flight) = (self.job.clone(), self.flight.clone());
        let gift = U256::ZERO;
        self.engine
            .queue(&lane, Ticket { job, claim: claim.clone(), last: last.clone(), gift, flight, word });
        match (self.hear(told).await, claim) {
            (Heard::Over(outcome), _) => Step::Over(outcome),
            (Heard::Refused(refused), Some(verified)) => Step::Reconsider(refused, verified),
            (Heard::Refused(refused), None) => self.give_up(refused).await,
            (Heard::Taken(record), _) => Step::Other(record),
            (Heard::NoSender, claim) => last.map_or(Step::Send(claim), Step::SendAgain),
            (Heard::Undecided, _) => Step::Prove,
        }
    }

    /// Waits for the engine's word; if that takes long, looks whether the payment was made otherwise.
    pub(super) async fn hear(&self, mut told: oneshot::Receiver<Word>) -> Heard {
        let mut patience = self.patience();
        loop {
            let word = match tokio::time::timeout(patience, &mut told).await {
                Ok(Ok(word)) => word,
                Ok(Err(_)) => return Heard::Over(pending(self.flight.hash())),
                Err(_elapsed) => {
                    let hash = self.flight.hash();
                    if hash.is_some() && !self.engine.may_look_aside() {
                        continue;
                    }
                    patience = patience.saturating_mul(2).min(self.most_patience());
                    match hash {
                        Some(_) => {
                            if let Some(outcome) = self.look_aside().await {
                                return Heard::Over(outcome);
                            }
                        }
                        None => {
                            if let Some(record) = self.taken_elsewhere().await {
                                return Heard::Taken(record);
                            }
                        }
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

    /// While it waits to be sent: another process may have taken it.
    async fn taken_elsewhere(&self) -> Option<Box<Record>> {
        let record = self.engine.journal.settlement(self.flight.key()).await.ok()??;
        let theirs = record.holder == Holder::Other || record.ended.is_some();
        theirs.then(|| Box::new(record))
    }

    fn patience(&self) -> Duration {
        let chain = &self.engine.chain;
        (chain.config.poll * CHECK_EVERY).max(chain.block_interval().min(chain.config.poll * 16) * 2)
    }

    pub(super) fn most_patience(&self) -> Duration {
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

    /// Watches a payment that no transaction of ours on its way carries, until its fate is proven, or until it can be sent
    /// again, as its nonce was spent by a transaction that is not ours.
    async fn prove(&self, pause: &mut Duration) -> Step {
        let mut looks = 0u32;
        loop {
            match self.engine.proof(&self.job).await {
                Ok(Proof::Paid(receipt)) => return Step::Over(self.settled(&receipt).await),
                Ok(Proof::Gone(receipt)) => return Step::Over(self.gone(&receipt).await),
                Ok(Proof::Over) if !self.is_carried() => return Step::Over(self.over().await),
                Ok(Proof::Nothing) if looks >= 1 => {
                    if let Some(step) = self.sent_again().await {
                        return step;
                    }
                }
                Ok(Proof::Over | Proof::Nothing) => {}
                Err(error) => tracing::debug!(payment = %self.flight.key(), %error, "can't look"),
            }
            looks = looks.saturating_add(1);
            tokio::time::sleep(*pause).await;
            *pause = pause.saturating_mul(2).min(self.most_patience());
        }
    }

    fn is_carried(&self) -> bool {
        self.engine.lanes.iter().any(|lane| lane.carries(self.flight.key()))
    }

    /// Sends it again if nothing of ours was mined for it or still can be, so that it can't cost a second time.
    async fn sent_again(&self) -> Option<Step> {
        if self.is_carried() {
            return None;
        }
        let attempts = self.engine.journal.history(self.flight.key()).await.ok()?;
        // Once more alone, when another payment in the transaction may have been the cause.
        let mut mined = attempts.iter().filter(|a| a.block.is_some() && !is_gift(&a.transaction));
        if mined.next().is_some_and(|first| first.carries.len() < 2) || mined.next().is_some() {
            return None;
        }
        for attempt in attempts.iter().filter(|attempt| attempt.block.is_none()) {
            let lane = self.lane_of(&attempt.transaction.signer)?;
            let spent = self.engine.chain.rpc.nonce(lane.address()).await.ok()?;
            if spent <= attempt.transaction.nonce {
                // It can still be mined, even if it was replaced: whoever has the account follows its nonce.
                return Some(Step::Elsewhere);
            }
        }
        self.engine.chain.verify(&self.job.payment, &self.job.effects).await.ok()?;
        Some(Step::SendAgain(attempts.last().map(|attempt| attempt.transaction.hash.clone())))
    }

    /// What was good a moment ago is refused now: perhaps it has just been settled.
    async fn reconsider(&self, refused: Outcome, verified: Box<Verified>) -> Step {
        let is_about_us = |reason: &Reason| {
            matches!(
                reason,
                Reason::FacilitatorUnavailable | Reason::ChainUnreachable | Reason::StoreUnavailable
            )
        };
        // It may have been signed for before its account was lost.
        match self.engine.journal.settlement(self.flight.key()).await {
            Ok(Some(record)) => return Step::Other(Box::new(record)),
            Err(_) if self.flight.hash().is_some() => {
                self.engine.doubt();
                return Step::Over(pending(self.flight.hash()));
            }
            Err(error) => return Step::Over(self.job.no_store(&error)),
            Ok(None) => {}
        }
        if matches!(&refused, Outcome::NotSettled { refusal, .. } if is_about_us(&refusal.reason)) {
            return Step::Over(refused);
        }
        match self.engine.proof(&self.job).await {
            Ok(Proof::Paid(_)) => Step::Adopt(verified),
            Ok(Proof::Gone(_) | Proof::Over) => Step::Over(refused),
            Ok(Proof::Nothing) => {
                match self.engine.chain.verify(&self.job.payment, &self.job.effects).await {
                    Err(refusal) if refusal.reason == Reason::AlreadyUsed => Step::Over(pending(None)),
                    Err(refusal) => Step::Over(Outcome::NotSettled { refusal, transaction: None }),
                    Ok(_) => Step::Over(refused),
                }
            }
            Err(error) => Step::Over(self.job.unreachable(&error)),
        }
    }

    /// A record exists already: its answer, or a place in its settlement.
    fn other(&self, record: Record) -> Step {
        if Job::terms_of(&record).is_none_or(|terms| terms != self.job.payment.terms()) {
            let message = "its nonce belongs to another payment";
            return Step::Over(self.job.refuse(Reason::AlreadyUsed, message));
        }
        self.job.ended(&record).map_or_else(|| Self::onwards(record), Step::Over)
    }

    /// It is free again if nothing was ever signed for it; what was is watched until the chain proves an end.
    pub(super) async fn give_up(&self, refused: Outcome) -> Step {
        match self.engine.journal.history(self.flight.key()).await {
            Ok(attempts) if attempts.is_empty() => {}
            Ok(attempts) if attempts.iter().all(|attempt| is_gift(&attempt.transaction)) => {
                return Step::Over(self.not_allowed(refused).await);
            }
            _ => return Step::Prove,
        }
        match self.engine.journal.abandon_settlement(self.flight.key()).await {
            Ok(()) => Step::Over(refused),
            Err(error) => {
                self.engine.doubt();
                Step::Over(Outcome::Pending { transaction: None, message: shown(&error) })
            }
        }
    }

    /// Waits for another process to settle it; goes on itself when that one is gone and this one can.
    async fn elsewhere(&self) -> Step {
        let mut looks = 0u32;
        loop {
            // First of all: whoever comes here has just looked.
            tokio::time::sleep(self.engine.chain.config.poll.clamp(ELSEWHERE, ELSEWHERE * 5)).await;
            looks = looks.saturating_add(1);
            match self.engine.journal.settlement(self.flight.key()).await {
                Ok(Some(record)) => {
                    if let Some(step) = self.ours_by_now(record).await {
                        return step;
                    }
                }
                Ok(None) => return Step::Over(self.refused_elsewhere().await),
                Err(error) => tracing::warn!(payment = %self.flight.key(), %error, "can't read its record"),
            }
            if looks.is_multiple_of(CHECK_EVERY)
                && let Some(outcome) = self.proven().await
            {
                return Step::Over(outcome);
            }
        }
    }

    /// What to do with a record that may be another process's.
    async fn ours_by_now(&self, record: Record) -> Option<Step> {
        // The payment may have been given up there, and another one with its nonce taken since.
        if Job::terms_of(&record).is_none_or(|terms| terms != self.job.payment.terms()) {
            return Some(Step::Other(Box::new(record)));
        }
        if let Some(outcome) = self.job.ended(&record) {
            return Some(Step::Over(outcome));
        }
        if let Some(hash) = &record.hash {
            self.flight.signed(hash);
        }
        if record.holder == Holder::Other {
            return None;
        }
        let can_go_on = match &record.transaction {
            Some(signed) => match self.lane_of(&signed.signer) {
                Some(lane) => self.engine.lease(&lane).await.unwrap_or(false),
                // Nobody's account any more: whoever looks can follow it.
                None => true,
            },
            None => self.engine.lane(self.job.payment.sender()).await.is_some(),
        };
        if can_go_on {
            return Some(Step::TakeUp(Box::new(record)));
        }
        if record.holder == Holder::This
            && let Err(error) = self.engine.journal.let_go(self.flight.key()).await
        {
            tracing::warn!(payment = %self.flight.key(), %error, "can't be let go");
        }
        None
    }

    /// Its end, if the chain proves one whoever works on it.
    async fn proven(&self) -> Option<Outcome> {
        match self.engine.proof(&self.job).await {
            Ok(Proof::Paid(receipt)) => Some(self.settled(&receipt).await),
            Ok(Proof::Gone(receipt)) => Some(self.gone(&receipt).await),
            Ok(Proof::Over) => Some(self.over().await),
            Ok(Proof::Nothing) | Err(_) => None,
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
    async fn take_up(&self, record: Record) -> Step {
        if let Some(hash) = &record.hash {
            self.flight.signed(hash);
        }
        let Some(signed) = &record.transaction else { return self.take_up_unsigned().await };
        let Some(lane) = self.lane_of(&signed.signer) else {
            // Its account is not one of ours any more: it can still be mined.
            self.engine.broadcast_raw(signed).await;
            return Step::Prove;
        };
        match self.engine.lease(&lane).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return Step::Elsewhere,
        }
        if self.engine.reload(&lane).await.is_err() {
            return Step::Elsewhere;
        }
        let (word, told) = oneshot::channel();
        if lane.attach(self.flight.key(), &self.flight, word).is_err() {
            return Step::Prove;
        }
        self.engine.look_soon();
        match self.hear(told).await {
            Heard::Over(outcome) => Step::Over(outcome),
            Heard::NoSender => Step::Elsewhere,
            _ => Step::Prove,
        }
    }

    async fn take_up_unsigned(&self) -> Step {
        match self.engine.chain.verify(&self.job.payment, &self.job.effects).await {
            Ok(_) => Step::SendAgain(None),
            Err(refusal) if refusal.reason == Reason::AlreadyUsed => Step::Prove,
            Err(refusal) if refusal.reason == Reason::ChainUnreachable => Step::Elsewhere,
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
pub(super) enum Heard {
    Over(Outcome),
    Refused(Outcome),
    Taken(Box<Record>),
    NoSender,
    Undecided,
}
