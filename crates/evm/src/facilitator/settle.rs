//! Settlement: once per payment, recorded before it is sent, followed to its end.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use tokio::sync::watch;
use tollway_ledger::{Ending, JournalState, LedgerError, Prepared, Record, SignedTransaction, fault};
use tollway_protocol::bind::{Bound, Effects, MIN_REMAINING_SECONDS, PaymentKey, Verified};
use tollway_protocol::door;
use tollway_protocol::scheme::Outcome;
use tollway_protocol::wire::PaymentRequest;
use tollway_protocol::{Dialect, Reason, Refusal};

use crate::exact::Authorization;
use crate::facilitator::chain::Decoded;
use crate::facilitator::flight::{Boarding, Flight, Progress};
use crate::facilitator::lane::{Plan, Unplanned, Unsigned};
use crate::facilitator::rpc::{Receipt, RpcError};
use crate::facilitator::{ExactFacilitator, host_now};
use crate::signature::Signature;

/// Looks at the chain between two checks of a transaction that has no receipt.
const CHECK_EVERY: u32 = 8;

/// Seconds after a payment's window by which no block can hold it any more.
const DEAD_AFTER_SECONDS: u64 = 60;

/// A payment being settled.
struct Job {
    payment: Decoded,
    effects: Effects,
}

impl Job {
    fn refuse(&self, reason: Reason, message: impl Into<String>) -> Outcome {
        Outcome::NotSettled { refusal: self.effects.refuse(reason, message), transaction: None }
    }

    /// Whether `record` is of this very payment: the same transfer, signed by the payer.
    fn is(&self, record: &Record) -> bool {
        let stored: Option<PaymentRequest> = serde_json::from_str(&record.request).ok();
        let stored = stored.and_then(|r| Authorization::decode(&r.payment_payload.payload).ok());
        let this = &self.payment.authorization;
        stored.is_some_and(|stored| {
            stored.transfer == this.transfer && (self.payment.by_key || stored.signature == this.signature)
        })
    }
}

impl ExactFacilitator {
    pub(super) async fn settle_by(&self, payment: Bound, deadline: Duration) -> Outcome {
        let end = tokio::time::Instant::now() + deadline;
        let (decoded, effects) = match self.chain.decode(payment.presented()) {
            Ok(decoded) => decoded,
            Err(refusal) => return Outcome::NotSettled { refusal, transaction: None },
        };
        let (key, job) = (effects.key.clone(), Job { payment: decoded, effects });
        match tokio::time::timeout_at(end, self.begin(payment, job)).await {
            Ok(Ok(progress)) => wait(progress, end).await,
            Ok(Err(outcome)) => outcome,
            Err(_) => pending(self.flights.find(&key).and_then(|progress| progress.borrow().hash.clone())),
        }
    }

    /// Joins the payment's settlement or starts it; refuses what was never begun and can't be.
    async fn begin(&self, payment: Bound, job: Job) -> Result<watch::Receiver<Progress>, Outcome> {
        let store = |error: LedgerError| job.refuse(Reason::StoreUnavailable, shown(&error));
        if let Some(record) = self.journal.settlement(payment.key()).await.map_err(store)? {
            return self.rejoin(record, &job);
        }
        let refusal = match payment.clone().at(self.chain.now(host_now())) {
            Err(refusal) => refusal,
            Ok(verified) => match self.chain.verify(&job.payment, &job.effects).await {
                Ok(()) => return Ok(self.start(verified, job)),
                Err(refusal) => refusal,
            },
        };
        match refusal.reason {
            Reason::AlreadyUsed | Reason::Expired => self.used(payment, job, refusal).await,
            _ => Err(Outcome::NotSettled { refusal, transaction: None }),
        }
    }

    /// It can't be used any more: perhaps because it was, by our own settlement of a parallel request or by
    /// someone else who submitted it.
    async fn used(
        &self,
        payment: Bound,
        job: Job,
        refusal: Refusal,
    ) -> Result<watch::Receiver<Progress>, Outcome> {
        let store = |error: LedgerError| job.refuse(Reason::StoreUnavailable, shown(&error));
        if let Some(record) = self.journal.settlement(payment.key()).await.map_err(store)? {
            return self.rejoin(record, &job);
        }
        let last = job.effects.window.closes.minus(MIN_REMAINING_SECONDS);
        match self.chain.find_use(&job.payment).await {
            Ok(Some(receipt)) => match payment.at(last) {
                Ok(verified) => Ok(self.adopt(verified, job, &receipt)),
                Err(refusal) => Err(Outcome::NotSettled { refusal, transaction: None }),
            },
            Ok(None) => Err(Outcome::NotSettled { refusal, transaction: None }),
            Err(error) => Err(job.refuse(Reason::ChainUnreachable, error.to_string())),
        }
    }

