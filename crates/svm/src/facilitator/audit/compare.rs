//! From the ledger's side: each settled payment is in its transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use solana_address::Address;
use solana_signature::Signature;
use tollway_ledger::{Filter, JournalState, Record};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;
use tollway_protocol::wire::PaymentRequest;
use tollway_rpc::Given;

use super::told::{self, Kept};
use super::{Audit, Difference, DifferenceKind, MOST_NAMED, Memory, Stopped, Sum, Unknown};
use crate::facilitator::cluster::{Commitment, MOST_STATUSES, Status};
use crate::facilitator::engine::Engine;
use crate::layout::{Limits, Transfer};
use crate::payload;
use crate::programs::associated_token_account;
use crate::transaction::Transaction;

/// How many records are read at a time, and how many transactions are asked for together.
const PAGE: u32 = 500;
const TOGETHER: usize = 32;
/// How much earlier than the payments that are compared most of those were taken whose transactions are in blocks of
/// that time, in seconds: the others are looked up one by one.
const EARLIER_SECONDS: u64 = 10 * 60;
/// How many slots past a settlement's a node has to be for its not knowing of it to say anything.
const PAST: u64 = 32;
/// How many slots past it every node knows it, with history or without.
const KNOWN: u64 = 300;

/// A comparison under way.
pub(super) struct Comparison<'a> {
    pub(super) engine: &'a Engine,
    pub(super) memory: &'a mut Memory,
    pub(super) audit: Audit,
    /// Transactions that nodes listed and no record has had yet; whether each one succeeded.
    pub(super) listed: BTreeMap<String, bool>,
    /// For each fee payer the slot of its first settled payment.
    pub(super) first: BTreeMap<String, u64>,
    proven: BTreeSet<i64>,
    sums: BTreeMap<(String, String), Sum>,
}

/// A payment as the ledger has it, and what its transaction must show.
struct Paid {
    id: i64,
    key: PaymentKey,
    hash: String,
    block: Option<u64>,
    fee_payer: String,
    pay_to: String,
    asset: String,
    amount: u128,
    /// The recipient's token account.
    account: Address,
}

/// Compares what was taken since then with the chain.
pub(super) async fn compare(engine: &Engine, since: UnixTime, memory: &mut Memory) -> Result<Audit, Stopped> {
    engine.cluster.check().await?;
    let audit = Audit {
        network: engine.network().clone(),
        settled: 0,
        transactions: 0,
        open: 0,
        oldest_open: None,
        differences: Vec::new(),
        unknown: 0,
        unknowns: Vec::new(),
        sums: Vec::new(),
    };
    let (listed, first) = (BTreeMap::new(), BTreeMap::new());
    let (proven, sums) = (BTreeSet::new(), BTreeMap::new());
    let mut this = Comparison { engine, memory, audit, listed, first, proven, sums };
    // The chain first: what is in a block was in the ledger before.
    let walks = this.walk(since).await?;
    this.read_ledger(since).await?;
    this.look_at_strangers().await?;
    this.judge_reach(&walks);
    this.memory.proven = this.proven;
    this.audit.sums = this.sums.into_values().collect();
    Ok(this.audit)
}

