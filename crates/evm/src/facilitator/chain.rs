//! One network: its node, what is known of it, and whether a payment would settle on it now.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall as _;
use tokio::sync::OnceCell;
use tollway_protocol::assets::{self, Asset};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Network, Secret};
use tollway_rpc::Source;

use crate::abi::{Eip3009, MULTICALL3};
use crate::exact::Domain;
use crate::facilitator::decode::domain_of;
use crate::facilitator::memory::InVain;
use crate::facilitator::rpc::{Block, Call, Http, Rpc, RpcError, Transport};
use crate::facilitator::share::Shared;
use crate::permit2::{EXACT_PROXY, UPTO_PROXY};

/// What tells the time.
pub type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// When no reorg is expected to take a block back any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// When the chain is so many blocks long from it on, itself counted.
    Blocks(u64),
    /// When the node's block of this tag is it or a later one: `safe` or `finalized`.
    Tag(&'static str),
}

/// How a network is reached and what is allowed on it.
pub struct ChainConfig {
    /// The network.
    pub network: Network,
    /// The nodes' URLs, the preferred one first; may hold credentials, and are never printed.
    pub rpc: Vec<Secret<String>>,
    /// A node's WebSocket URL (`ws://` or `wss://`) to be told of new blocks by; it may hold credentials, and is never
    /// printed. Without it, or while it doesn't work, the chain is looked at every [`poll`](Self::poll).
    pub ws: Option<Secret<String>>,
    /// Other ways to nodes, after those at URLs.
    pub transports: Vec<Arc<dyn Transport>>,
    /// Assets to settle besides the known ones of this network.
    pub assets: Vec<Asset>,
    /// Blocks, the transaction's own counted, until a settlement is told. At least 1.
    pub confirmations: u64,
    /// When no reorg is expected any more. Until then a settlement is looked at again, and taken back if its block is
    /// lost.
    pub finality: Finality,
    /// From this atomic amount on, a second node must show the payment's transaction in the same block.
    pub agree_above: Option<U256>,
    /// How often the chain is looked at while a transaction is on its way; about half a block.
    pub poll: Duration,
    /// How long one RPC call may take.
    pub rpc_timeout: Duration,
    /// The most gas that one settlement may use.
    pub gas_cap: u64,
    /// The highest price per gas that is bid, in wei.
    pub max_fee_per_gas: u128,
    /// The most wei that may be bid for gas in 24 hours, all processes on the ledger together.
    pub gas_budget_per_day: U256,
    /// A balance of a sending account, in wei, below which an alarm is raised.
    pub low_gas: U256,
    /// The most payments in one transaction; 1 sends each alone.
    pub batch: usize,
    /// The most transactions of one account that are on their way at a time.
    pub window: usize,
    /// How long payments gather for a transaction while another is on its way; a tenth of a block unless set.
    pub gather: Option<Duration>,
    /// How long a transaction may wait for a block before more is bid for it.
    pub bump_after: Duration,
    /// How many times more is bid.
    pub max_bumps: u32,
    /// The most settlements on their way in this process.
    pub in_flight: usize,
    /// Reverts of one payer's payments, at our cost, after which it is refused for a day.
    pub reverts_per_day: u64,
    /// Factories that may deploy a payer's wallet (ERC-6492); none by default.
    pub factories: Vec<Address>,
    /// Managers whose delegations are redeemed (ERC-7710); none by default. A manager is code that says whose delegation
    /// it is, and every account of its delegators runs code of its own at our cost.
    pub delegation_managers: Vec<Address>,
    /// The most wei that one payer is given for the gas of its signed approval; with 0 payers must have it.
    pub approval_funding: U256,
    /// The most wei that all payers together are given for approvals in 24 hours.
    pub approval_funding_per_day: U256,
    /// How many blocks back a payment that someone else submitted is looked for: at least as many as are made in
    /// a payment's time.
    pub log_window: u64,
    /// What tells the time: this machine, unless set.
    pub clock: Clock,
}

impl ChainConfig {
    /// The defaults for `network`, with one node.
    #[must_use]
    pub fn new(network: Network, rpc: Secret<String>) -> Self {
        Self { rpc: vec![rpc], ..Self::without_node(network) }
    }

