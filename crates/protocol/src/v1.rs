//! Version 1's wire types, translated at the edge: inside, everything is version 2.
//!
//! A v1 payment names its scheme and network but not the offer that it accepted. The seller tries
//! it against each of its offers of that scheme and network; translation sets that offer as accepted.

use serde::{Deserialize, Serialize};

use crate::Network;
use crate::door::Amount;
use crate::json::{Object, or_default};
use crate::reason::{Code, Dialect};
use crate::wire::{self, Version};

/// One way to pay: v1's `PaymentRequirements`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// The payment logic.
    pub scheme: String,
    /// The network's v1 name; a CAIP-2 id is read too.
    pub network: String,
    /// Atomic units.
    pub max_amount_required: Amount,
    /// The resource's URL.
    pub resource: String,
    /// What it is, for people; v1 requires the member.
    #[serde(default, deserialize_with = "or_default")]
    pub description: String,
    /// The answer's media type; v1 requires the member.
    #[serde(default, deserialize_with = "or_default")]
    pub mime_type: String,
    /// The shape of the request and the answer.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Object::is_empty")]
    pub output_schema: Object,
    /// Who is paid.
    pub pay_to: String,
    /// Seconds from signature to settlement.
    pub max_timeout_seconds: u64,
    /// The token's address.
    pub asset: String,
    /// What the scheme needs besides.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Object::is_empty")]
    pub extra: Object,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}

/// The body of a v1 402 answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Challenge {
    /// Always 1.
    pub x402_version: Version<1>,
    /// Why the request was not served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The ways to pay.
    pub accepts: Vec<Offer>,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}

/// What a v1 payer signed: the `X-PAYMENT` header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// Always 1.
    pub x402_version: Version<1>,
    /// The scheme chosen.
    pub scheme: String,
    /// The network chosen, by its v1 name.
    pub network: String,
    /// What the scheme needs to execute the payment.
    pub payload: Object,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}

/// The body of `/verify` and `/settle` from a v1 seller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequest {
    /// Always 1; some v1 sellers leave it out and only the payment has it.
    #[serde(default, deserialize_with = "or_default")]
    pub x402_version: Version<1>,
    /// What the payer signed.
    pub payment_payload: Payment,
    /// The offer it must fulfil.
    pub payment_requirements: Offer,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}

/// A v1 settlement: `/settle`'s answer and the `X-PAYMENT-RESPONSE` header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settlement {
    /// Whether the money moved.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<Code>,
    /// The transaction; `""` when there is none.
    #[serde(default, deserialize_with = "or_default")]
    pub transaction: String,
    /// The network by its v1 name; a CAIP-2 id is read too.
    #[serde(default, deserialize_with = "or_default")]
    pub network: String,
    /// Who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}

/// The document names a network that this version doesn't know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a v1 network name nor a CAIP-2 id")]
pub struct UnknownNetwork(pub String);

/// Every member that either version has. What one version doesn't know the other may: carried over as it is, it
/// would stand beside the typed member of that name, and readers differ in which of the two they take.
const MEMBERS: &[&str] = &[
    "x402Version",
    "scheme",
    "network",
    "amount",
    "maxAmountRequired",
    "asset",
    "payTo",
    "maxTimeoutSeconds",
    "extra",
    "resource",
    "description",
    "mimeType",
    "outputSchema",
    "serviceName",
    "tags",
    "iconUrl",
    "url",
    "error",
    "accepts",
    "accepted",
    "payload",
    "extensions",
    "paymentPayload",
    "paymentRequirements",
    "success",
    "errorReason",
    "errorMessage",
    "payer",
    "transaction",
    "isValid",
    "invalidReason",
    "invalidMessage",
];

/// The members that neither version knows.
fn foreign(unknown: &Object) -> Object {
    let known = |key: &String| MEMBERS.iter().any(|member| member.eq_ignore_ascii_case(key));
    Object(unknown.0.iter().filter(|(key, _)| !known(key)).map(|(k, v)| (k.clone(), v.clone())).collect())
}

/// Whether a version 1 payer could pay it: by `transferWithAuthorization` alone.
fn is_v1(offer: &wire::Offer) -> bool {
    offer.scheme != crate::charge::UPTO
        && offer.extra.get("assetTransferMethod").is_none_or(|method| method == "eip3009")
}

fn network(name: &str) -> Result<Network, UnknownNetwork> {
    Network::any(name).map_err(|_| UnknownNetwork(name.chars().take(64).collect()))
}

impl Offer {
    /// This offer in version 1, for networks that have a v1 name and transfers that version 1 has.
    #[must_use]
    pub fn of(offer: &wire::Offer, resource: &wire::Resource) -> Option<Self> {
        if !is_v1(offer) {
            return None;
        }
        Some(Self {
            scheme: offer.scheme.clone(),
            network: offer.network.v1_name()?.to_owned(),
            max_amount_required: offer.amount,
            resource: resource.url.clone(),
            description: resource.description.clone().unwrap_or_default(),
            mime_type: resource.mime_type.clone().unwrap_or_default(),
            output_schema: Object::new(),
            pay_to: offer.pay_to.clone(),
            max_timeout_seconds: offer.max_timeout_seconds,
            asset: offer.asset.clone(),
            extra: offer.extra.clone(),
            unknown: foreign(&offer.unknown),
        })
    }

