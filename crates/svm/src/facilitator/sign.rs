//! The fee payer's signature, which leaves only when it is recorded.

use tollway_ledger::{Batch, LedgerError, Record, SignedTransaction, Signing};
use tollway_protocol::Reason;
use tollway_protocol::bind::{Bound, PaymentKey, Verified};
use tollway_protocol::scheme::Outcome;

use crate::facilitator::cluster;
use crate::facilitator::engine::Engine;
use crate::facilitator::lane::Lane;
use crate::facilitator::settle::pending;
use crate::facilitator::trial::Tried;
use crate::payload::{self, SvmPayment};

impl Engine {
    /// Records the signed transaction. The fee payer's signature leaves this function only when it is on the disk.
    pub(super) async fn take(&self, verified: Verified, tried: &Tried) -> Result<Taken, Outcome> {
        let payment = &tried.payment;
        let lane = self.lane(&payment.transfer.fee_payer);
        let unavailable = |message: &str| {
            let refusal = verified.refuse(Reason::FacilitatorUnavailable, message);
            Outcome::NotSettled { refusal, transaction: None }
        };
        let lane = lane.ok_or_else(|| unavailable("the fee payer is none of ours"))?;
        let signature = lane.key.sign(payment.transaction.message());
        let raw = payment.transaction.signed(0, signature);
        let raw = raw.ok_or_else(|| unavailable("the transaction can't be signed"))?;
        let hash = solana_signature::Signature::from(signature).to_string();
        for _ in ["first", "with a new lease"] {
            match self.sign(lane, &verified, tried, &hash, &raw).await {
                Ok(Signed::Done(transaction)) => return Ok(Taken::Ours(transaction)),
                Ok(Signed::Lost) => {}
                Ok(Signed::Other(Signing::Taken(records))) => {
                    let ours = records.into_iter().find(|record| record.key == *verified.key());
                    return ours.map(|record| Taken::Theirs(Box::new(record))).ok_or_else(|| pending(None));
                }
                Ok(Signed::Other(Signing::Claimed(records))) => {
                    let message =
                        "another transaction of this payer with the same memo is a settlement already";
                    let refusal = verified.refuse(Reason::AlreadyUsed, message);
                    let transaction = records.into_iter().find_map(|record| record.hash);
                    return Err(crate::bug::claimed(Outcome::NotSettled { refusal, transaction }));
                }
                Ok(Signed::Other(_)) => {
                    return Err(unavailable("today's budget for fees is spent: send it again later"));
                }
                // It may be recorded all the same. Nothing has left.
                Err(error) => {
                    tracing::error!(%error, "ledger");
                    return Err(pending(None));
                }
            }
        }
        Err(unavailable("the journal's lane was lost: send it again later"))
    }

    async fn sign(
        &self,
        lane: &Lane,
        verified: &Verified,
        Tried { payment, slot, .. }: &Tried,
        hash: &str,
        raw: &[u8],
    ) -> Result<Signed, LedgerError> {
        let Some(lease) = lane.lease(&*self.journal, self.network()).await? else { return Ok(Signed::Lost) };
        let transaction = SignedTransaction {
            signer: lane.name().to_owned(),
            nonce: lane.number(*slot),
            hash: hash.to_owned(),
            raw: raw.to_vec(),
        };
        let batch = Batch {
            new: vec![verified.clone()],
            again: Vec::new(),
            expected: Vec::new(),
            claims: claim(verified, payment).into_iter().collect(),
            transaction: transaction.clone(),
            bid_gwei: payment.transfer.fee_lamports(),
            budget_gwei: crate::bug::budget(self.cluster.config.lamports_per_day),
        };
        if crate::bug::on("s9-sent-before-recorded") {
            let _ = cluster::send(&self.cluster.rpc, raw).await;
        }
        match self.journal.sign(&lease, batch, self.now()).await? {
            Signing::Done => Ok(Signed::Done(transaction)),
            Signing::Lost => {
                lane.lost(&lease).await;
                Ok(Signed::Lost)
            }
            other => Ok(Signed::Other(other)),
        }
    }
}

/// Who has a settlement.
pub(super) enum Taken {
    Ours(SignedTransaction),
    Theirs(Box<Record>),
}

enum Signed {
    Done(SignedTransaction),
    Lost,
    Other(Signing),
}

/// What no other payment may share with this one: its payer's memo, where the payer made it to be unique, as payers do
/// for offers without a memo of the seller's. One payment signed twice, under two blockhashes, is then settled once.
fn claim(payment: &Bound, decoded: &SvmPayment) -> Option<(PaymentKey, String)> {
    if payload::memo(payment.offer()).is_ok_and(|asked| asked.is_some()) || crate::bug::on("s3-no-claim") {
        return None;
    }
    let [memo] = decoded.transfer.memos.as_slice() else { return None };
    let is_unique = memo.len() == 32 && memo.iter().all(u8::is_ascii_hexdigit);
    let memo = is_unique.then(|| std::str::from_utf8(memo).ok()).flatten()?;
    Some((payment.key().clone(), format!("memo/{}/{memo}", decoded.transfer.payer)))
}
