//! Where a network's accounts have their keys.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::rpc::is_variable;

/// Where the signer's key is: never in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// In an encrypted keystore file.
    Keystore {
        /// The file.
        path: PathBuf,
        /// The variable that holds its passphrase.
        passphrase_env: String,
    },
    /// In a variable: hex on EVM networks; on Solana base58, or the JSON array of a key file.
    Env {
        /// The variable.
        key_env: String,
    },
}

impl Signer {
    /// The variable that holds its secret.
    #[must_use]
    pub fn variable(&self) -> &str {
        match self {
            Self::Keystore { passphrase_env, .. } => passphrase_env,
            Self::Env { key_env } => key_env,
        }
    }
}

impl<'de> Deserialize<'de> for Signer {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            keystore: Option<PathBuf>,
            passphrase_env: Option<String>,
            key_env: Option<String>,
        }
        let table = Table::deserialize(d)?;
        let named = |name: String| {
            let problem = "passphrase_env and key_env are NAMES of environment variables, not secrets";
            if is_variable(&name) { Ok(name) } else { Err(serde::de::Error::custom(problem)) }
        };
        match table {
            Table { keystore: Some(path), passphrase_env: Some(name), key_env: None } => {
                Ok(Self::Keystore { path, passphrase_env: named(name)? })
            }
            Table { keystore: None, passphrase_env: None, key_env: Some(name) } => {
                Ok(Self::Env { key_env: named(name)? })
            }
            _ => Err(serde::de::Error::custom("expected either keystore and passphrase_env, or key_env")),
        }
    }
}
