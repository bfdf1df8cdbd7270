//! Whom a transaction of ours that did not pay is counted against. A receipt alone is not enough for that: one that a
//! node shows without its logs looks the same, and honest payers would be refused for it.

use std::sync::Arc;

use alloy_primitives::{B256, Log, U64};
use alloy_sol_types::SolEvent as _;
use tollway_ledger::{JournalState, Mined};
use tollway_protocol::bind::PaymentKey;

use crate::abi::{Eip3009, Permit2};
use crate::facilitator::chain::Chain;
use crate::facilitator::engine::Engine;
use crate::facilitator::envelope::Plan;
use crate::facilitator::job::Job;
use crate::facilitator::lane::Sent;
use crate::facilitator::payment::{Decoded, Way};
use crate::facilitator::rpc::{Blocks, FoundLog, Receipt, RpcError};
use crate::permit2::PERMIT2;

/// The token's logs that a payment leaves.
const OWN: [B256; 2] = [Eip3009::AuthorizationUsed::SIGNATURE_HASH, Eip3009::Transfer::SIGNATURE_HASH];
/// What else spends a payment's nonce.
const CANCELS: [B256; 2] =
    [Eip3009::AuthorizationCanceled::SIGNATURE_HASH, Permit2::UnorderedNonceInvalidation::SIGNATURE_HASH];
/// How often the chain, or the ledger, is asked before it is given up.
const TRIES: u32 = 3;

/// A mined transaction whose receipt does not show all of its payments.
pub(super) struct Case {
    pub(super) receipt: Receipt,
    /// As it was recorded when its other payments' ends were.
    pub(super) mined: Mined,
    pub(super) suspects: Vec<Suspect>,
}

/// A payment that the receipt does not show.
pub(super) struct Suspect {
    key: PaymentKey,
    job: Arc<Job>,
}

/// What is known of a payment that the receipt does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The transaction has not made it.
    Unpaid,
    /// The chain shows no payment, nor what else may have spent its nonce.
    Unexplained,
    /// The receipt does not fit with what else the node says.
    Doubtful,
}

impl Engine {
    /// Counts against their payers what the transactions did not pay, by more than their receipts, when the chain's last
    /// block is `head`. What the chain does not explain is counted until the payment proves to be made.
    pub(super) async fn blame(self: Arc<Self>, cases: Vec<Case>, head: u64) {
        for Case { receipt, mut mined, suspects } in cases {
            let (mut unpaid, mut unexplained) = (Vec::new(), Vec::new());
            for suspect in suspects {
                match self.verdict(&suspect, &receipt, head).await {
                    Ok(Verdict::Unpaid) => unpaid.push(suspect),
                    Ok(Verdict::Unexplained) => unexplained.push(suspect),
                    Ok(Verdict::Doubtful) => tracing::warn!(
                        payment = %suspect.key, transaction = %receipt.transaction_hash,
                        "the node's receipt does not fit with what else it says: not counted as reverted"
                    ),
                    Err(error) => {
                        tracing::warn!(payment = %suspect.key, %error, "can't be established as reverted: not counted");
                    }
                }
            }
            if (unpaid.is_empty() && unexplained.is_empty()) || !self.is_still_so(&receipt).await {
                continue;
            }
            mined.reverted = unpaid.iter().map(|suspect| suspect.key.clone()).collect();
            if !unpaid.is_empty() && !self.record_reverts(&mined).await {
                unexplained.append(&mut unpaid);
            }
            for suspect in unexplained {
                self.note_unexplained(&suspect, &receipt).await;
            }
        }
    }

    async fn verdict(&self, suspect: &Suspect, receipt: &Receipt, head: u64) -> Result<Verdict, RpcError> {
        let mut tries = 1;
        loop {
            match self.chain.verdict(&suspect.job.payment, receipt, head).await {
                Err(_) if tries < TRIES => tokio::time::sleep(self.chain.config.poll).await,
                verdict => return verdict,
            }
            tries += 1;
        }
    }

    /// Whether a second look at the receipt shows the same.
    async fn is_still_so(&self, receipt: &Receipt) -> bool {
        for _ in 0..TRIES {
            if let Ok(Some(now)) = self.chain.receipt_of(receipt.transaction_hash).await {
                let is_there =
                    (now.block_number, now.block_hash) == (receipt.block_number, receipt.block_hash);
                return is_there && now.status == receipt.status && now.logs == receipt.logs;
            }
            tokio::time::sleep(self.chain.config.poll).await;
        }
        false
    }

