//! Settlement: once per payment, recorded before it is sent, followed to its end.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{B256, U256};
use tokio::sync::watch;
use tollway_ledger::{JournalState, LedgerError, Prepared, Record, fault};
use tollway_protocol::bind::{Bound, Effects, MIN_REMAINING_SECONDS, Verified};
use tollway_protocol::scheme::Outcome;
use tollway_protocol::wire::PaymentRequest;
use tollway_protocol::{Reason, Refusal};

use crate::exact::Authorization;
use crate::facilitator::flight::{Boarding, Flight, Load, Progress};
use crate::facilitator::payment::Decoded;
use crate::facilitator::proof::Fate;
use crate::facilitator::rpc::RpcError;
use crate::facilitator::{ExactFacilitator, host_now};

/// A payment being settled.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) payment: Decoded,
    pub(super) effects: Effects,
}

impl Job {
    pub(super) fn refuse(&self, reason: Reason, message: impl Into<String>) -> Outcome {
        Outcome::NotSettled { refusal: self.effects.refuse(reason, message), transaction: None }
    }

    fn unreachable(&self, error: &RpcError) -> Outcome {
        self.refuse(Reason::ChainUnreachable, error.to_string())
    }

    fn load(&self, balance: Option<U256>) -> Load {
        let Decoded { token, authorization, .. } = &self.payment;
        Load { token: *token, transfer: authorization.transfer.clone(), balance }
    }

    /// What `record` has of the payment that it is of.
    fn stored(record: &Record) -> Option<Authorization> {
        let request: PaymentRequest = serde_json::from_str(&record.request).ok()?;
        Authorization::decode(&request.payment_payload.payload).ok()
    }
}

impl ExactFacilitator {
    pub(super) async fn settle_by(&self, payment: Bound, deadline: Duration) -> Outcome {
        let end = tokio::time::Instant::now() + deadline;
        let decoded = match self.chain.decode(&payment) {
            Ok(decoded) => decoded,
            Err(refusal) => return Outcome::NotSettled { refusal, transaction: None },
        };
        let effects = payment.effects().clone();
        let job = Job { payment: decoded, effects };
        match tokio::time::timeout_at(end, self.begin(payment, job.clone())).await {
            Ok(Ok(progress)) => wait(progress, end).await,
            Ok(Err(outcome)) => outcome,
            Err(_) => pending(self.hash_in_flight(&job)),
        }
    }

    /// The transaction of a payment in flight, for its payer only.
    fn hash_in_flight(&self, job: &Job) -> Option<String> {
        let flight = self.flights.find(&job.effects.key, &job.payment.authorization.transfer)?;
        job.payment.by_key.then(|| flight.borrow().hash.clone()).flatten()
    }

    /// Joins the payment's settlement or starts it; refuses what was never begun and can't be.
    async fn begin(&self, payment: Bound, job: Job) -> Result<watch::Receiver<Progress>, Outcome> {
        let store = |error: LedgerError| job.refuse(Reason::StoreUnavailable, shown(&error));
        if let Some(record) = self.journal.settlement(payment.key()).await.map_err(store)? {
            return self.rejoin(record, &job).await;
        }
        if self.reverts.too_many(job.payment.authorization.transfer.from) {
            return Err(
                job.refuse(Reason::PayerSuspended, "too many of its payments reverted on chain today")
            );
        }
        let refusal = match payment.clone().at(self.chain.now(host_now())) {
            Err(refusal) => refusal,
            Ok(verified) => match self.chain.verify(&job.payment, &job.effects).await {
                Ok(balance) => {
                    self.unused.note(payment.key(), &job.payment.authorization.transfer);
                    return self.start(verified, &job, balance);
                }
                Err(refusal) => refusal,
            },
        };
        match refusal.reason {
            Reason::AlreadyUsed | Reason::Expired => self.used(payment, job, refusal).await,
            _ => Err(Outcome::NotSettled { refusal, transaction: None }),
        }
    }

