//! The ledger beside the chain: what one has and the other hasn't.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use alloy_primitives::B256;
use alloy_sol_types::SolEvent as _;
use tollway_ledger::{Filter, JournalState, LedgerError, Record};
use tollway_protocol::Network;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;

use crate::abi::Eip3009;
use crate::facilitator::engine::{Engine, transaction_hash};
use crate::facilitator::rpc::{Receipt, RpcError, ask};

/// How many records are read at a time, and how many receipts are asked for together.
const PAGE: u32 = 500;
const TOGETHER: usize = 64;
/// How often a process compares them by itself, and how far back it looks then.
const EVERY: Duration = Duration::from_secs(5 * 60);
const BACK_SECONDS: u64 = 24 * 60 * 60;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Where.
    pub network: Network,
    /// Settled payments that were compared.
    pub settled: u64,
    /// Transactions that they are in.
    pub transactions: u64,
    /// Settlements that have not ended.
    pub open: u64,
    /// When the oldest of these was taken.
    pub oldest_open: Option<UnixTime>,
    /// What differs.
    pub differences: Vec<Difference>,
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
    /// The ledger has a payment as settled that its transaction doesn't show.
    NotOnChain,
    /// A transaction of ours moved a token without a settled payment for it.
    NotInLedger,
    /// The chain has spent a nonce of ours for which the ledger has no transaction.
    UnknownNonce,
}

impl DifferenceKind {
    /// Its name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOnChain => "not_on_chain",
            Self::NotInLedger => "not_in_ledger",
            Self::UnknownNonce => "unknown_nonce",
        }
    }
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
    Chain(RpcError),
    Ledger(LedgerError),
}

impl From<RpcError> for Stopped {
    fn from(error: RpcError) -> Self {
        Self::Chain(error)
    }
}

impl From<LedgerError> for Stopped {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl Engine {
    /// Compares what was taken since then with the chain.
    pub(crate) async fn audit(&self, since: UnixTime) -> Result<Audit, AuditError> {
        let network = self.chain.config.network.clone();
        self.compare(since).await.map_err(|stopped| {
            let problem = match stopped {
                Stopped::Chain(error) => error.to_string(),
                Stopped::Ledger(error) => error.to_string(),
            };
            AuditError { network, problem }
        })
    }

