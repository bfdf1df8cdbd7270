//! What comes before a payment by Permit2 whose payer approves Permit2 by a transaction of its own
//! (`erc20ApprovalGasSponsoring`).
//!
//! No chain mines several accounts' transactions together for the asking, so they go one after the other, each only
//! when the chain shows the one before: our gift of gas if the payer lacks it, the payer's approval, the payment.
//! The payment is in the ledger before anything leaves; the gift is one of our own transactions, recorded with the
//! payment that it is for before it leaves; the approval is in the payment's request. So a process that takes the
//! payment over finds by the chain alone how far it got.
//!
//! What can be lost is the gift, when the payer spends it on something else. It is bounded for a payment by what its
//! approval may cost and the operator's limit; for a payer because each gift counts as one of its reverts; for all
//! together by a sum for 24 hours that is counted in the ledger, over all processes.

use std::time::Duration;

use alloy_primitives::{U64, U256};
use alloy_sol_types::SolCall as _;
use tokio::sync::oneshot;
use tollway_ledger::{Prepared, Record, fault};
use tollway_protocol::Reason;
use tollway_protocol::bind::{MIN_REMAINING_SECONDS, Verified};
use tollway_protocol::scheme::Outcome;

use crate::abi::Eip2612;
use crate::facilitator::envelope::is_gift;
use crate::facilitator::job::pending;
use crate::facilitator::lane::Ticket;
use crate::facilitator::pilot::{Heard, Pilot, Step};
use crate::facilitator::rpc::{Call, Receipt, RpcError, ask};
use crate::permit2::{ApprovalTransaction, PERMIT2};

/// Looks at which the approval's nonce was spent and Permit2 had no allowance, until that is believed.
const SURE: u32 = 3;
/// How often the nodes are given the approval again, in looks.
const AGAIN: u32 = 16;

type Claim = Option<Box<Verified>>;

/// What the chain says of the way to the allowance.
struct Way {
    allowance: U256,
    nonce: u64,
    funds: U256,
    mined: Option<Receipt>,
}

impl Pilot {
    /// Sees to it that Permit2 has the allowance that the payer's approval gives it. The claim is gone once the payment
    /// is taken.
    pub(super) async fn allow(&self, mut claim: Claim) -> Result<Claim, Step> {
        let Some(approval) = self.job.payment.approval() else { return Ok(claim) };
        let (mut looks, mut spent) = (0u32, 0u32);
        loop {
            match self.way_to_allowance(approval).await {
                Ok(way) if way.allowance >= self.job.payment.value() => return Ok(claim),
                Ok(way) if way.nonce > approval.nonce => {
                    spent = spent.saturating_add(1);
                    if spent >= SURE {
                        let message = match way.mined {
                            Some(receipt) if !receipt.succeeded() => "the approval reverted",
                            Some(_) => "the approval is mined, and Permit2 has no allowance",
                            None => "the payer used the approval's nonce for another transaction",
                        };
                        return Err(self.refused(claim, Reason::ApprovalFailed, message).await);
                    }
                }
                Ok(way) => {
                    if let Some(verified) = claim.take() {
                        self.take_first(*verified).await?;
                    }
                    let missing = approval.missing(way.funds);
                    if missing.is_zero() && looks.is_multiple_of(AGAIN) {
                        self.broadcast_approval(approval).await;
                        looks = 0;
                    } else if !missing.is_zero() {
                        self.give(missing).await?;
                        looks = 0;
                        continue;
                    }
                }
                Err(error) => tracing::debug!(payment = %self.flight.key(), %error, "can't look"),
            }
            if self.is_late() {
                let message = "the approval was not mined in the payment's time";
                return Err(self.refused(claim, Reason::ApprovalNotSent, message).await);
            }
            looks = looks.saturating_add(1);
            tokio::time::sleep(self.pause()).await;
        }
    }

    fn pause(&self) -> Duration {
        self.engine.chain.config.poll
    }

    fn is_late(&self) -> bool {
        let chain = &self.engine.chain;
        self.job.effects.window.closes < chain.now(chain.host_now()).plus(MIN_REMAINING_SECONDS)
    }

    async fn way_to_allowance(&self, approval: &ApprovalTransaction) -> Result<Way, RpcError> {
        let chain = &self.engine.chain;
        let allowance = Eip2612::allowanceCall { owner: approval.signer, spender: PERMIT2 }.abi_encode();
        let call = Call { from: None, to: Some(self.job.payment.token), input: allowance.into(), gas: None };
        let asks = [
            ask::call(&call),
            ask::nonce(approval.signer),
            ask::balance(approval.signer),
            ask::receipt(approval.hash),
        ];
        let mut given = chain.rpc.together(&asks).await?.into_iter();
        let mut next = || given.next().ok_or(RpcError::Unreachable("no answer"));
        Ok(Way {
            allowance: next()?.read::<U256>()?,
            nonce: next()?.read::<U64>()?.to(),
            funds: next()?.read::<U256>()?,
            mined: next()?.read::<Option<Receipt>>()?,
        })
    }

