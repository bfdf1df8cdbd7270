//! What a 402 asks for: read from the v2 header or else from the v1 body, offer by offer.

use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value as Json;
use tollway_protocol::json::{self, Object};
use tollway_protocol::wire::{Challenge, Resource, Version};
use tollway_protocol::{Offer, header, v1};

use crate::text;

/// The longest body that is read for a v1 challenge or a reason.
pub const MAX_BODY: usize = 64 * 1024;

/// The protocol version that a seller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// `X-PAYMENT`.
    V1,
    /// `PAYMENT-SIGNATURE`.
    V2,
}

/// A challenge, read leniently offer by offer: one that can't be read does not hide the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The version that the payment will be written in.
    pub dialect: Speaks,
    /// What is sold.
    pub resource: Resource,
    /// Why the request was not served, in the server's words; shown, never acted on.
    pub error: Option<String>,
    /// Extensions by key.
    pub extensions: Object,
    pub(crate) listed: Vec<Listed>,
}

/// One entry of `accepts`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listed {
    /// The resource that this entry is for.
    pub(crate) resource: String,
    /// The network as version 1 wrote it.
    pub(crate) v1_network: Option<String>,
    /// The offer, or why it can't be read.
    pub(crate) offer: Result<Offer, String>,
}

/// Why a 402 is no challenge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    /// Nothing in it is of x402.
    #[error("the 402 has neither a PAYMENT-REQUIRED header nor an x402 version 1 body")]
    Foreign,
    /// It has a challenge that can't be read; nothing else in the answer is looked at then.
    #[error("the challenge can't be read: {0}")]
    Invalid(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawV2 {
    #[allow(dead_code, reason = "its type is the check")]
    x402_version: Version<2>,
    #[serde(default)]
    error: Option<String>,
    resource: Resource,
    accepts: Vec<Json>,
    #[serde(default)]
    extensions: Option<Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawV1 {
    #[allow(dead_code, reason = "its type is the check")]
    x402_version: Version<1>,
    #[serde(default)]
    error: Option<String>,
    accepts: Vec<Json>,
}

impl Asked {
    /// Whether the headers of a 402 have a v2 challenge, so that the body is not needed.
    #[must_use]
    pub fn in_headers(headers: &HeaderMap) -> bool {
        headers.contains_key(header::PAYMENT_REQUIRED)
    }

    /// Reads a 402. The header wins over the body, and an invalid header is not rescued by one.
    ///
    /// # Errors
    /// [`NotAsked`].
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, NotAsked> {
        let invalid = |error: &dyn std::fmt::Display| NotAsked::Invalid(text::prose(&error.to_string()));
        let mut values = headers.get_all(header::PAYMENT_REQUIRED).iter();
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(NotAsked::Invalid("two PAYMENT-REQUIRED headers".into())),
            (Some(value), None) => {
                let bytes = header::decode_base64(value.as_bytes()).map_err(|error| invalid(&error))?;
                let raw: RawV2 = json::decode(&bytes, header::MAX_HEADER).map_err(|error| invalid(&error))?;
                Ok(Self::v2(raw))
            }
            (None, _) => Self::body(body, invalid),
        }
    }

    fn body(body: &[u8], invalid: impl Fn(&dyn std::fmt::Display) -> NotAsked) -> Result<Self, NotAsked> {
        let document: Json = json::decode(body, MAX_BODY).map_err(|_| NotAsked::Foreign)?;
        let version = document.get("x402Version").and_then(Json::as_u64);
        if version != Some(1) || !document.get("accepts").is_some_and(Json::is_array) {
            return Err(NotAsked::Foreign);
        }
        serde_json::from_value(document).map(Self::v1).map_err(|error| invalid(&error))
    }

    fn v2(raw: RawV2) -> Self {
        let listed = raw.accepts.into_iter().map(|entry| Listed {
            resource: raw.resource.url.clone(),
            v1_network: None,
            offer: serde_json::from_value(entry).map_err(|error| text::prose(&error.to_string())),
        });
        Self {
            dialect: Speaks::V2,
            listed: listed.collect(),
            resource: raw.resource.clone(),
            error: raw.error,
            extensions: raw.extensions.unwrap_or_default(),
        }
    }

    fn v1(raw: RawV1) -> Self {
        let mut resource = None;
        let read = |entry: Json| match serde_json::from_value::<v1::Offer>(entry) {
            Err(error) => Listed {
                resource: String::new(),
                v1_network: None,
                offer: Err(text::prose(&error.to_string())),
            },
            Ok(offer) => {
                resource.get_or_insert_with(|| offer.resource.clone());
                Listed {
                    resource: offer.resource.clone(),
                    v1_network: Some(offer.network.clone()),
                    offer: offer.to_v2().map_err(|error| text::prose(&error.to_string())),
                }
            }
        };
        let listed = raw.accepts.into_iter().map(read).collect();
        Self {
            dialect: Speaks::V1,
            listed,
            resource: Resource { url: resource.unwrap_or_default(), ..Resource::default() },
            error: raw.error,
            extensions: Object::new(),
        }
    }
}

impl From<Challenge> for Asked {
    fn from(challenge: Challenge) -> Self {
        let url = challenge.resource.url.clone();
        let listed = |offer| Listed { resource: url.clone(), v1_network: None, offer: Ok(offer) };
        Self {
            dialect: Speaks::V2,
            listed: challenge.accepts.into_iter().map(listed).collect(),
            resource: challenge.resource,
            error: challenge.error,
            extensions: challenge.extensions,
        }
    }
}
