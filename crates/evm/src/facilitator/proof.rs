//! What became of a payment, by the chain's own logs.

use std::collections::BTreeSet;

use alloy_primitives::{B256, U64, U256};
use alloy_sol_types::{SolCall as _, SolEvent as _};

use crate::abi::{Eip3009, Permit2};
use crate::exact::Authorization;
use crate::facilitator::chain::Chain;
use crate::facilitator::evidence::{Settling, is_settled, settlements};
use crate::facilitator::payment::{ByPermit, Decoded, Way};
use crate::facilitator::rpc::{Block, Carried, FoundLog, Receipt, RpcError, ask};
use crate::permit2::PERMIT2;

/// The most transactions that are looked at in one round trip.
const SOME: usize = 32;

/// The fate of a payment.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Exactly this payment was made, in this transaction.
    Paid(Receipt),
    /// It was cancelled, or used for another transfer: it can never pay.
    Gone(Receipt),
    /// No log tells.
    Untold,
}

/// What the logs tell of a permit.
struct Search {
    /// The transaction that made the payment.
    paid: Option<Receipt>,
    /// Where its nonce was cancelled: that is proof only when nothing could have paid before.
    cancelled: Option<B256>,
    /// Whether there is a transfer that could be this payment, in a transaction that can't be read.
    is_open: bool,
    /// The time of the last block that was searched.
    until: u64,
}

impl Chain {
    /// Looks for the log that used or cancelled the payment's nonce. Silence proves nothing.
    pub(crate) async fn fate(&self, payment: &Decoded) -> Result<Fate, RpcError> {
        match &payment.way {
            Way::Transfer(authorization) => self.fate_of_authorization(payment, authorization).await,
            Way::Permit(by) => {
                let search = self.search(payment, by).await?;
                match (search.paid, search.cancelled) {
                    (Some(receipt), _) => Ok(Fate::Paid(receipt)),
                    (None, Some(hash)) if !search.is_open => {
                        Ok(self.receipt_of(hash).await?.map_or(Fate::Untold, Fate::Gone))
                    }
                    _ => Ok(Fate::Untold),
                }
            }
            // No log names it; only our own transactions can have made it.
            Way::Delegation(_) => Ok(Fate::Untold),
        }
    }