    /// Takes the payment before anything of it leaves.
    async fn take_first(&self, verified: Verified) -> Result<(), Step> {
        let now = self.engine.chain.host_now();
        match self.engine.journal.prepare(&[verified], true, now).await.map(|mut all| all.pop()) {
            Ok(Some(Prepared::New)) => {
                fault::point("sponsor.taken");
                Ok(())
            }
            Ok(Some(Prepared::Exists(record))) => Err(Step::Other(record)),
            Ok(None) => Err(Step::Over(pending(None))),
            Err(error) => {
                self.engine.doubt();
                Err(Step::Over(self.job.no_store(&error)))
            }
        }
    }

    async fn broadcast_approval(&self, approval: &ApprovalTransaction) {
        fault::point("sponsor.approving");
        tracing::info!(payment = %self.flight.key(), transaction = %approval.hash, "sends the payer's approval");
        if let Err(error) = self.engine.chain.rpc.send(&approval.raw).await {
            tracing::info!(transaction = %approval.hash, %error, "broadcast of an approval");
        }
        fault::point("sponsor.approved");
    }

    /// Gives the payer what it lacks for its approval, once.
    async fn give(&self, missing: U256) -> Result<(), Step> {
        let config = &self.engine.chain.config;
        let wrong = |message: &'static str| self.refused(None, Reason::ApprovalFailed, message);
        match self.engine.journal.history(self.flight.key()).await {
            Ok(attempts) if attempts.iter().any(|attempt| is_gift(&attempt.transaction)) => {
                return Err(wrong("the payer has spent what it was given for its approval").await);
            }
            Ok(_) => {}
            Err(_) => return Err(Step::Elsewhere),
        }
        if missing > config.approval_funding {
            return Err(wrong("the payer lacks more for its approval than is given").await);
        }
        match self.engine.has_more_to_give().await {
            Ok(true) => {}
            Ok(false) => {
                let message = "what is given for approvals in 24 hours is spent";
                return Err(self.refused(None, Reason::FacilitatorUnavailable, message).await);
            }
            Err(_) => return Err(Step::Elsewhere),
        }
        let Some(lane) = self.engine.lane(None).await else { return Err(Step::Elsewhere) };
        let (word, told) = oneshot::channel();
        let (job, flight) = (self.job.clone(), self.flight.clone());
        self.engine.queue(&lane, Ticket { job, claim: None, last: None, gift: missing, flight, word });
        match self.hear(told).await {
            // Mined, as far as can be told: the chain is asked what the payer has.
            Heard::Undecided | Heard::NoSender => Ok(()),
            Heard::Over(outcome) => Err(Step::Over(outcome)),
            Heard::Refused(refused) => Err(self.give_up(refused).await),
            Heard::Taken(record) => Err(Step::Other(record)),
        }
    }

    /// The payment can't be made: nothing of ours was ever signed that could make it.
    async fn refused(&self, claim: Claim, reason: Reason, message: &'static str) -> Step {
        let refused = self.job.refuse(reason, message);
        match claim {
            Some(_) => Step::Over(refused),
            None => self.give_up(refused).await,
        }
    }

    /// Records that it was not made, when all that was signed for it were gifts.
    pub(super) async fn not_allowed(&self, refused: Outcome) -> Outcome {
        match refused {
            Outcome::NotSettled { refusal, .. } => {
                self.failed(refusal.reason.clone(), &refusal.message, None).await
            }
            other => other,
        }
    }
}

/// What the request of a record may have cost us for its payer's approval, in wei.
pub(super) fn most_given(record: &Record, most: U256) -> U256 {
    use alloy_consensus::{Transaction as _, TxEnvelope};
    use alloy_eips::eip2718::Decodable2718 as _;
    use tollway_protocol::wire::PaymentRequest;
    if !record.request.contains(crate::permit2::APPROVAL_EXTENSION) {
        return U256::ZERO;
    }
    let request: Option<PaymentRequest> = serde_json::from_str(&record.request).ok();
    let approval = request.and_then(|request| crate::permit2::Approval::of(&request.payment_payload).ok()?);
    let transaction = approval.and_then(|approval| TxEnvelope::decode_2718(&mut &approval.raw[..]).ok());
    transaction.map_or(U256::ZERO, |transaction| {
        let cost =
            U256::from(transaction.gas_limit()).saturating_mul(U256::from(transaction.max_fee_per_gas()));
        cost.min(most)
    })
}
