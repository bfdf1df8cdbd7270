//! What our own transactions made of a payment that the chain's logs alone don't tell of.

use crate::facilitator::engine::{Engine, transaction_hash};
use crate::facilitator::envelope::Plan;
use crate::facilitator::evidence::is_settled;
use crate::facilitator::job::Job;
use crate::facilitator::payment::Decoded;
use crate::facilitator::proof::Fate;
use crate::facilitator::rpc::{Receipt, RpcError};

impl Engine {
    /// Reads the receipts of all that was signed for the payment.
    pub(super) async fn own_fate(&self, job: &Job) -> Result<Fate, RpcError> {
        if !job.payment.is_told_by_transfer() {
            return Ok(Fate::Untold);
        }
        let history = self.journal.history(&job.effects.key).await;
        let history = history.map_err(|error| {
            tracing::warn!(payment = %job.effects.key, %error, "its transactions can't be read");
            RpcError::Unreachable("the ledger can't be read")
        })?;
        for attempt in history.iter().rev() {
            let Some(plan) = Plan::of(&attempt.transaction).filter(|plan| !plan.settles_nothing()) else {
                continue;
            };
            let Some(hash) = transaction_hash(&attempt.transaction.hash) else { continue };
            let Some(receipt) = self.chain.receipt_of(hash).await? else { continue };
            if job.payment.is_paid_by(&receipt) {
                return Ok(Fate::Paid(receipt));
            }
            if job.payment.is_ended_by(&plan, &receipt)
                && self.chain.is_confirmed(&job.payment, &receipt).await?
            {
                return Ok(Fate::Gone(receipt));
            }
        }
        Ok(Fate::Untold)
    }
}

impl Decoded {
    /// Whether the payment can't be made any more, after this transaction of ours that did not make it: a delegation
    /// is redeemed once, and a proxy that succeeded, and says so, has spent the permit's nonce, whatever the token did.
    fn is_ended_by(&self, plan: &Plan, receipt: &Receipt) -> bool {
        match self.permit() {
            None => self.is_delegated(),
            Some(by) => {
                let proxy = by.payment.permit.spender();
                let has_settled = receipt.logs.iter().any(|log| is_settled(log, proxy));
                receipt.succeeded() && plan.to == proxy && has_settled
            }
        }
    }
}
