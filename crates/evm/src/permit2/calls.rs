//! What a payment calls, and what a call that reverts says.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall as _, SolError};
use tollway_protocol::Reason;

use super::{Permit, Permit2Payment, Permit2612};
use crate::abi::{
    ExactPermit2Proxy, ExactWitness, Permit2, PermitTransferFrom, ProxyErrors, TokenPermissions,
    UptoPermit2Proxy, UptoWitness,
};

impl Permit2Payment {
    /// The call that moves the money: its target and calldata. `sponsor` gives Permit2 its allowance in the same call.
    /// `amount` is what `upto` charges; `exact` always moves all that is permitted.
    #[must_use]
    pub fn settle_call(&self, sponsor: Option<&Permit2612>, amount: U256) -> (Address, Bytes) {
        let Permit { owner, token, to, .. } = self.permit;
        let (nonce, deadline, valid_after) =
            (self.permit.nonce, self.permit.deadline, self.permit.valid_after);
        let permitted = TokenPermissions { token, amount: self.permit.amount };
        let permit = PermitTransferFrom { permitted, nonce, deadline };
        let signature = self.signature.to_bytes();
        let permit2612 = sponsor.map(Permit2612::argument);
        let input = match (self.permit.facilitator, permit2612) {
            (None, None) => {
                let witness = ExactWitness { to, validAfter: valid_after };
                ExactPermit2Proxy::settleCall { permit, owner, witness, signature }.abi_encode()
            }
            (None, Some(permit2612)) => {
                let witness = ExactWitness { to, validAfter: valid_after };
                ExactPermit2Proxy::settleWithPermitCall { permit2612, permit, owner, witness, signature }
                    .abi_encode()
            }
            (Some(facilitator), None) => {
                let witness = UptoWitness { to, facilitator, validAfter: valid_after };
                UptoPermit2Proxy::settleCall { permit, amount, owner, witness, signature }.abi_encode()
            }
            (Some(facilitator), Some(permit2612)) => {
                let witness = UptoWitness { to, facilitator, validAfter: valid_after };
                UptoPermit2Proxy::settleWithPermitCall {
                    permit2612,
                    permit,
                    amount,
                    owner,
                    witness,
                    signature,
                }
                .abi_encode()
            }
        };
        (self.permit.spender(), input.into())
    }
}

impl Permit {
    /// Where in Permit2's bitmap of the owner the nonce is: see [`nonce_word_and_bit`].
    #[must_use]
    pub fn nonce_word_and_bit(&self) -> (U256, U256) {
        nonce_word_and_bit(self.nonce)
    }
}

/// The word of `nonceBitmap` that has `nonce`, and the bit in it that is set once the nonce is spent or cancelled.
#[must_use]
pub fn nonce_word_and_bit(nonce: U256) -> (U256, U256) {
    (nonce >> 8, U256::ONE << (nonce.byte(0)))
}

/// What the data of a revert says, when it is an error of Permit2's or of the proxies'.
///
/// A token's refusal inside Permit2 is the text `TRANSFER_FROM_FAILED`, whatever the cause: that is `None`, and
/// balance and allowance tell.
#[must_use]
pub fn reason_of_revert(data: &[u8]) -> Option<Reason> {
    let known = [
        (Permit2::InvalidNonce::SELECTOR, Reason::AlreadyUsed),
        (Permit2::SignatureExpired::SELECTOR, Reason::Expired),
        (Permit2::InvalidAmount::SELECTOR, Reason::ExceedsPermitted),
        (Permit2::InvalidSigner::SELECTOR, Reason::BadSignature),
        (Permit2::InvalidSignature::SELECTOR, Reason::BadSignature),
        (Permit2::InvalidSignatureLength::SELECTOR, Reason::BadSignature),
        (Permit2::InvalidContractSignature::SELECTOR, Reason::BadSignature),
        (ProxyErrors::InvalidAmount::SELECTOR, Reason::AmountMismatch),
        (ProxyErrors::InvalidDestination::SELECTOR, Reason::RecipientMismatch),
        (ProxyErrors::InvalidOwner::SELECTOR, Reason::BadSignature),
        (ProxyErrors::PaymentTooEarly::SELECTOR, Reason::NotYetValid),
        (ProxyErrors::Permit2612AmountMismatch::SELECTOR, Reason::PermitAmount),
        (ProxyErrors::AmountExceedsPermitted::SELECTOR, Reason::ExceedsPermitted),
        (ProxyErrors::UnauthorizedFacilitator::SELECTOR, Reason::FacilitatorMismatch),
    ];
    let selector = data.first_chunk::<4>()?;
    known.into_iter().find(|(known, _)| known == selector).map(|(_, reason)| reason)
}
