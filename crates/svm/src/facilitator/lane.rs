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

    /// The next number; used or not, it never comes again.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
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
