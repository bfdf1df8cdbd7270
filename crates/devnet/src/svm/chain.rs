//! The handle of a chain.

use std::{
    fmt,
    str::FromStr as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use serde_json::Value;
use solana_account::ReadableAccount as _;
use solana_address::Address;
use solana_hash::Hash;
use tokio::sync::broadcast;

use super::{
    RpcError,
    node::{News, Node},
    rpc,
    slots::Slots,
    tokens::{self, associated_token_account},
};
use crate::json_rpc;

/// What devnet answers to `getGenesisHash`. Its first 32 characters are its CAIP-2 reference.
pub const DEVNET_GENESIS_HASH: &str = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG";
/// How much of a genesis hash CAIP-2 takes.
const REFERENCE: usize = 32;
/// How much news a subscriber may be behind.
const NEWS: usize = 4_096;

/// Why something can't be done on a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Not 32 bytes in base58.
    #[error("{0} is no genesis hash: 32 bytes in base58")]
    GenesisHash(String),
    /// Finality after no slots, or slots that take no time.
    #[error("finality and slot time must be more than zero")]
    Zero,
    /// No mint of a token program is at the address.
    #[error("{0} is no mint")]
    UnknownMint(Address),
    /// An account or a supply would hold more than 64 bits.
    #[error("more than an account can hold")]
    TooMuch,
    /// A fork undoes at least the slot that is being made, and nothing that is finalized.
    #[error("a fork of {depth} slots: it must be from 1 to {deepest}")]
    ForkDepth {
        /// How many slots were to be undone.
        depth: u64,
        /// How many can be.
        deepest: u64,
    },
    /// The runtime refused a step of the chain's own.
    #[error("refused by the runtime: {0}")]
    Refused(String),
}

/// What doesn't change on a chain.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) genesis: Hash,
    /// In blocks.
    pub(crate) blockhash_age: u64,
    /// In blocks.
    pub(crate) finality: u64,
}

/// Seconds since 1970.
#[derive(Clone)]
pub(crate) struct Clock(pub(crate) Arc<dyn Fn() -> i64 + Send + Sync>);

fn wall() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Makes a [`Chain`].
#[derive(Clone)]
pub struct Builder {
    genesis_hash: String,
    blockhash_age: u64,
    finality: u64,
    slot_time: Option<Duration>,
    clock: Clock,
}

impl Builder {
    /// What the chain answers to `getGenesisHash`: 32 bytes in base58. Default: [`DEVNET_GENESIS_HASH`].
    #[must_use]
    pub fn genesis_hash(self, hash: impl Into<String>) -> Self {
        Self { genesis_hash: hash.into(), ..self }
    }

    /// Slots are made at this interval while the chain is served. Default: only by [`Chain::advance`].
    #[must_use]
    pub fn slot_time(self, every: Duration) -> Self {
        Self { slot_time: Some(every), ..self }
    }

    /// By how many slots finality is behind the slot that is being made. Default: 32.
    #[must_use]
    pub fn finality(self, slots: u64) -> Self {
        Self { finality: slots, ..self }
    }

    /// For how many slots a blockhash is good. Default: 150.
    #[must_use]
    pub fn blockhash_age(self, slots: u64) -> Self {
        Self { blockhash_age: slots, ..self }
    }

    /// The clock that slots' times follow, in seconds since 1970. Default: the system's.
    #[must_use]
    pub fn clock(self, now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self { clock: Clock(Arc::new(now)), ..self }
    }

    /// The chain with its tokens.
    ///
    /// # Errors
    /// The genesis hash, the finality or the slot time are none.
    pub fn build(self) -> Result<Chain, ChainError> {
        let genesis = Hash::from_str(&self.genesis_hash)
            .map_err(|_| ChainError::GenesisHash(self.genesis_hash.clone()))?;
        if self.finality == 0 || self.slot_time.is_some_and(|every| every.is_zero()) {
            return Err(ChainError::Zero);
        }
        let rules = Rules { genesis, blockhash_age: self.blockhash_age, finality: self.finality };
        let node = Mutex::new(Node::new(rules, self.clock)?);
        let slots = Mutex::new(Slots::new(self.slot_time));
        Ok(Chain(Arc::new(Shared { node, slots, news: broadcast::Sender::new(NEWS) })))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("genesis_hash", &self.genesis_hash)
            .field("slot_time", &self.slot_time)
            .field("finality", &self.finality)
            .field("blockhash_age", &self.blockhash_age)
            .finish_non_exhaustive()
    }
}

/// A Solana chain in memory. Clones are handles of the same chain; it ends with the last one, and so does the task that
/// makes slots.
///
/// What [`Chain::fund`] and [`Chain::mint`] give is there at once at every commitment, outside of any transaction, and
/// no fork takes it away. With a clock of the caller's ([`Builder::clock`]) and slots by [`Chain::advance`], what a
/// chain answers follows from the requests alone.
#[derive(Clone)]
pub struct Chain(Arc<Shared>);

pub(crate) struct Shared {
    node: Mutex<Node>,
    slots: Mutex<Slots>,
    news: broadcast::Sender<News>,
}

impl Shared {
    /// Acts on the chain, and tells subscribers what is new in its order.
    pub(crate) fn node<T>(&self, act: impl FnOnce(&mut Node) -> T) -> T {
        let mut node = self.node.lock();
        let done = act(&mut node);
        for news in node.take_news() {
            // Nobody may be listening.
            let _ = self.news.send(news);
        }
        done
    }
}