    /// A payment that was taken before: its first answer, or a place in its settlement.
    fn rejoin(&self, record: Record, job: &Job) -> Result<watch::Receiver<Progress>, Outcome> {
        if !job.is(&record) {
            return Err(
                job.refuse(Reason::AlreadyUsed, "its nonce belongs to another payment, settled before")
            );
        }
        if let Some(outcome) = ended(&record, &job.effects) {
            return Err(outcome);
        }
        let job = Job { payment: job.payment.clone(), effects: job.effects.clone() };
        Ok(self.fly(
            record.key.clone(),
            move |this, flight| async move { this.resume(record, job, flight).await },
        ))
    }

    fn start(&self, verified: Verified, job: Job) -> watch::Receiver<Progress> {
        let key = verified.key().clone();
        self.fly(key, move |this, flight| async move { this.settle_new(verified, job, flight).await })
    }

    /// Records that someone else submitted the payment.
    fn adopt(&self, verified: Verified, job: Job, receipt: &Receipt) -> watch::Receiver<Progress> {
        let hash = receipt.transaction_hash;
        let key = verified.key().clone();
        self.fly(key, move |this, flight| async move {
            match this.journal.prepare(&verified, host_now()).await {
                Ok(Prepared::New) => {
                    flight.signed(&hash.to_string());
                    this.follow(hash, &job, &flight).await
                }
                Ok(Prepared::Exists(record)) => this.outcome_of(*record, job, flight.key().clone()).await,
                Err(error) => job.refuse(Reason::StoreUnavailable, shown(&error)),
            }
        })
    }