    /// The defaults for `network`, with no node yet.
    #[must_use]
    pub fn without_node(network: Network) -> Self {
        Self {
            network,
            rpc: Vec::new(),
            ws: None,
            transports: Vec::new(),
            assets: Vec::new(),
            confirmations: 1,
            finality: Finality::Blocks(64),
            agree_above: None,
            poll: Duration::from_millis(500),
            rpc_timeout: Duration::from_secs(8),
            gas_cap: 300_000,
            max_fee_per_gas: 500_000_000_000,
            gas_budget_per_day: U256::from(1_000_000_000_000_000_000u64),
            low_gas: U256::from(10_000_000_000_000_000u64),
            batch: 64,
            window: 16,
            gather: None,
            bump_after: Duration::from_secs(15),
            max_bumps: 6,
            in_flight: 4096,
            reverts_per_day: 3,
            factories: Vec::new(),
            delegation_managers: Vec::new(),
            approval_funding: U256::from(200_000_000_000_000u64),
            approval_funding_per_day: U256::from(10_000_000_000_000_000u64),
            log_window: 5_000,
            clock: Arc::new(host_now),
        }
    }

    fn ways(&self) -> Result<Vec<Arc<dyn Transport>>, &'static str> {
        let mut ways: Vec<Arc<dyn Transport>> = Vec::new();
        for url in &self.rpc {
            ways.push(Arc::new(Http::new(url, self.rpc_timeout)?));
        }
        ways.extend(self.transports.iter().cloned());
        if ways.is_empty() { Err("no RPC node is configured") } else { Ok(ways) }
    }
}

/// The time of this machine.
fn host_now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixTime(since.map_or(0, |d| d.as_secs()))
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
    /// Where new blocks are announced.
    pub(super) heads: Option<Source>,
    pub(super) tokens: HashMap<Address, Token>,
    /// The accounts that send.
    pub(super) signers: Vec<Address>,
    /// Verifications that wait for a call that they can share.
    pub(super) shared: Shared,
    checked: OnceCell<()>,
    pub(crate) in_vain: InVain,
    /// Contracts that were found on the chain.
    deployed: parking_lot::Mutex<HashSet<Address>>,
    block_time: AtomicU64,
    /// How fast blocks come.
    pace: Pace,
}