    /// Says whether the ledger has it.
    async fn record_reverts(&self, mined: &Mined) -> bool {
        let network = &self.chain.config.network;
        for _ in 0..TRIES {
            match self.journal.finish(network, std::slice::from_ref(mined), &[], self.chain.host_now()).await
            {
                Ok(_) => return true,
                Err(error) => tracing::error!(transaction = mined.hash, %error, "reverts can't be recorded"),
            }
            tokio::time::sleep(self.chain.config.poll).await;
        }
        false
    }

    async fn note_unexplained(&self, suspect: &Suspect, receipt: &Receipt) {
        let (key, hash) = (&suspect.key, receipt.transaction_hash);
        tracing::warn!(payment = %key, transaction = %hash, "not made, and nothing on the chain tells why");
        let payer = suspect.job.payment.payer();
        self.unexplained.note(payer, key, hash, self.chain.host_now());
        // It may have been proven to be made while this was looked at.
        if let Ok(Some(record)) = self.journal.settlement(key).await
            && record.state == JournalState::Settled
        {
            self.unexplained.clear(payer, key);
        }
    }
}

impl Sent {
    /// The payments in the transaction that its receipt does not show. Nothing tells whose a delegation is, nor who used up
    /// the gas: nobody is blamed for these.
    pub(super) fn suspects(&self, receipt: &Receipt) -> Vec<Suspect> {
        if self.members.len() > 1 && self.used_up(receipt) {
            return Vec::new();
        }
        let members = self.members.iter().filter(|member| {
            let payment = &member.job.payment;
            !member.is_lost && !payment.is_delegated() && !payment.is_paid_by(receipt)
        });
        members.map(|member| Suspect { key: member.key().clone(), job: member.job.clone() }).collect()
    }

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
    async fn verdict(&self, payment: &Decoded, receipt: &Receipt, head: u64) -> Result<Verdict, RpcError> {
        let Some((target, input)) = payment.nonce_call() else { return Ok(Verdict::Doubtful) };
        // A node that has not come to the receipt's block can't say.
        let number = U64::from(head).max(receipt.block_number);
        let state = self.rpc.call_at(&self.simulation(target, input), number).await?;
        let used = payment.is_spent(&state).ok_or(RpcError::Unreachable("its answer can't be read"))?;
        if !used {
            return Ok(Verdict::Unpaid);
        }
        let found = match self.logs_of_payer(payment, receipt, number.to()).await {
            Ok(found) => found,
            // The payer may have left so many that no node lists them: the block's alone tell of the receipt.
            Err(error) if receipt.block_hash.is_some() => {
                tracing::debug!(%error, "the payer's logs can't be read");
                let is_confirmed = self.is_confirmed(payment, receipt).await?;
                return Ok(if is_confirmed { Verdict::Unexplained } else { Verdict::Doubtful });
            }
            Err(error) => return Err(error),
        };
        let ours = |log: &FoundLog| log.transaction_hash == Some(receipt.transaction_hash);
        Ok(match is_same(payment, receipt, &found) {
            false => Verdict::Doubtful,
            true if found.iter().any(|log| ours(log) || log.may_spend(payment)) => Verdict::Unpaid,
            true => Verdict::Unexplained,
        })
    }

    /// Whether the chain's logs of the payer's in the receipt's block are those that the receipt shows.
    pub(super) async fn is_confirmed(&self, payment: &Decoded, receipt: &Receipt) -> Result<bool, RpcError> {
        let blocks = match receipt.block_hash {
            Some(hash) => Blocks::One(hash),
            None => {
                let (number, around): (u64, _) = (receipt.block_number.to(), self.config.log_window / 2);
                let head: u64 = self.rpc.block().await?.number.to();
                Blocks::Range(number.saturating_sub(around), head.min(number.saturating_add(around)))
            }
        };
        let topics = serde_json::json!([OWN, payment.payer().into_word()]);
        let found = self.rpc.logs_in(&[payment.token], &topics, blocks).await?;
        Ok(is_same(payment, receipt, &found))
    }

    /// What moved the payer's money in this token or spent a nonce of its, from some time before the receipt's block to
    /// block `last`.
    async fn logs_of_payer(
        &self,
        payment: &Decoded,
        receipt: &Receipt,
        last: u64,
    ) -> Result<Vec<FoundLog>, RpcError> {
        let kinds = [OWN, CANCELS].concat();
        let topics = serde_json::json!([kinds, payment.payer().into_word()]);
        let first = receipt.block_number.to::<u64>().saturating_sub(self.config.log_window);
        self.rpc.logs_in(&[payment.token, PERMIT2], &topics, Blocks::Range(first, last)).await
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
