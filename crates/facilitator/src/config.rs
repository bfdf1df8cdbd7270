//! A facilitator's configuration: TOML, overridden by environment variables, then checked. This
//! module reads no file and no environment itself.
//!
//! ```
//! use tollway_facilitator::Config;
//! let mut config = Config::from_toml(
//!     r#"
//!     ledger = "/var/lib/tollway/facilitator.db"
//!     [[network]]
//!     id = "eip155:84532"
//!     rpc = "$BASE_SEPOLIA_RPC"
//!     signer = { key_env = "FACILITATOR_KEY" }
//!     "#,
//! )?;
//! config.apply_env([("BASE_SEPOLIA_RPC", "https://rpc.example/v2/key"), ("TOLLWAY_LISTEN", "0.0.0.0:80")])?;
//! config.check()?;
//! assert_eq!(config.networks[0].rpc[0].to_string(), "https://rpc.example");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod env;
mod error;
mod evm;
mod keys;
mod ledger;
mod limits;
mod network;
mod rpc;
mod rules;
mod settling;
mod signer;
mod solana;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

pub use error::{ConfigError, Problems};
pub use evm::{EvmConfig, Gas};
pub use keys::{KeyConfig, KeyHash, KeySource};
pub use ledger::Ledger;
pub use limits::Limits;
pub use network::{Asset, ChainConfig, NetworkConfig};
pub use rpc::Rpc;
pub use rules::{ProxyConfig, RuleConfig};
pub use settling::{AgreeAbove, Finality};
pub use signer::Signer;
pub use solana::{Commitment, Fees, SolanaConfig};

use crate::screen::Lists;

/// All that a facilitator is told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the HTTP API listens; `127.0.0.1:4020` unless set.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// The ledger: a file, or `postgres://…` that replicas share; `tollway-facilitator.db` in the working directory
    /// unless set.
    #[serde(default = "ledger")]
    pub ledger: Ledger,
    /// Whether `/metrics` is served; true unless set.
    #[serde(default = "yes")]
    pub metrics: bool,
    /// What callers may take.
    #[serde(default)]
    pub limits: Limits,
    /// Proxies in front, whose word about a client's address is taken; none unless set.
    #[serde(default)]
    pub proxy: Option<ProxyConfig>,
    /// The API keys, one of which a caller needs then; none unless set, and then everyone may ask.
    #[serde(default)]
    pub keys: Vec<KeyConfig>,
    /// Only what one of these means is served; everything unless set.
    #[serde(default)]
    pub allow: Vec<RuleConfig>,
    /// What one of these means is not served.
    #[serde(default)]
    pub deny: Vec<RuleConfig>,
    /// The networks served.
    #[serde(default, rename = "network")]
    pub networks: Vec<NetworkConfig>,
}

const fn listen() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4020)
}

fn ledger() -> Ledger {
    Ledger::file("tollway-facilitator.db")
}

const fn yes() -> bool {
    true
}

impl Config {
    /// Reads TOML. A key that is not known is an error; no message repeats a value.
    ///
    /// # Errors
    /// [`ConfigError::File`]: where, at which key, and what.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let document =
            toml::Deserializer::parse(text).map_err(|error| ConfigError::file(text, "", &error))?;
        serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().to_string();
            ConfigError::file(text, if path == "." { "" } else { &path }, error.inner())
        })
    }

    /// Overrides settings by environment variables, and fills in what the file takes from one
    /// (`rpc = "$NAME"`).
    ///
    /// A variable's name is `TOLLWAY_` and the key's path in capitals, with `_` between its parts
    /// and for whatever is no letter or digit; a network is named by its id:
    ///
    /// | variable | key |
    /// |---|---|
    /// | `TOLLWAY_LISTEN`, `TOLLWAY_LEDGER`, `TOLLWAY_METRICS` | `listen`, `ledger`, `metrics` |
    /// | `TOLLWAY_LEDGER_URL` | `ledger`, over `TOLLWAY_LEDGER` |
    /// | `TOLLWAY_LIMITS_SETTLE_SECONDS` | `limits.settle_seconds` |
    /// | `TOLLWAY_NETWORK_EIP155_84532_RPC` | `rpc` of the network `eip155:84532` |
    /// | `TOLLWAY_NETWORK_EIP155_84532_GAS_MAX_FEE_GWEI` | `gas.max_fee_gwei` of that network |
    /// | `TOLLWAY_NETWORK_SOLANA_DEVNET_RPC` | `rpc` of `solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1`, which is named by either |
    /// | `TOLLWAY_NETWORK_SOLANA_DEVNET_FEES_COMPUTE_PRICE` | `fees.compute_price` of that network |
    ///
    /// Several nodes in `…_RPC` are separated by spaces. Networks, signers, assets, factories, API keys and lists are
    /// the file's alone; keys by `key_env` are filled in. Returns the names under
    /// `TOLLWAY_` that mean nothing here, so that a caller who knows no better use can warn.
    ///
    /// # Errors
    /// [`ConfigError::Environment`]: which variable, and what is wrong; never its value. Among them:
    /// a variable under `TOLLWAY_LIMITS_` or `TOLLWAY_NETWORK_` that matches nothing.
    pub fn apply_env<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Vec<String>, ConfigError> {
        env::apply(self, variables.into_iter().map(|(k, v)| (k.as_ref().to_owned(), v.as_ref().to_owned())))
    }

    /// The variables that hold what is secret here: those that the file names, and the ledger's URL. An operator may
    /// put each in a file instead, named by the variable with `_FILE` after it; whoever reads the environment
    /// reads that too.
    #[must_use]
    pub fn secret_variables(&self) -> BTreeSet<String> {
        let rpcs = self.networks.iter().flat_map(|network| network.rpc.iter().chain(&network.ws));
        let keys = self.keys.iter().filter_map(|key| match &key.source {
            KeySource::Env(name) => Some(name.as_str()),
            KeySource::Hash | KeySource::File(_) => None,
        });
        let signers = self.networks.iter().flat_map(|network| &network.signer).map(Signer::variable);
        let named = rpcs.filter_map(Rpc::variable).chain(keys).chain(signers);
        named.map(str::to_owned).chain(["TOLLWAY_LEDGER_URL".to_owned()]).collect()
    }

    /// The allow and deny lists.
    #[must_use]
    pub fn lists(&self) -> Lists {
        Lists::new(self.allow.iter().map(RuleConfig::rule), self.deny.iter().map(RuleConfig::rule))
    }

    /// Checks what the types can't: duplicates, addresses, ranges, variables that were not given.
    ///
    /// # Errors
    /// Every problem, each with its key.
    pub fn check(&self) -> Result<(), Problems> {
        let found = check::problems(self);
        if found.is_empty() { Ok(()) } else { Err(Problems(found)) }
    }
}
