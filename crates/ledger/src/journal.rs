//! The facilitator's half: each payment's settlement, written before anything leaves.
//!
//! ```text
//!            prepare             sign                sent                  finish
//! (none) ───────────▶ prepared ───────▶ signed ───────────▶ broadcast ───────────▶ settled | failed
//!    └──────────────── sign ──────────────▲ └──────────────── finish ─────────────────▲
//!              prepared ─abandon─▶ (none)          settled ─reopen, after a reorg─▶ broadcast
//! ```
//!
//! One transaction carries one payment or a batch of them; its row, signer and nonce included, is in the
//! store before it is on the wire. A transaction under a nonce that has one already takes its place (a fee bump,
//! or one that carries nothing and only spends the nonce); it may carry only payments that the first one carried,
//! so that a nonce belongs to one batch for ever.
//!
//! Several processes share the store. A sending account is leased to one of them at a time
//! ([`Journal::lease`]), and only its holder can record a signed transaction. Every unfinished settlement is held
//! by the process that works on it; what a dead process held is taken over ([`Journal::take_over`]).

mod batch;
mod lease;

use async_trait::async_trait;
use tollway_protocol::IdempotencyKey;
use tollway_protocol::bind::{PaymentKey, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Code, Network};

use crate::LedgerError;
pub use batch::{Batch, MAX_CLAIM, SignedTransaction, Signing};
pub use lease::Lease;

/// How far a settlement got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JournalState {
    /// Taken; nothing signed.
    Prepared,
    /// A transaction is signed and stored; it may or may not have left.
    Signed,
    /// A node was given the transaction.
    Broadcast,
    /// The money moved. Only a reorg takes that back, and only until it is final.
    Settled,
    /// Final: the money did not move and this settlement can't move it.
    Failed,
}

/// Who works on a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// This process.
    This,
    /// Another process that is alive.
    Other,
    /// Nobody: it is finished, was never taken up, or its process died.
    Nobody,
}

/// A settlement's record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its place among all records: later ones have higher numbers.
    pub id: i64,
    /// The payment.
    pub key: PaymentKey,
    /// Where.
    pub network: Network,
    /// Who pays.
    pub payer: String,
    /// How far it got.
    pub state: JournalState,
    /// What was asked for, as JSON of the [`tollway_protocol::PaymentRequest`]: enough to finish it
    /// in another process.
    pub request: String,
    /// The latest transaction that carries it, once one is signed. Its nonce may be another transaction's by now,
    /// which carries the payment no more.
    pub transaction: Option<SignedTransaction>,
    /// The transaction that carried the payment when it is another's, or the latest one's hash.
    pub hash: Option<String>,
    /// The block that holds it, when it is settled.
    pub block: Option<u64>,
    /// Whether no reorg can take it back.
    pub is_final: bool,
    /// Why it failed.
    pub reason: Option<Code>,
    /// Why it failed, for people.
    pub message: Option<String>,
    /// What its share of the mined transactions' fees was, in gwei: each fee divided among all that the transaction
    /// carries, rounded up. None while none of its transactions is mined.
    pub fee_gwei: Option<u64>,
    /// When it was taken.
    pub created: UnixTime,
    /// When it was settled or failed.
    pub ended: Option<UnixTime>,
    /// Who works on it.
    pub holder: Holder,
    /// Whether its success is somebody's, who was told or has begun it with a key: see [`Journal::tell`].
    pub told: bool,
}

/// A transaction that was recorded, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The transaction.
    pub transaction: SignedTransaction,
    /// The payments in it, in the order in which they were recorded; none in one that only spends a nonce.
    pub carries: Vec<PaymentKey>,
    /// Whether a node was given it.
    pub sent: bool,
    /// Whether a later one under its nonce took its place. It may be mined all the same.
    pub replaced: bool,
    /// The block that holds it.
    pub block: Option<u64>,
}

/// What came of [`Journal::prepare`].
#[derive(Debug, Clone, PartialEq)]
pub enum Prepared {
    /// The settlement is new.
    New,
    /// It exists. Its request may have other terms than the one presented now: a payer can sign two
    /// payments with one key.
    Exists(Box<Record>),
}

/// A transaction that was found in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mined {
    /// Its hash.
    pub hash: String,
    /// The block's number.
    pub block: u64,
    /// What it cost, in gwei, rounded up.
    pub fee_gwei: u64,
    /// The payments in it that did not succeed, at our cost. What the transaction does not carry is passed over.
    pub reverted: Vec<PaymentKey>,
}