impl Comparison<'_> {
    async fn read_ledger(&mut self, since: UnixTime) -> Result<(), Stopped> {
        let network = Some(self.engine.network().clone());
        let filter = Filter { network, since: since.minus(EARLIER_SECONDS), ..Filter::default() };
        let mut after = 0;
        loop {
            let page = self.engine.journal.page(&filter, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            let mut settled = Vec::new();
            for record in &page {
                let landed = self.recognize(record);
                if record.created < since {
                    continue;
                }
                match (record.state, paid(record)) {
                    (JournalState::Settled, Ok(paid)) => settled.push(paid),
                    (JournalState::Settled, Err(why)) => self.unfit(record, why),
                    (JournalState::Failed, paid) if landed == Some(true) => {
                        self.unrecorded(record, paid.ok());
                    }
                    (JournalState::Failed, _) => {}
                    _ => self.audit.note_open(record),
                }
            }
            self.settled(settled).await?;
        }
    }

    /// Takes a record's transaction from those listed; whether it succeeded, when it was listed.
    fn recognize(&mut self, record: &Record) -> Option<bool> {
        let signed = record.transaction.as_ref().map(|signed| signed.hash.as_str());
        let hashes = [record.hash.as_deref(), signed].into_iter().flatten();
        hashes.filter_map(|hash| self.listed.remove(hash)).max()
    }

    fn unfit(&mut self, record: &Record, why: &str) {
        self.audit.settled = self.audit.settled.saturating_add(1);
        self.audit.differ(DifferenceKind::NotOnChain, Some(&record.key), record.hash.as_deref(), why);
    }

    fn unrecorded(&mut self, record: &Record, paid: Option<Paid>) {
        if let Some(paid) = paid {
            let sum = self.sum(&paid.pay_to, &paid.asset);
            sum.chain = sum.chain.saturating_add(paid.amount);
        }
        let hash = record.hash.as_deref().or(record.transaction.as_ref().map(|signed| signed.hash.as_str()));
        let detail = "the ledger has it as failed, and its transaction is on the chain";
        self.audit.differ(DifferenceKind::NotInLedger, Some(&record.key), hash, detail);
    }

    /// Compares settled payments; those that are known to be shown are not asked for again.
    async fn settled(&mut self, all: Vec<Paid>) -> Result<(), Stopped> {
        let mut asked = Vec::new();
        for paid in all {
            self.audit.settled = self.audit.settled.saturating_add(1);
            let sum = self.sum(&paid.pay_to, &paid.asset);
            sum.ledger = sum.ledger.saturating_add(paid.amount);
            if let Some(block) = paid.block {
                let first = self.first.entry(paid.fee_payer.clone()).or_insert(block);
                *first = block.min(*first);
            }
            if self.memory.proven.contains(&paid.id) {
                self.shown(&paid, true);
            } else {
                asked.push(paid);
            }
        }
        let rpc = &self.engine.cluster.rpc;
        for part in asked.chunks(MOST_STATUSES) {
            let hashes: Vec<&str> = part.iter().map(|paid| paid.hash.as_str()).collect();
            let look = told::look(rpc, None, &hashes).await?;
            let (mut found, mut absent) = (Vec::new(), Vec::new());
            for (paid, status) in part.iter().zip(look.statuses) {
                match status {
                    Some(status) => found.push((paid, status)),
                    None => absent.push(paid),
                }
            }
            found.extend(self.look_everywhere(absent).await);
            self.compare_found(found).await?;
        }
        Ok(())
    }

    /// Asks each node for what the first one doesn't know; returns what is found. That a payment is on no chain is told by a
    /// node that would know it.
    async fn look_everywhere<'p>(&mut self, mut absent: Vec<&'p Paid>) -> Vec<(&'p Paid, Status)> {
        let rpc = &self.engine.cluster.rpc;
        let (mut found, mut missing) = (Vec::new(), BTreeSet::new());
        for node in 0..rpc.nodes() {
            if absent.is_empty() {
                break;
            }
            let hashes: Vec<&str> = absent.iter().map(|paid| paid.hash.as_str()).collect();
            let Ok(look) = told::look(rpc, Some(node), &hashes).await else { continue };
            let first = told::first_block(rpc, node).await.ok();
            let mut left = Vec::new();
            for (paid, status) in absent.into_iter().zip(look.statuses) {
                match status {
                    Some(status) => found.push((paid, status)),
                    None => {
                        if would_know(paid.block, look.slot, first) {
                            missing.insert(paid.id);
                        }
                        left.push(paid);
                    }
                }
            }
            absent = left;
        }
        for paid in absent {
            if missing.contains(&paid.id) {
                self.differs(paid, "the chain has no such transaction");
            } else {
                self.untold(paid, "no node that answers has kept the blocks of that time");
            }
        }
        found
    }

    /// Compares what transactions did with what they are in the ledger for.
    async fn compare_found(&mut self, found: Vec<(&Paid, Status)>) -> Result<(), Stopped> {
        let mut shown = Vec::new();
        for (paid, status) in found {
            if !status.err.is_null() {
                self.differs(paid, "its transaction failed");
            } else if status.commitment() < Commitment::Confirmed {
                self.untold(paid, "its transaction is not confirmed by now");
            } else {
                shown.push((paid, status.commitment() == Commitment::Finalized));
            }
        }
        for part in shown.chunks(TOGETHER) {
            let hashes: Vec<&str> = part.iter().map(|(paid, _)| paid.hash.as_str()).collect();
            let given = told::transactions(&self.engine.cluster.rpc, &hashes).await?;
            for ((paid, is_final), given) in part.iter().zip(given) {
                self.compare_one(paid, given, *is_final);
            }
        }
        Ok(())
    }

    fn compare_one(&mut self, paid: &Paid, given: Given, is_final: bool) {
        let kept = match Kept::read(given, &paid.hash) {
            Ok(kept) => kept,
            Err(why) => return self.untold(paid, &why),
        };
        let gained = kept.gained(&paid.account, &paid.asset).filter(|_| kept.succeeded() == Some(true));
        match gained {
            None if kept.succeeded() == Some(false) => self.differs(paid, "its transaction failed"),
            None => self.untold(paid, "the node has not kept what the transaction changed"),
            Some(gained) if u128::try_from(gained) == Ok(paid.amount) => self.shown(paid, is_final),
            Some(gained) => {
                let sum = self.sum(&paid.pay_to, &paid.asset);
                sum.chain = sum.chain.saturating_add(u128::try_from(gained).unwrap_or_default());
                let detail = format!(
                    "its transaction brought {} {gained} of {}, and not {}",
                    paid.pay_to, paid.asset, paid.amount
                );
                self.differs(paid, &detail);
            }
        }
    }

    fn shown(&mut self, paid: &Paid, is_final: bool) {
        let sum = self.sum(&paid.pay_to, &paid.asset);
        sum.chain = sum.chain.saturating_add(paid.amount);
        if is_final {
            self.proven.insert(paid.id);
        }
    }

    fn differs(&mut self, paid: &Paid, detail: &str) {
        self.audit.differ(DifferenceKind::NotOnChain, Some(&paid.key), Some(&paid.hash), detail);
    }

    fn untold(&mut self, paid: &Paid, detail: &str) {
        let sum = self.sum(&paid.pay_to, &paid.asset);
        sum.unknown = sum.unknown.saturating_add(paid.amount);
        self.audit.note_unknown(Some(&paid.key), Some(&paid.hash), detail);
    }

    pub(super) fn sum(&mut self, pay_to: &str, asset: &str) -> &mut Sum {
        let (pay_to, asset) = (pay_to.to_owned(), asset.to_owned());
        let new = Sum { pay_to: pay_to.clone(), asset: asset.clone(), ..Sum::default() };
        self.sums.entry((pay_to, asset)).or_insert(new)
    }
}

