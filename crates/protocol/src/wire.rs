//! The v2 wire types (specification v2, sections on types and facilitator interface).
//!
//! Every type keeps the members it doesn't know in `unknown`, writes no `null`, and reads `null`
//! as absent.

use serde::{Deserialize, Deserializer, Serialize};

use crate::IdempotencyKey;
use crate::Network;
use crate::door::Amount;
use crate::json::{Object, or_default};
use crate::reason::Code;

/// The protocol version as a type: reads and writes only the number `N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version<const N: u8>;

impl<const N: u8> Serialize for Version<N> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u8(N)
    }
}

impl<'de, const N: u8> Deserialize<'de> for Version<N> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match u64::deserialize(d)? {
            n if n == u64::from(N) => Ok(Self),
            n => Err(serde::de::Error::custom(format_args!("x402Version is {n}, expected {N}"))),
        }
    }
}

/// What is sold: `ResourceInfo` on the wire.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// The resource's URL, as its seller knows it.
    pub url: String,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What the answer's body will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// The seller's name: 1–32 printable ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// At most 5 tags of 1–32 printable ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// A picture, at most 2048 characters of URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon_url: Option<String>,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}

/// One way to pay for one request: `PaymentRequirements` on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// The payment logic, such as `exact`.
    pub scheme: String,
    /// Where the payment happens.
    pub network: Network,
    /// Atomic units of `asset`. Also read from v1's name for it, which one document in the wild
    /// writes into v2.
    #[serde(alias = "maxAmountRequired")]
    pub amount: Amount,
    /// The token's address.
    pub asset: String,
    /// Who is paid.
    pub pay_to: String,
    /// How long the payment may take from signature to settlement, in seconds.
    pub max_timeout_seconds: u64,
    /// What the scheme needs besides (EVM `exact`: the token's EIP-712 `name` and `version`).
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Object::is_empty")]
    pub extra: Object,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}

/// The answer to an unpaid request: `PaymentRequired` on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Challenge {
    /// Always 2.
    pub x402_version: Version<2>,
    /// Why the request was not served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is sold.
    pub resource: Resource,
    /// The ways to pay, any one of them.
    pub accepts: Vec<Offer>,
    /// Extensions by key.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Object::is_empty")]
    pub extensions: Object,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}

/// What a payer signed for one offer: `PaymentPayload` on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// Always 2.
    pub x402_version: Version<2>,
    /// The resource as the payer saw it: display data, never a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// The offer that the payer chose, as it was given.
    pub accepted: Offer,
    /// What the scheme needs to execute the payment.
    pub payload: Object,
    /// The challenge's extensions, echoed and added to.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Object::is_empty")]
    pub extensions: Object,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}

/// The body of `/verify` and `/settle`: `VerifyRequest` and `SettleRequest` on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequest {
    /// Always 2.
    pub x402_version: Version<2>,
    /// What the payer signed.
    pub payment_payload: Payment,
    /// The offer it must fulfil, as the seller knows it.
    pub payment_requirements: Offer,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
    /// What the caller names its request to settle by: a header, beside the body.
    #[serde(skip)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl PaymentRequest {
    /// The request for `payment` against `offer`.
    #[must_use]
    pub fn new(payment: Payment, offer: Offer) -> Self {
        Self {
            x402_version: Version,
            payment_payload: payment,
            payment_requirements: offer,
            unknown: Object::new(),
            idempotency_key: None,
        }
    }
}

/// What verification found: `VerifyResponse` on the wire.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Whether the payment would settle now.
    pub is_valid: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_reason: Option<Code>,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_message: Option<String>,
    /// Who would pay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// Extensions by key.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Object::is_empty")]
    pub extensions: Object,
    /// What the scheme adds.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Object::is_empty")]
    pub extra: Object,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}

/// A payment's execution and its result: `SettleResponse` on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settlement {
    /// Whether the money moved, as asked, with the finality that the facilitator promises.
    pub success: bool,
    /// Why not; `settlement_pending` means not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<Code>,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// The transaction, also when it failed or is pending; `""` on the wire when there is none.
    #[serde(default, deserialize_with = "empty_is_none", serialize_with = "none_is_empty")]
    pub transaction: Option<String>,
    /// Where.
    pub network: Network,
    /// Atomic units that moved, when told.
    #[serde(default, deserialize_with = "amount_or_none", skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Extensions by key.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Object::is_empty")]
    pub extensions: Object,
    /// What the scheme adds.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Object::is_empty")]
    pub extra: Object,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}

impl Settlement {
    /// A settlement that says only where and whether.
    #[must_use]
    pub fn new(success: bool, network: Network) -> Self {
        Self {
            success,
            error_reason: None,
            error_message: None,
            payer: None,
            transaction: None,
            network,
            amount: None,
            extensions: Object::new(),
            extra: Object::new(),
            unknown: Object::new(),
        }
    }
}

fn empty_is_none<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(d)?.filter(|text| !text.is_empty()))
}

#[allow(clippy::ref_option, reason = "the signature that serde calls")]
fn none_is_empty<S: serde::Serializer>(value: &Option<String>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(value.as_deref().unwrap_or_default())
}

fn amount_or_none<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Amount>, D::Error> {
    match Option::<String>::deserialize(d)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => Amount::atomic(text).map(Some).map_err(serde::de::Error::custom),
    }
}

/// A scheme on a network that a facilitator serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kind {
    /// 1 or 2.
    pub x402_version: u8,
    /// The scheme.
    pub scheme: String,
    /// The network: CAIP-2 in version 2, a name in version 1.
    pub network: String,
    /// What offers of this kind must carry.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Object::is_empty")]
    pub extra: Object,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}

/// What a facilitator serves: `SupportedResponse` on the wire.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Supported {
    /// Schemes on networks.
    pub kinds: Vec<Kind>,
    /// Extension keys.
    #[serde(default, deserialize_with = "or_default")]
    pub extensions: Vec<String>,
    /// The facilitator's accounts by network pattern.
    #[serde(default, deserialize_with = "or_default")]
    pub signers: std::collections::BTreeMap<String, Vec<String>>,
    /// Members this version doesn't know.
    #[serde(flatten)]
    pub unknown: Object,
}