/// A token that is settled here.
pub(super) struct Token {
    pub(super) address: Address,
    pub(super) asset: Asset,
    /// Its own EIP-712 domain; none without EIP-3009.
    pub(super) domain: Option<Domain>,
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
        for asset in assets::on(&config.network, &config.assets) {
            let address = tollway_protocol::door::hex_array::<20>(&asset.address);
            let address =
                Address::from(address.map_err(|e| wrong(&format!("asset {}: {e}", asset.address)))?);
            let domain = domain_of(&asset);
            if asset.eip3009 && domain.is_none() {
                return Err(wrong(&format!("asset {}: no EIP-712 name and version", asset.address)));
            }
            tokens.entry(address).or_insert(Token { address, asset, domain });
        }
        if tokens.is_empty() {
            return Err(wrong("no asset is known here: configure one"));
        }
        if config.batch == 0 || config.window == 0 {
            return Err(wrong("batch and window must be at least 1"));
        }
        let rpc = Rpc::new(config.ways().map_err(wrong)?, config.rpc_timeout);
        let heads = config.ws.as_ref().map(|url| Source::new(url, config.rpc_timeout));
        Ok(Self {
            chain_id,
            rpc,
            heads: heads.transpose().map_err(wrong)?,
            tokens,
            signers: Vec::new(),
            shared: Shared::default(),
            checked: OnceCell::new(),
            in_vain: InVain::default(),
            deployed: parking_lot::Mutex::default(),
            block_time: AtomicU64::new(0),
            pace: Pace::default(),
            config,
        })
    }

    /// RPC round trips made so far.
    #[must_use]
    pub fn rpc_trips(&self) -> u64 {
        self.rpc.trips()
    }

    /// The time by this process's clock.
    pub(crate) fn host_now(&self) -> UnixTime {
        (self.config.clock)()
    }

    /// Learns time and pace from the latest block.
    pub(crate) fn saw(&self, head: &Block) {
        self.saw_block_at(head.timestamp.to());
        self.pace.saw(head.number.to(), head.timestamp.to());
    }

    /// How long a block takes, as far as it is known.
    pub(crate) fn block_interval(&self) -> Duration {
        self.pace.interval()
    }

    /// The later of `host`'s time and the latest block's: a block from the future means that our clock is behind.
    pub(crate) fn now(&self, host: UnixTime) -> UnixTime {
        host.max(UnixTime(self.block_time.load(Ordering::Relaxed)))
    }

    /// The time of the latest block that was seen.
    pub(crate) fn block_now(&self) -> UnixTime {
        UnixTime(self.block_time.load(Ordering::Relaxed))
    }

    /// Learns the time from a block, unless it is so far ahead that the node must be wrong.
    pub(crate) fn saw_block_at(&self, timestamp: u64) {
        if timestamp <= self.host_now().plus(MAX_AHEAD_SECONDS).0 {
            self.block_time.store(timestamp, Ordering::Relaxed);
        }
    }

    /// Checks, until it has once succeeded, that the node serves this chain and the tokens are what we think.
    pub(super) async fn check(&self) -> Result<(), RpcError> {
        let check = || async {
            self.check_chain_id().await?;
            self.check_domains().await
        };
        self.checked.get_or_try_init(check).await.copied()
    }

    /// Every node that answers must serve this chain, and at least one must answer.
    async fn check_chain_id(&self) -> Result<(), RpcError> {
        let mut answered = Err(RpcError::Unreachable("no node is configured"));
        for node in 0..self.rpc.nodes() {
            match self.rpc.chain_id_of(node).await {
                Ok(id) if id == self.chain_id => answered = Ok(()),
                Ok(_) => return Err(RpcError::Unreachable("it serves another chain than configured")),
                Err(error) if answered.is_err() => answered = Err(error),
                Err(_) => {}
            }
        }
        answered
    }

    /// Whether Multicall3 is there; asked again as long as it isn't.
    pub(super) async fn has_multicall(&self) -> Result<bool, RpcError> {
        self.is_deployed(MULTICALL3).await
    }

    /// Whether one of the contracts that every chain should have is there; asked again as long as it isn't.
    pub(super) async fn is_deployed(&self, contract: Address) -> Result<bool, RpcError> {
        if self.deployed.lock().contains(&contract) {
            return Ok(true);
        }
        let there = !self.rpc.code(contract).await?.is_empty();
        if there {
            self.deployed.lock().insert(contract);
        }
        Ok(there)
    }

    /// Says in the log which tokens have another domain than our table: no signature for them can settle.
    async fn check_domains(&self) -> Result<(), RpcError> {
        for Token { address, asset, domain } in self.tokens.values() {
            let Some(domain) = domain else { continue };
            let input = Eip3009::DOMAIN_SEPARATORCall {}.abi_encode().into();
            let call = Call { from: None, to: Some(*address), input, gas: None };
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
        for contract in [MULTICALL3, EXACT_PROXY, UPTO_PROXY] {
            self.is_deployed(contract).await?;
        }
        self.saw(&self.rpc.block().await?);
        Ok(())
    }
}

/// How fast blocks come, from those that were seen.
#[derive(Default)]
struct Pace {
    first: AtomicU64,
    first_at: AtomicU64,
    millis: AtomicU64,
}

impl Pace {
    /// Blocks over which it is measured.
    const OVER: u64 = 4;

    fn saw(&self, number: u64, timestamp: u64) {
        let (first, at) = (self.first.load(Ordering::Relaxed), self.first_at.load(Ordering::Relaxed));
        let (blocks, seconds) = (number.saturating_sub(first), timestamp.saturating_sub(at));
        if first == 0 || number < first || blocks >= Self::OVER {
            if first != 0 && blocks >= Self::OVER {
                let millis = seconds.saturating_mul(1000).checked_div(blocks).unwrap_or(0);
                self.millis.store(millis.clamp(1, 60_000), Ordering::Relaxed);
            }
            self.first.store(number, Ordering::Relaxed);
            self.first_at.store(timestamp, Ordering::Relaxed);
        }
    }

    /// One second until it is known.
    fn interval(&self) -> Duration {
        match self.millis.load(Ordering::Relaxed) {
            0 => Duration::from_secs(1),
            millis => Duration::from_millis(millis),
        }
    }
}
