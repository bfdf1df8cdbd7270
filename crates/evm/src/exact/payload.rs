//! Which of the transfer methods a payload is of.

use tollway_protocol::bind::{Effects, Presented};
use tollway_protocol::json::Object;
use tollway_protocol::{Dialect, Offer, Reason, Refusal};

use crate::delegation::Delegation;
use crate::exact::Authorization;
use crate::permit2::Permit2Payment;

/// A payment of `exact`, by its transfer method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExactPayload {
    /// The token's own `transferWithAuthorization`.
    Eip3009(Authorization),
    /// Permit2, through x402's proxy.
    Permit2(Permit2Payment),
    /// A delegation, redeemed by the facilitator.
    Erc7710(Delegation),
}

/// A transfer method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `eip3009`.
    Eip3009,
    /// `permit2`.
    Permit2,
    /// `erc7710`.
    Erc7710,
}

impl Method {
    /// The method that a payload is of: it has the member that only this one has.
    ///
    /// # Errors
    /// [`Reason::InvalidPayload`] when it has none, or those of several.
    pub fn of(payload: &Object) -> Result<Self, Refusal> {
        let members = [
            ("authorization", Self::Eip3009),
            ("permit2Authorization", Self::Permit2),
            ("delegationManager", Self::Erc7710),
        ];
        let mut found = members.iter().filter(|(member, _)| payload.get(member).is_some());
        match (found.next(), found.next()) {
            (Some((_, method)), None) => Ok(*method),
            (None, _) => Err(Refusal::new(
                Reason::InvalidPayload,
                "payload has none of authorization, permit2Authorization and delegationManager",
            )),
            (Some((one, _)), Some((other, _))) => {
                Err(Refusal::new(Reason::InvalidPayload, format!("payload has both {one} and {other}")))
            }
        }
    }
}

impl ExactPayload {
    /// Reads the payload of a payment for `offer`.
    ///
    /// # Errors
    /// As [`Method::of`] and each method's own.
    pub fn decode(offer: &Offer, payload: &Object) -> Result<Self, Refusal> {
        match Method::of(payload).map_err(|refusal| refusal.dialect(Dialect::of_offer(offer)))? {
            Method::Eip3009 => Authorization::decode(payload).map(Self::Eip3009),
            Method::Permit2 => Permit2Payment::decode(offer, payload).map(Self::Permit2),
            Method::Erc7710 => Delegation::decode(payload).map(Self::Erc7710),
        }
    }

    /// What the payment presented would do, if it is good. Without I/O.
    ///
    /// # Errors
    /// As [`ExactPayload::decode`]; [`Reason::TransferNotSupported`] when the offer asks for another method.
    pub fn effects(presented: &Presented) -> Result<(Self, Effects), Refusal> {
        let dialect = Dialect::of_offer(presented.offer());
        match Method::of(&presented.payment().payload).map_err(|refusal| refusal.dialect(dialect))? {
            Method::Eip3009 => Authorization::effects(presented).map(|(a, e)| (Self::Eip3009(a), e)),
            Method::Permit2 => Permit2Payment::effects(presented).map(|(p, e)| (Self::Permit2(p), e)),
            Method::Erc7710 => Delegation::effects(presented).map(|(d, e)| (Self::Erc7710(d), e)),
        }
    }
}

/// Refuses a payment by `method` for an offer that asks for another one.
pub(crate) fn same_method(offer: &Offer, method: &str) -> Result<(), Refusal> {
    match offer.extra.get("assetTransferMethod") {
        Some(asked) if asked != method => {
            let asked: String = asked.as_str().unwrap_or_default().chars().take(64).collect();
            let message =
                format!("the offer's assetTransferMethod is {asked:?}, the payment is for {method}");
            Err(Refusal::new(Reason::TransferNotSupported, message).dialect(Dialect::of_offer(offer)))
        }
        _ => Ok(()),
    }
}
