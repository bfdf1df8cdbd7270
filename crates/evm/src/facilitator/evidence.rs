//! What a mined transaction proves of a payment.
//!
//! **EIP-3009**: the token's `AuthorizationUsed` names payer and nonce, and the token's next log is the transfer.
//! Whoever sent the transaction, that is this payment.
//!
//! **Permit2**: its logs name no nonce. The proxy's `Settled` says that some payment was made by the call that it is
//! in, and the token's last log of a transfer before it says which: payer, recipient, amount. That is proof only in a
//! transaction whose calls are known to be settlements of allowed tokens and nothing else, no two of them with the same
//! transfer (see [`settlements`]). In any other one the payer could have a second permit of the same amount executed by
//! a contract of its own, let this one fail beside it, and have one transfer counted for both.
//!
//! **ERC-7710**: only our own transaction, which calls the manager alone. The payer's account runs in it and could
//! execute another payment of its own there, so a log of another method in the transaction spoils it.

use alloy_primitives::{Address, B256, Bytes, Log, U256};
use alloy_sol_types::{SolCall, SolEvent as _};

use crate::abi::{Eip3009, ExactPermit2Proxy, MULTICALL3, Multicall3, UptoPermit2Proxy};
use crate::facilitator::payment::{ByDelegation, ByPermit, Decoded, Told, Way};
use crate::facilitator::rpc::Receipt;
use crate::permit2::{EXACT_PROXY, Permit, UPTO_PROXY};

impl Decoded {
    /// Whether a transaction of ours that carries this payment has made it. Of a stranger's transaction this is
    /// proof with EIP-3009 alone.
    pub(crate) fn is_paid_by(&self, receipt: &Receipt) -> bool {
        let paid = match &self.way {
            Way::Transfer(_) => self.is_authorized_in(&receipt.logs),
            Way::Permit(by) => self.is_settled_in(by, &receipt.logs),
            Way::Delegation(by) => self.is_redeemed_in(by, &receipt.logs),
        };
        receipt.succeeded() && paid
    }

    /// Whether the transaction used the authorization's nonce, for whatever transfer, and shows it in full.
    pub(super) fn is_used_by(&self, receipt: &Receipt) -> bool {
        self.after_use(&receipt.logs).any(|log| log.data.topics().first() == Some(&TRANSFER))
    }

    fn is_authorized_in(&self, logs: &[Log]) -> bool {
        self.after_use(logs).any(|log| transfer_in(log) == Some(self.told()))
    }

    /// The token's logs that come next after those which say that the nonce is used.
    fn after_use<'a>(&'a self, logs: &'a [Log]) -> impl Iterator<Item = &'a Log> {
        let used = match &self.way {
            Way::Transfer(authorization) => {
                let t = &authorization.transfer;
                Some([Eip3009::AuthorizationUsed::SIGNATURE_HASH, t.from.into_word(), t.nonce])
            }
            _ => None,
        };
        let token = || logs.iter().filter(|log| log.address == self.token);
        token().zip(token().skip(1)).filter_map(move |(first, second)| {
            let used = used?;
            (first.data.topics() == used && first.data.data.is_empty()).then_some(second)
        })
    }

    /// The token's last log of a transfer right before a `Settled` of the proxy; between them only logs of the token.
    fn is_settled_in(&self, by: &ByPermit, logs: &[Log]) -> bool {
        let proxy = by.payment.permit.spender();
        logs.iter().enumerate().any(|(place, log)| {
            let before = logs.get(..place).unwrap_or_default().iter().rev();
            let mut own = before.take_while(|log| log.address == self.token);
            is_settled(log, proxy) && own.find_map(transfer_in) == Some(self.told())
        })
    }

    fn is_redeemed_in(&self, by: &ByDelegation, logs: &[Log]) -> bool {
        let is_foreign = |log: &Log| {
            let proxies = log.address == EXACT_PROXY || log.address == UPTO_PROXY;
            proxies || log.data.topics().first() == Some(&Eip3009::AuthorizationUsed::SIGNATURE_HASH)
        };
        let told = (self.token, by.delegation.delegator, by.to, by.amount);
        let transfers = logs.iter().filter_map(transfer_in).filter(|transfer| *transfer == told).count();
        transfers == 1 && !logs.iter().any(is_foreign)
    }
}

