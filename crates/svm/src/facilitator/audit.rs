//! The ledger beside the chain: what one has and the other hasn't (invariant I11).
//!
//! Both sides are looked at. From the ledger's, each settled payment must be in its transaction, and the transaction must
//! have brought the recipient's account the amount. From the chain's, each transaction that a fee payer of ours has signed
//! must be in the ledger. A node may have thrown away what is asked for: then nothing is known, which is told apart from
//! both.

mod compare;
mod listed;
mod told;

use std::collections::BTreeSet;
use std::sync::Weak;
use std::time::Duration;

use tollway_ledger::LedgerError;
use tollway_protocol::Network;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;
use tollway_rpc::RpcError;

use crate::facilitator::chain::ClusterError;
use crate::facilitator::engine::Engine;

/// How often a process compares them by itself, and how far back it looks then.
const EVERY: Duration = Duration::from_secs(5 * 60);
const BACK_SECONDS: u64 = 24 * 60 * 60;
/// How many things that could not be compared are named.
const MOST_NAMED: usize = 1_000;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Where.
    pub network: Network,
    /// Settled payments that were compared.
    pub settled: u64,
    /// Transactions of our fee payers that nodes listed.
    pub transactions: u64,
    /// Settlements that have not ended.
    pub open: u64,
    /// When the oldest of these was taken.
    pub oldest_open: Option<UnixTime>,
    /// What differs.
    pub differences: Vec<Difference>,
    /// How much could not be compared: neither good nor different.
    pub unknown: u64,
    /// The first 1,000 of it.
    pub unknowns: Vec<Unknown>,
    /// What each recipient got, by the ledger and by the chain.
    pub sums: Vec<Sum>,
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What kind of thing.
    pub kind: DifferenceKind,
    /// The payment, where it is about one.
    pub payment: Option<PaymentKey>,
    /// The transaction, where it is about one.
    pub transaction: Option<String>,
    /// What was found, for people.
    pub detail: String,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// The ledger has a payment as settled that the chain doesn't show.
    NotOnChain,
    /// A transaction of ours paid somebody, and the ledger has it as failed.
    NotInLedger,
    /// The chain has a transaction that a fee payer of ours signed and the ledger doesn't know.
    UnknownTransaction,
}

impl DifferenceKind {
    const ALL: [Self; 3] = [Self::NotOnChain, Self::NotInLedger, Self::UnknownTransaction];

    /// Its name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOnChain => "not_on_chain",
            Self::NotInLedger => "not_in_ledger",
            Self::UnknownTransaction => "unknown_transaction",
        }
    }
}

/// One thing that no node could tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The payment, where it is about one.
    pub payment: Option<PaymentKey>,
    /// The transaction, where it is about one.
    pub transaction: Option<String>,
    /// Why, for people.
    pub detail: String,
}

/// What one recipient got of one token, in atomic units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    /// Who.
    pub pay_to: String,
    /// The mint.
    pub asset: String,
    /// By the ledger's settled payments.
    pub ledger: u128,
    /// By the chain's transactions, of these and of whatever else our fee payers signed.
    pub chain: u128,
    /// Of the ledger's, what the chain could not be asked about.
    pub unknown: u128,
}

/// The two could not be compared: nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{network}: ledger and chain can't be compared: {problem}")]
pub struct AuditError {
    /// Where.
    pub network: Network,
    /// What is wrong.
    pub problem: String,
}

/// Why it stopped.
enum Stopped {
    Chain(ClusterError),
    Ledger(LedgerError),
}

impl From<ClusterError> for Stopped {
    fn from(error: ClusterError) -> Self {
        Self::Chain(error)
    }
}

impl From<RpcError> for Stopped {
    fn from(error: RpcError) -> Self {
        Self::Chain(error.into())
    }
}

impl From<LedgerError> for Stopped {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// What need not be asked for again: it can't change.
#[derive(Default)]
struct Memory {
    /// Payments, by their records' numbers, that finalized transactions show.
    proven: BTreeSet<i64>,
    /// Transactions that name a fee payer of ours and are not signed by it.
    harmless: BTreeSet<String>,
}

impl Engine {
    /// Compares what was taken since then with the chain.
    pub(super) async fn audit(&self, since: UnixTime) -> Result<Audit, AuditError> {
        self.audit_again(since, &mut Memory::default()).await
    }

    async fn audit_again(&self, since: UnixTime, memory: &mut Memory) -> Result<Audit, AuditError> {
        compare::compare(self, since, memory).await.map_err(|stopped| {
            let problem = match stopped {
                Stopped::Chain(error) => error.to_string(),
                Stopped::Ledger(error) => error.to_string(),
            };
            AuditError { network: self.network().clone(), problem }
        })
    }
}

impl Audit {
    /// Exports what a comparison found.
    fn publish(&self, now: UnixTime) {
        let network = self.network.to_string();
        let number = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        for kind in DifferenceKind::ALL {
            let count = self.differences.iter().filter(|found| found.kind == kind).count();
            metrics::gauge!("tollway_svm_unreconciled", "network" => network.clone(), "kind" => kind.name())
                .set(number(u64::try_from(count).unwrap_or(u64::MAX)));
        }
        metrics::gauge!("tollway_svm_uncompared", "network" => network.clone()).set(number(self.unknown));
        let age = self.oldest_open.map_or(0, |taken| now.0.saturating_sub(taken.0));
        metrics::gauge!("tollway_svm_oldest_open_seconds", "network" => network).set(number(age));
        for found in &self.differences {
            tracing::error!(
                network = %self.network, kind = found.kind.name(), payment = found.payment.as_ref().map(PaymentKey::as_str),
                transaction = found.transaction, "ledger and chain differ: {}", found.detail
            );
        }
        if let Some(first) = self.unknowns.first() {
            tracing::warn!(
                network = %self.network, count = self.unknown, transaction = first.transaction,
                "what the nodes can't tell is not compared: {}", first.detail
            );
        }
    }
}

/// Compares the last day again and again, until the engine is gone.
pub(super) async fn keep_auditing(engine: Weak<Engine>) {
    let mut memory = Memory::default();
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(this) = engine.upgrade() else { return };
        let now = this.now();
        match this.audit_again(UnixTime(now.0.saturating_sub(BACK_SECONDS)), &mut memory).await {
            Ok(audit) => audit.publish(now),
            Err(error) => tracing::warn!(%error, "reconciliation"),
        }
    }
}
