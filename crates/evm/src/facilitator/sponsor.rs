//! What the payer signed besides its payment, so that Permit2 may take the token at our cost.

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{Bytes, U64, U256};
use tollway_protocol::Reason;
use tollway_protocol::door::UnixTime;

use crate::facilitator::chain::Chain;
use crate::facilitator::payment::{Decoded, Sponsor};
use crate::facilitator::rpc::{Ask, Block, Call, Given, RpcError, ask};
use crate::permit2::ApprovalTransaction;

/// The most gas that an approval may ask for: the published SDK's uses 70,000.
const MOST_APPROVAL_GAS: u64 = 100_000;

type Wrong = (Reason, String);

/// What there is to know of a payer's approval.
#[derive(Debug)]
pub(super) struct ApprovalSeen {
    /// Why it would fail, if it was tried now.
    failed: Option<String>,
    /// The payer's next nonce.
    pub(super) nonce: u64,
    /// What the payer has for gas, in wei.
    pub(super) funds: U256,
    /// What gas costs in the latest block, in wei.
    base_fee: U256,
}

/// What is asked to judge the payer's approval.
pub(super) fn asks(payment: &Decoded) -> Vec<Ask> {
    let Some(approval) = payment.approval() else { return Vec::new() };
    let payer = approval.signer;
    let input = approval.input();
    let gas = Some(U64::from(approval.gas_limit));
    let call = Call { from: Some(payer), to: Some(payment.token), input, gas };
    vec![ask::call(&call), ask::nonce(payer), ask::balance(payer), ask::head()]
}

/// Reads the answers to [`asks`].
pub(super) fn answered(
    payment: &Decoded,
    next: &mut impl FnMut() -> Result<Given, RpcError>,
) -> Result<Option<ApprovalSeen>, RpcError> {
    if payment.approval().is_none() {
        return Ok(None);
    }
    let failed = match next()?.read::<Bytes>() {
        Ok(_) => None,
        Err(RpcError::Refused { message, .. }) => Some(message),
        Err(error) => return Err(error),
    };
    let nonce = next()?.read::<U64>()?.to();
    let funds = next()?.read::<U256>()?;
    let base_fee = next()?.read::<Block>()?.base_fee_per_gas.unwrap_or_default();
    Ok(Some(ApprovalSeen { failed, nonce, funds, base_fee }))
}

impl ApprovalSeen {
    /// Whether it can be mined now, with what we may give the payer for it.
    pub(super) fn is_good(&self, chain: &Chain, approval: &ApprovalTransaction) -> Result<(), Wrong> {
        let wrong = |message: String| Err((Reason::ApprovalFailed, message));
        if self.nonce != approval.nonce {
            let nonce = approval.nonce;
            return wrong(format!("the approval has nonce {nonce}, the payer's next is {}", self.nonce));
        }
        if let Some(message) = &self.failed {
            return wrong(format!("the approval reverts: {message}"));
        }
        if U256::from(approval.max_fee_per_gas) < self.base_fee {
            return wrong(format!("the approval bids less for gas than the {} wei it costs", self.base_fee));
        }
        let (missing, most) = (approval.missing(self.funds), chain.config.approval_funding);
        if missing > most {
            let message = format!("the payer lacks {missing} wei for its approval, at most {most} are given");
            return wrong(message);
        }
        Ok(())
    }
}

impl ApprovalTransaction {
    /// What it calls.
    fn input(&self) -> Bytes {
        let transaction = TxEnvelope::decode_2718(&mut &self.raw[..]);
        transaction.map(|transaction| transaction.input().clone()).unwrap_or_default()
    }

    /// The most that it can cost, in wei.
    pub(super) fn cost(&self) -> U256 {
        U256::from(self.gas_limit).saturating_mul(U256::from(self.max_fee_per_gas))
    }

    /// What its sender lacks for it, in wei.
    pub(super) fn missing(&self, funds: U256) -> U256 {
        self.cost().saturating_sub(funds)
    }
}

impl Chain {
    /// Whether an approval asks for no more gas, at no higher a price, than is ever relayed.
    pub(super) fn is_cheap(&self, approval: &ApprovalTransaction) -> Result<(), Wrong> {
        if approval.gas_limit > MOST_APPROVAL_GAS {
            let message =
                format!("the approval may use {} gas, {MOST_APPROVAL_GAS} are the most", approval.gas_limit);
            return Err((Reason::ApprovalFailed, message));
        }
        if approval.max_fee_per_gas > self.config.max_fee_per_gas {
            return Err((Reason::ApprovalFailed, "the approval bids more for gas than is ever paid".into()));
        }
        Ok(())
    }
}

impl Decoded {
    /// Whether the permit that comes with it is what the payment needs, at `now`.
    pub(super) fn is_sponsored_at(&self, now: UnixTime) -> Result<(), Wrong> {
        match self.permit().map(|by| (&by.sponsor, &by.payment.permit)) {
            Some((Sponsor::Permit(permit), payment)) => permit.check(payment, now),
            _ => Ok(()),
        }
    }
}
