//! A payment's transaction, from its plan to its end on chain.

use std::sync::Arc;

use alloy_primitives::B256;
use tollway_ledger::{Ending, LedgerError, Record, SignedTransaction, fault};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::scheme::Outcome;
use tollway_protocol::{Dialect, Reason, door};

use crate::facilitator::chain::MAX_AHEAD_SECONDS;
use crate::facilitator::flight::Flight;
use crate::facilitator::lane::{OVER_BUDGET, Plan, Unplanned, Unsigned};
use crate::facilitator::proof::Fate;
use crate::facilitator::rpc::{Receipt, RpcError};
use crate::facilitator::settle::{Job, ended, pending, shown};
use crate::facilitator::{ExactFacilitator, host_now};
use crate::signature::Signature;

/// Looks at the chain between two checks of a transaction that has no receipt.
const CHECK_EVERY: u32 = 8;

/// Seconds after a payment's window by which no block can hold it any more.
const DEAD_AFTER_SECONDS: u64 = 60;

/// What one look at the chain found.
enum Look {
    /// Nothing new.
    Waiting,
    /// The transaction failed; the payment may still be made by another.
    Reverted,
    /// The payment's fate.
    Ended(Ending),
    /// The transaction can't be mined: its nonce went to another one.
    Dead,
    /// The payment's time is over and its transaction's nonce is unspent: later ones wait behind it.
    Hole(SignedTransaction),
}

