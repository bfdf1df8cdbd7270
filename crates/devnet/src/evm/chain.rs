//! The handle of a chain.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use alloy_primitives::{Address, Bytes, U256};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{broadcast, watch};

use super::{
    block::Block,
    clock::{Clock, Wall},
    miner::{Miner, NoRuntime},
    rpc::{self, RpcError},
    world::{Finality, World},
};

/// How many new blocks a subscriber may be behind.
const NEWS: usize = 1_024;

/// When blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mining {
    /// As soon as a transaction can be executed.
    #[default]
    Auto,
    /// At fixed intervals, with or without transactions, as on Base.
    Interval(Duration),
    /// When `evm_mine` says so.
    Manual,
}

/// An Ethereum chain in memory. Clones are handles of the same chain; it ends with the last one, and so does the task
/// that mines at intervals.
///
/// Blocks are final at once, unless [`Builder::finality`] says otherwise: the tags `latest`, `safe` and `finalized` name
/// the same block. Every block is kept, the state after it for 128 more, and so far back [`Chain::reorg`] goes.
///
/// # A chain that always does the same
/// With [`Mining::Manual`] or [`Mining::Auto`] and a clock of the caller's ([`Builder::clock`]), what a chain answers
/// follows from the requests alone, byte for byte: it draws no random numbers, reads no other clock, starts no task or
/// thread and waits for nothing. [`Chain::answer`] takes requests without HTTP. Blocks get the time of the clock, or of
/// `evm_setNextBlockTimestamp`, and at least one second more than the block before.
#[derive(Clone)]
pub struct Chain(Arc<Shared>);

pub(crate) struct Shared {
    node: Mutex<Node>,
    mining: watch::Sender<Mining>,
    miner: Mutex<Miner>,
    heads: broadcast::Sender<Arc<Block>>,
}

impl Shared {
    /// Acts on the chain, and tells subscribers of new blocks in their order.
    pub(crate) fn node<T>(&self, act: impl FnOnce(&mut Node) -> T) -> T {
        let mut node = self.node.lock();
        let done = act(&mut node);
        for block in node.world.take_news() {
            // Nobody may be listening.
            let _ = self.heads.send(block);
        }
        done
    }
}

/// The chain and what tests have asked of it.
pub(crate) struct Node {
    pub(crate) world: World,
    pub(crate) snapshots: BTreeMap<u64, World>,
    pub(crate) last_snapshot: u64,
    pub(crate) impersonated: HashSet<Address>,
    pub(crate) impersonate_all: bool,
}

/// Makes a [`Chain`].
#[derive(Debug, Clone)]
pub struct Builder {
    chain_id: u64,
    base_fee: u64,
    mining: Mining,
    wall: Wall,
    finality: Finality,
}

impl Builder {
    /// Default: 84532, Base Sepolia.
    #[must_use]
    pub fn chain_id(self, chain_id: u64) -> Self {
        Self { chain_id, ..self }
    }

    /// Of the genesis block, in wei. Default: 1 gwei. It moves by EIP-1559 from there.
    #[must_use]
    pub fn base_fee(self, base_fee: u64) -> Self {
        Self { base_fee, ..self }
    }

    /// Default: [`Mining::Auto`].
    #[must_use]
    pub fn mining(self, mining: Mining) -> Self {
        Self { mining, ..self }
    }

    /// The clock that block times follow, in seconds since 1970. Default: the system's.
    #[must_use]
    pub fn clock(self, now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { wall: Wall(Arc::new(now)), ..self }
    }

    /// By how many blocks the tags `safe` and `finalized` are behind the newest block. Default: 0 and 0.
    #[must_use]
    pub fn finality(self, safe: u64, finalized: u64) -> Self {
        Self { finality: Finality { safe, finalized }, ..self }
    }

    /// The chain with its genesis block.
    ///
    /// # Errors
    /// Mining at intervals needs a tokio runtime around this call.
    pub fn build(self) -> Result<Chain, NoRuntime> {
        let node = Node {
            world: World::new(self.chain_id, self.base_fee, Clock::new(self.wall), self.finality),
            snapshots: BTreeMap::new(),
            last_snapshot: 0,
            impersonated: HashSet::new(),
            impersonate_all: false,
        };
        let (mining, _) = watch::channel(Mining::Auto);
        let heads = broadcast::Sender::new(NEWS);
        let chain =
            Chain(Arc::new(Shared { node: Mutex::new(node), mining, miner: Mutex::default(), heads }));
        chain.set_mining(self.mining)?;
        Ok(chain)
    }
}