const TRANSFER: B256 = Eip3009::Transfer::SIGNATURE_HASH;

/// The transfer that a log tells of.
pub(super) fn transfer_in(log: &Log) -> Option<Told> {
    match log.data.topics() {
        [TRANSFER, from, to] if log.data.data.len() == 32 => Some((
            log.address,
            Address::from_word(*from),
            Address::from_word(*to),
            U256::from_be_slice(&log.data.data),
        )),
        _ => None,
    }
}

/// Whether it says that the proxy has made a payment.
pub(super) fn is_settled(log: &Log, proxy: Address) -> bool {
    let kinds =
        [ExactPermit2Proxy::Settled::SIGNATURE_HASH, ExactPermit2Proxy::SettledWithPermit::SIGNATURE_HASH];
    let [kind] = log.data.topics() else { return false };
    log.address == proxy && kinds.contains(kind)
}

/// A call that settles a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settling {
    /// By Permit2: the permit, and how much of it.
    Permit(Box<Permit>, U256),
    /// By EIP-3009.
    Transfer(Told),
}

impl Settling {
    pub(super) fn told(&self) -> Told {
        match self {
            Self::Permit(permit, amount) => (permit.token, permit.owner, permit.to, *amount),
            Self::Transfer(told) => *told,
        }
    }
}

/// The settlements that a transaction calls; none when it may do anything else. One to a proxy itself is one; several go
/// through Multicall3, each of a token for which `is_allowed` holds: another token's code could do whatever it likes.
pub(super) fn settlements(
    to: Address,
    input: &Bytes,
    is_allowed: impl Fn(Address) -> bool,
) -> Option<Vec<Settling>> {
    if to == MULTICALL3 {
        let calls = Multicall3::aggregate3Call::abi_decode(input).ok()?.calls;
        let settling = calls.iter().map(|call| {
            let settling = match call.target {
                EXACT_PROXY => exact_settling(&call.callData),
                token => authorized(token, &call.callData),
            };
            settling.filter(|settling| is_allowed(settling.told().0))
        });
        return settling.collect();
    }
    let one = match to {
        EXACT_PROXY => exact_settling(input)?,
        UPTO_PROXY => upto_settling(input)?,
        token if is_allowed(token) => authorized(token, input)?,
        _ => return None,
    };
    Some(vec![one])
}

fn exact_settling(input: &[u8]) -> Option<Settling> {
    let (permit, owner, witness) = match ExactPermit2Proxy::settleCall::abi_decode(input) {
        Ok(call) => (call.permit, call.owner, call.witness),
        Err(_) => {
            let call = ExactPermit2Proxy::settleWithPermitCall::abi_decode(input).ok()?;
            (call.permit, call.owner, call.witness)
        }
    };
    let amount = permit.permitted.amount;
    let permit = Permit {
        owner,
        token: permit.permitted.token,
        amount,
        nonce: permit.nonce,
        deadline: permit.deadline,
        to: witness.to,
        valid_after: witness.validAfter,
        facilitator: None,
    };
    Some(Settling::Permit(Box::new(permit), amount))
}

fn upto_settling(input: &[u8]) -> Option<Settling> {
    let (permit, amount, owner, witness) = match UptoPermit2Proxy::settleCall::abi_decode(input) {
        Ok(call) => (call.permit, call.amount, call.owner, call.witness),
        Err(_) => {
            let call = UptoPermit2Proxy::settleWithPermitCall::abi_decode(input).ok()?;
            (call.permit, call.amount, call.owner, call.witness)
        }
    };
    let permit = Permit {
        owner,
        token: permit.permitted.token,
        amount: permit.permitted.amount,
        nonce: permit.nonce,
        deadline: permit.deadline,
        to: witness.to,
        valid_after: witness.validAfter,
        facilitator: Some(witness.facilitator),
    };
    Some(Settling::Permit(Box::new(permit), amount))
}

fn authorized(token: Address, input: &[u8]) -> Option<Settling> {
    let told = match Eip3009::transferWithAuthorization_0Call::abi_decode(input) {
        Ok(call) => (token, call.from, call.to, call.value),
        Err(_) => {
            let call = Eip3009::transferWithAuthorization_1Call::abi_decode(input).ok()?;
            (token, call.from, call.to, call.value)
        }
    };
    Some(Settling::Transfer(told))
}
