//! One network that a facilitator serves.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use tollway_protocol::door::Amount;
use tollway_protocol::{Network, assets};

use super::rpc::{Rpc, is_variable};
use super::settling::{AgreeAbove, Finality, one_or_many};

/// A network.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// Its CAIP-2 id.
    pub id: Network,
    /// Its nodes: one, or several that are asked in turn when one fails.
    #[serde(deserialize_with = "one_or_many")]
    pub rpc: Vec<Rpc>,
    /// A node's WebSocket, over which blocks are announced; they are asked for unless set.
    #[serde(default, deserialize_with = "super::rpc::ws")]
    pub ws: Option<Rpc>,
    /// From which value on two nodes have to say the same; none unless set.
    #[serde(default)]
    pub agree_above: Option<AgreeAbove>,
    /// The accounts that pay for gas: one, or several that send side by side.
    #[serde(alias = "signers", deserialize_with = "one_or_many")]
    pub signer: Vec<Signer>,
    /// Blocks, its own included, after which a transaction counts as settled; 1 unless set.
    #[serde(default = "one")]
    pub confirmations: u64,
    /// When no reorg is expected to take a settlement back any more; 64 blocks unless set. Until then it is looked at again.
    #[serde(default)]
    pub finality: Option<Finality>,
    /// Payments in one transaction, at most; 100 unless set, 1 sends each alone.
    #[serde(default = "hundred")]
    pub batch: u64,
    /// How often the node is asked for a new block, in milliseconds; 500 unless set.
    #[serde(default = "half_a_second")]
    pub poll_interval_ms: u64,
    /// What may be spent on gas.
    #[serde(default)]
    pub gas: Gas,
    /// Assets that are settled besides those that Tollway knows.
    #[serde(default)]
    pub assets: Vec<Asset>,
    /// Factories whose undeployed wallets may pay (ERC-6492); none unless set, as the facilitator
    /// sends a transaction to them.
    #[serde(default)]
    pub eip6492_factories: Vec<String>,
    /// Managers whose delegations are redeemed (ERC-7710); none unless set, as their code runs at the facilitator's cost.
    #[serde(default)]
    pub delegation_managers: Vec<String>,
}

const fn one() -> u64 {
    1
}

const fn hundred() -> u64 {
    100
}

const fn half_a_second() -> u64 {
    500
}

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
    /// In a variable, as hex.
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

/// In wei.
const ETHER: u64 = 1_000_000_000_000_000_000;

/// Bounds on what the signer spends.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gas {
    /// The highest price of gas that is paid, in gwei; 500 unless set.
    pub max_fee_gwei: u64,
    /// Gas for one settlement, at most; 300000 unless set.
    pub per_settlement: u64,
    /// The highest sum of fees bid in 24 hours, in wei as a decimal string; one ether unless set. Counted in the
    /// ledger, for all processes on it together.
    pub per_day_wei: Amount,
    /// How often a transaction that is not mined is sent again at a higher price; 8 unless set.
    pub max_bump: u64,
    /// Below this many wei on a signer's account it is logged; as a decimal string, 10000000000000000 unless set.
    pub low_wei: Option<Amount>,
    /// The most wei that one payer is given for the gas of its signed approval (`erc20ApprovalGasSponsoring`), as a decimal
    /// string; 200000000000000 unless set, "0" gives nothing.
    pub approval_wei: Amount,
    /// The most wei that all payers are given so in 24 hours; 10000000000000000 unless set.
    pub approvals_per_day_wei: Amount,
}

impl Default for Gas {
    fn default() -> Self {
        Self {
            max_fee_gwei: 500,
            per_settlement: 300_000,
            per_day_wei: Amount::from(ETHER),
            max_bump: 8,
            low_wei: None,
            approval_wei: Amount::from(200_000_000_000_000u64),
            approvals_per_day_wei: Amount::from(10_000_000_000_000_000u64),
        }
    }
}

/// An asset that the operator vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// Its contract.
    pub address: String,
    /// Its symbol.
    pub symbol: String,
    /// Atomic units in a whole one, as a power of ten.
    pub decimals: u8,
    /// Its EIP-712 name.
    pub name: Option<String>,
    /// Its EIP-712 version.
    pub version: Option<String>,
}

impl Asset {
    /// The asset as the protocol knows it.
    #[must_use]
    pub fn on(&self, network: &Network) -> assets::Asset {
        let domain = self.name.clone().zip(self.version.clone());
        assets::Asset {
            network: network.clone(),
            address: self.address.clone(),
            symbol: self.symbol.clone(),
            decimals: self.decimals,
            eip3009: domain.is_some(),
            domain,
        }
    }
}

impl NetworkConfig {
    /// The assets allowed besides those that Tollway knows.
    #[must_use]
    pub fn extra_assets(&self) -> Vec<assets::Asset> {
        self.assets.iter().map(|asset| asset.on(&self.id)).collect()
    }
}
