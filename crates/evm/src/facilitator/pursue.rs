//! A payment's transaction, from its plan to its end on chain.

use std::sync::Arc;

use alloy_primitives::B256;
use tollway_ledger::{Ending, LedgerError, Record, SignedTransaction, fault};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::scheme::Outcome;
use tollway_protocol::{Dialect, Reason, door};

use crate::facilitator::ExactFacilitator;
use crate::facilitator::flight::Flight;
use crate::facilitator::lane::{OVER_BUDGET, Plan, Unplanned, Unsigned};
use crate::facilitator::rpc::{Receipt, RpcError};
use crate::facilitator::settle::{Job, ended, pending, shown};

/// Looks at the chain between two checks of a transaction that has no receipt.
const CHECK_EVERY: u32 = 8;

/// Seconds after a payment's window by which no block can hold it any more.
const DEAD_AFTER_SECONDS: u64 = 60;

/// What one look at the chain found.
enum Look {
    /// Nothing new.
    Waiting,
    /// The payment's fate.
    Ended(Ending),
    /// The transaction can't be mined: its nonce went to another one.
    Dead,
}

impl ExactFacilitator {
    pub(super) async fn plan(&self, job: &Job) -> Result<Plan, Outcome> {
        self.lane.plan(job.payment.submission()).await.map_err(|unplanned| match unplanned {
            Unplanned::Chain(error) => job.refuse(Reason::ChainUnreachable, error.to_string()),
            Unplanned::WouldFail(message) => job.refuse(Reason::SimulationFailed, message),
            Unplanned::NoMoney(why) => job.refuse(Reason::FacilitatorUnavailable, why),
        })
    }

    /// Signs, records, broadcasts, and follows the transaction to its end.
    pub(super) async fn send(&self, plan: Plan, job: &Job, flight: &Flight) -> Outcome {
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
            Err(Unsigned::OverBudget) => {
                return self.give_up(key, job.refuse(Reason::FacilitatorUnavailable, OVER_BUDGET)).await;
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
                self.lane.resync().await;
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
    pub(super) async fn resume(&self, record: Record, job: Job, flight: Arc<Flight>) -> Outcome {
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

    /// Watches a transaction until the payment's fate is known, and records it.
    pub(super) async fn follow(&self, mut hash: B256, job: &Job, flight: &Flight) -> Outcome {
        let mut looks = 0u32;
        loop {
            match self.look(hash, job, looks).await {
                Ok(Look::Ended(ending)) => {
                    fault::point("settle.after_receipt");
                    return self.finish(ending, job, flight).await;
                }
                Ok(Look::Dead) => hash = self.replace(job, flight).await.unwrap_or(hash),
                Ok(Look::Waiting) => {}
                Err(error) => tracing::debug!(payment = %flight.key(), %error, "can't look"),
            }
            looks = looks.wrapping_add(1);
            tokio::time::sleep(self.chain.config.poll).await;
        }
    }

    /// One look: the transaction's receipt, and now and then whether it can still come.
    async fn look(&self, hash: B256, job: &Job, looks: u32) -> Result<Look, RpcError> {
        match self.chain.rpc.receipt(hash).await? {
            Some(receipt) if receipt.transaction_hash == hash => self.judge(&receipt, job).await,
            Some(_) => Err(RpcError::Unreachable("it gave another transaction's receipt")),
            None if looks % CHECK_EVERY == CHECK_EVERY - 1 => self.missing(hash, job).await,
            None => Ok(Look::Waiting),
        }
    }

    /// Signs the payment's transfer again, under a nonce that is free: the one before can't be mined.
    async fn replace(&self, job: &Job, flight: &Flight) -> Option<B256> {
        let plan = self.plan(job).await.ok()?;
        let signed = self.lane.sign(flight.key(), &plan).await.ok()?;
        tracing::warn!(payment = %flight.key(), transaction = signed.hash, "replaces one that can't be mined");
        flight.signed(&signed.hash);
        self.broadcast(flight.key(), &signed).await;
        transaction_hash(&signed.hash)
    }

    async fn judge(&self, receipt: &Receipt, job: &Job) -> Result<Look, RpcError> {
        if self.chain.config.confirmations > 1 {
            let head = self.chain.rpc.block().await?;
            self.chain.saw_block_at(head.timestamp.to());
            let deep: u64 =
                head.number.to::<u64>().saturating_sub(receipt.block_number.to()).saturating_add(1);
            if deep < self.chain.config.confirmations {
                return Ok(Look::Waiting);
            }
        }
        let hash = receipt.transaction_hash.to_string();
        if job.payment.is_paid_by(receipt) {
            return Ok(Look::Ended(Ending::Settled { hash }));
        }
        if let Some(other) = self.chain.find_use(&job.payment).await? {
            return Ok(Look::Ended(Ending::Settled { hash: other.transaction_hash.to_string() }));
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
        Ok(Look::Ended(Ending::Failed { reason, message: message.into(), hash: Some(hash) }))
    }

    /// No receipt: sent again while it can come, given up when the chain proves that it can't.
    async fn missing(&self, hash: B256, job: &Job) -> Result<Look, RpcError> {
        if let Some(other) = self.chain.find_use(&job.payment).await? {
            return self.judge(&other, job).await;
        }
        let head = self.chain.rpc.block().await?;
        self.chain.saw_block_at(head.timestamp.to());
        let over = job.effects.window.closes.plus(DEAD_AFTER_SECONDS).0 < head.timestamp.to::<u64>();
        if over && !self.chain.is_used(&job.payment).await? {
            return Ok(Look::Ended(Ending::Failed {
                reason: Reason::Expired.code(Dialect::ExactEvm),
                message: "the payment's time passed on chain without its being used".into(),
                hash: Some(hash.to_string()),
            }));
        }
        if self.chain.rpc.knows(hash).await? {
            return Ok(Look::Waiting);
        }
        let record = self.journal.settlement(&job.effects.key).await.ok().flatten();
        let Some(signed) = record.and_then(|record| record.transaction) else { return Ok(Look::Waiting) };
        if self.chain.rpc.nonce(self.lane.address(), "latest").await? > signed.nonce {
            return Ok(Look::Dead);
        }
        self.broadcast(&job.effects.key, &signed).await;
        Ok(Look::Waiting)
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

fn flight_hash(ending: &Ending) -> Option<String> {
    match ending {
        Ending::Settled { hash } => Some(hash.clone()),
        Ending::Failed { hash, .. } => hash.clone(),
    }
}

fn transaction_hash(text: &str) -> Option<B256> {
    door::hex_array::<32>(text).ok().map(Into::into)
}