    /// Runs `work` as the payment's one flight, apart from whoever asked for it.
    fn fly<F, W>(&self, key: PaymentKey, work: W) -> watch::Receiver<Progress>
    where
        W: FnOnce(Self, Arc<Flight>) -> F + Send + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        match self.flights.board(&key) {
            Boarding::Passenger(progress) => progress,
            Boarding::Pilot(flight, progress) => {
                let (this, flight) = (self.clone(), Arc::new(flight));
                tokio::spawn(async move {
                    let outcome = work(this, flight.clone()).await;
                    fault::point("settle.before_answer");
                    flight.land(outcome);
                });
                progress
            }
        }
    }

    async fn settle_new(&self, verified: Verified, job: Job, flight: Arc<Flight>) -> Outcome {
        fault::point("settle.before_journal");
        let plan = match self.plan(&job).await {
            Ok(plan) => plan,
            Err(outcome) => return outcome,
        };
        match self.journal.prepare(&verified, host_now()).await {
            Ok(Prepared::New) => self.send(plan, &job, &flight).await,
            Ok(Prepared::Exists(record)) => self.outcome_of(*record, job, flight.key().clone()).await,
            Err(error) => job.refuse(Reason::StoreUnavailable, shown(&error)),
        }
    }

    async fn plan(&self, job: &Job) -> Result<Plan, Outcome> {
        let cap = match job.payment.authorization.signature {
            Signature::Ecdsa { .. } => self.chain.config.gas_cap,
            _ => self.chain.config.contract_gas_cap,
        };
        self.lane.plan(job.payment.submission(), cap).await.map_err(|unplanned| match unplanned {
            Unplanned::Chain(error) => job.refuse(Reason::ChainUnreachable, error.to_string()),
            Unplanned::WouldFail(message) => job.refuse(Reason::SimulationFailed, message),
            Unplanned::NoGas => {
                job.refuse(Reason::FacilitatorUnavailable, "the facilitator's account can't pay for gas")
            }
        })
    }

    /// Signs, records, broadcasts, and follows the transaction to its end.
    async fn send(&self, plan: Plan, job: &Job, flight: &Flight) -> Outcome {
        let key = flight.key();
        let signed = match self.lane.sign(key, &plan).await {
            Ok(signed) => signed,
            Err(Unsigned::Ledger(error)) => {
                self.lane.resync().await;
                return Outcome::Pending { transaction: None, message: shown(&error) };
            }
            Err(Unsigned::Chain(error)) => {
                return self.give_up(key, job.refuse(Reason::ChainUnreachable, error.to_string())).await;
            }
            Err(Unsigned::Signer) => {
                let outcome = job.refuse(Reason::FacilitatorUnavailable, "the facilitator could not sign");
                return self.give_up(key, outcome).await;
            }
        };
        flight.signed(&signed.hash);
        fault::point("settle.after_journal");
        self.broadcast(key, &signed).await;
        fault::point("settle.after_broadcast");
        match transaction_hash(&signed.hash) {
            Some(hash) => self.follow(hash, job, flight).await,
            None => {
                Outcome::Pending { transaction: Some(signed.hash), message: "not a transaction hash".into() }
            }
        }
    }

    /// Nothing was signed: the payment is free again.
    async fn give_up(&self, key: &PaymentKey, outcome: Outcome) -> Outcome {
        match self.journal.abandon_settlement(key).await {
            Ok(()) => outcome,
            Err(error) => Outcome::Pending { transaction: None, message: shown(&error) },
        }
    }

    /// Gives the bytes to the node. What it answers proves nothing: the transaction is looked for afterwards.
    async fn broadcast(&self, key: &PaymentKey, signed: &SignedTransaction) {
        let taken = match self.chain.rpc.send(&signed.raw).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(payment = %key, transaction = signed.hash, %error, "broadcast");
                match transaction_hash(&signed.hash) {
                    Some(hash) => self.chain.rpc.knows(hash).await.unwrap_or(false),
                    None => false,
                }
            }
        };
        if taken && let Err(error) = self.journal.broadcast(key).await {
            tracing::error!(payment = %key, transaction = signed.hash, %error, "not recorded as broadcast");
        }
    }

    /// Takes up a settlement that an earlier process or a failed store left open.
    async fn resume(&self, record: Record, job: Job, flight: Arc<Flight>) -> Outcome {
        match &record.transaction {
            Some(signed) => {
                flight.signed(&signed.hash);
                self.broadcast(&record.key, signed).await;
                match transaction_hash(&signed.hash) {
                    Some(hash) => self.follow(hash, &job, &flight).await,
                    None => Outcome::Pending { transaction: record.hash, message: "damaged record".into() },
                }
            }
            None => match self.plan(&job).await {
                Ok(plan) => self.send(plan, &job, &flight).await,
                Err(outcome) => self.give_up(&record.key, outcome).await,
            },
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
            self.fly(record.key.clone(), move |this, flight| async move {
                this.resume(record, job, flight).await
            });
        }
    }

    fn job_of(&self, record: &Record) -> Option<Job> {
        let request: PaymentRequest = serde_json::from_str(&record.request).ok()?;
        let presented =
            tollway_protocol::bind::Presented::new(request.payment_requirements, request.payment_payload)
                .ok()?;
        let (payment, effects) = self.chain.decode(&presented).ok()?;
        Some(Job { payment, effects })
    }

    async fn outcome_of(&self, record: Record, job: Job, key: PaymentKey) -> Outcome {
        if !job.is(&record) {
            return job.refuse(Reason::AlreadyUsed, "its nonce belongs to another payment");
        }
        ended(&record, &job.effects).unwrap_or_else(|| {
            tracing::warn!(payment = %key, "being settled by another process");
            Outcome::Pending { transaction: record.hash, message: "being settled by another process".into() }
        })
    }

    /// Watches a transaction until the payment's fate is known, and records it.
    async fn follow(&self, hash: B256, job: &Job, flight: &Flight) -> Outcome {
        let mut looks = 0u32;
        loop {
            match self.look(hash, job, looks).await {
                Ok(Some(ending)) => {
                    fault::point("settle.after_receipt");
                    return self.finish(ending, job, flight).await;
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(payment = %flight.key(), %error, "can't look"),
            }
            looks = looks.wrapping_add(1);
            tokio::time::sleep(self.chain.config.poll).await;
        }
    }

    /// One look: the transaction's receipt, and now and then whether it can still come.
    async fn look(&self, hash: B256, job: &Job, looks: u32) -> Result<Option<Ending>, RpcError> {
        match self.chain.rpc.receipt(hash).await? {
            Some(receipt) if receipt.transaction_hash == hash => self.judge(&receipt, job).await,
            Some(_) => Err(RpcError::Unreachable("it gave another transaction's receipt")),
            None if looks % CHECK_EVERY == CHECK_EVERY - 1 => self.missing(hash, job).await,
            None => Ok(None),
        }
    }

    async fn judge(&self, receipt: &Receipt, job: &Job) -> Result<Option<Ending>, RpcError> {
        if self.chain.config.confirmations > 1 {
            let head = self.chain.rpc.block().await?;
            self.chain.saw_block_at(head.timestamp.to());
            let deep: u64 =
                head.number.to::<u64>().saturating_sub(receipt.block_number.to()).saturating_add(1);
            if deep < self.chain.config.confirmations {
                return Ok(None);
            }
        }
        let hash = receipt.transaction_hash.to_string();
        if job.payment.is_paid_by(receipt) {
            return Ok(Some(Ending::Settled { hash }));
        }
        if let Some(other) = self.chain.find_use(&job.payment).await? {
            return Ok(Some(Ending::Settled { hash: other.transaction_hash.to_string() }));
        }
        let (reason, message) = if receipt.status.is_zero() {
            (Reason::TransactionFailed, "the transaction reverted")
        } else {
            (
                Reason::TransferNotFound,
                "the transaction succeeded without the token's Transfer and AuthorizationUsed",
            )
        };
        let reason = reason.code(Dialect::ExactEvm);
        Ok(Some(Ending::Failed { reason, message: message.into(), hash: Some(hash) }))
    }

    /// No receipt: sent again while it can come, given up when the chain proves that it can't.
    async fn missing(&self, hash: B256, job: &Job) -> Result<Option<Ending>, RpcError> {
        if let Some(other) = self.chain.find_use(&job.payment).await? {
            return self.judge(&other, job).await;
        }
        let head = self.chain.rpc.block().await?;
        self.chain.saw_block_at(head.timestamp.to());
        let over = job.effects.window.closes.plus(DEAD_AFTER_SECONDS).0 < head.timestamp.to::<u64>();
        if over && !self.chain.is_used(&job.payment).await? {
            return Ok(Some(Ending::Failed {
                reason: Reason::Expired.code(Dialect::ExactEvm),
                message: "the payment's time passed on chain without its being used".into(),
                hash: Some(hash.to_string()),
            }));
        }
        if !self.chain.rpc.knows(hash).await? {
            let record = self.journal.settlement(&job.effects.key).await.ok().flatten();
            if let Some(signed) = record.and_then(|record| record.transaction) {
                self.broadcast(&job.effects.key, &signed).await;
            }
        }
        Ok(None)
    }

    /// Records the end; until the store takes it, it is not told.
    async fn finish(&self, ending: Ending, job: &Job, flight: &Flight) -> Outcome {
        loop {
            match self.journal.finish(flight.key(), ending.clone()).await {
                Ok(()) => break,
                Err(LedgerError::Conflict { .. }) => match self.journal.settlement(flight.key()).await {
                    Ok(Some(record)) if ended(&record, &job.effects).is_some() => {
                        return ended(&record, &job.effects).unwrap_or_else(|| pending(None));
                    }
                    _ => return pending(flight_hash(&ending)),
                },
                Err(error) => tracing::error!(payment = %flight.key(), %error, "the end can't be recorded"),
            }
            tokio::time::sleep(self.chain.config.poll).await;
        }
        match ending {
            Ending::Settled { hash } => Outcome::Settled { transaction: hash },
            Ending::Failed { reason, message, hash } => Outcome::NotSettled {
                refusal: job.effects.refuse(reason.reason(), message),
                transaction: hash,
            },
        }
    }
}

fn pending(transaction: Option<String>) -> Outcome {
    Outcome::Pending { transaction, message: "waiting for the chain: send the same payment again".into() }
}

fn flight_hash(ending: &Ending) -> Option<String> {
    match ending {
        Ending::Settled { hash } => Some(hash.clone()),
        Ending::Failed { hash, .. } => hash.clone(),
    }
}

fn transaction_hash(text: &str) -> Option<B256> {
    door::hex_array::<32>(text).ok().map(Into::into)
}

/// A finished record's outcome.
fn ended(record: &Record, effects: &Effects) -> Option<Outcome> {
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
    let Progress { hash, outcome } = progress.borrow().clone();
    outcome.unwrap_or_else(|| pending(hash))
}

fn shown(error: &LedgerError) -> String {
    tracing::error!(%error, "ledger");
    "the store can't be used just now".into()
}
