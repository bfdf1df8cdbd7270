//! The way in: a settlement is joined, started, or refused before anything is taken.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tollway_ledger::{LedgerError, Record, SignedTransaction, fault};
use tollway_protocol::bind::{Bound, MIN_REMAINING_SECONDS, Presented, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::Outcome;
use tollway_protocol::wire::PaymentRequest;
use tollway_protocol::{Reason, Refusal};

use crate::facilitator::decode::said;
use crate::facilitator::engine::Engine;
use crate::facilitator::flight::{Boarding, Flight, Load, Progress};
use crate::facilitator::job::{Job, pending};
use crate::facilitator::lane::Lane;
use crate::facilitator::payment::Terms;
use crate::facilitator::pilot::Pilot;
use crate::facilitator::proof::Fate;
use crate::facilitator::rpc::Receipt;
use crate::facilitator::send::Unsigned;
use crate::signature::Signature;

/// How long the record is waited for when the deadline has come.
const LAST_LOOK: Duration = Duration::from_millis(250);
const DAY_SECONDS: u64 = 24 * 60 * 60;

impl Job {
    fn load(&self, balance: Option<alloy_primitives::U256>) -> Load {
        let payment = &self.payment;
        Load {
            token: payment.token,
            payer: payment.payer(),
            value: payment.value(),
            terms: payment.terms(),
            balance,
        }
    }

    /// What `record` has of the payment that it is of: what it says, and its signature.
    fn stored(record: &Record) -> Option<(Terms, Option<Signature>)> {
        let request: PaymentRequest = serde_json::from_str(&record.request).ok()?;
        let presented = Presented::charged(request.payment_requirements, request.payment_payload).ok()?;
        said(&presented).ok()
    }

    /// What `record`'s payment says.
    pub(super) fn terms_of(record: &Record) -> Option<Terms> {
        Self::stored(record).map(|(terms, _)| terms)
    }
}

impl Engine {
    pub(super) async fn settle(self: &Arc<Self>, payment: Bound, deadline: Duration) -> Outcome {
        let end = tokio::time::Instant::now() + deadline;
        fault::point("settle.parsed");
        let decoded = match self.chain.decode(&payment) {
            Ok(decoded) => decoded,
            Err(refusal) => return Outcome::NotSettled { refusal, transaction: None },
        };
        let job = Arc::new(Job { payment: decoded, effects: payment.effects().clone() });
        match tokio::time::timeout_at(end, self.begin(payment, &job)).await {
            Ok(Ok(progress)) => match wait(progress, end).await {
                Outcome::Pending { transaction: None, message } => self.last_look(&job, message).await,
                outcome => outcome,
            },
            Ok(Err(outcome)) => outcome,
            Err(_) => pending(self.hash_in_flight(&job)),
        }
    }

    /// The deadline has come and no transaction is known here: another process may have one.
    async fn last_look(&self, job: &Job, message: String) -> Outcome {
        let read = self.journal.settlement(&job.effects.key);
        match tokio::time::timeout(LAST_LOOK, read).await {
            Ok(Ok(Some(record)))
                if job.payment.by_key && Job::terms_of(&record) == Some(job.payment.terms()) =>
            {
                job.ended(&record).unwrap_or(Outcome::Pending { transaction: record.hash, message })
            }
            _ => Outcome::Pending { transaction: None, message },
        }
    }

    /// The transaction of a payment in flight, for its payer only.
    fn hash_in_flight(&self, job: &Job) -> Option<String> {
        let flight = self.flights.find(&job.effects.key, &job.payment.terms())?;
        job.payment.by_key.then(|| flight.borrow().hash.clone()).flatten()
    }

    /// Joins the payment's settlement or starts it; refuses what was never begun and can't be.
    async fn begin(
        self: &Arc<Self>,
        payment: Bound,
        job: &Arc<Job>,
    ) -> Result<watch::Receiver<Progress>, Outcome> {
        let network = &self.chain.config.network;
        let since = UnixTime(self.chain.host_now().0.saturating_sub(DAY_SECONDS));
        let (record, reverts) = tokio::join!(
            self.journal.settlement(payment.key()),
            self.journal.reverts(network, job.effects.payer.as_str(), since),
        );
        if let Some(record) = record.map_err(|error| job.no_store(&error))? {
            return self.rejoin(record, job).await;
        }
        let reverts = if crate::bug::on("s11-no-revert-limit") { Ok(0) } else { reverts };
        let reverts = reverts.map_err(|error| job.no_store(&error))?;
        let unexplained = self.unexplained.times(job.payment.payer(), self.chain.host_now());
        if reverts.saturating_add(unexplained) >= self.chain.config.reverts_per_day {
            return Err(
                job.refuse(Reason::PayerSuspended, "too many of its payments reverted on chain today")
            );
        }
        let refusal = match payment.clone().at(self.chain.now(self.chain.host_now())) {
            Err(refusal) => refusal,
            Ok(verified) => match self.chain.verify(&job.payment, &job.effects).await {
                Ok(balance) => {
                    fault::point("settle.verified");
                    self.unused.note(payment.key(), &job.payment.terms());
                    return self.fly(job, Some(balance), |pilot| pilot.new_one(verified));
                }
                Err(refusal) => refusal,
            },
        };
        match refusal.reason {
            Reason::AlreadyUsed | Reason::Expired => self.used(payment, job, refusal).await,
            _ => self.refused(payment, job, refusal).await,
        }
    }

    /// It is not good any more, unless a parallel request's was while this one was looked at: that may pay.
    async fn refused(
        self: &Arc<Self>,
        payment: Bound,
        job: &Arc<Job>,
        refusal: Refusal,
    ) -> Result<watch::Receiver<Progress>, Outcome> {
        let record = self.journal.settlement(payment.key()).await.map_err(|error| job.no_store(&error))?;
        if let Some(record) = record.filter(|record| Job::terms_of(record) == Some(job.payment.terms())) {
            return self.rejoin(record, job).await;
        }
        match self.flights.find(payment.key(), &job.payment.terms()) {
            Some(progress)
                if self.chain.is_authentic(&job.payment).await.map_err(|e| job.unreachable(&e))? =>
            {
                Ok(progress)
            }
            _ => Err(Outcome::NotSettled { refusal, transaction: None }),
        }
    }

    /// It can't be used any more: perhaps because it was, by our own settlement of a parallel request or by
    /// a stranger who submitted it after we had found it unused.
    async fn used(
        self: &Arc<Self>,
        payment: Bound,
        job: &Arc<Job>,
        refusal: Refusal,
    ) -> Result<watch::Receiver<Progress>, Outcome> {
        let store = |error: LedgerError| job.no_store(&error);
        if let Some(record) = self.journal.settlement(payment.key()).await.map_err(store)? {
            return self.rejoin(record, job).await;
        }
        let expired = refusal.reason == Reason::Expired;
        let never = Err(Outcome::NotSettled { refusal, transaction: None });
        let known = self.unused.was(payment.key(), &job.payment.terms());
        if !self.chain.is_authentic(&job.payment).await.map_err(|e| job.unreachable(&e))? {
            return never;
        }
        // It was good when it was taken, and may be signed for any time.
        if let Some(progress) = self.flights.find(payment.key(), &job.payment.terms()) {
            return Ok(progress);
        }
        let last = job.effects.window.closes.minus(MIN_REMAINING_SECONDS);
        match self.chain.fate(&job.payment).await.map_err(|e| job.unreachable(&e))? {
            // A ledger that came back as an older copy does not know what our own accounts have settled.
            Fate::Paid(receipt) if !known && !self.is_own(&receipt) => never,
            Fate::Paid(_) => match payment.at(last) {
                Ok(verified) => self.fly(job, None, |pilot| pilot.adopted(verified)),
                Err(refusal) => Err(Outcome::NotSettled { refusal, transaction: None }),
            },
            Fate::Gone(_) => never,
            Fate::Untold if expired || !known => never,
            Fate::Untold => Err(pending(None)),
        }
    }

    /// Whether the transaction was sent by one of our accounts.
    fn is_own(&self, receipt: &Receipt) -> bool {
        receipt.from.is_some_and(|from| self.lanes.iter().any(|lane| lane.address() == from))
    }

    /// A payment that was taken before: its first answer, or a place in its settlement.
    async fn rejoin(
        self: &Arc<Self>,
        record: Record,
        job: &Arc<Job>,
    ) -> Result<watch::Receiver<Progress>, Outcome> {
        let foreign =
            || job.refuse(Reason::AlreadyUsed, "its nonce belongs to another payment, taken before");
        let (terms, signature) = Job::stored(&record).ok_or_else(foreign)?;
        if terms != job.payment.terms() && !crate::bug::on("s4-any-terms") {
            return Err(foreign());
        }
        if signature.as_ref() != job.payment.signature()
            && !self.chain.is_authentic(&job.payment).await.map_err(|e| job.unreachable(&e))?
        {
            return Err(foreign());
        }
        if let Some(outcome) = job.ended(&record) {
            return Err(outcome);
        }
        if crate::bug::on("s6-forgets-the-hash") {
            return Err(pending(None));
        }
        let hash = record.hash.clone();
        // Whatever keeps it from being followed just now, it may have been broadcast.
        self.fly(job, None, |pilot| pilot.open_one(record)).map_err(|_| pending(hash))
    }

    /// Runs `work` as the payment's one flight, apart from whoever asked for it.
    pub(super) fn fly<F, W>(
        self: &Arc<Self>,
        job: &Arc<Job>,
        balance: Option<alloy_primitives::U256>,
        work: W,
    ) -> Result<watch::Receiver<Progress>, Outcome>
    where
        W: FnOnce(Pilot) -> F + Send + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        match self.flights.board(&job.effects.key, job.load(balance)) {
            Boarding::Passenger(progress) => Ok(progress),
            Boarding::Taken(true) => {
                Err(job.refuse(Reason::AlreadyUsed, "another payment with its nonce is being settled"))
            }
            // The other one may yet be refused.
            Boarding::Taken(false) => Err(job.refuse(
                Reason::FacilitatorUnavailable,
                "another payment with its nonce is just now being looked at: send it again later",
            )),
            Boarding::Overdrawn => Err(job.refuse(
                Reason::InsufficientBalance,
                "the payer's balance is promised to its payments that are being settled",
            )),
            Boarding::Full => {
                Err(job.refuse(Reason::FacilitatorUnavailable, "too many payments are being settled"))
            }
            Boarding::Pilot(flight, progress) => {
                let flight: Arc<Flight> = Arc::new(flight);
                let pilot = Pilot { engine: self.clone(), job: job.clone(), flight: flight.clone() };
                let work = work(pilot);
                let (engine, payer) = (self.clone(), job.payment.payer());
                tokio::spawn(async move {
                    let outcome = work.await;
                    if matches!(outcome, Outcome::Settled { .. }) {
                        engine.unexplained.clear(payer, flight.key());
                    }
                    drop(engine);
                    fault::point("settle.before_answer");
                    flight.land(outcome);
                });
                Ok(progress)
            }
        }
    }

    pub(super) fn job_of(&self, record: &Record) -> Option<Job> {
        let request: PaymentRequest = serde_json::from_str(&record.request).ok()?;
        let presented = Presented::charged(request.payment_requirements, request.payment_payload).ok()?;
        let effects = self.chain.effects(&presented).ok()?;
        let bound = presented.bind(effects).ok()?;
        let (payment, effects) = (self.chain.decode(&bound).ok()?, bound.effects().clone());
        Some(Job { payment, effects })
    }

    /// Takes up what the journal has of the lane's nonces.
    pub(super) async fn reload(self: &Arc<Self>, lane: &Lane) -> Result<(), Unsigned> {
        let _held = lane.lease.lock().await;
        self.resync(lane);
        self.next_nonce(lane).await.map(drop)
    }

    /// Gives the nodes a transaction whose account is not ours any more.
    pub(super) async fn broadcast_raw(&self, signed: &SignedTransaction) {
        if let Err(error) = self.chain.rpc.send(&signed.raw).await {
            tracing::info!(transaction = signed.hash, %error, "broadcast of a former account's transaction");
        }
    }

    /// A verification for `/verify`, noted so that a stranger's submission is recognised later.
    pub(super) async fn verify(&self, payment: &Verified) -> Result<(), Refusal> {
        let decoded = self.chain.decode(payment)?;
        self.chain.verify(&decoded, payment.effects()).await?;
        if crate::bug::on("s7-verify-takes") {
            let _ = self.journal.prepare(std::slice::from_ref(payment), false, self.chain.host_now()).await;
        }
        self.unused.note(payment.key(), &decoded.terms());
        Ok(())
    }
}

/// Waits for the outcome, at most until `end`; then what is known.
async fn wait(mut progress: watch::Receiver<Progress>, end: tokio::time::Instant) -> Outcome {
    let landed = progress.wait_for(|p| p.outcome.is_some());
    let _ = tokio::time::timeout_at(end, landed).await.map(drop);
    let Progress { hash, outcome, .. } = progress.borrow().clone();
    crate::bug::told(outcome, hash.as_deref()).unwrap_or_else(|| pending(hash))
}