    async fn fate_of_authorization(
        &self,
        payment: &Decoded,
        Authorization { transfer, .. }: &Authorization,
    ) -> Result<Fate, RpcError> {
        let head: u64 = self.rpc.block().await?.number.to();
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

    /// Reads every transfer that could be the payment, and every cancellation of its nonce. That the nonce's bit is set
    /// proves nothing: a cancellation sets it, before or after a use, and so does another permit with that nonce.
    async fn search(&self, payment: &Decoded, by: &ByPermit) -> Result<Search, RpcError> {
        let last: u64 = self.rpc.block().await?.number.to();
        let kinds = [Eip3009::Transfer::SIGNATURE_HASH, Permit2::UnorderedNonceInvalidation::SIGNATURE_HASH];
        let topics = serde_json::json!([kinds, payment.payer().into_word()]);
        let from = last.saturating_sub(self.config.log_window);
        let asks = [ask::logs(&[payment.token, PERMIT2], &topics, from), ask::head()];
        let mut given = self.rpc.together(&asks).await?.into_iter();
        let mut next = || given.next().ok_or(RpcError::Unreachable("no answer"));
        let logs: Vec<FoundLog> = next()?.read()?;
        let head: Block = next()?.read()?;
        if head.number.to::<u64>() < last {
            return Err(RpcError::Unreachable("it is behind another node"));
        }
        let mut search = Search { paid: None, cancelled: None, is_open: false, until: head.timestamp.to() };
        let (word, bit) = by.payment.permit.nonce_word_and_bit();
        let mut candidates = BTreeSet::new();
        for log in &logs {
            let Some(hash) = log.transaction_hash else { continue };
            if log.is_transfer_of(payment) {
                candidates.insert((log.block_number, hash));
            } else if log.cancels(word, bit) {
                search.cancelled = Some(hash);
            }
        }
        // The latest first: it is the likeliest.
        let hashes: Vec<B256> = candidates.into_iter().rev().map(|(_, hash)| hash).collect();
        for some in hashes.chunks(SOME) {
            self.read_candidates(payment, by, some, &mut search).await?;
            if search.paid.is_some() {
                break;
            }
        }
        Ok(search)
    }

    async fn read_candidates(
        &self,
        payment: &Decoded,
        by: &ByPermit,
        hashes: &[B256],
        search: &mut Search,
    ) -> Result<(), RpcError> {
        let asks: Vec<_> =
            hashes.iter().flat_map(|hash| [ask::transaction(*hash), ask::receipt(*hash)]).collect();
        let mut given = self.rpc.together(&asks).await?.into_iter();
        for hash in hashes {
            let mut next = || given.next().ok_or(RpcError::Unreachable("no answer"));
            let (carried, receipt) = (next()?.read::<Option<Carried>>()?, next()?.read::<Option<Receipt>>()?);
            let known = carried.zip(receipt);
            let Some((carried, receipt)) =
                known.filter(|(carried, receipt)| carried.hash == *hash && receipt.transaction_hash == *hash)
            else {
                search.is_open = true;
                continue;
            };
            match self.judge(payment, by, &carried, &receipt) {
                Some(true) => search.paid = Some(receipt),
                Some(false) => {}
                None => search.is_open = true,
            }
        }
        Ok(())
    }

    /// Whether the transaction made the payment; None when that can't be told.
    fn judge(&self, payment: &Decoded, by: &ByPermit, carried: &Carried, receipt: &Receipt) -> Option<bool> {
        let permit = &by.payment.permit;
        let could = receipt.logs.iter().any(|log| is_settled(log, permit.spender()));
        if !could || !payment.is_paid_by(receipt) {
            return Some(false);
        }
        let calls = settlements(carried.to?, &carried.input, |token| self.tokens.contains_key(&token))?;
        let is_it = |call: &Settling| matches!(call, Settling::Permit(other, amount) if **other == *permit && *amount == by.amount);
        let alike: Vec<_> = calls.iter().filter(|call| call.told() == payment.told()).collect();
        match (alike.iter().any(|call| is_it(call)), alike.iter().all(|call| is_it(call))) {
            (true, true) => Some(true),
            // Another permit's transfer.
            (false, _) => Some(false),
            (true, false) => None,
        }
    }

    /// Whether the payment may have been made after all, in the state after block `number`, when its time is over.
    pub(crate) async fn is_used_at(&self, payment: &Decoded, number: U64) -> Result<bool, RpcError> {
        let Some((target, input)) = payment.nonce_call() else { return Ok(true) };
        let bytes = self.rpc.call_at(&self.simulation(target, input), number).await?;
        let used = payment.is_spent(&bytes).ok_or(RpcError::Unreachable("its answer can't be read"))?;
        let Way::Permit(by) = &payment.way else { return Ok(used) };
        if !used {
            return Ok(false);
        }
        // Cancelled, or used by another permit, if nothing that was ever mined could be this payment.
        let search = self.search(payment, by).await?;
        let is_over = U256::from(search.until) > by.payment.permit.deadline;
        Ok(search.paid.is_some() || search.is_open || !is_over)
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

impl FoundLog {
    fn is_transfer_of(&self, payment: &Decoded) -> bool {
        let expected =
            [Eip3009::Transfer::SIGNATURE_HASH, payment.payer().into_word(), payment.recipient().into_word()];
        let amount = B256::from(payment.value());
        self.address == payment.token && self.topics == expected && self.data[..] == amount[..]
    }

    /// Whether it cancels a nonce of Permit2's, given by its word and bit.
    fn cancels(&self, word: U256, bit: U256) -> bool {
        if self.address != PERMIT2 {
            return false;
        }
        let data = self.data.split_at_checked(32);
        data.is_some_and(|(of, mask)| {
            mask.len() == 32
                && U256::from_be_slice(of) == word
                && U256::from_be_slice(mask) & bit != U256::ZERO
        })
    }
}

impl Decoded {
    /// What says whether its nonce is spent; nothing does of a delegation.
    pub(super) fn nonce_call(&self) -> Option<(alloy_primitives::Address, Vec<u8>)> {
        match &self.way {
            Way::Transfer(Authorization { transfer, .. }) => {
                let call =
                    Eip3009::authorizationStateCall { authorizer: transfer.from, nonce: transfer.nonce };
                Some((self.token, call.abi_encode()))
            }
            Way::Permit(by) => {
                let (word, _) = by.payment.permit.nonce_word_and_bit();
                let owner = by.payment.permit.owner;
                Some((PERMIT2, Permit2::nonceBitmapCall { owner, word }.abi_encode()))
            }
            Way::Delegation(_) => None,
        }
    }

    /// What [`Decoded::nonce_call`] returned says; None when it says nothing.
    pub(super) fn is_spent(&self, returned: &[u8]) -> Option<bool> {
        let word = (returned.len() == 32).then(|| U256::from_be_slice(returned))?;
        match &self.way {
            Way::Permit(by) => {
                let (_, bit) = by.payment.permit.nonce_word_and_bit();
                Some(word & bit != U256::ZERO)
            }
            _ => Some(word != U256::ZERO),
        }
    }
}