/// How a settlement ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The money moved in this transaction, ours or another's.
    Settled {
        /// The transaction.
        hash: String,
        /// The block that holds it.
        block: u64,
    },
    /// It did not move, and can't in this settlement.
    Failed {
        /// Why.
        reason: Code,
        /// Why, for people.
        message: String,
        /// The transaction that failed, if one was broadcast.
        hash: Option<String>,
    },
}

/// Which records [`Journal::page`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Only of this network.
    pub network: Option<Network>,
    /// Only in this state.
    pub state: Option<JournalState>,
    /// Only those taken at or after this time.
    pub since: UnixTime,
    /// Only those taken before this time.
    pub until: UnixTime,
}

impl Default for Filter {
    fn default() -> Self {
        Self { network: None, state: None, since: UnixTime(0), until: UnixTime(u64::MAX) }
    }
}

/// The facilitator's half of a ledger.
///
/// Each call is atomic across every process that shares the store, and durable when it returns.
/// On [`LedgerError`] the caller must not go on to the effect that the call announces.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Takes each payment for settlement, unless it was taken before; one answer for each, in their order. What is
    /// `held` is this process's to settle; what is not waits for a process that has an account to send from. Of one
    /// that was taken before nothing changes.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn prepare(
        &self,
        payments: &[Verified],
        held: bool,
        now: UnixTime,
    ) -> Result<Vec<Prepared>, LedgerError>;

    /// Records a signed transaction before it is broadcast, with the payments in it; takes its new ones as
    /// [`Journal::prepare`] does. All of it or nothing. When several things stand against it, the first of these is
    /// told: [`Signing::Lost`], [`Signing::Taken`], [`Signing::Claimed`], the conflict, [`Signing::OverBudget`].
    ///
    /// The very same transaction once more, with the same payments, changes nothing but who holds them, and is
    /// [`Signing::Done`].
    ///
    /// Only one of the transactions under a nonce can be mined, so that together they count against the budget with
    /// the highest bid among them. One that bids no more than those before it is never over the budget.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when one of the payments is not there, finished, another live process's, of another
    /// network or in the batch twice, or has another latest transaction than expected; when the transaction is not of
    /// the lease's account, or its hash is recorded with other payments or another nonce; when the nonce belongs to
    /// other payments or is spent by a mined transaction; or when the claims break the rules of [`Batch::claims`].
    async fn sign(&self, lease: &Lease, batch: Batch, now: UnixTime) -> Result<Signing, LedgerError>;

    /// Records that a node was given the transaction. The settlements of which it is the latest are broadcast then;
    /// changes nothing of those that are finished.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when it is not recorded.
    async fn sent(&self, network: &Network, hash: &str) -> Result<(), LedgerError>;

    /// Records what a look at the chain found: transactions of ours that are in blocks, and how settlements ended;
    /// one answer for each ending, in their order. The same ending twice is fine (the first message stays, a
    /// later block counts until it is final); another one is a conflict, as is one of a payment that was never taken.
    /// A conflict takes back nothing of the other endings.
    ///
    /// What a mined transaction cost takes the place of the bids under its nonce in the budget. Found again, in the
    /// same block or a later one, it is what was found last, except that in the same block what reverted in it is added to
    /// what was found reverted before; found under a nonce of which another was mined, that one
    /// is mined no more. One that is not recorded is passed over.
    ///
    /// Who holds a settlement does not matter here; nobody holds one that is finished.
    ///
    /// # Errors
    /// [`LedgerError`], with nothing recorded.
    async fn finish(
        &self,
        network: &Network,
        mined: &[Mined],
        endings: &[(PaymentKey, Ending)],
        now: UnixTime,
    ) -> Result<Vec<Result<(), LedgerError>>, LedgerError>;

    /// Takes what these transactions were bid out of the budget: it is proven that no block has them, and that none ever
    /// will. Those that are not recorded, or were found in a block, are passed over.
    ///
    /// # Errors
    /// [`LedgerError`]; then their bids count for the 24 hours.
    async fn never_mined(&self, network: &Network, hashes: &[String]) -> Result<(), LedgerError>;

    /// Marks that somebody was told that this payment is settled; whether `asker` is to be told so. Nothing takes the mark
    /// back, a reorg neither.
    ///
    /// A payment that was taken with a key of its caller's ([`Bound::idempotency_key`](tollway_protocol::bind::Bound)) is
    /// told to those who know this key, as often as they ask, and to nobody else. One without is told once, whoever asks
    /// first, and again to those who know the key that this one named, if it named one.
    ///
    /// Of a call that fails with [`LedgerError::Unavailable`] the mark may be there: without a key nobody is told then.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when the payment is not there, or not settled.
    async fn tell(&self, key: &PaymentKey, asker: Option<&IdempotencyKey>) -> Result<bool, LedgerError>;

    /// Takes back that the payments are settled, and that those of their transactions are mined that were in the
    /// block where each was settled, or in a later one: these are not the chain's any more, and what they cost and
    /// what reverted in them goes with them. The payments are broadcast then, in the transaction that they were told
    /// to be settled in until another is signed, and this process's to follow.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when one of them is final, not settled or not there; then none is changed.
    async fn reopen(&self, keys: &[PaymentKey]) -> Result<(), LedgerError>;

    /// Makes final those of the payments that are settled in blocks up to `block`, whoever told them; returns how many
    /// that were. The others are passed over: what nobody looked at again does not become final.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn finalize(&self, network: &Network, block: u64, keys: &[PaymentKey]) -> Result<u64, LedgerError>;

    /// Lets go of a settlement that this process holds and can't go on with, so that another can take it over. Does nothing
    /// when it is finished, or not this process's.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn let_go(&self, key: &PaymentKey) -> Result<(), LedgerError>;

    /// Forgets a settlement for which nothing was signed. Does nothing when there is none.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when something was, when it has ended before, or when it is another live process's.
    async fn abandon_settlement(&self, key: &PaymentKey) -> Result<(), LedgerError>;

    /// A payment's record.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn settlement(&self, key: &PaymentKey) -> Result<Option<Record>, LedgerError>;

    /// Every transaction that was signed for the payment, oldest first: any of them may be the one that is mined.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn history(&self, key: &PaymentKey) -> Result<Vec<Attempt>, LedgerError>;

    /// Every settlement on `network` that is not final, oldest first, whoever holds it: those that are unfinished or
    /// settled. What failed is final.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn open(&self, network: &Network) -> Result<Vec<Record>, LedgerError>;

    /// What is settled on `network` in blocks up to `block` and is not final: what [`Journal::finalize`] may make final.
    /// At most `limit` records, by their blocks, whoever told them.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn unfinal(&self, network: &Network, block: u64, limit: u32) -> Result<Vec<Record>, LedgerError>;

    /// Takes over at most `limit` unfinished settlements on `network` that nobody holds, oldest first; not those whose
    /// latest transaction is of an account that another live process has leased. Gives their records, as they are then.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn take_over(&self, network: &Network, limit: u32) -> Result<Vec<Record>, LedgerError>;

    /// Takes the right to send from `signer`, or confirms it: then the lease is the one that was given before. None
    /// when another live process has it.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn lease(&self, network: &Network, signer: &str) -> Result<Option<Lease>, LedgerError>;

    /// Gives the right back. Does nothing when it is another's by now.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn give_back(&self, lease: &Lease) -> Result<(), LedgerError>;

    /// The nonce after the highest that `signer` has a transaction for on `network`, mined or not.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn next_nonce(&self, network: &Network, signer: &str) -> Result<Option<u64>, LedgerError>;

    /// The latest transaction of each of `signer`'s nonces from `first` on, in the order of the nonces.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn nonces(&self, network: &Network, signer: &str, first: u64) -> Result<Vec<Attempt>, LedgerError>;

    /// What the transactions of the 24 hours before `now` cost or may cost on `network`, in gwei; counted by whole hours
    /// of the clock, from the one in which those 24 hours begin. A transaction counts in the hour in which it was
    /// recorded; hours that have not come yet, by this process's clock, count too.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn spent_gwei(&self, network: &Network, now: UnixTime) -> Result<u64, LedgerError>;

    /// How many of `payer`'s payments that were taken at or after `since` reverted on chain, each as often as it did.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn reverts(&self, network: &Network, payer: &str, since: UnixTime) -> Result<u64, LedgerError>;

    /// At most `limit` records after the one numbered `after` (0 for the first), by their numbers.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn page(&self, filter: &Filter, after: i64, limit: u32) -> Result<Vec<Record>, LedgerError>;

    /// Whether the store can be written now.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    async fn healthy(&self) -> Result<(), LedgerError>;
}
