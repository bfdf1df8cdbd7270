//! One network: its node, what is known of it, and whether a payment would settle on it now.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall as _;
use tokio::sync::OnceCell;
use tollway_protocol::assets::{self, Asset};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Network, Secret};

use crate::abi::{Eip3009, MULTICALL3};
use crate::exact::Domain;
use crate::facilitator::rpc::{Call, Rpc, RpcError};

/// How a network is reached and what is allowed on it.
pub struct ChainConfig {
    /// The network.
    pub network: Network,
    /// The node's URL; may hold credentials, and is never printed.
    pub rpc: Secret<String>,
    /// Assets to settle besides the known ones of this network.
    pub assets: Vec<Asset>,
    /// Blocks, the transaction's own counted, until a settlement counts as final. At least 1.
    pub confirmations: u64,
    /// How often the chain is looked at while a transaction is on its way; about half a block.
    pub poll: Duration,
    /// How long one RPC call may take.
    pub rpc_timeout: Duration,
    /// The most gas that one settlement may use.
    pub gas_cap: u64,
    /// The highest price per gas that is bid, in wei.
    pub max_fee_per_gas: u128,
    /// The most wei that may be bid for gas in 24 hours. Counted in this process.
    pub gas_budget_per_day: U256,
    /// Factories that may deploy a payer's wallet (ERC-6492); none by default.
    pub factories: Vec<Address>,
    /// How many blocks back a payment that someone else submitted is looked for: at least as many as are made in
    /// a payment's time.
    pub log_window: u64,
}

impl ChainConfig {
    /// The defaults for `network`.
    #[must_use]
    pub fn new(network: Network, rpc: Secret<String>) -> Self {
        Self {
            network,
            rpc,
            assets: Vec::new(),
            confirmations: 1,
            poll: Duration::from_millis(500),
            rpc_timeout: Duration::from_secs(8),
            gas_cap: 300_000,
            max_fee_per_gas: 500_000_000_000,
            gas_budget_per_day: U256::from(1_000_000_000_000_000_000u64),
            factories: Vec::new(),
            log_window: 5_000,
        }
    }
}

/// The network's configuration can't work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{network}: {problem}")]
pub struct ChainError {
    /// The network.
    pub network: Network,
    /// What is wrong.
    pub problem: String,
}

/// One network.
pub struct Chain {
    pub(crate) config: ChainConfig,
    pub(crate) chain_id: u64,
    pub(crate) rpc: Rpc,
    pub(super) tokens: HashMap<Address, (Asset, Domain)>,
    checked: OnceCell<()>,
    multicall: OnceCell<()>,
    block_time: AtomicU64,
}

/// How far in the future a block's time is believed, in seconds.
pub(super) const MAX_AHEAD_SECONDS: u64 = 900;

impl Chain {
    /// Prepares to use a network; no I/O yet.
    ///
    /// # Errors
    /// [`ChainError`]: not an EVM network, no usable asset, a bad URL or bound.
    pub fn new(config: ChainConfig) -> Result<Self, ChainError> {
        let wrong =
            |problem: &str| ChainError { network: config.network.clone(), problem: problem.to_owned() };
        let chain_id = config.network.chain_id().ok_or_else(|| wrong("not an eip155 network"))?;
        if config.confirmations == 0 {
            return Err(wrong("confirmations must be at least 1"));
        }
        let mut tokens = HashMap::new();
        for asset in assets::on(&config.network, &config.assets).filter(|asset| asset.eip3009) {
            let address = tollway_protocol::door::hex_array::<20>(&asset.address);
            let address = address.map_err(|e| wrong(&format!("asset {}: {e}", asset.address)))?;
            let domain = Domain::of(&asset)
                .ok_or_else(|| wrong(&format!("asset {}: no EIP-712 name and version", asset.address)))?;
            tokens.entry(Address::from(address)).or_insert((asset, domain));
        }
        if tokens.is_empty() {
            return Err(wrong("no asset with EIP-3009 is known here: configure one"));
        }
        let rpc = Rpc::connect(&config.rpc, config.rpc_timeout).map_err(wrong)?;
        let (checked, multicall, block_time) = (OnceCell::new(), OnceCell::new(), AtomicU64::new(0));
        Ok(Self { chain_id, rpc, tokens, checked, multicall, block_time, config })
    }

    /// RPC round trips made so far.
    #[must_use]
    pub fn rpc_trips(&self) -> u64 {
        self.rpc.trips()
    }

    /// The later of `host`'s time and the latest block's: a block from the future means that our clock is behind.
    pub(crate) fn now(&self, host: UnixTime) -> UnixTime {
        host.max(UnixTime(self.block_time.load(Ordering::Relaxed)))
    }

    /// Learns the time from a block, unless it is so far ahead that the node must be wrong.
    pub(crate) fn saw_block_at(&self, timestamp: u64) {
        if timestamp <= super::host_now().plus(MAX_AHEAD_SECONDS).0 {
            self.block_time.store(timestamp, Ordering::Relaxed);
        }
    }

    /// Checks, until it has once succeeded, that the node serves this chain and the tokens are what we think.
    pub(super) async fn check(&self) -> Result<(), RpcError> {
        let check = || async {
            if self.rpc.chain_id().await? != self.chain_id {
                return Err(RpcError::Unreachable("it serves another chain than configured"));
            }
            self.check_domains().await
        };
        self.checked.get_or_try_init(check).await.copied()
    }

    /// Whether Multicall3 is there; asked again as long as it isn't.
    pub(super) async fn has_multicall(&self) -> Result<bool, RpcError> {
        if self.multicall.initialized() {
            return Ok(true);
        }
        let there = !self.rpc.code(MULTICALL3).await?.is_empty();
        if there {
            let _ = self.multicall.set(());
        }
        Ok(there)
    }

    /// Says in the log which tokens have another domain than our table: no signature for them can settle.
    async fn check_domains(&self) -> Result<(), RpcError> {
        for (address, (asset, domain)) in &self.tokens {
            let input = Eip3009::DOMAIN_SEPARATORCall {}.abi_encode().into();
            let call = Call { from: None, to: *address, input, gas: None };
            match self.rpc.call(&call).await {
                Ok(bytes) if bytes.len() == 32 && bytes[..] != domain.0[..] => tracing::warn!(
                    network = %self.config.network, asset = asset.address,
                    "the token's EIP-712 domain is not the configured name and version: payments in it will fail"
                ),
                Err(error @ RpcError::Unreachable(_)) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// # Errors
    /// What keeps payments from settling.
    pub(crate) async fn ready(&self) -> Result<(), RpcError> {
        self.check().await?;
        self.has_multicall().await?;
        let block = self.rpc.block().await?;
        self.saw_block_at(block.timestamp.to());
        Ok(())
    }
}
