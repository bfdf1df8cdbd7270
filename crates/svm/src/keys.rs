//! Keys: a key file of Solana's command line, a base58 secret as wallets export it, or an encrypted JSON keystore.

use std::io::Read as _;
use std::path::Path;

use serde_json::value::RawValue;
use solana_address::Address;
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use tollway_protocol::Secret;
use zeroize::Zeroizing;

/// The longest key file that is read, in bytes: 64 numbers have 400.
const MAX_FILE: u16 = 4096;
/// The longest base58 of 32 bytes.
const LONGEST_SEED: usize = 44;

/// An account's key. Prints its address, never itself.
pub struct Key(Keypair);

/// Why a key can't be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a key in the form that is asked for.
    #[error("not a Solana key: {0}")]
    Form(&'static str),
    /// The public half is not the private half's: the key is damaged, or put together of two.
    #[error("not a Solana key: its public half belongs to another private key")]
    Mismatch,
    /// The key file can't be read.
    #[error("key file: {0}")]
    File(String),
    /// The keystore can't be read, written or opened.
    #[error("keystore: {0}")]
    Keystore(String),
}

impl Key {
    /// A key from its 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: &Secret<[u8; 32]>) -> Self {
        Self(Keypair::new_from_array(*seed.expose()))
    }

    /// A key from its seed and the public key after it.
    ///
    /// # Errors
    /// [`KeyError::Mismatch`].
    pub fn from_bytes(bytes: &Secret<[u8; 64]>) -> Result<Self, KeyError> {
        Self::from_halves(bytes.expose())
    }

    fn from_halves(bytes: &[u8; 64]) -> Result<Self, KeyError> {
        let (seed, public) = bytes.split_first_chunk::<32>().ok_or(KeyError::Mismatch)?;
        let key = Self(Keypair::new_from_array(*seed));
        if key.address().as_ref() == public { Ok(key) } else { Err(KeyError::Mismatch) }
    }

    /// A key from base58: of 64 bytes, as wallets export it, or of the 32-byte seed alone.
    ///
    /// # Errors
    /// [`KeyError::Form`] and [`KeyError::Mismatch`].
    pub fn from_base58(text: &Secret<String>) -> Result<Self, KeyError> {
        let text = text.expose().trim();
        let wrong = |_| KeyError::Form("base58 of 64 bytes, or of a seed of 32, is expected");
        if text.len() <= LONGEST_SEED {
            let mut seed = Zeroizing::new([0; 32]);
            five8::decode_32(text, &mut seed).map_err(wrong)?;
            return Ok(Self(Keypair::new_from_array(*seed)));
        }
        let mut bytes = Zeroizing::new([0; 64]);
        five8::decode_64(text, &mut bytes).map_err(wrong)?;
        Self::from_halves(&bytes)
    }

    /// A key from the text of a key file: a JSON array of 64 numbers.
    ///
    /// # Errors
    /// [`KeyError::Form`] and [`KeyError::Mismatch`].
    pub fn from_json(text: &Secret<String>) -> Result<Self, KeyError> {
        const WRONG: KeyError = KeyError::Form("a JSON array of 64 bytes is expected");
        let numbers: Vec<&RawValue> = serde_json::from_str(text.expose()).map_err(|_| WRONG)?;
        let numbers: [&RawValue; 64] = numbers.try_into().map_err(|_| WRONG)?;
        let mut bytes = Zeroizing::new([0; 64]);
        for (byte, number) in bytes.iter_mut().zip(numbers) {
            *byte = serde_json::from_str(number.get()).map_err(|_| WRONG)?;
        }
        Self::from_halves(&bytes)
    }

    /// A key from a key file that `solana-keygen` has written.
    ///
    /// # Errors
    /// [`KeyError::File`], [`KeyError::Form`] and [`KeyError::Mismatch`].
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let failed = |error: std::io::Error| KeyError::File(format!("{}: {error}", path.display()));
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut text = String::with_capacity(MAX_FILE.into());
        let length = file.take(MAX_FILE.into()).read_to_string(&mut text);
        let text = Secret::new(text);
        length.map_err(failed)?;
        Self::from_json(&text)
    }

    /// Opens a keystore file that has the seed in it. Slow by design.
    ///
    /// # Errors
    /// [`KeyError::Keystore`]: no such file, or a wrong passphrase.
    pub fn open(path: &Path, passphrase: &Secret<String>) -> Result<Self, KeyError> {
        let failed = |problem: String| KeyError::Keystore(format!("{}: {problem}", path.display()));
        let seed = eth_keystore::decrypt_key(path, passphrase.expose());
        let seed = Secret::new(seed.map_err(|error| failed(error.to_string()))?);
        let seed = <[u8; 32]>::try_from(seed.expose().as_slice());
        seed.map(|seed| Self::from_seed(&Secret::new(seed)))
            .map_err(|_| failed("it has no seed of 32 bytes in it".to_owned()))
    }

    /// Writes the key's seed, encrypted, as `name` in `dir`.
    ///
    /// # Errors
    /// [`KeyError::Keystore`].
    pub fn save(&self, dir: &Path, name: &str, passphrase: &Secret<String>) -> Result<(), KeyError> {
        let seed = Secret::new(*self.0.secret_bytes());
        let mut entropy = rand::rngs::OsRng;
        eth_keystore::encrypt_key(dir, &mut entropy, seed.expose(), passphrase.expose(), Some(name))
            .map(drop)
            .map_err(|error| KeyError::Keystore(format!("{}: {error}", dir.display())))
    }

    /// The account.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.pubkey()
    }

    /// Signs the bytes of a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign_message(message).into()
    }
}

impl Clone for Key {
    fn clone(&self) -> Self {
        Self(self.0.insecure_clone())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.address())
    }
}
