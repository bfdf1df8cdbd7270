//! The `Idempotency-Key` header of `POST /settle`.

use std::sync::Arc;

use crate::bind::SOLANA;
use crate::{Network, Secret};

/// The header's name.
pub const HEADER: &str = "idempotency-key";
/// The fewest characters of a key: what is shorter can be guessed.
const MIN: usize = 16;
/// The most characters of a key.
const MAX: usize = 256;

/// What a caller names its request to settle by, so that it is told of success again when the answer was lost
/// (draft-ietf-httpapi-idempotency-key-header).
///
/// Where a payment is settled once for whoever presents it first, as Solana's are, this is how a facilitator knows who that
/// was. It must therefore be known to that caller only, and be the same whenever the caller sends the payment again.
///
/// ```
/// use tollway_protocol::IdempotencyKey;
/// let key = IdempotencyKey::read("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"")?;
/// assert_eq!(key.expose(), "8e03978e-40d5-43dd-bc93-6894a57f9324");
/// assert_eq!(format!("{key:?}"), "IdempotencyKey(..)");
/// assert!(IdempotencyKey::read("1").is_err());
/// # Ok::<(), tollway_protocol::IdempotencyKeyError>(())
/// ```
#[derive(Clone)]
pub struct IdempotencyKey(Arc<Secret<String>>);

/// Whether success on `network` is told to one caller, who is known by its key. Elsewhere it is told to all who present the
/// payment, and a key says nothing.
#[must_use]
pub fn is_used_on(network: &Network) -> bool {
    network.namespace() == SOLANA
}

/// The text can't be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an Idempotency-Key has {MIN} to {MAX} visible ASCII characters without quotes and backslashes, and is sent once"
)]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// The key in a header's value: a structured string, as the draft has it, or without its quotes, as many send it.
    ///
    /// # Errors
    /// [`IdempotencyKeyError`].
    pub fn read(value: &str) -> Result<Self, IdempotencyKeyError> {
        let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let text = quoted.unwrap_or(value);
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        if is_plain && (MIN..=MAX).contains(&text.len()) {
            Ok(Self(Arc::new(Secret::new(text.to_owned()))))
        } else {
            Err(IdempotencyKeyError)
        }
    }

    /// The key's text, for the header and for a digest of it; it is a secret between caller and facilitator.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The header's value.
    #[must_use]
    pub fn to_header(&self) -> Secret<String> {
        Secret::new(format!("\"{}\"", self.expose()))
    }
}

impl std::fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdempotencyKey(..)")
    }
}

impl PartialEq for IdempotencyKey {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for IdempotencyKey {}
