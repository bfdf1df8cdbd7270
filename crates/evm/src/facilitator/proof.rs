//! What became of an authorization, by the chain's own logs.

use alloy_primitives::B256;
use alloy_sol_types::SolEvent as _;

use crate::abi::Eip3009;
use crate::facilitator::chain::Chain;
use crate::facilitator::payment::Decoded;
use crate::facilitator::rpc::{Receipt, RpcError};

/// The fate of an authorization.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Exactly this payment was made, in this transaction.
    Paid(Receipt),
    /// It was cancelled, or used for another transfer: it can never pay.
    Gone(Receipt),
    /// No log tells.
    Untold,
}

impl Chain {
    /// Looks for the log that used or cancelled the payment's nonce. Silence proves nothing.
    pub(crate) async fn fate(&self, payment: &Decoded) -> Result<Fate, RpcError> {
        let head: u64 = self.rpc.block().await?.number.to();
        let transfer = &payment.authorization.transfer;
        let ends =
            [Eip3009::AuthorizationUsed::SIGNATURE_HASH, Eip3009::AuthorizationCanceled::SIGNATURE_HASH];
        let topics = serde_json::json!([ends, transfer.from.into_word(), transfer.nonce]);
        let from = head.saturating_sub(self.config.log_window);
        for log in self.rpc.logs(payment.token, &topics, from).await? {
            let (Some(hash), Some(kind)) = (log.transaction_hash, log.topics.first()) else { continue };
            let Some(receipt) = self.receipt_of(hash).await? else { continue };
            if payment.is_paid_by(&receipt) {
                return Ok(Fate::Paid(receipt));
            }
            let cancelled = *kind == Eip3009::AuthorizationCanceled::SIGNATURE_HASH;
            if cancelled || payment.is_used_by(&receipt) {
                return Ok(Fate::Gone(receipt));
            }
        }
        Ok(Fate::Untold)
    }

    /// The receipt of this very transaction.
    pub(crate) async fn receipt_of(&self, hash: B256) -> Result<Option<Receipt>, RpcError> {
        match self.rpc.receipt(hash).await? {
            Some(receipt) if receipt.transaction_hash != hash => {
                Err(RpcError::Unreachable("it gave another transaction's receipt"))
            }
            receipt => Ok(receipt),
        }
    }

    /// Whether a mined transaction is deep enough to count.
    pub(crate) async fn is_deep(&self, receipt: &Receipt) -> Result<bool, RpcError> {
        if self.config.confirmations <= 1 {
            return Ok(true);
        }
        let head = self.rpc.block().await?;
        self.saw(&head);
        Ok(self.is_deep_at(receipt, head.number.to()))
    }

    /// As [`Chain::is_deep`], when the chain's last block is `head`.
    pub(crate) fn is_deep_at(&self, receipt: &Receipt, head: u64) -> bool {
        let deep = head.saturating_sub(receipt.block_number.to()).saturating_add(1);
        deep >= self.config.confirmations
    }
}

impl Decoded {
    /// Whether the transaction used the nonce, for whatever transfer, and shows it in full.
    fn is_used_by(&self, receipt: &Receipt) -> bool {
        let t = &self.authorization.transfer;
        let used = [Eip3009::AuthorizationUsed::SIGNATURE_HASH, t.from.into_word(), t.nonce];
        let token: Vec<_> = receipt.logs.iter().filter(|log| log.address == self.token).collect();
        token.windows(2).any(|pair| match pair {
            [first, second] => {
                first.data.topics() == used
                    && second.data.topics().first() == Some(&Eip3009::Transfer::SIGNATURE_HASH)
            }
            _ => false,
        })
    }
}
