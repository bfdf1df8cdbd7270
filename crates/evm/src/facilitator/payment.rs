//! A payment by any method, decoded: who pays whom, and what it calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall as _;

use crate::abi::{Eip3009, MULTICALL3, Multicall3, TransferWithAuthorization};
use crate::delegation::Delegation;
use crate::exact::Authorization;
use crate::permit2::{ApprovalTransaction, Permit, Permit2Payment, Permit2612};
use crate::signature::Signature;

/// A payment, decoded, with what could be told of it without asking the chain.
#[derive(Debug, Clone)]
pub(crate) struct Decoded {
    pub(crate) way: Way,
    pub(crate) token: Address,
    /// What the payer's wallet is asked about; nothing with a delegation.
    pub(crate) digest: B256,
    /// Whether the signature is the payer's own key's.
    pub(crate) by_key: bool,
    /// Whether the payer's account had code when it was last looked at: then its code decides, not its key.
    code: Arc<AtomicBool>,
}

/// By which method the money moves.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "the large one is by far the most frequent")]
pub(crate) enum Way {
    /// The token's own `transferWithAuthorization`.
    Transfer(Authorization),
    /// Permit2, through one of the proxies.
    Permit(Box<ByPermit>),
    /// A delegation, redeemed by one of our accounts.
    Delegation(Box<ByDelegation>),
}

/// A payment by Permit2.
#[derive(Debug, Clone)]
pub(crate) struct ByPermit {
    pub(crate) payment: Permit2Payment,
    /// What is charged: all that is permitted, but with `upto`.
    pub(crate) amount: U256,
    pub(crate) sponsor: Sponsor,
}

/// What else the payer signed, so that Permit2 may take the token.
#[derive(Debug, Clone)]
pub(crate) enum Sponsor {
    /// Nothing: the allowance has to be there.
    None,
    /// A permit, which the proxy gives the token in the same call.
    Permit(Permit2612),
    /// A transaction that has to be mined before.
    Approval(ApprovalTransaction),
}

/// A payment by ERC-7710.
#[derive(Debug, Clone)]
pub(crate) struct ByDelegation {
    pub(crate) delegation: Delegation,
    pub(crate) to: Address,
    pub(crate) amount: U256,
    /// The account of ours that redeems it.
    pub(crate) redeemer: Address,
}

/// What a payment says, without its signature and what is charged of it: two payments with one key may differ in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Terms {
    /// An EIP-3009 authorization.
    Transfer(TransferWithAuthorization),
    /// A permit for Permit2.
    Permit(Permit),
    /// A delegation, and the transfer that it is redeemed for.
    Delegation(Delegation, Address, U256),
}

/// A transfer as its log tells it: token, payer, recipient, amount.
pub(crate) type Told = (Address, Address, Address, U256);

impl Decoded {
    pub(super) fn new(way: Way, token: Address, digest: B256) -> Self {
        let recovered = match &way {
            Way::Transfer(Authorization { transfer, signature }) => {
                signature.recover(&digest) == Some(transfer.from)
            }
            Way::Permit(by) => by.payment.signature.recover(&digest) == Some(by.payment.permit.owner),
            Way::Delegation(_) => false,
        };
        Self { way, token, digest, by_key: recovered, code: Arc::default() }
    }

    pub(crate) fn terms(&self) -> Terms {
        match &self.way {
            Way::Transfer(authorization) => Terms::Transfer(authorization.transfer.clone()),
            Way::Permit(by) => Terms::Permit(by.payment.permit.clone()),
            Way::Delegation(by) => Terms::Delegation(by.delegation.clone(), by.to, by.amount),
        }
    }

    pub(crate) fn payer(&self) -> Address {
        match &self.way {
            Way::Transfer(authorization) => authorization.transfer.from,
            Way::Permit(by) => by.payment.permit.owner,
            Way::Delegation(by) => by.delegation.delegator,
        }
    }

    pub(crate) fn recipient(&self) -> Address {
        match &self.way {
            Way::Transfer(authorization) => authorization.transfer.to,
            Way::Permit(by) => by.payment.permit.to,
            Way::Delegation(by) => by.to,
        }
    }

    /// What moves: with `upto` what is charged.
    pub(crate) fn value(&self) -> U256 {
        match &self.way {
            Way::Transfer(authorization) => authorization.transfer.value,
            Way::Permit(by) => by.amount,
            Way::Delegation(by) => by.amount,
        }
    }

    /// Its transfer, as the token's log will tell it.
    pub(crate) fn told(&self) -> Told {
        (self.token, self.payer(), self.recipient(), self.value())
    }

    pub(super) fn signature(&self) -> Option<&Signature> {
        match &self.way {
            Way::Transfer(authorization) => Some(&authorization.signature),
            Way::Permit(by) => Some(&by.payment.signature),
            Way::Delegation(_) => None,
        }
    }

