//! What is served here: a payment that was bound is decoded, and refused where neither the chain nor the signature has
//! to be asked for that.

use alloy_primitives::{Address, B256, U256};
use tollway_protocol::assets::Asset;
use tollway_protocol::bind::{Bound, Effects, Presented};
use tollway_protocol::{Dialect, Reason, Refusal};

use crate::delegation::Delegation;
use crate::exact::{Authorization, Domain, ExactPayload};
use crate::facilitator::chain::{Chain, Token};
use crate::facilitator::payment::{ByDelegation, ByPermit, Decoded, Sponsor, Terms, Way};
use crate::permit2::{Approval, Permit2Payment, Permit2612};
use crate::signature::Signature;
use crate::upto;

/// The longest signature of a deployed contract wallet, in bytes: it is calldata at our cost.
const MAX_CONTRACT_SIGNATURE: usize = 2 * 1024;

type Wrong = (Reason, String);

impl Chain {
    /// Decodes a payment that was bound, its signer too.
    pub(crate) fn decode(&self, bound: &Bound) -> Result<Decoded, Refusal> {
        let (presented, effects) = (bound.presented(), bound.effects());
        let refuse = |(reason, message): Wrong| {
            effects.refuse(reason, message).dialect(Dialect::of_offer(presented.offer()))
        };
        let token = self.token(presented).map_err(refuse)?;
        let decoded = match payload(presented)? {
            ExactPayload::Eip3009(authorization) => {
                let domain = token.domain.ok_or_else(|| refuse(no_eip3009(&token.asset)))?;
                let digest = Authorization::digest(&authorization.transfer, domain);
                Decoded::new(Way::Transfer(authorization), token.address, digest)
            }
            ExactPayload::Permit2(payment) => {
                let digest = payment.permit.digest(self.chain_id);
                let sponsor =
                    self.sponsor(presented, &payment).map_err(|wrong| wrong.into_refusal(refuse))?;
                let amount = match payment.permit.facilitator {
                    Some(_) => bound.offer().amount.get(),
                    None => payment.permit.amount,
                };
                let by = ByPermit { payment, amount, sponsor };
                Decoded::new(Way::Permit(Box::new(by)), token.address, digest)
            }
            ExactPayload::Erc7710(delegation) => {
                let by = self.redemption(presented, delegation).map_err(refuse)?;
                Decoded::new(Way::Delegation(Box::new(by)), token.address, B256::ZERO)
            }
        };
        worth_settling(&decoded).map_err(refuse)?;
        Ok(decoded)
    }

    /// What the payment would do; refuses what needs neither chain nor signature to refuse.
    pub(crate) fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        let (payload, effects) = match presented.offer().scheme.as_str() {
            upto::SCHEME => {
                let (payment, effects) = Permit2Payment::effects(presented)?;
                (ExactPayload::Permit2(payment), effects)
            }
            _ => ExactPayload::effects(presented)?,
        };
        let served = self.token(presented).and_then(|token| self.is_served(presented, &payload, token));
        match served {
            Ok(()) => Ok(effects),
            Err((reason, message)) => {
                Err(effects.refuse(reason, message).dialect(Dialect::of_offer(presented.offer())))
            }
        }
    }

    fn is_served(&self, presented: &Presented, payload: &ExactPayload, token: &Token) -> Result<(), Wrong> {
        let signature = match payload {
            ExactPayload::Eip3009(authorization) => {
                if token.domain.is_none() {
                    return Err(no_eip3009(&token.asset));
                }
                same_domain(presented, &token.asset)?;
                &authorization.signature
            }
            ExactPayload::Permit2(payment) => {
                if let Some(facilitator) = payment.permit.facilitator
                    && !self.signers.contains(&facilitator)
                {
                    let message = format!("signed for the facilitator {facilitator}, which is none of ours");
                    return Err((Reason::FacilitatorMismatch, message));
                }
                &payment.signature
            }
            ExactPayload::Erc7710(delegation) => return self.is_allowed_manager(delegation),
        };
        match signature {
            Signature::Undeployed { factory, .. } if !self.config.factories.contains(factory) => {
                Err((Reason::FactoryNotAllowed, format!("wallet factory {factory} is not allowed here")))
            }
            _ => Ok(()),
        }
    }

    /// A manager is code that anyone could have written, and that says whose delegation it is.
    fn is_allowed_manager(&self, delegation: &Delegation) -> Result<(), Wrong> {
        if self.config.delegation_managers.contains(&delegation.manager) {
            return Ok(());
        }
        let message = format!("delegation manager {} is not allowed here", delegation.manager);
        Err((Reason::TransferNotSupported, message))
    }

    /// The offer's token, if it is one that is settled here.
    fn token(&self, presented: &Presented) -> Result<&Token, Wrong> {
        let token = address("asset", &presented.offer().asset)?;
        self.tokens.get(&token).ok_or_else(|| {
            let message = format!("asset {token} is not settled on {}", self.config.network);
            (Reason::AssetNotAllowed, message)
        })
    }

    /// What the payer signed besides, checked as far as it can be without the chain and its time.
    fn sponsor(&self, presented: &Presented, payment: &Permit2Payment) -> Result<Sponsor, Unsponsored> {
        if let Some(permit) = Permit2612::of(presented.payment())? {
            return Ok(Sponsor::Permit(permit));
        }
        let Some(approval) = Approval::of(presented.payment())? else { return Ok(Sponsor::None) };
        let approval = approval.check(&payment.permit, self.chain_id)?;
        self.is_cheap(&approval)?;
        Ok(Sponsor::Approval(approval))
    }

    fn redemption(&self, presented: &Presented, delegation: Delegation) -> Result<ByDelegation, Wrong> {
        let nobody = || (Reason::FacilitatorUnavailable, "no account is configured".to_owned());
        Ok(ByDelegation {
            delegation,
            to: address("payTo", &presented.offer().pay_to)?,
            amount: presented.offer().amount.get(),
            redeemer: *self.signers.first().ok_or_else(nobody)?,
        })
    }
}

