//! The payload on the wire.

use alloy_primitives::{Address, U256};
use serde::{Deserialize, Serialize};
use tollway_protocol::bind::{Effects, Presented};
use tollway_protocol::door;
use tollway_protocol::json::Object;
use tollway_protocol::{Dialect, Offer, Reason, Refusal};

use super::{Permit, Permit2Payment};
use crate::signature::{MAX_SIGNATURE, Signature};
use crate::{exact, upto};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    signature: String,
    permit2_authorization: Fields,
}

#[derive(Serialize, Deserialize)]
struct Fields {
    from: String,
    permitted: Permitted,
    spender: String,
    nonce: String,
    deadline: String,
    witness: Witness,
}

#[derive(Serialize, Deserialize)]
struct Permitted {
    token: String,
    amount: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Witness {
    to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    facilitator: Option<String>,
    valid_after: String,
}

impl Permit2Payment {
    /// Reads the payload of a payment for `offer`: its scheme says which proxy must be the spender, and whether the
    /// witness has a facilitator.
    ///
    /// # Errors
    /// [`Reason::InvalidPayload`] naming the member, [`Reason::SignatureForm`], [`Reason::SpenderMismatch`], or
    /// [`Reason::UnsupportedScheme`] for an offer of another scheme.
    pub fn decode(offer: &Offer, payload: &Object) -> Result<Self, Refusal> {
        let refuse =
            |reason, message: String| Refusal::new(reason, message).dialect(Dialect::of_offer(offer));
        let Payload { signature, permit2_authorization: fields } =
            payload.read().map_err(|error| refuse(Reason::InvalidPayload, format!("payload: {error}")))?;
        let (permit, spender) = fields.permit().map_err(|(member, error)| {
            refuse(Reason::InvalidPayload, format!("payload.{member}: {error}"))
        })?;
        let payer = permit.owner.to_string().to_lowercase();
        let refuse = |reason, message: String| refuse(reason, message).payer(&payer);
        match (offer.scheme.as_str(), permit.facilitator) {
            (exact::SCHEME, None) | (upto::SCHEME, Some(_)) => {}
            (exact::SCHEME, Some(_)) => {
                return Err(refuse(
                    Reason::InvalidPayload,
                    "payload's witness has a facilitator: that is upto's".into(),
                ));
            }
            (upto::SCHEME, None) => {
                return Err(refuse(Reason::InvalidPayload, "payload's witness has no facilitator".into()));
            }
            (other, _) => {
                let other: String = other.chars().take(64).collect();
                return Err(refuse(Reason::UnsupportedScheme, format!("{other} is not paid by Permit2")));
            }
        }
        if spender != permit.spender() {
            let message =
                format!("the spender is {spender}, not {}, the proxy for {}", permit.spender(), offer.scheme);
            return Err(refuse(Reason::SpenderMismatch, message));
        }
        let bytes = door::hex_bytes(&signature, MAX_SIGNATURE)
            .map_err(|error| refuse(Reason::InvalidPayload, format!("payload.signature: {error}")))?;
        let signature = Signature::new(&bytes)
            .map_err(|error| refuse(Reason::SignatureForm, format!("payload.signature: {error}")))?;
        Ok(Self { permit, signature })
    }

    /// The payload for a signature of `permit`.
    ///
    /// # Errors
    /// Never in practice: what serde says.
    pub fn payload(permit: &Permit, signature: &[u8]) -> Result<Object, serde_json::Error> {
        Object::of(&Payload {
            signature: alloy_primitives::hex::encode_prefixed(signature),
            permit2_authorization: Fields {
                from: permit.owner.to_string(),
                permitted: Permitted { token: permit.token.to_string(), amount: permit.amount.to_string() },
                spender: permit.spender().to_string(),
                nonce: permit.nonce.to_string(),
                deadline: permit.deadline.to_string(),
                witness: Witness {
                    to: permit.to.to_string(),
                    facilitator: permit.facilitator.map(|address| address.to_string()),
                    valid_after: permit.valid_after.to_string(),
                },
            },
        })
    }

    /// What the payment presented would do, if its signature is good: for `upto`, the most it could.
    ///
    /// # Errors
    /// As [`Permit2Payment::decode`]; [`Reason::TransferNotSupported`] when the offer asks for another transfer method;
    /// [`Reason::FacilitatorMismatch`] when it names another facilitator than was signed for.
    pub fn effects(presented: &Presented) -> Result<(Self, Effects), Refusal> {
        let offer = presented.offer();
        exact::same_method(offer, super::METHOD)?;
        let this = Self::decode(offer, &presented.payment().payload)?;
        let effects = this
            .permit
            .effects(&offer.network)
            .map_err(|error| Refusal::new(Reason::InvalidOffer, error.to_string()))?;
        if let (Some(signed), Some(asked)) = (this.permit.facilitator, offer.extra.get("facilitatorAddress"))
        {
            let asked = asked.as_str().and_then(|text| door::hex_array::<20>(text).ok()).map(Address::from);
            if asked != Some(signed) {
                let message = format!("signed for the facilitator {signed}, which is not the offer's");
                return Err(effects
                    .refuse(Reason::FacilitatorMismatch, message)
                    .dialect(Dialect::of_offer(offer)));
            }
        }
        Ok((this, effects))
    }
}

type Unread = (String, door::DoorError);

impl Fields {
    /// The permit, and the spender that it names.
    fn permit(&self) -> Result<(Permit, Address), Unread> {
        let permit = Permit {
            owner: address("from", &self.from)?,
            token: address("permitted.token", &self.permitted.token)?,
            amount: number("permitted.amount", &self.permitted.amount)?,
            nonce: number("nonce", &self.nonce)?,
            deadline: number("deadline", &self.deadline)?,
            to: address("witness.to", &self.witness.to)?,
            valid_after: number("witness.validAfter", &self.witness.valid_after)?,
            facilitator: match &self.witness.facilitator {
                None => None,
                Some(text) => Some(address("witness.facilitator", text)?),
            },
        };
        Ok((permit, address("spender", &self.spender)?))
    }
}

fn address(member: &str, text: &str) -> Result<Address, Unread> {
    let bytes = door::hex_array::<20>(text);
    bytes.map(Into::into).map_err(|error| (format!("permit2Authorization.{member}"), error))
}

fn number(member: &str, text: &str) -> Result<U256, Unread> {
    door::decimal_u256(text).map_err(|error| (format!("permit2Authorization.{member}"), error))
}
