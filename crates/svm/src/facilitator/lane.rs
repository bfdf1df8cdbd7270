//! A fee payer, and the journal's lane for its transactions.
//!
//! Solana has no nonces, so any number of processes may sign for one fee payer at a time. The journal knows accounts that
//! one process has leased, and numbers their transactions: each process has such an account of its own for each of its
//! fee payers, under a name that no other process has.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;
use tollway_ledger::{Journal, Lease, LedgerError};
use tollway_protocol::Network;

use crate::keys::Key;

/// How many bits of a transaction's number count; those above are a slot.
const COUNT_BITS: u32 = 24;
const COUNTS: u64 = (1 << COUNT_BITS) - 1;

/// The slot at which the blockhash of the transaction with this number was known.
pub(super) const fn known(number: u64) -> u64 {
    number >> COUNT_BITS
}

/// A fee payer of this process.
pub(super) struct Lane {
    pub(super) key: Key,
    /// The journal's name for it.
    name: String,
    lease: Mutex<Option<Lease>>,
    next: AtomicU64,
}

impl Lane {
    /// `process` tells this process from every other one.
    pub(super) fn new(key: Key, process: u64) -> Self {
        let name = format!("{}/{process:016x}", key.address());
        Self { key, name, lease: Mutex::new(None), next: AtomicU64::new(0) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The next number, for a transaction whose blockhash was known at `slot`; used or not, it never comes again. The
    /// journal keeps it, so that whoever takes the transaction over knows the slot too: [`known`].
    pub(super) fn number(&self, slot: u64) -> u64 {
        let count = self.next.fetch_add(1, Ordering::Relaxed) & COUNTS;
        let count = if crate::bug::on("s8-one-number") { 0 } else { count };
        let slot = if crate::bug::on("s8-no-slot") { 0 } else { slot };
        (slot.min(u64::MAX >> (COUNT_BITS + 1)) << COUNT_BITS) | count
    }

    /// The lease, taken when it is asked for first.
    pub(super) async fn lease(
        &self,
        journal: &dyn Journal,
        network: &Network,
    ) -> Result<Option<Lease>, LedgerError> {
        let mut lease = self.lease.lock().await;
        if lease.is_none() {
            *lease = journal.lease(network, &self.name).await?;
        }
        Ok(lease.clone())
    }

    /// Forgets a lease that was lost, unless another was taken since.
    pub(super) async fn lost(&self, known: &Lease) {
        let mut lease = self.lease.lock().await;
        if lease.as_ref() == Some(known) {
            *lease = None;
        }
    }

    /// Gives the lease back.
    pub(super) async fn give_back(&self, journal: &dyn Journal) {
        if let Some(lease) = self.lease.lock().await.take()
            && let Err(error) = journal.give_back(&lease).await
        {
            tracing::debug!(%error, lane = self.name, "a lease was left to run out");
        }
    }
}