    /// It can't be used any more: perhaps because it was, by our own settlement of a parallel request or by
    /// a stranger who submitted it after we had found it unused.
    async fn used(
        &self,
        payment: Bound,
        job: Job,
        refusal: Refusal,
    ) -> Result<watch::Receiver<Progress>, Outcome> {
        let store = |error: LedgerError| job.refuse(Reason::StoreUnavailable, shown(&error));
        if let Some(record) = self.journal.settlement(payment.key()).await.map_err(store)? {
            return self.rejoin(record, &job).await;
        }
        let expired = refusal.reason == Reason::Expired;
        let never = Err(Outcome::NotSettled { refusal, transaction: None });
        let known = self.unused.was(payment.key(), &job.payment.authorization.transfer);
        if !known || !self.chain.is_authentic(&job.payment).await.map_err(|e| job.unreachable(&e))? {
            return never;
        }
        let last = job.effects.window.closes.minus(MIN_REMAINING_SECONDS);
        match self.chain.fate(&job.payment).await.map_err(|e| job.unreachable(&e))? {
            Fate::Paid(receipt) => match payment.at(last) {
                Ok(verified) => self.adopt(verified, &job, receipt.transaction_hash),
                Err(refusal) => Err(Outcome::NotSettled { refusal, transaction: None }),
            },
            Fate::Gone(_) => never,
            Fate::Untold if expired => never,
            Fate::Untold => Err(pending(None)),
        }
    }

    /// A payment that was taken before: its first answer, or a place in its settlement.
    async fn rejoin(&self, record: Record, job: &Job) -> Result<watch::Receiver<Progress>, Outcome> {
        let foreign =
            || job.refuse(Reason::AlreadyUsed, "its nonce belongs to another payment, taken before");
        let Authorization { transfer, signature } = &job.payment.authorization;
        let stored =
            Job::stored(&record).filter(|stored| stored.transfer == *transfer).ok_or_else(foreign)?;
        if stored.signature != *signature
            && !self.chain.is_authentic(&job.payment).await.map_err(|e| job.unreachable(&e))?
        {
            return Err(foreign());
        }
        if let Some(outcome) = ended(&record, &job.effects) {
            return Err(outcome);
        }
        let (resumed, hash) = (job.clone(), record.hash.clone());
        let work = move |this: Self, flight| async move { this.resume(record, resumed, flight).await };
        // Whatever keeps it from being followed just now, it may have been broadcast.
        self.fly(job, None, work).map_err(|_| pending(hash))
    }

    fn start(
        &self,
        verified: Verified,
        job: &Job,
        balance: U256,
    ) -> Result<watch::Receiver<Progress>, Outcome> {
        let new = job.clone();
        self.fly(job, Some(balance), move |this, flight| async move {
            this.settle_new(verified, new, flight).await
        })
    }

    fn adopt(&self, verified: Verified, job: &Job, hash: B256) -> Result<watch::Receiver<Progress>, Outcome> {
        let new = job.clone();
        self.fly(job, None, move |this, flight| async move {
            this.take_over(&verified, hash, &new, &flight).await
        })
    }