impl Chain {
    /// A chain that stands for devnet.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            genesis_hash: DEVNET_GENESIS_HASH.to_owned(),
            blockhash_age: 150,
            finality: 32,
            slot_time: None,
            clock: Clock(Arc::new(wall)),
        }
    }

    /// Its CAIP-2 name: `solana:` and the first 32 characters of the genesis hash.
    #[must_use]
    pub fn network(&self) -> String {
        let hash = self.node(|node| node.rules.genesis.to_string());
        format!("solana:{}", hash.chars().take(REFERENCE).collect::<String>())
    }

    /// Answers one JSON-RPC request; `params` is an array. It may execute programs: on an async runtime, requests from
    /// strangers belong on a blocking thread, as [`serve`](super::serve) does it. Subscriptions need a WebSocket.
    ///
    /// # Errors
    /// What the node would answer as `error`.
    pub fn request(&self, method: &str, params: &Value) -> Result<Value, RpcError> {
        self.node(|node| rpc::dispatch(node, method, params))
    }

    /// Answers a whole JSON-RPC body, one request or a batch, as [`serve`](super::serve) does over HTTP. The answer is
    /// JSON, or empty if nothing asked for one.
    #[must_use]
    pub fn answer(&self, body: &[u8]) -> String {
        json_rpc::answer(body, |method, params| self.request(method, params))
    }

    /// Gives an account lamports.
    ///
    /// # Errors
    /// It would have too many.
    pub fn fund(&self, address: Address, lamports: u64) -> Result<(), ChainError> {
        self.node(|node| node.fund(address, lamports))
    }

    /// Gives an owner tokens in atomic units, in its associated token account, which is made if it isn't there.
    ///
    /// # Errors
    /// There is no such mint, or the supply would be too large.
    pub fn mint(&self, mint: Address, owner: Address, amount: u64) -> Result<(), ChainError> {
        self.node(|node| node.mint(mint, owner, amount))
    }

    /// What an owner has in its associated token account, in atomic units, as of the slot that is being made; 0
    /// without that account.
    #[must_use]
    pub fn token_balance(&self, mint: Address, owner: Address) -> u64 {
        self.node(|node| {
            let bank = node.processed();
            let program = bank.account(&mint).map(|account| *account.owner());
            let account = program.map(|program| associated_token_account(&owner, &mint, &program));
            let held = account.and_then(|address| bank.account(&address)).and_then(tokens::token_account);
            held.map_or(0, |held| held.amount)
        })
    }

    /// In lamports, as of the slot that is being made.
    #[must_use]
    pub fn balance(&self, address: Address) -> u64 {
        self.node(|node| node.processed().lamports(&address))
    }

    /// The slot that is being made.
    #[must_use]
    pub fn slot(&self) -> u64 {
        self.node(|node| node.processed().slot)
    }

    /// Completes so many slots, also while slots are paused.
    pub fn advance(&self, slots: u64) {
        for _ in 0..slots {
            self.node(Node::advance);
        }
    }

    /// The next `count` transactions vanish after `sendTransaction` answered their signatures: a leader that drops them.
    pub fn drop_next(&self, count: u64) {
        self.node(|node| node.faults.dropped = count);
    }

    /// Transactions wait until [`Chain::release`]; slots go on.
    pub fn hold(&self) {
        self.node(|node| node.faults.held = true);
    }

    /// Executes what waited, in the order it came; what isn't valid any more vanishes.
    pub fn release(&self) {
        self.node(Node::release);
    }

    /// A branch that was voted down: what the newest `depth` slots did is undone, the slot that is being made being the
    /// first of them. Their transactions are as if they had never been sent, and may be sent again; blockhashes of those
    /// slots are unknown. Slots go on after them, block heights go back.
    ///
    /// # Errors
    /// No slots, or more than are not finalized.
    pub fn fork(&self, depth: u64) -> Result<(), ChainError> {
        self.node(|node| node.fork(depth))
    }

    /// No slots are made by time until [`Chain::resume`]: a cluster that halts. Transactions are still executed, in the
    /// slot that is being made.
    pub fn pause(&self) {
        self.node(|node| node.faults.paused = true);
    }

    /// Slots go on by time.
    pub fn resume(&self) {
        self.node(|node| node.faults.paused = false);
    }

    /// What `getRecentPrioritizationFees` answers for every slot, in millionths of a lamport per compute unit.
    pub fn set_priority_fee(&self, micro_lamports: u64) {
        self.node(|node| node.priority_fee = micro_lamports);
    }

    pub(crate) fn node<T>(&self, act: impl FnOnce(&mut Node) -> T) -> T {
        self.0.node(act)
    }

    /// All that is new from now on. Who is too far behind is told that it missed some.
    pub(crate) fn news(&self) -> broadcast::Receiver<News> {
        self.0.news.subscribe()
    }

    /// Starts the task that makes slots, unless it runs or there is to be none. Needs a tokio runtime.
    pub(crate) fn start_slots(&self) {
        self.0.slots.lock().start(Arc::downgrade(&self.0));
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("network", &self.network()).field("slot", &self.slot()).finish()
    }
}