impl Audit {
    pub(super) fn differ(
        &mut self,
        kind: DifferenceKind,
        payment: Option<&PaymentKey>,
        transaction: Option<&str>,
        detail: &str,
    ) {
        let (payment, transaction) = (payment.cloned(), transaction.map(str::to_owned));
        self.differences.push(Difference { kind, payment, transaction, detail: detail.to_owned() });
    }

    pub(super) fn note_unknown(
        &mut self,
        payment: Option<&PaymentKey>,
        transaction: Option<&str>,
        detail: &str,
    ) {
        self.unknown = self.unknown.saturating_add(1);
        if self.unknowns.len() < MOST_NAMED {
            let (payment, transaction) = (payment.cloned(), transaction.map(str::to_owned));
            self.unknowns.push(Unknown { payment, transaction, detail: detail.to_owned() });
        }
    }

    fn note_open(&mut self, record: &Record) {
        self.open = self.open.saturating_add(1);
        let oldest = self.oldest_open.map_or(record.created, |oldest| oldest.min(record.created));
        self.oldest_open = Some(oldest);
    }
}

/// Whether a node at `slot`, whose blocks begin with `first`, would know a transaction of `block`.
fn would_know(block: Option<u64>, slot: u64, first: Option<u64>) -> bool {
    block.is_some_and(|block| {
        let is_past = slot >= block.saturating_add(PAST);
        is_past && (slot < block.saturating_add(KNOWN) || first.is_some_and(|first| first <= block))
    })
}

/// What the transaction of a record must show; or why it can't show the payment.
fn paid(record: &Record) -> Result<Paid, &'static str> {
    let hash = record.hash.clone().filter(|hash| Signature::from_str(hash).is_ok());
    let hash = hash.ok_or("it names no transaction")?;
    let signed = record.transaction.as_ref().ok_or("its transaction is not in the ledger")?;
    let unreadable = "its transaction in the ledger can't be read";
    let transaction = Transaction::read(signed.raw.clone()).map_err(|_| unreadable)?;
    let any = Limits::NONE;
    let transfer = Transfer::read(&transaction, &any).map_err(|_| unreadable)?;
    if payload::key(&record.network, transaction.message_hash()) != record.key {
        return Err("its transaction in the ledger is another payment's");
    }
    let request: PaymentRequest =
        serde_json::from_str(&record.request).map_err(|_| "its request can't be read")?;
    let offer = request.payment_requirements;
    let address = |text: &str| payload::member("", text).map_err(|_| "its request can't be read");
    let (pay_to, asset) = (address(&offer.pay_to)?, address(&offer.asset)?);
    Ok(Paid {
        id: record.id,
        key: record.key.clone(),
        hash,
        block: record.block,
        fee_payer: transfer.fee_payer.to_string(),
        pay_to: pay_to.to_string(),
        asset: asset.to_string(),
        amount: u128::try_from(offer.amount.get()).map_err(|_| "its amount is more than an account holds")?,
        account: associated_token_account(&pay_to, &asset, &transfer.program),
    })
}
