//! Reading a body: bounded, then dispatched on its version, then typed, with the place of what is wrong.

use std::pin::pin;
use std::time::Duration;

use axum::extract::Request;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tollway_protocol::door::decimal_u64;
use tollway_protocol::reason::{Reason, Refusal};
use tollway_protocol::wire::PaymentRequest;
use tollway_protocol::{Network, json, v1};

/// The protocol version that a caller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    V1,
    V2,
}

/// A body that was understood.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) wire: Wire,
    pub(super) request: PaymentRequest,
}

/// A body that was not: how, and the network as far as it could be read.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) status: StatusCode,
    pub(super) refusal: Refusal,
    pub(super) network: String,
}

impl Malformed {
    fn new(status: StatusCode, reason: Reason, message: impl Into<String>) -> Self {
        Self { status, refusal: Refusal::new(reason, message), network: String::new() }
    }

    fn bad(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason, message)
    }
}

/// Reads at most `limit` bytes, within `time`.
pub(super) async fn read(request: Request, limit: usize, time: Duration) -> Result<Bytes, Malformed> {
    let too_long = || {
        let message = format!("the body is longer than {limit} bytes");
        Malformed::new(StatusCode::PAYLOAD_TOO_LARGE, Reason::InvalidPayload, message)
    };
    // The header, as layers below may have wrapped the body and forgotten its length.
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if declared.and_then(|length| decimal_u64(length).ok()).is_some_and(|length| length > limit_of(limit)) {
        return Err(too_long());
    }
    let mut whole = pin!(Limited::new(request.into_body(), limit).collect());
    // A body that came with its head needs no timer.
    let whole = match (&mut whole).now_or_never() {
        Some(whole) => Ok(whole),
        None => Box::pin(tokio::time::timeout(time, whole)).await,
    };
    match whole {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long()),
        Ok(Err(_cut)) => Err(Malformed::bad(Reason::InvalidPayload, "the body ended before it was complete")),
        Err(_elapsed) => {
            let message = format!("the body did not arrive within {} s", time.as_secs());
            Err(Malformed::new(StatusCode::REQUEST_TIMEOUT, Reason::InvalidPayload, message))
        }
    }
}

fn limit_of(limit: usize) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}

/// Understands a body of at most `limit` bytes.
pub(super) fn decode(bytes: &[u8], limit: usize) -> Result<Asked, Malformed> {
    if let Ok(request) = json::decode::<PaymentRequest>(bytes, limit) {
        return Ok(Asked { wire: Wire::V2, request });
    }
    explain(bytes, limit)
}

/// The long way, for version 1 and for what is wrong: it knows the place.
fn explain(bytes: &[u8], limit: usize) -> Result<Asked, Malformed> {
    let document: Value = json::decode(bytes, limit).map_err(|error| {
        Malformed::bad(Reason::InvalidPayload, format!("the body is not JSON that is read here: {error}"))
    })?;
    let Value::Object(mut document) = document else {
        return Err(Malformed::bad(Reason::InvalidPayload, "the body is not a JSON object"));
    };
    let network = network(&document);
    for path in ["/paymentRequirements", "/paymentPayload/accepted"] {
        whole(&mut document, path);
    }
    let asked = match version(&document) {
        Ok(1) => v1(document),
        Ok(2) => {
            document.insert("x402Version".to_owned(), Value::from(2));
            typed::<PaymentRequest>(document).map(|request| Asked { wire: Wire::V2, request })
        }
        Ok(_) | Err(()) => Err(Malformed::bad(
            Reason::InvalidVersion,
            "x402Version: expected the number 1 or 2, in the body or in paymentPayload",
        )),
    };
    asked.map_err(|malformed| Malformed { network, ..malformed })
}

fn v1(document: Map<String, Value>) -> Result<Asked, Malformed> {
    let request = typed::<v1::PaymentRequest>(document)?;
    let request = request.to_v2();
    // The document is well formed: that nobody serves such a network is a verdict.
    let request = request
        .map_err(|error| Malformed::new(StatusCode::OK, Reason::UnsupportedNetwork, error.to_string()))?;
    Ok(Asked { wire: Wire::V1, request })
}

/// The version that the body says, or else its payment.
fn version(document: &Map<String, Value>) -> Result<u64, ()> {
    let said = |object: &Map<String, Value>| object.get("x402Version").filter(|v| !v.is_null()).cloned();
    let inner = || document.get("paymentPayload").and_then(Value::as_object).and_then(said);
    said(document).or_else(inner).and_then(|version| version.as_u64()).ok_or(())
}

/// A time of `60.0` seconds is 60: some languages write whole numbers so.
fn whole(document: &mut Map<String, Value>, path: &str) {
    let mut keys = path.split('/').skip(1);
    let first = keys.next().and_then(|key| document.get_mut(key));
    let offer = keys.fold(first, |found, key| found.and_then(|value| value.get_mut(key)));
    let Some(seconds) = offer.and_then(|offer| offer.get_mut("maxTimeoutSeconds")) else { return };
    if let Some(number) = seconds.as_f64().filter(|number| seconds.is_f64() && number.fract() == 0.0)
        && let Ok(number) = decimal_u64(&format!("{number:.0}"))
    {
        *seconds = Value::from(number);
    }
}

fn network(document: &Map<String, Value>) -> String {
    let at = |path: &[&str]| {
        let (first, rest) = path.split_first()?;
        let start = document.get(*first)?;
        rest.iter().try_fold(start, |value, key| value.get(key))?.as_str().map(str::to_owned)
    };
    at(&["paymentRequirements", "network"])
        .or_else(|| at(&["paymentPayload", "accepted", "network"]))
        .or_else(|| at(&["paymentPayload", "network"]))
        .filter(|name| Network::any(name).is_ok())
        .unwrap_or_default()
}

fn typed<T: DeserializeOwned>(document: Map<String, Value>) -> Result<T, Malformed> {
    serde_path_to_error::deserialize(Value::Object(document)).map_err(|error| {
        let path = error.path().to_string();
        let what: String = error.into_inner().to_string().chars().take(300).collect();
        let reason = if path.ends_with("x402Version") {
            Reason::InvalidVersion
        } else if path.ends_with(".network") {
            Reason::UnsupportedNetwork
        } else if path.starts_with("paymentRequirements") {
            Reason::InvalidOffer
        } else {
            Reason::InvalidPayload
        };
        Malformed::bad(reason, if path == "." { what } else { format!("{path}: {what}") })
    })
}