    /// This offer in version 2.
    ///
    /// # Errors
    /// [`UnknownNetwork`].
    pub fn to_v2(&self) -> Result<wire::Offer, UnknownNetwork> {
        Ok(wire::Offer {
            scheme: self.scheme.clone(),
            network: network(&self.network)?,
            amount: self.max_amount_required,
            asset: self.asset.clone(),
            pay_to: self.pay_to.clone(),
            max_timeout_seconds: self.max_timeout_seconds,
            extra: self.extra.clone(),
            unknown: foreign(&self.unknown),
        })
    }
}

impl Challenge {
    /// The v1 form of a challenge: the offers whose networks have v1 names.
    #[must_use]
    pub fn of(challenge: &wire::Challenge) -> Self {
        let accepts =
            challenge.accepts.iter().filter_map(|offer| Offer::of(offer, &challenge.resource)).collect();
        let unknown = foreign(&challenge.unknown);
        Self { x402_version: Version, error: challenge.error.clone(), accepts, unknown }
    }

    /// The v2 form: offers on networks that this version doesn't know are left out. The resource is
    /// that of the first offer, or `url` when there is none.
    #[must_use]
    pub fn to_v2(&self, url: &str) -> wire::Challenge {
        let text = |s: &String| (!s.is_empty()).then(|| s.clone());
        let first = self.accepts.first();
        wire::Challenge {
            x402_version: Version,
            error: self.error.clone(),
            resource: wire::Resource {
                url: first.map_or_else(|| url.to_owned(), |offer| offer.resource.clone()),
                description: first.and_then(|offer| text(&offer.description)),
                mime_type: first.and_then(|offer| text(&offer.mime_type)),
                ..wire::Resource::default()
            },
            accepts: self.accepts.iter().filter_map(|offer| offer.to_v2().ok()).collect(),
            extensions: Object::new(),
            unknown: foreign(&self.unknown),
        }
    }
}

impl Payment {
    /// The v1 form of a payment, for networks that have a v1 name.
    #[must_use]
    pub fn of(payment: &wire::Payment) -> Option<Self> {
        Some(Self {
            x402_version: Version,
            scheme: payment.accepted.scheme.clone(),
            network: payment.accepted.network.v1_name()?.to_owned(),
            payload: payment.payload.clone(),
            unknown: foreign(&payment.unknown),
        })
    }

    /// Whether this payment could be for `offer`.
    #[must_use]
    pub fn may_accept(&self, offer: &wire::Offer) -> bool {
        is_v1(offer) && self.scheme == offer.scheme && network(&self.network).as_ref() == Ok(&offer.network)
    }

    /// The v2 form: as if the payer had accepted `offer`, on the network that the payment names.
    ///
    /// # Errors
    /// [`UnknownNetwork`].
    pub fn to_v2(&self, offer: &wire::Offer) -> Result<wire::Payment, UnknownNetwork> {
        Ok(wire::Payment {
            x402_version: Version,
            resource: None,
            accepted: wire::Offer {
                scheme: self.scheme.clone(),
                network: network(&self.network)?,
                ..offer.clone()
            },
            payload: self.payload.clone(),
            extensions: Object::new(),
            unknown: foreign(&self.unknown),
        })
    }
}

impl PaymentRequest {
    /// The v2 form.
    ///
    /// # Errors
    /// [`UnknownNetwork`].
    pub fn to_v2(&self) -> Result<wire::PaymentRequest, UnknownNetwork> {
        let offer = self.payment_requirements.to_v2()?;
        Ok(wire::PaymentRequest::new(self.payment_payload.to_v2(&offer)?, offer))
    }
}

impl Settlement {
    /// The v1 form of a settlement; its network is named as v1 does where it can be.
    #[must_use]
    pub fn of(settlement: &wire::Settlement) -> Self {
        Self {
            success: settlement.success,
            error_reason: settlement.error_reason.as_ref().map(v1_code),
            transaction: settlement.transaction.clone().unwrap_or_default(),
            network: settlement.network.v1_name().unwrap_or(settlement.network.as_str()).to_owned(),
            payer: settlement.payer.clone(),
            unknown: foreign(&settlement.unknown),
        }
    }

    /// The v2 form; an answer without a network is taken to be on `asked`.
    ///
    /// # Errors
    /// [`UnknownNetwork`].
    pub fn to_v2(&self, asked: &Network) -> Result<wire::Settlement, UnknownNetwork> {
        let network = if self.network.is_empty() { asked.clone() } else { network(&self.network)? };
        Ok(wire::Settlement {
            error_reason: self.error_reason.clone(),
            transaction: (!self.transaction.is_empty()).then(|| self.transaction.clone()),
            payer: self.payer.clone(),
            unknown: foreign(&self.unknown),
            ..wire::Settlement::new(self.success, network)
        })
    }
}

/// A code as version 1 spells it.
#[must_use]
pub fn v1_code(code: &Code) -> Code {
    match code.reason() {
        crate::Reason::Other(_) => code.clone(),
        reason if reason.row().exact_evm.is_some_and(|evm| evm == code.as_str()) => {
            reason.code(Dialect::ExactEvmV1)
        }
        reason if reason.row().exact_svm.is_some_and(|svm| svm == code.as_str()) => {
            reason.code(Dialect::ExactSvmV1)
        }
        _ => code.clone(),
    }
}