impl Chain {
    /// A chain of its own; nothing is deployed on it (see [`Genesis`](super::Genesis)).
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            chain_id: 84532,
            base_fee: 1_000_000_000,
            mining: Mining::Auto,
            wall: Wall::default(),
            finality: Finality::default(),
        }
    }

    /// Answers one JSON-RPC request; `params` is an array. It may execute contracts: on an async runtime, requests from
    /// strangers belong on a blocking thread, as [`serve`](super::serve) does it.
    ///
    /// # Errors
    /// What the node would answer as `error`.
    pub fn request(&self, method: &str, params: &Value) -> Result<Value, RpcError> {
        rpc::dispatch(self, method, params)
    }

    /// Answers a whole JSON-RPC body, one request or a batch, as [`serve`](super::serve) does over HTTP: without a socket,
    /// a thread or a timer, and without waiting, so that the future is ready at its first poll. The answer is JSON, or
    /// empty if nothing asked for one.
    pub async fn answer(&self, body: &[u8]) -> String {
        self.answer_at_once(body)
    }

    pub(crate) fn answer_at_once(&self, body: &[u8]) -> String {
        rpc::answer(body, |method, params| self.request(method, params))
    }

    /// Another branch takes the place of the newest `depth` blocks: they are gone with all that they did, also what was
    /// changed outside of blocks meanwhile (as by [`Chain::set_balance`]), and one block more, all empty, is there
    /// instead. Their transactions wait again if `keep` (with [`Mining::Auto`] the next block has them at once) and are
    /// forgotten otherwise. Time doesn't go back.
    ///
    /// # Errors
    /// There are not so many blocks, or their states aren't kept any more (128).
    pub fn reorg(&self, depth: u64, keep: bool) -> Result<(), RpcError> {
        self.node(|node| node.world.reorganise(depth, keep))?;
        self.mine_if_due();
        Ok(())
    }

    /// The id that transactions are signed for.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.node(|node| node.world.chain_id)
    }

    /// The number of the newest block.
    #[must_use]
    pub fn block_number(&self) -> u64 {
        self.node(|node| node.world.head().header.number)
    }

    /// In wei.
    #[must_use]
    pub fn balance(&self, address: Address) -> U256 {
        self.node(|node| node.world.state.balance(address))
    }

    /// Empty for an account without code.
    #[must_use]
    pub fn code(&self, address: Address) -> Bytes {
        self.node(|node| node.world.state.code(address))
    }

    /// Gives an account this much wei, at once and outside of any block.
    pub fn set_balance(&self, address: Address, wei: U256) {
        self.node(|node| node.world.state.set_balance(address, wei));
    }

    /// Gives an account this runtime code, at once and outside of any block.
    pub fn set_code(&self, address: Address, code: impl Into<Bytes>) {
        let code = code.into();
        self.node(|node| node.world.state.set_code(address, code));
    }

    /// Calls a contract as `from`, without fee and signature, and keeps the effect: at once and outside of any block,
    /// so its logs are in none.
    ///
    /// # Errors
    /// The contract reverts.
    pub fn call_for_good(
        &self,
        from: Address,
        to: Address,
        data: impl Into<Bytes>,
    ) -> Result<Bytes, RpcError> {
        let data = data.into();
        self.node(|node| node.world.call_for_good(from, to, data))
    }

    /// Makes a block with what waits, be it nothing.
    pub fn mine(&self) {
        self.node(|node| node.world.mine());
    }

    /// When blocks are made.
    #[must_use]
    pub fn mining(&self) -> Mining {
        *self.0.mining.borrow()
    }

    /// Changes when blocks are made, and mines what waits if that is now.
    ///
    /// # Errors
    /// Mining at intervals needs a tokio runtime around this call.
    pub fn set_mining(&self, mining: Mining) -> Result<(), NoRuntime> {
        if matches!(mining, Mining::Interval(_)) {
            self.0.miner.lock().start(&self.0.mining, Arc::downgrade(&self.0))?;
        }
        self.0.mining.send_replace(mining);
        self.mine_if_due();
        Ok(())
    }

    pub(crate) fn mine_if_due(&self) {
        if self.mining() == Mining::Auto {
            self.node(|node| node.world.mine_waiting());
        }
    }

    pub(crate) fn node<T>(&self, act: impl FnOnce(&mut Node) -> T) -> T {
        self.0.node(act)
    }

    /// Every new block from now on. Who is more than a thousand behind is told that it missed some.
    pub(crate) fn heads(&self) -> broadcast::Receiver<Arc<Block>> {
        self.0.heads.subscribe()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("chain_id", &self.chain_id())
            .field("block", &self.block_number())
            .finish()
    }
}