impl ExactFacilitator {
    pub(super) async fn plan(&self, job: &Job) -> Result<Plan, Outcome> {
        let deployed = match job.payment.authorization.signature {
            Signature::Undeployed { .. } => {
                let code = self.chain.rpc.code(job.payment.authorization.transfer.from).await;
                !code.map_err(|error| job.refuse(Reason::ChainUnreachable, error.to_string()))?.is_empty()
            }
            _ => true,
        };
        self.lane.plan(job.payment.submission(deployed)).await.map_err(|unplanned| match unplanned {
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

    /// Watches a transaction until the payment's fate is proven, and records it.
    pub(super) async fn follow(&self, mut hash: B256, job: &Job, flight: &Flight) -> Outcome {
        let mut looks = 0u32;
        let mut reverted = false;
        loop {
            match self.look(hash, job, flight, looks).await {
                Ok(Look::Ended(ending)) => {
                    fault::point("settle.after_receipt");
                    return self.finish(ending, job, flight).await;
                }
                Ok(Look::Reverted) if !reverted => {
                    reverted = true;
                    self.reverts.count(job.payment.authorization.transfer.from);
                    tracing::warn!(payment = %flight.key(), transaction = %hash, "reverted");
                }
                Ok(Look::Dead) => hash = self.replace(job, flight).await.unwrap_or(hash),
                Ok(Look::Hole(signed)) => hash = self.fill(&signed, flight).await.unwrap_or(hash),
                Ok(Look::Reverted | Look::Waiting) => {}
                Err(error) => tracing::debug!(payment = %flight.key(), %error, "can't look"),
            }
            looks = looks.wrapping_add(1);
            tokio::time::sleep(self.chain.config.poll).await;
        }
    }

    /// One look at the transaction's receipt; now and then, and when it tells nothing good, at the payment's fate.
    async fn look(&self, hash: B256, job: &Job, flight: &Flight, looks: u32) -> Result<Look, RpcError> {
        let receipt = self.chain.receipt_of(hash).await?;
        if let Some(receipt) = &receipt {
            flight.mined();
            if job.payment.is_paid_by(receipt) {
                return self.settled(receipt).await;
            }
        }
        if looks % CHECK_EVERY != CHECK_EVERY - 1 {
            let reverted = receipt.is_some_and(|receipt| receipt.status.is_zero());
            return Ok(if reverted { Look::Reverted } else { Look::Waiting });
        }
        match self.chain.fate(&job.payment).await? {
            Fate::Paid(other) => self.settled(&other).await,
            Fate::Gone(ours) if ours.transaction_hash == hash => {
                self.failed(
                    &ours,
                    Reason::TransferNotFound,
                    "the transaction does not contain the token's transfer",
                )
                .await
            }
            Fate::Gone(other) if self.chain.is_final(&other).await? => Ok(Look::Ended(Ending::Failed {
                reason: Reason::AlreadyUsed.code(Dialect::ExactEvm),
                message: "the authorization was cancelled, or used for another transfer".into(),
                hash: Some(hash.to_string()),
            })),
            Fate::Gone(_) => Ok(Look::Waiting),
            Fate::Untold => self.untold(hash, receipt.as_ref(), job).await,
        }
    }

    async fn failed(&self, receipt: &Receipt, reason: Reason, message: &str) -> Result<Look, RpcError> {
        let (reason, hash) = (reason.code(Dialect::ExactEvm), Some(receipt.transaction_hash.to_string()));
        let done = self.chain.is_final(receipt).await?;
        let ending = Ending::Failed { reason, message: message.into(), hash };
        Ok(if done { Look::Ended(ending) } else { Look::Waiting })
    }

    async fn settled(&self, receipt: &Receipt) -> Result<Look, RpcError> {
        let hash = receipt.transaction_hash.to_string();
        let done = self.chain.is_final(receipt).await?;
        Ok(if done { Look::Ended(Ending::Settled { hash }) } else { Look::Waiting })
    }

    /// No log tells of the authorization. It failed when its time is over, the state at that block says that it is
    /// unused, and our nonce is spent; until then it can still be used by anyone.
    async fn untold(&self, hash: B256, receipt: Option<&Receipt>, job: &Job) -> Result<Look, RpcError> {
        let head = self.chain.rpc.block().await?;
        self.chain.saw_block_at(head.timestamp.to());
        let ends = job.effects.window.closes.plus(DEAD_AFTER_SECONDS).0;
        let credible = head.timestamp.to::<u64>() <= host_now().plus(MAX_AHEAD_SECONDS).0;
        let over = credible && ends < head.timestamp.to::<u64>();
        let signed =
            self.journal.settlement(&job.effects.key).await.ok().flatten().and_then(|r| r.transaction);
        let spent = match &signed {
            Some(signed) => self.chain.rpc.nonce(self.lane.address(), "latest").await? > signed.nonce,
            None => true,
        };
        if over && spent && !self.chain.is_used_at(&job.payment, head.number).await? {
            let reverted = receipt.is_some_and(|receipt| receipt.status.is_zero());
            let message = if reverted {
                "the transaction reverted, and the payment's time is over"
            } else {
                "the payment's time passed on chain without its being used"
            };
            return Ok(Look::Ended(Ending::Failed {
                reason: Reason::TransactionFailed.code(Dialect::ExactEvm),
                message: message.into(),
                hash: Some(hash.to_string()),
            }));
        }
        match (receipt, signed) {
            (None, Some(signed)) if over && !spent && !self.lane.is_filler(&signed) => Ok(Look::Hole(signed)),
            (None, Some(_)) if self.chain.rpc.knows(hash).await? => Ok(Look::Waiting),
            (None, Some(_)) if spent => Ok(if over { Look::Waiting } else { Look::Dead }),
            (None, Some(signed)) => {
                self.broadcast(&job.effects.key, &signed).await;
                Ok(Look::Waiting)
            }
            _ => Ok(Look::Waiting),
        }
    }

    /// Signs the payment's transfer again, under a nonce that is free: the one before can't be mined.
    async fn replace(&self, job: &Job, flight: &Flight) -> Option<B256> {
        let plan = self.plan(job).await.ok()?;
        let signed = self.lane.sign(flight.key(), &plan).await.ok()?;
        self.take_off(&signed, flight).await
    }

    /// Spends the nonce of a transaction that is too late on nothing, so that later ones can be mined.
    async fn fill(&self, late: &SignedTransaction, flight: &Flight) -> Option<B256> {
        let signed = self.lane.fill(flight.key(), late).await.ok()?;
        self.take_off(&signed, flight).await
    }

    async fn take_off(&self, signed: &SignedTransaction, flight: &Flight) -> Option<B256> {
        tracing::warn!(payment = %flight.key(), transaction = signed.hash, nonce = signed.nonce, "replaces");
        flight.signed(&signed.hash);
        self.broadcast(flight.key(), signed).await;
        transaction_hash(&signed.hash)
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
