//! Values that are never printed, serialized or copied.

use zeroize::{Zeroize, Zeroizing};

/// A secret: no `Debug`, `Display`, `Serialize` or `Clone`; overwritten when dropped.
///
/// ```
/// use tollway_protocol::Secret;
/// let key = Secret::new(String::from("0xabc"));
/// assert_eq!(key.expose(), "0xabc");
/// ```
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Wraps a secret.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The secret, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &T {
        &self.0
    }
}
