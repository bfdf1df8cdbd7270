//! How a handler says what it charges.

use http::{HeaderMap, HeaderName, HeaderValue};
use tollway_protocol::charge::{Charge, ChargeError};
use tollway_protocol::door::Amount;
use tollway_protocol::json::{self, JsonError, Object};

/// The response header by which a handler charges less than the offer's amount, where the payer chose scheme `upto`:
/// `{"amount": "1858"}`, with atomic units, a share (`12.5%`) or money (`$0.01`). It is taken off every response; with
/// any other scheme it does nothing.
pub const SETTLEMENT_OVERRIDES: HeaderName = HeaderName::from_static("settlement-overrides");

/// The longest value that is read, in bytes.
const MAX_LENGTH: usize = 256;

/// Charges `amount`, in atomic units, for the response with these headers: 0 charges nothing.
///
/// ```
/// let mut response = http::Response::new("a few words");
/// tollway_seller::charge(response.headers_mut(), 1_858u64.into());
/// ```
pub fn charge(headers: &mut HeaderMap, amount: Amount) {
    let text = format!("{{\"amount\":\"{amount}\"}}");
    // Digits and punctuation are always a header value.
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(SETTLEMENT_OVERRIDES, value);
    }
}

/// Why a handler's charge can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("more than one {SETTLEMENT_OVERRIDES} header")]
    Several,
    #[error("{SETTLEMENT_OVERRIDES}: {0}")]
    Json(#[from] JsonError),
    #[error("{SETTLEMENT_OVERRIDES}: its amount is no text")]
    NoText,
    #[error("{SETTLEMENT_OVERRIDES}: {0}")]
    Charge(#[from] ChargeError),
}

/// What the handler charges; `None` when it says nothing.
pub(crate) fn read(headers: &HeaderMap) -> Result<Option<Charge>, Unread> {
    let mut values = headers.get_all(SETTLEMENT_OVERRIDES).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Unread::Several);
    }
    let overrides: Object = json::decode(value.as_bytes(), MAX_LENGTH)?;
    match overrides.get("amount") {
        None => Ok(None),
        Some(amount) => Ok(Some(Charge::new(amount.as_str().ok_or(Unread::NoText)?)?)),
    }
}
