//! Whom a transaction of ours that did not pay is counted against. A receipt alone is not enough for that: one that a
//! node shows without its logs looks the same, and honest payers would be refused for it.

use std::sync::Arc;

use alloy_primitives::{B256, Log, U64};
use alloy_sol_types::SolEvent as _;
use tollway_protocol::bind::PaymentKey;

use crate::abi::{Eip3009, Permit2};
use crate::facilitator::chain::Chain;
use crate::facilitator::engine::Engine;
use crate::facilitator::envelope::Plan;
use crate::facilitator::job::Job;
use crate::facilitator::lane::{Lane, Sent};
use crate::facilitator::payment::{Decoded, Way};
use crate::facilitator::rpc::{FoundLog, Receipt, RpcError};
use crate::permit2::PERMIT2;

/// The token's logs that a payment leaves.
const OWN: [B256; 2] = [Eip3009::AuthorizationUsed::SIGNATURE_HASH, Eip3009::Transfer::SIGNATURE_HASH];
/// What else spends a payment's nonce.
const CANCELS: [B256; 2] =
    [Eip3009::AuthorizationCanceled::SIGNATURE_HASH, Permit2::UnorderedNonceInvalidation::SIGNATURE_HASH];

impl Engine {
    /// Those of the transaction's payments that it did not make, by more than its receipt, when the chain's last block
    /// is `head`. What can't be established is counted against nobody.
    pub(super) async fn blamed(
        &self,
        lane: &Lane,
        nonce: u64,
        receipt: &Receipt,
        head: u64,
    ) -> Vec<PaymentKey> {
        let mut blamed = Vec::new();
        for (key, job) in suspects(lane, nonce, receipt) {
            match self.chain.is_unpaid_by(&job.payment, receipt, head).await {
                Ok(true) => blamed.push(key),
                Ok(false) => tracing::warn!(
                    payment = %key, transaction = %receipt.transaction_hash,
                    "the node's receipt does not fit with what else it says: not counted as reverted"
                ),
                Err(error) => {
                    tracing::warn!(payment = %key, %error, "can't be established as reverted: not counted");
                }
            }
        }
        blamed
    }
}

/// The payments in the transaction that its receipt does not show. Nothing tells whose a delegation is, nor who used up
/// the gas: nobody is blamed for these.
fn suspects(lane: &Lane, nonce: u64, receipt: &Receipt) -> Vec<(PaymentKey, Arc<Job>)> {
    let state = lane.state.lock();
    let Some(sent) = state.sent.get(&nonce) else { return Vec::new() };
    if sent.members.len() > 1 && sent.used_up(receipt) {
        return Vec::new();
    }
    let members = sent.members.iter().filter(|member| {
        let payment = &member.job.payment;
        !member.is_lost && !payment.is_delegated() && !payment.is_paid_by(receipt)
    });
    members.map(|member| (member.key().clone(), member.job.clone())).collect()
}

impl Sent {
    /// Whether nearly all of the transaction's gas was used: what comes last may have had too little.
    fn used_up(&self, receipt: &Receipt) -> bool {
        let version = self.versions.iter().find(|(hash, _)| *hash == receipt.transaction_hash);
        let limit = version.and_then(|(_, signed)| Plan::of(signed)).map_or(0, |plan| plan.gas);
        let used: u64 = receipt.gas_used.unwrap_or_default().to();
        used >= limit.saturating_sub(limit / 16)
    }
}

impl Chain {
    /// Whether the transaction, whose receipt doesn't show the payment, has in truth not made it: the payment's nonce is
    /// free after it, or the chain's logs show that it went otherwise.
    async fn is_unpaid_by(&self, payment: &Decoded, receipt: &Receipt, head: u64) -> Result<bool, RpcError> {
        let Some((target, input)) = payment.nonce_call() else { return Ok(false) };
        // A node that has not come to the receipt's block can't say.
        let number = U64::from(head).max(receipt.block_number);
        let state = self.rpc.call_at(&self.simulation(target, input), number).await?;
        let used = payment.is_spent(&state).ok_or(RpcError::Unreachable("its answer can't be read"))?;
        if !used {
            return Ok(true);
        }
        let found = self.logs_of_payer(payment, receipt).await?;
        let ours = |log: &FoundLog| log.transaction_hash == Some(receipt.transaction_hash);
        let is_shown = is_same(payment, receipt, &found);
        Ok(is_shown && found.iter().any(|log| ours(log) || log.may_spend(payment)))
    }

    /// Whether the chain's logs of the payer's are those that the receipt shows.
    pub(super) async fn is_confirmed(&self, payment: &Decoded, receipt: &Receipt) -> Result<bool, RpcError> {
        let found = self.logs_of_payer(payment, receipt).await?;
        Ok(is_same(payment, receipt, &found))
    }

    /// What moved the payer's money in this token or spent a nonce of its, from some time before the receipt's block on.
    async fn logs_of_payer(&self, payment: &Decoded, receipt: &Receipt) -> Result<Vec<FoundLog>, RpcError> {
        let kinds = [OWN, CANCELS].concat();
        let topics = serde_json::json!([kinds, payment.payer().into_word()]);
        let from = receipt.block_number.to::<u64>().saturating_sub(self.config.log_window);
        self.rpc.logs_at(&[payment.token, PERMIT2], &topics, from).await
    }
}

/// Whether the receipt shows those of the payment's token's logs of its payer that were `found` in the transaction.
fn is_same(payment: &Decoded, receipt: &Receipt, found: &[FoundLog]) -> bool {
    let payer = payment.payer().into_word();
    let is_own = |log: &&Log| {
        let topics = log.data.topics();
        log.address == payment.token
            && topics.first().is_some_and(|kind| OWN.contains(kind))
            && topics.get(1) == Some(&payer)
    };
    // What failed has no logs.
    let logs = if receipt.succeeded() { receipt.logs.as_slice() } else { &[] };
    let shown = logs.iter().filter(is_own).map(|log| (log.data.topics(), &log.data.data));
    let there = found.iter().filter(|log| {
        log.transaction_hash == Some(receipt.transaction_hash)
            && log.address == payment.token
            && log.topics.first().is_some_and(|kind| OWN.contains(kind))
    });
    shown.eq(there.map(|log| (log.topics.as_slice(), &log.data)))
}

impl FoundLog {
    /// Whether it may tell of what else spent the payment's nonce. Nothing names a permit's but its cancellation: another
    /// permit with that nonce shows in a transfer of the payer's.
    fn may_spend(&self, payment: &Decoded) -> bool {
        match &payment.way {
            Way::Transfer(by) => {
                self.address == payment.token && self.topics.get(2) == Some(&by.transfer.nonce)
            }
            _ => true,
        }
    }
}