    /// Runs `work` as the payment's one flight, apart from whoever asked for it.
    fn fly<F, W>(
        &self,
        job: &Job,
        balance: Option<U256>,
        work: W,
    ) -> Result<watch::Receiver<Progress>, Outcome>
    where
        W: FnOnce(Self, Arc<Flight>) -> F + Send + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        match self.flights.board(&job.effects.key, job.load(balance)) {
            Boarding::Passenger(progress) => Ok(progress),
            Boarding::Taken => {
                Err(job.refuse(Reason::AlreadyUsed, "another payment with its nonce is being settled"))
            }
            Boarding::Overdrawn => Err(job.refuse(
                Reason::InsufficientBalance,
                "the payer's balance is promised to its payments that are being settled",
            )),
            Boarding::Full => {
                Err(job.refuse(Reason::FacilitatorUnavailable, "too many payments are being settled"))
            }
            Boarding::Pilot(flight, progress) => {
                let (this, flight) = (self.clone(), Arc::new(flight));
                tokio::spawn(async move {
                    let outcome = work(this, flight.clone()).await;
                    fault::point("settle.before_answer");
                    flight.land(outcome);
                });
                Ok(progress)
            }
        }
    }

    async fn settle_new(&self, verified: Verified, job: Job, flight: Arc<Flight>) -> Outcome {
        fault::point("settle.before_journal");
        let plan = match self.plan(&job).await {
            Ok(plan) => plan,
            Err(refused) => return self.reconsider(&verified, refused, &job, &flight).await,
        };
        match self.journal.prepare(&verified, host_now()).await {
            Ok(Prepared::New) => self.send(plan, &job, &flight).await,
            Ok(Prepared::Exists(record)) => outcome_of(*record, &job),
            Err(error) => job.refuse(Reason::StoreUnavailable, shown(&error)),
        }
    }

    /// What was good a moment ago would fail now: perhaps it has just been settled.
    async fn reconsider(&self, verified: &Verified, refused: Outcome, job: &Job, flight: &Flight) -> Outcome {
        match self.journal.settlement(flight.key()).await {
            Ok(Some(record)) => outcome_of(record, job),
            Err(error) => job.refuse(Reason::StoreUnavailable, shown(&error)),
            Ok(None) => match self.chain.fate(&job.payment).await {
                Ok(Fate::Paid(receipt)) => {
                    self.take_over(verified, receipt.transaction_hash, job, flight).await
                }
                Ok(Fate::Gone(_)) => refused,
                Ok(Fate::Untold) => match self.chain.verify(&job.payment, &job.effects).await {
                    Err(refusal) if refusal.reason == Reason::AlreadyUsed => pending(None),
                    Err(refusal) => Outcome::NotSettled { refusal, transaction: None },
                    Ok(_) => refused,
                },
                Err(error) => job.unreachable(&error),
            },
        }
    }

    /// Records that someone else's transaction carries the payment, and waits until it is final.
    async fn take_over(&self, verified: &Verified, hash: B256, job: &Job, flight: &Flight) -> Outcome {
        match self.journal.prepare(verified, host_now()).await {
            Ok(Prepared::New) => {
                flight.signed(&hash.to_string());
                self.follow(hash, job, flight).await
            }
            Ok(Prepared::Exists(record)) => outcome_of(*record, job),
            Err(error) => job.refuse(Reason::StoreUnavailable, shown(&error)),
        }
    }

    pub(super) async fn resume_all(&self) {
        let open = match self.journal.open(&self.chain.config.network).await {
            Ok(open) => open,
            Err(error) => {
                tracing::error!(%error, "open settlements can't be read");
                return;
            }
        };
        for record in open {
            if record.state == JournalState::Prepared {
                if let Err(error) = self.journal.abandon_settlement(&record.key).await {
                    tracing::error!(payment = %record.key, %error, "not given back");
                }
                continue;
            }
            let Some(job) = self.job_of(&record) else {
                tracing::error!(payment = %record.key, "its record can't be read: left as it is");
                continue;
            };
            tracing::info!(payment = %record.key, transaction = record.hash, "resumed");
            let resumed = job.clone();
            let _ = self.fly(&job, None, move |this, flight| async move {
                this.resume(record, resumed, flight).await
            });
        }
    }

    fn job_of(&self, record: &Record) -> Option<Job> {
        let request: PaymentRequest = serde_json::from_str(&record.request).ok()?;
        let presented =
            tollway_protocol::bind::Presented::new(request.payment_requirements, request.payment_payload)
                .ok()?;
        let effects = self.chain.effects(&presented).ok()?;
        let bound = presented.bind(effects).ok()?;
        let (payment, effects) = (self.chain.decode(&bound).ok()?, bound.effects().clone());
        Some(Job { payment, effects })
    }
}

pub(super) fn pending(transaction: Option<String>) -> Outcome {
    Outcome::Pending { transaction, message: "waiting for the chain: send the same payment again".into() }
}

/// The answer to a payment that another settlement has taken.
fn outcome_of(record: Record, job: &Job) -> Outcome {
    if Job::stored(&record).is_none_or(|stored| stored.transfer != job.payment.authorization.transfer) {
        return job.refuse(Reason::AlreadyUsed, "its nonce belongs to another payment");
    }
    ended(&record, &job.effects).unwrap_or_else(|| pending(record.hash))
}

/// A finished record's outcome.
pub(super) fn ended(record: &Record, effects: &Effects) -> Option<Outcome> {
    match record.state {
        JournalState::Settled => {
            Some(Outcome::Settled { transaction: record.hash.clone().unwrap_or_default() })
        }
        JournalState::Failed => Some(Outcome::NotSettled {
            refusal: effects.refuse(
                record.reason.as_ref().map_or(Reason::TransactionFailed, tollway_protocol::Code::reason),
                record.message.clone().unwrap_or_default(),
            ),
            transaction: record.hash.clone(),
        }),
        _ => None,
    }
}

/// Waits for the outcome, at most until `end`; then what is known.
async fn wait(mut progress: watch::Receiver<Progress>, end: tokio::time::Instant) -> Outcome {
    let landed = progress.wait_for(|p| p.outcome.is_some());
    let _ = tokio::time::timeout_at(end, landed).await.map(drop);
    let Progress { hash, outcome, .. } = progress.borrow().clone();
    outcome.unwrap_or_else(|| pending(hash))
}

pub(super) fn shown(error: &LedgerError) -> String {
    tracing::error!(%error, "ledger");
    "the store can't be used just now".into()
}
