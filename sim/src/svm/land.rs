//! The cluster: Solana's own runtime, with slots made by hand, and what others than the facilitator do on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;
use tollway_devnet::svm::{Address, Chain, USDC_DEVNET};

use super::purse::{Purse, SELLERS, Terms, Transfer, key, with_fee_payer};
use crate::world::START;

/// Who takes what payers carry off, and pays for their own transactions.
const STRANGER: u8 = 0x5a;
/// What a fee payer has at first, in lamports.
pub(super) const RICH: u64 = 1_000_000_000;
/// What a payer has at first.
const TOKENS: u64 = 600_000;
/// For how many blocks a blockhash is good, as on every public cluster: the engine relies on it.
const BLOCKHASH_AGE: u64 = 150;
/// Slots before the first action: no fork reaches what was there from the beginning, and some blockhashes are old.
const FIRST: u64 = 160;
/// Blocks that are time enough in fair weather for a transaction to land, whoever has to take it over first.
const ENOUGH: u64 = 120;

/// What a node at some slot knew.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The slot.
    pub slot: u64,
    /// The newest finalized slot.
    pub finalized: u64,
    /// That one's height.
    pub height: u64,
}

/// A blockhash that payers have used.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// Its block's slot.
    pub slot: u64,
    /// The last height at which it is good.
    pub last: u64,
}

/// The chain.
pub struct Land {
    /// Itself.
    pub chain: Chain,
    /// The fee payers.
    pub signers: Vec<Address>,
    /// Every payment that was signed.
    pub signed: Mutex<Vec<Transfer>>,
    /// How often it was forked.
    pub forks: AtomicU64,
    /// Whether the faults are over.
    pub is_fair: AtomicBool,
    /// The blockhashes that had time enough when the faults were over.
    lasting: Mutex<BTreeSet<String>>,
    views: Mutex<Vec<View>>,
    lives: Mutex<BTreeMap<String, Life>>,
    /// Until which slot transactions wait.
    held_until: AtomicU64,
}

impl Land {
    /// A chain on which these accounts can pay fees and these payers have tokens.
    #[must_use]
    pub fn new(began: Instant, finality: u64, signers: &[Address], payers: &[Purse]) -> Self {
        let clock = move || i64::try_from(START + began.elapsed().as_secs()).unwrap();
        let builder = Chain::builder().finality(finality).blockhash_age(BLOCKHASH_AGE).clock(clock);
        let chain = builder.build().unwrap();
        let stranger = key(STRANGER).address();
        for account in signers.iter().chain([&stranger]) {
            chain.fund(*account, RICH).unwrap();
        }
        for purse in payers {
            chain.mint(USDC_DEVNET, purse.address, TOKENS).unwrap();
        }
        for owner in SELLERS.iter().map(|(seller, _)| *seller).chain([stranger]) {
            chain.mint(USDC_DEVNET, owner, 0).unwrap();
        }
        let land = Self {
            chain,
            signers: signers.to_vec(),
            signed: Mutex::default(),
            forks: AtomicU64::new(0),
            is_fair: AtomicBool::new(false),
            lasting: Mutex::default(),
            views: Mutex::default(),
            lives: Mutex::default(),
            held_until: AtomicU64::new(0),
        };
        (0..FIRST).for_each(|_| land.mine());
        land
    }

    /// The answer to a request that the chain doesn't refuse.
    pub fn ask(&self, method: &str, params: &Value) -> Value {
        self.chain.request(method, params).unwrap()
    }

    /// Completes a slot.
    pub fn mine(&self) {
        self.chain.advance(1);
        self.sees();
        if self.chain.slot() >= self.held_until.load(Ordering::Relaxed) {
            self.chain.release();
        }
    }

    fn sees(&self) {
        let info = self.ask("getEpochInfo", &json!([{"commitment": "finalized"}]));
        let number = |name: &str| info[name].as_u64().unwrap();
        let view = View {
            slot: self.chain.slot(),
            finalized: number("absoluteSlot"),
            height: number("blockHeight"),
        };
        self.views.lock().push(view);
        self.blockhash("confirmed");
    }

    /// What a node that is so many slots behind knows.
    #[must_use]
    pub fn view(&self, lag: u64) -> View {
        let (views, slot) = (self.views.lock(), self.chain.slot());
        *views.iter().rev().find(|view| view.slot + lag <= slot).unwrap_or(&views[0])
    }