    async fn compare(&self, since: UnixTime) -> Result<Audit, Stopped> {
        let network = self.chain.config.network.clone();
        let mut audit = Audit {
            network: network.clone(),
            settled: 0,
            transactions: 0,
            open: 0,
            oldest_open: None,
            differences: Vec::new(),
        };
        let filter = Filter { network: Some(network), since, ..Filter::default() };
        let mut after = 0;
        let mut by_hash: BTreeMap<B256, Vec<Record>> = BTreeMap::new();
        loop {
            let page = self.journal.page(&filter, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for record in page {
                match (record.state, record.hash.as_deref().and_then(transaction_hash)) {
                    (JournalState::Settled, Some(hash)) => by_hash.entry(hash).or_default().push(record),
                    (JournalState::Settled, None) => audit.note_missing(&record, "it names no transaction"),
                    (JournalState::Failed, _) => {}
                    _ => audit.note_open(&record),
                }
            }
        }
        let all: Vec<(B256, Vec<Record>)> = by_hash.into_iter().collect();
        for some in all.chunks(TOGETHER) {
            let asks: Vec<_> = some.iter().map(|(hash, _)| ask::receipt(*hash)).collect();
            let given = self.chain.rpc.together(&asks).await?;
            for ((hash, records), given) in some.iter().zip(given) {
                let receipt =
                    given.read::<Option<Receipt>>()?.filter(|receipt| receipt.transaction_hash == *hash);
                self.compare_transaction(*hash, records, receipt.as_ref(), &mut audit);
            }
        }
        self.compare_nonces(&mut audit).await?;
        Ok(audit)
    }

    /// Each settled payment must be in its transaction, and each transfer of a transaction of ours be a payment's.
    fn compare_transaction(
        &self,
        hash: B256,
        records: &[Record],
        receipt: Option<&Receipt>,
        audit: &mut Audit,
    ) {
        audit.transactions = audit.transactions.saturating_add(1);
        let mut proven = 0usize;
        for record in records {
            audit.settled = audit.settled.saturating_add(1);
            let job = self.job_of(record);
            match (receipt, job) {
                (None, _) => audit.note_missing(record, "the chain has no such transaction"),
                (Some(_), None) => audit.note_missing(record, "its request can't be read"),
                (Some(receipt), Some(job)) if job.payment.is_paid_by(receipt) => {
                    proven = proven.saturating_add(1);
                }
                (Some(_), Some(_)) => {
                    audit.note_missing(record, "the transaction does not contain the payment");
                }
            }
        }
        let ours = records.iter().any(|record| {
            record.transaction.as_ref().is_some_and(|signed| transaction_hash(&signed.hash) == Some(hash))
        });
        let Some(receipt) = receipt.filter(|_| ours) else { return };
        let moved = receipt.logs.iter().filter(|log| {
            self.chain.tokens.contains_key(&log.address)
                && log.data.topics().first() == Some(&Eip3009::Transfer::SIGNATURE_HASH)
        });
        let moved = moved.count();
        if moved > proven {
            audit.differences.push(Difference {
                kind: DifferenceKind::NotInLedger,
                payment: None,
                transaction: Some(hash.to_string()),
                detail: format!("{moved} transfers on chain, {proven} settled payments in the ledger"),
            });
        }
    }

    /// Every nonce of ours that the chain has spent since our first one must have a transaction in the ledger.
    async fn compare_nonces(&self, audit: &mut Audit) -> Result<(), Stopped> {
        for lane in &self.lanes {
            let chain = self.chain.rpc.nonce(lane.address()).await?;
            let rows = self.journal.nonces(&self.chain.config.network, &lane.name(), 0).await?;
            let known: std::collections::BTreeSet<u64> =
                rows.iter().map(|row| row.transaction.nonce).collect();
            let Some(first) = known.first().copied() else { continue };
            let unknown: Vec<u64> = (first..chain).filter(|nonce| !known.contains(nonce)).collect();
            if let (Some(from), Some(to)) = (unknown.first(), unknown.last()) {
                audit.differences.push(Difference {
                    kind: DifferenceKind::UnknownNonce,
                    payment: None,
                    transaction: None,
                    detail: format!(
                        "{} nonces of {} between {from} and {to} were spent by transactions that are not in the ledger: \
                         was it restored from an older copy, or does another program use this key?",
                        unknown.len(),
                        lane.address()
                    ),
                });
            }
        }
        Ok(())
    }

    /// Exports what a comparison found.
    fn publish(audit: &Audit, now: UnixTime) {
        let network = audit.network.to_string();
        for kind in [DifferenceKind::NotOnChain, DifferenceKind::NotInLedger, DifferenceKind::UnknownNonce] {
            let count = audit.differences.iter().filter(|found| found.kind == kind).count();
            metrics::gauge!("tollway_evm_unreconciled", "network" => network.clone(), "kind" => kind.name())
                .set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        }
        let age = audit.oldest_open.map_or(0, |taken| now.0.saturating_sub(taken.0));
        metrics::gauge!("tollway_evm_oldest_open_seconds", "network" => network)
            .set(f64::from(u32::try_from(age).unwrap_or(u32::MAX)));
        for found in &audit.differences {
            tracing::error!(
                network = %audit.network, kind = found.kind.name(), payment = found.payment.as_ref().map(PaymentKey::as_str),
                transaction = found.transaction, "ledger and chain differ: {}", found.detail
            );
        }
    }
}

impl Audit {
    fn note_missing(&mut self, record: &Record, detail: &str) {
        self.differences.push(Difference {
            kind: DifferenceKind::NotOnChain,
            payment: Some(record.key.clone()),
            transaction: record.hash.clone(),
            detail: detail.to_owned(),
        });
    }

    fn note_open(&mut self, record: &Record) {
        self.open = self.open.saturating_add(1);
        let oldest = self.oldest_open.map_or(record.created, |oldest| oldest.min(record.created));
        self.oldest_open = Some(oldest);
    }
}

/// Compares the last day again and again, until the engine is gone.
pub(super) async fn keep_auditing(engine: Weak<Engine>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(this) = engine.upgrade() else { return };
        let now = this.chain.host_now();
        match this.audit(UnixTime(now.0.saturating_sub(BACK_SECONDS))).await {
            Ok(audit) => Engine::publish(&audit, now),
            Err(error) => tracing::warn!(%error, "reconciliation"),
        }
    }
}