/// Why what the payer signed besides its payment is not taken.
enum Unsponsored {
    Refused(Refusal),
    Wrong(Wrong),
}

impl From<Refusal> for Unsponsored {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Wrong> for Unsponsored {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl Unsponsored {
    fn into_refusal(self, refuse: impl Fn(Wrong) -> Refusal) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Wrong(wrong) => refuse(wrong),
        }
    }
}

/// The payload of a payment that was bound.
pub(super) fn payload(presented: &Presented) -> Result<ExactPayload, Refusal> {
    let (offer, payload) = (presented.offer(), &presented.payment().payload);
    match offer.scheme.as_str() {
        upto::SCHEME => Permit2Payment::decode(offer, payload).map(ExactPayload::Permit2),
        _ => ExactPayload::decode(offer, payload),
    }
}

/// What a payment says and how it is signed, whether it is served here or not.
pub(super) fn said(presented: &Presented) -> Result<(Terms, Option<Signature>), Refusal> {
    let refuse = |(reason, message): Wrong| Refusal::new(reason, message);
    Ok(match payload(presented)? {
        ExactPayload::Eip3009(Authorization { transfer, signature }) => {
            (Terms::Transfer(transfer), Some(signature))
        }
        ExactPayload::Permit2(payment) => (Terms::Permit(payment.permit), Some(payment.signature)),
        ExactPayload::Erc7710(delegation) => {
            let to = address("payTo", &presented.offer().pay_to).map_err(refuse)?;
            (Terms::Delegation(delegation, to, presented.offer().amount.get()), None)
        }
    })
}

fn address(member: &str, text: &str) -> Result<Address, Wrong> {
    let bytes = tollway_protocol::door::hex_array::<20>(text);
    bytes.map(Address::from).map_err(|error| (Reason::InvalidOffer, format!("{member}: {error}")))
}

fn no_eip3009(asset: &Asset) -> Wrong {
    let message = format!("{} has no transferWithAuthorization: pay by permit2", asset.address);
    (Reason::TransferNotSupported, message)
}

/// Refuses what would only burn gas: nothing, money to oneself, needless calldata.
fn worth_settling(payment: &Decoded) -> Result<(), Wrong> {
    let amount = payment.permit().map_or_else(|| payment.value(), |by| by.payment.permit.amount);
    if amount == U256::ZERO {
        return Err((Reason::InvalidOffer, "an amount of 0 is nothing to settle".to_owned()));
    }
    if payment.payer() == payment.recipient() {
        return Err((Reason::UnexpectedEffect, "the payer would pay itself".to_owned()));
    }
    match payment.signature() {
        Some(Signature::Contract(bytes)) if bytes.len() > MAX_CONTRACT_SIGNATURE => {
            Err((Reason::SignatureForm, "the wallet's signature is longer than 2048 bytes".to_owned()))
        }
        _ => Ok(()),
    }
}

fn same_domain(presented: &Presented, asset: &Asset) -> Result<(), Wrong> {
    let extra = &presented.offer().extra;
    let (Some(name), Some(version)) = (extra.str("name"), extra.str("version")) else {
        return Err((Reason::MissingDomain, "extra.name and extra.version are missing".into()));
    };
    match &asset.domain {
        Some((known, _)) if known != name => {
            Err((Reason::DomainName, format!("extra.name is not {known:?}, the token's EIP-712 name")))
        }
        Some((_, known)) if known != version => Err((
            Reason::DomainVersion,
            format!("extra.version is not {known:?}, the token's EIP-712 version"),
        )),
        _ => Ok(()),
    }
}

/// The EIP-712 domain of a token with EIP-3009.
pub(super) fn domain_of(asset: &Asset) -> Option<Domain> {
    asset.eip3009.then(|| Domain::of(asset)).flatten()
}
