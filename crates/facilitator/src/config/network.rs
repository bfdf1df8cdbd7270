//! One network that a facilitator serves.

use serde::{Deserialize, Deserializer};
use tollway_protocol::{Network, assets};

use super::evm::{EvmConfig, Gas};
use super::rpc::Rpc;
use super::settling::{AgreeAbove, Finality, one_or_many};
use super::signer::Signer;
use super::solana::{self, Commitment, Fees, SolanaConfig};

/// A network.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// Its CAIP-2 id; on Solana also the name of version 1, such as `solana-devnet`.
    pub id: Network,
    /// Its nodes: one, or several that are asked in turn when one fails.
    pub rpc: Vec<Rpc>,
    /// A node's WebSocket, over which blocks are announced; they are asked for unless set.
    pub ws: Option<Rpc>,
    /// The accounts that pay for gas: one, or several that send side by side. On Solana the fee payers; unless set one,
    /// whose key is in `TOLLWAY_SOLANA_KEY`.
    pub signer: Vec<Signer>,
    /// How often the node is asked for a new block, in milliseconds; 500 unless set, and 400 on Solana.
    pub poll_interval_ms: u64,
    /// Assets that are settled besides those that Tollway knows.
    pub assets: Vec<Asset>,
    /// What only networks of its kind are told.
    pub chain: ChainConfig,
    /// Members that are set and mean nothing on this network, and what to set instead.
    pub(super) foreign: Vec<(&'static str, &'static str)>,
}

/// What only networks of one kind are told.
#[derive(Debug, Clone, PartialEq)]
pub enum ChainConfig {
    /// EVM networks.
    Evm(Box<EvmConfig>),
    /// Solana's clusters.
    Solana(SolanaConfig),
}

/// The table `[[network]]`, of whichever kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(deserialize_with = "id")]
    id: Network,
    #[serde(deserialize_with = "one_or_many")]
    rpc: Vec<Rpc>,
    #[serde(default, deserialize_with = "super::rpc::ws")]
    ws: Option<Rpc>,
    #[serde(default, alias = "signers", deserialize_with = "some_signers")]
    signer: Option<Vec<Signer>>,
    poll_interval_ms: Option<u64>,
    #[serde(default)]
    assets: Vec<Asset>,

    agree_above: Option<AgreeAbove>,
    confirmations: Option<u64>,
    finality: Option<Finality>,
    batch: Option<u64>,
    gas: Option<Gas>,
    eip6492_factories: Option<Vec<String>>,
    delegation_managers: Option<Vec<String>>,

    commitment: Option<Commitment>,
    fees: Option<Fees>,
}

/// EVM networks by their ids alone; Solana's ids are hashes, so that their names of version 1 will do too.
fn id<'de, D: Deserializer<'de>>(d: D) -> Result<Network, D::Error> {
    let text = String::deserialize(d)?;
    let named = Network::named(&text).filter(|network| network.namespace() == "solana");
    named.map_or_else(|| Network::new(&text).map_err(serde::de::Error::custom), Ok)
}

fn some_signers<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<Signer>>, D::Error> {
    one_or_many(d).map(Some)
}

impl<'de> Deserialize<'de> for NetworkConfig {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let table = Table::deserialize(d)?;
        if table.id.namespace() == "solana" {
            return Ok(table.solana());
        }
        table.evm().ok_or_else(|| serde::de::Error::missing_field("signer"))
    }
}

impl Table {
    /// Nothing without a signer.
    fn evm(self) -> Option<NetworkConfig> {
        let foreign = [
            (self.commitment.is_some(), ("commitment", "confirmations and finality")),
            (self.fees.is_some(), ("fees", "gas")),
        ];
        let config = EvmConfig {
            agree_above: self.agree_above,
            confirmations: self.confirmations.unwrap_or(1),
            finality: self.finality,
            batch: self.batch.unwrap_or(100),
            gas: self.gas.unwrap_or_default(),
            eip6492_factories: self.eip6492_factories.unwrap_or_default(),
            delegation_managers: self.delegation_managers.unwrap_or_default(),
        };
        Some(NetworkConfig {
            id: self.id,
            rpc: self.rpc,
            ws: self.ws,
            signer: self.signer?,
            poll_interval_ms: self.poll_interval_ms.unwrap_or(500),
            assets: self.assets,
            chain: ChainConfig::Evm(Box::new(config)),
            foreign: given(&foreign),
        })
    }

    fn solana(self) -> NetworkConfig {
        let foreign = [
            (self.confirmations.is_some(), ("confirmations", "commitment")),
            (self.finality.is_some(), ("finality", "commitment")),
            (self.batch.is_some(), ("batch", NOTHING)),
            (self.gas.is_some(), ("gas", "fees")),
            (self.eip6492_factories.is_some(), ("eip6492_factories", NOTHING)),
            (self.delegation_managers.is_some(), ("delegation_managers", NOTHING)),
        ];
        let config = SolanaConfig {
            agree_above: self.agree_above,
            commitment: self.commitment.unwrap_or_default(),
            fees: self.fees.unwrap_or_default(),
        };
        NetworkConfig {
            id: self.id,
            rpc: self.rpc,
            ws: self.ws,
            signer: self.signer.unwrap_or_else(solana::signer),
            poll_interval_ms: self.poll_interval_ms.unwrap_or(400),
            assets: self.assets,
            chain: ChainConfig::Solana(config),
            foreign: given(&foreign),
        }
    }
}

/// There is nothing to set instead.
pub(super) const NOTHING: &str = "";

fn given(foreign: &[(bool, (&'static str, &'static str))]) -> Vec<(&'static str, &'static str)> {
    foreign.iter().filter(|(is_given, _)| *is_given).map(|(_, names)| *names).collect()
}

/// An asset that the operator vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// Its contract; on Solana its mint.
    pub address: String,
    /// Its symbol.
    pub symbol: String,
    /// Atomic units in a whole one, as a power of ten.
    pub decimals: u8,
    /// Its EIP-712 name; only on EVM networks.
    pub name: Option<String>,
    /// Its EIP-712 version; only on EVM networks.
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

    /// What it is told as an EVM network, if it is one.
    #[must_use]
    pub fn evm(&self) -> Option<&EvmConfig> {
        match &self.chain {
            ChainConfig::Evm(config) => Some(config),
            ChainConfig::Solana(_) => None,
        }
    }

    /// What it is told as a Solana network, if it is one.
    #[must_use]
    pub const fn solana(&self) -> Option<&SolanaConfig> {
        match &self.chain {
            ChainConfig::Evm(_) => None,
            ChainConfig::Solana(config) => Some(config),
        }
    }
}
