//! API keys, as configured: hashes, or where they are.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use tollway_protocol::door;

use super::rpc::is_variable;
use crate::api;

/// A key that callers may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfig {
    /// What it is called in logs and rules: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Where its hash is.
    pub source: KeySource,
    /// Its hash, once it is known: whoever reads files and variables fills it in.
    pub hash: Option<KeyHash>,
    /// Requests a second, on average; any number unless set.
    pub per_second: Option<NonZeroU32>,
    /// Requests at once; twice `per_second` unless set.
    pub burst: Option<NonZeroU32>,
    /// Payments a day (UTC), for verifications and for settlements separately; any number unless set. Counted in
    /// the process: a restart begins anew.
    pub payments_per_day: Option<u64>,
}

/// Where a key's hash comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// It is in the configuration.
    Hash,
    /// A file that holds the hash in hex.
    File(PathBuf),
    /// An environment variable that holds the key itself.
    Env(String),
}

impl<'de> Deserialize<'de> for KeyConfig {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            name: String,
            hash: Option<KeyHash>,
            hash_file: Option<PathBuf>,
            key_env: Option<String>,
            per_second: Option<NonZeroU32>,
            burst: Option<NonZeroU32>,
            payments_per_day: Option<u64>,
        }
        let Table { name, hash, hash_file, key_env, per_second, burst, payments_per_day } =
            Table::deserialize(d)?;
        let source = match (hash, hash_file, key_env) {
            (Some(_), None, None) => KeySource::Hash,
            (None, Some(path), None) => KeySource::File(path),
            (None, None, Some(name)) if is_variable(&name) => KeySource::Env(name),
            (None, None, Some(_)) => {
                let problem = "key_env is the NAME of an environment variable, not a key";
                return Err(serde::de::Error::custom(problem));
            }
            _ => return Err(serde::de::Error::custom("expected one of hash, hash_file and key_env")),
        };
        Ok(Self { name, source, hash, per_second, burst, payments_per_day })
    }
}

/// SHA-256 of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Reads 64 hex digits.
    ///
    /// # Errors
    /// What was expected; the text may be the key itself and is not repeated.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let text = if text.starts_with("0x") { text.to_owned() } else { format!("0x{text}") };
        let hash = door::hex_array::<32>(&text);
        hash.map(Self)
            .map_err(|_| "expected SHA-256 of the key: 64 hex digits (`tollway facilitator key` prints it)")
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// The shortest key that an environment variable may hold, in bytes.
const SHORTEST: usize = 32;

impl KeyConfig {
    /// Takes the key itself, of which only the hash is kept.
    ///
    /// # Errors
    /// When it is too short to be a secret.
    pub fn set_key(&mut self, key: &str) -> Result<(), &'static str> {
        if key.len() < SHORTEST {
            return Err("expected a key of 32 characters or more (`tollway facilitator key` makes one)");
        }
        self.hash = Some(KeyHash(api::Key::hash(key)));
        Ok(())
    }

    /// The key as the API needs it, once its hash is known.
    #[must_use]
    pub fn api(&self) -> Option<api::Key> {
        let rate = self.per_second.map(|per_second| {
            let burst = self.burst.unwrap_or(per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1)));
            api::Rate { per_second, burst }
        });
        let KeyHash(hash) = self.hash?;
        Some(api::Key { name: self.name.clone(), hash, rate, payments_per_day: self.payments_per_day })
    }
}
