//! Keys: a private key from hex, or an encrypted JSON keystore (the format of geth and Foundry).

use std::path::Path;

use alloy_primitives::{Address, B256};
use alloy_signer_local::PrivateKeySigner;
use tollway_protocol::{Secret, door};

/// An account's key. Prints its address, never itself.
#[derive(Clone)]
pub struct Key(PrivateKeySigner);

/// Why a key can't be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not 32 bytes of hex within the curve's order.
    #[error("not a private key: 0x and 64 hex digits are expected")]
    Form,
    /// The keystore can't be read, written or opened.
    #[error("keystore: {0}")]
    Keystore(String),
}

impl Key {
    /// A key from 64 hex digits, with or without `0x`.
    ///
    /// # Errors
    /// [`KeyError::Form`].
    pub fn from_hex(text: &Secret<String>) -> Result<Self, KeyError> {
        let text = text.expose().trim();
        let prefixed = Secret::new(format!("0x{}", text.strip_prefix("0x").unwrap_or(text)));
        let bytes = Secret::new(door::hex_array::<32>(prefixed.expose()).map_err(|_| KeyError::Form)?);
        Self::from_bytes(&bytes)
    }

    /// A key from its bytes.
    ///
    /// # Errors
    /// [`KeyError::Form`] when they are zero or beyond the curve's order.
    pub fn from_bytes(bytes: &Secret<[u8; 32]>) -> Result<Self, KeyError> {
        PrivateKeySigner::from_bytes(&B256::from(*bytes.expose())).map(Self).map_err(|_| KeyError::Form)
    }

    /// Opens a keystore file. Slow by design.
    ///
    /// # Errors
    /// [`KeyError::Keystore`]: no such file, or a wrong passphrase.
    pub fn open(path: &Path, passphrase: &Secret<String>) -> Result<Self, KeyError> {
        PrivateKeySigner::decrypt_keystore(path, passphrase.expose())
            .map(Self)
            .map_err(|error| KeyError::Keystore(format!("{}: {error}", path.display())))
    }

    /// Writes the key, encrypted, as `name` in `dir`.
    ///
    /// # Errors
    /// [`KeyError::Keystore`].
    pub fn save(&self, dir: &Path, name: &str, passphrase: &Secret<String>) -> Result<(), KeyError> {
        let secret = Secret::new(self.0.to_bytes().0);
        let mut entropy = rand::rngs::OsRng;
        PrivateKeySigner::encrypt_keystore(
            dir,
            &mut entropy,
            secret.expose(),
            passphrase.expose(),
            Some(name),
        )
        .map(drop)
        .map_err(|error| KeyError::Keystore(format!("{}: {error}", dir.display())))
    }

    /// The account.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.address()
    }

    pub(crate) fn signer(&self) -> &PrivateKeySigner {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.0.address())
    }
}