    pub(super) fn permit(&self) -> Option<&ByPermit> {
        match &self.way {
            Way::Permit(by) => Some(by),
            _ => None,
        }
    }

    /// The payer's approval, which has to be mined before the payment if Permit2 has no allowance.
    pub(crate) fn approval(&self) -> Option<&ApprovalTransaction> {
        match &self.permit()?.sponsor {
            Sponsor::Approval(approval) => Some(approval),
            _ => None,
        }
    }

    /// Whether less may be charged than is permitted (`upto`).
    pub(crate) fn is_metered(&self) -> bool {
        self.permit().is_some_and(|by| by.payment.permit.facilitator.is_some())
    }

    /// Whether it is a delegation: the payer that it names may have nothing to do with it.
    pub(crate) fn is_delegated(&self) -> bool {
        matches!(self.way, Way::Delegation(_))
    }

    /// Whether the payer's account was found to have code.
    pub(crate) fn has_code(&self) -> bool {
        self.code.load(Ordering::Relaxed)
    }

    pub(super) fn note_code(&self, has_code: bool) {
        self.code.store(has_code, Ordering::Relaxed);
    }

    /// Whether it calls nothing but an allowed token, Permit2 and the proxy: only then it may share a transaction or a
    /// simulation. A payer's code, of a wallet or by EIP-7702, could use up all the gas that it shares.
    pub(crate) fn is_safe(&self) -> bool {
        let alone = match &self.way {
            Way::Transfer(_) => false,
            Way::Permit(by) => {
                by.payment.permit.facilitator.is_some() || !matches!(by.sponsor, Sponsor::None)
            }
            Way::Delegation(_) => true,
        };
        !alone && self.by_key && !self.has_code()
    }

    /// Whether the log of its transfer is all that tells it from another one: with Permit2, whose own logs name neither
    /// the nonce nor the payer.
    pub(crate) fn is_told_by_transfer(&self) -> bool {
        !matches!(self.way, Way::Transfer(_))
    }

    /// The account that has to send it, if not any may.
    pub(crate) fn sender(&self) -> Option<Address> {
        match &self.way {
            Way::Transfer(_) => None,
            Way::Permit(by) => by.payment.permit.facilitator,
            Way::Delegation(by) => Some(by.redeemer),
        }
    }

    /// The call that moves the money.
    pub(crate) fn transfer_call(&self) -> (Address, Bytes) {
        match &self.way {
            Way::Transfer(authorization) => (self.token, authorized(authorization)),
            Way::Permit(by) => {
                let sponsor = match &by.sponsor {
                    Sponsor::Permit(permit) => Some(permit),
                    _ => None,
                };
                by.payment.settle_call(sponsor, by.amount)
            }
            Way::Delegation(by) => by.delegation.redeem_call(self.token, by.to, by.amount),
        }
    }

    /// The call that deploys the payer's wallet.
    pub(super) fn deployment(&self) -> Option<Multicall3::Call3> {
        match self.signature() {
            Some(Signature::Undeployed { factory, data, .. }) if self.sender().is_none() => {
                Some(Multicall3::Call3 { target: *factory, allowFailure: true, callData: data.clone() })
            }
            _ => None,
        }
    }

    /// The transaction's target and calldata: the transfer, after the wallet's deployment where it needs one.
    pub(crate) fn submission(&self, deployed: bool) -> (Address, Bytes) {
        let (target, data) = self.transfer_call();
        match self.deployment().filter(|_| !deployed) {
            None => (target, data),
            Some(deploy) => {
                let transfer = Multicall3::Call3 { target, allowFailure: false, callData: data };
                let calls = vec![deploy, transfer];
                (MULTICALL3, Multicall3::aggregate3Call { calls }.abi_encode().into())
            }
        }
    }

    /// What two payments have in common that use about the same gas: the token, and what is called.
    pub(crate) fn gas_class(&self) -> (Address, Address) {
        match &self.way {
            Way::Transfer(_) => (self.token, self.token),
            Way::Permit(by) => (self.token, by.payment.permit.spender()),
            Way::Delegation(by) => (self.token, by.delegation.manager),
        }
    }
}

fn authorized(Authorization { transfer: t, signature }: &Authorization) -> Bytes {
    match signature {
        Signature::Ecdsa { r, s, v } => Eip3009::transferWithAuthorization_0Call {
            from: t.from,
            to: t.to,
            value: t.value,
            validAfter: t.validAfter,
            validBefore: t.validBefore,
            nonce: t.nonce,
            v: *v,
            r: *r,
            s: *s,
        }
        .abi_encode()
        .into(),
        other => Eip3009::transferWithAuthorization_1Call {
            from: t.from,
            to: t.to,
            value: t.value,
            validAfter: t.validAfter,
            validBefore: t.validBefore,
            nonce: t.nonce,
            signature: other.to_bytes(),
        }
        .abi_encode()
        .into(),
    }
}