    /// Undoes the newest slots, as many as can be undone at most; tells how many.
    pub fn fork(&self, depth: u64) -> u64 {
        let deepest = self.number("getBlockHeight", "processed") - self.number("getBlockHeight", "finalized");
        let depth = depth.min(deepest);
        self.chain.fork(depth).unwrap();
        self.forks.fetch_add(1, Ordering::Relaxed);
        self.sees();
        depth
    }

    fn number(&self, method: &str, commitment: &str) -> u64 {
        self.ask(method, &json!([{"commitment": commitment}])).as_u64().unwrap()
    }

    /// Transactions wait for so many slots.
    pub fn hold(&self, slots: u64) {
        self.held_until.store(self.chain.slot() + slots, Ordering::Relaxed);
        self.chain.hold();
    }

    /// Nothing waits, and nothing is dropped.
    pub fn clear_up(&self) {
        self.is_fair.store(true, Ordering::Relaxed);
        self.chain.drop_next(0);
        self.chain.release();
        let height = self.number("getBlockHeight", "processed");
        let lives = self.lives.lock();
        let lasting = lives.iter().filter(|(hash, life)| life.last >= height + ENOUGH && self.is_alive(hash));
        *self.lasting.lock() = lasting.map(|(hash, _)| hash.clone()).collect();
    }

    /// A blockhash for a payment.
    pub fn blockhash(&self, commitment: &str) -> String {
        let latest = self.ask("getLatestBlockhash", &json!([{"commitment": commitment}]));
        let hash = latest["value"]["blockhash"].as_str().unwrap().to_owned();
        let slot = latest["context"]["slot"].as_u64().unwrap();
        let last = latest["value"]["lastValidBlockHeight"].as_u64().unwrap();
        self.lives.lock().insert(hash.clone(), Life { slot, last });
        hash
    }

    /// The blockhash of some earlier slot: of a payment that was signed long before it is presented.
    #[must_use]
    pub fn old_blockhash(&self, slots: u64) -> String {
        let slot = self.chain.slot().saturating_sub(slots);
        let lives = self.lives.lock();
        let old = lives.iter().filter(|(_, life)| life.slot <= slot).max_by_key(|(_, life)| life.slot);
        old.map(|(hash, _)| hash.clone()).unwrap_or_default()
    }

    /// What is known of a payment's blockhash.
    #[must_use]
    pub fn life(&self, blockhash: &str) -> Option<Life> {
        self.lives.lock().get(blockhash).copied()
    }

    /// Whether a block may still take a transaction with this blockhash, on some branch.
    #[must_use]
    pub fn is_alive(&self, blockhash: &str) -> bool {
        ["processed", "confirmed", "finalized"].iter().any(|commitment| {
            let params = json!([blockhash, {"commitment": commitment}]);
            self.ask("isBlockhashValid", &params)["value"] == true
        })
    }

    /// Whether there was time enough in fair weather for a transaction with this blockhash to land.
    #[must_use]
    pub fn is_lasting(&self, blockhash: &str) -> bool {
        self.lasting.lock().contains(blockhash)
    }

    /// The error of a transaction that is in some block: null if it succeeded.
    #[must_use]
    pub fn landed(&self, hash: &str) -> Option<Value> {
        let found = self.ask("getSignatureStatuses", &json!([[hash], {"searchTransactionHistory": true}]));
        let status = &found["value"][0];
        (!status.is_null()).then(|| status["err"].clone())
    }

    /// Gives the nodes a transaction.
    pub fn send(&self, bytes: &[u8]) -> bool {
        let config = json!({"encoding": "base64", "skipPreflight": true});
        self.chain.request("sendTransaction", &json!([STANDARD.encode(bytes), config])).is_ok()
    }

    /// A payer carries all that it has off.
    pub fn drain(&self, purse: &Purse, unique: [u8; 32]) -> bool {
        let stranger = key(STRANGER);
        let (value, blockhash) = (self.tokens(purse.address), self.blockhash("confirmed"));
        if value == 0 {
            return false;
        }
        let to = stranger.address();
        let (bytes, _) = purse.sign(&Terms { fee_payer: to, to, value, blockhash: &blockhash, unique });
        self.send(&with_fee_payer(bytes, &stranger))
    }

    /// A payer gets more.
    pub fn refill(&self, purse: &Purse) {
        self.chain.mint(USDC_DEVNET, purse.address, TOKENS / 2).unwrap();
    }

    /// An account's tokens.
    #[must_use]
    pub fn tokens(&self, owner: Address) -> u64 {
        self.chain.token_balance(USDC_DEVNET, owner)
    }
}
