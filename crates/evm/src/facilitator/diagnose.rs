//! Why a payment would not settle, the surest reasons first.

use alloy_primitives::{B256, Bytes, U256};
use alloy_sol_types::{Revert as RevertText, SolError as _};
use tollway_protocol::Reason;

use crate::facilitator::chain::Chain;
use crate::facilitator::payment::{ByPermit, Decoded, Sponsor, Way};
use crate::facilitator::sponsor::ApprovalSeen;
use crate::permit2::reason_of_revert;

/// What the chain says of a payment.
#[derive(Debug)]
pub(super) struct Seen {
    /// What [`Decoded::reads`] gave, in its order; nothing where there was no such answer.
    pub(super) words: Vec<Option<U256>>,
    /// Whether the payer's account has code.
    pub(super) has_code: bool,
    /// What came of trying the transfer.
    pub(super) transferred: Result<(), Revert>,
    /// What there is to know of the payer's approval, when it has signed one.
    pub(super) approval: Option<ApprovalSeen>,
}

/// How a call that was tried failed.
#[derive(Debug, Clone)]
pub(super) struct Revert {
    /// What it reverted with.
    data: Bytes,
    /// What the node said.
    text: String,
}

type Wrong = (Reason, String);

impl Revert {
    pub(super) fn new(data: Bytes, text: String) -> Self {
        Self { data, text }
    }

    /// Its text, cut and cleaned.
    fn told(&self) -> String {
        let reverted = RevertText::abi_decode(&self.data).map(|revert| revert.reason);
        let told = reverted.unwrap_or_else(|_| self.text.clone());
        let told: String = told.chars().filter(|c| !c.is_control()).take(200).collect();
        if told.is_empty() { "the transfer reverts".into() } else { told }
    }
}

impl Seen {
    fn word(&self, place: usize) -> Option<U256> {
        self.words.get(place).copied().flatten()
    }

    /// Whether what was read explains that the transfer failed; else it may have failed by what it shared a call with.
    pub(super) fn is_sure(&self, payment: &Decoded) -> bool {
        let enough = |place| self.word(place).is_some_and(|has| has >= payment.value());
        let is_unused =
            self.word(1).is_some_and(|word| payment.is_spent(B256::from(word).as_slice()) == Some(false));
        let could = enough(0) && is_unused && (!matches!(payment.way, Way::Permit(_)) || enough(2));
        self.transferred.is_ok() || !could
    }
}

/// Why the payment would not settle; else what the payer can pay.
pub(super) fn diagnose(chain: &Chain, payment: &Decoded, seen: &Seen) -> Result<U256, Wrong> {
    let (token, value) = (payment.token, payment.value());
    let Some(balance) = seen.word(0) else {
        return Err((Reason::AssetNotDeployed, format!("{token} does not answer as a token")));
    };
    let poor = || (Reason::InsufficientBalance, format!("the payer has {balance}, {value} is due"));
    match &payment.way {
        Way::Transfer(_) => match seen.word(1) {
            None => Err((Reason::TransferNotSupported, format!("{token} has no authorizationState"))),
            Some(used) if !used.is_zero() => {
                Err((Reason::AlreadyUsed, "the authorization has been used or cancelled".into()))
            }
            Some(_) if balance < value => Err(poor()),
            Some(_) => tried(payment, seen).map(|()| balance),
        },
        Way::Permit(by) => diagnose_permit(chain, payment, by, balance, seen),
        Way::Delegation(_) if balance < value => Err(poor()),
        Way::Delegation(_) => match &seen.transferred {
            Ok(()) => Ok(balance),
            Err(revert) => Err((Reason::SimulationFailed, revert.told())),
        },
    }
}

fn diagnose_permit(
    chain: &Chain,
    payment: &Decoded,
    by: &ByPermit,
    balance: U256,
    seen: &Seen,
) -> Result<U256, Wrong> {
    let value = payment.value();
    // An account without code signs with its key, in 65 bytes, and in no other way.
    if !payment.by_key && !seen.has_code && payment.deployment().is_none() {
        return Err(not_signed(payment));
    }
    let spent = seen.word(1).and_then(|word| payment.is_spent(B256::from(word).as_slice()));
    let allowance = seen.word(2).unwrap_or_default();
    let lacks = || {
        let message =
            format!("Permit2 may take {allowance} of the payer's {}, {value} is due", payment.token);
        (Reason::AllowanceRequired, message)
    };
    match spent {
        None => return Err((Reason::TransferNotSupported, "Permit2 is not on this network".into())),
        Some(true) => return Err((Reason::AlreadyUsed, "the nonce has been used or cancelled".into())),
        Some(false) if balance < value => {
            let message = format!("the payer has {balance}, {value} is due");
            return Err((Reason::InsufficientBalance, message));
        }
        Some(false) => {}
    }
    match (&by.sponsor, &seen.transferred) {
        (Sponsor::None, Ok(())) => Ok(balance.min(allowance)),
        (_, Ok(())) => Ok(balance),
        (Sponsor::Approval(approval), _) if allowance < value => {
            let Some(found) = &seen.approval else { return Err(lacks()) };
            if !payment.by_key || seen.has_code {
                return Err(not_signed(payment));
            }
            found.is_good(chain, approval).map(|()| balance)
        }
        (_, Err(revert)) => match reason_of_revert(&revert.data) {
            Some(Reason::BadSignature) => Err(not_signed(payment)),
            Some(reason) => Err((reason, revert.told())),
            None if allowance < value => Err(lacks()),
            None => tried(payment, seen).map(|()| balance),
        },
    }
}

fn tried(payment: &Decoded, seen: &Seen) -> Result<(), Wrong> {
    match &seen.transferred {
        Ok(()) => Ok(()),
        Err(revert) if payment.by_key && !seen.has_code => Err((Reason::SimulationFailed, revert.told())),
        Err(revert) => {
            let message = format!("the signature is not {}'s: {}", payment.payer(), revert.told());
            Err((Reason::BadSignature, message))
        }
    }
}

fn not_signed(payment: &Decoded) -> Wrong {
    (Reason::BadSignature, format!("the signature is not {}'s", payment.payer()))
}
