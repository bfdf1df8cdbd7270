//! The HTTP headers: base64 of JSON, in both versions.
//!
//! Written as standard base64 with padding; read leniently (URL-safe alphabet, missing padding),
//! because peers do so, but bounded before anything is decoded.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Serialize, de::DeserializeOwned};

use crate::json::{self, JsonError};
use crate::v1;
use crate::wire::{Challenge, Payment, Settlement};

/// v2, server to client: the challenge.
pub const PAYMENT_REQUIRED: &str = "payment-required";
/// v2, client to server: the payment.
pub const PAYMENT_SIGNATURE: &str = "payment-signature";
/// v2, server to client: the settlement.
pub const PAYMENT_RESPONSE: &str = "payment-response";
/// v1, client to server: the payment.
pub const X_PAYMENT: &str = "x-payment";
/// v1, server to client: the settlement.
pub const X_PAYMENT_RESPONSE: &str = "x-payment-response";

/// The longest header value that is read, in bytes.
pub const MAX_HEADER: usize = 16 * 1024;

/// Why a header was turned away.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// Longer than [`MAX_HEADER`].
    #[error("{0} bytes, at most {MAX_HEADER} are read")]
    TooLong(usize),
    /// Not base64.
    #[error("not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// Not the JSON expected.
    #[error("base64 of something else: {0}")]
    Json(#[from] JsonError),
}

const fn engine(alphabet: &alphabet::Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(false);
    GeneralPurpose::new(alphabet, config)
}

const STANDARD: GeneralPurpose = engine(&alphabet::STANDARD);
const URL_SAFE: GeneralPurpose = engine(&alphabet::URL_SAFE);

/// A document that travels in a header.
pub trait HeaderDocument: Serialize + DeserializeOwned {}
impl HeaderDocument for Challenge {}
impl HeaderDocument for Payment {}
impl HeaderDocument for Settlement {}
impl HeaderDocument for v1::Payment {}
impl HeaderDocument for v1::Settlement {}

/// Writes a document as a header value.
///
/// ```
/// use tollway_protocol::{Network, Settlement, header};
/// let value = header::encode(&Settlement::new(true, Network::eip155(8453)));
/// let back: Settlement = header::decode(value.as_bytes())?;
/// assert!(back.success);
/// # Ok::<(), header::HeaderError>(())
/// ```
#[must_use]
pub fn encode<T: HeaderDocument>(document: &T) -> String {
    // Types of ours always serialize: string keys, no non-finite numbers.
    STANDARD.encode(serde_json::to_vec(document).unwrap_or_default())
}

/// Reads a document from a header value.
///
/// # Errors
/// [`HeaderError`]: too long, not base64, or not the document.
pub fn decode<T: HeaderDocument>(value: &[u8]) -> Result<T, HeaderError> {
    let bytes = decode_base64(value)?;
    Ok(json::decode(&bytes, MAX_HEADER)?)
}

/// The bytes inside a header value.
///
/// # Errors
/// [`HeaderError`]: too long, or not base64.
pub fn decode_base64(value: &[u8]) -> Result<Vec<u8>, HeaderError> {
    let value = value.trim_ascii();
    if value.len() > MAX_HEADER {
        return Err(HeaderError::TooLong(value.len()));
    }
    let url_safe = value.iter().any(|b| matches!(b, b'-' | b'_'));
    Ok(if url_safe { URL_SAFE.decode(value) } else { STANDARD.decode(value) }?)
}
