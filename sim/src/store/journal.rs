//! A process's calls, without any fault: the suite of `tollway-ledger` tests these.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tollway_ledger::{
    Attempt, Batch, Ending, Filter, Journal, Lease, LedgerError, Mined, Prepared, Record, Signing,
};
use tollway_protocol::bind::{PaymentKey, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{IdempotencyKey, Network};

use super::tables::{Me, Tables};

/// How long a process lives without renewing, in milliseconds.
const LEASE_MILLIS: u64 = 5_000;

/// A process that opened the store.
pub struct Process {
    /// What it shares with others.
    pub tables: Arc<Mutex<Tables>>,
    /// Which process it is.
    pub instance: u64,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Process {
    /// Opens the store as a new process with this clock, in milliseconds.
    pub fn open(tables: Arc<Mutex<Tables>>, clock: Arc<dyn Fn() -> u64 + Send + Sync>) -> Self {
        let instance = tables.lock().join(clock() + LEASE_MILLIS);
        Self { tables, instance, clock }
    }

    /// Itself, now.
    #[must_use]
    pub fn me(&self) -> Me {
        Me { instance: self.instance, now: (self.clock)() }
    }

    /// Lives on.
    pub fn renew(&self) {
        self.tables.lock().renew(self.instance, (self.clock)() + LEASE_MILLIS);
    }
}

#[async_trait]
impl Journal for Process {
    async fn prepare(
        &self,
        payments: &[Verified],
        held: bool,
        now: UnixTime,
    ) -> Result<Vec<Prepared>, LedgerError> {
        Ok(self.tables.lock().prepare(payments, held, now, self.me()))
    }

    async fn sign(&self, lease: &Lease, batch: Batch, now: UnixTime) -> Result<Signing, LedgerError> {
        self.tables.lock().sign(lease, &batch, now, self.me())
    }

    async fn sent(&self, network: &Network, hash: &str) -> Result<(), LedgerError> {
        self.tables.lock().sent(network, hash)
    }

    async fn finish(
        &self,
        network: &Network,
        mined: &[Mined],
        endings: &[(PaymentKey, Ending)],
        now: UnixTime,
    ) -> Result<Vec<Result<(), LedgerError>>, LedgerError> {
        Ok(self.tables.lock().finish(network, mined, endings, now))
    }

    async fn never_mined(&self, network: &Network, hashes: &[String]) -> Result<(), LedgerError> {
        self.tables.lock().never_mined(network, hashes);
        Ok(())
    }

    async fn tell(&self, key: &PaymentKey, asker: Option<&IdempotencyKey>) -> Result<bool, LedgerError> {
        self.tables.lock().tell(key, asker)
    }

    async fn reopen(&self, keys: &[PaymentKey]) -> Result<(), LedgerError> {
        self.tables.lock().reopen(keys, self.me())
    }

    async fn finalize(&self, network: &Network, block: u64, keys: &[PaymentKey]) -> Result<u64, LedgerError> {
        Ok(self.tables.lock().finalize(network, block, keys))
    }

    async fn let_go(&self, key: &PaymentKey) -> Result<(), LedgerError> {
        self.tables.lock().let_go(key, self.me());
        Ok(())
    }

    async fn abandon_settlement(&self, key: &PaymentKey) -> Result<(), LedgerError> {
        self.tables.lock().abandon(key, self.me())
    }

    async fn settlement(&self, key: &PaymentKey) -> Result<Option<Record>, LedgerError> {
        Ok(self.tables.lock().settlement(key, self.me()))
    }

    async fn history(&self, key: &PaymentKey) -> Result<Vec<Attempt>, LedgerError> {
        Ok(self.tables.lock().history(key))
    }

    async fn open(&self, network: &Network) -> Result<Vec<Record>, LedgerError> {
        Ok(self.tables.lock().open(network, self.me()))
    }

    async fn unfinal(&self, network: &Network, block: u64, limit: u32) -> Result<Vec<Record>, LedgerError> {
        Ok(self.tables.lock().unfinal(network, block, limit, self.me()))
    }

    async fn take_over(&self, network: &Network, limit: u32) -> Result<Vec<Record>, LedgerError> {
        Ok(self.tables.lock().take_over(network, limit, self.me()))
    }

    async fn lease(&self, network: &Network, signer: &str) -> Result<Option<Lease>, LedgerError> {
        Ok(self.tables.lock().lease(network, signer, self.me()))
    }

    async fn give_back(&self, lease: &Lease) -> Result<(), LedgerError> {
        self.tables.lock().give_back(lease, self.me());
        Ok(())
    }

    async fn next_nonce(&self, network: &Network, signer: &str) -> Result<Option<u64>, LedgerError> {
        Ok(self.tables.lock().next_nonce(network, signer))
    }

    async fn nonces(&self, network: &Network, signer: &str, first: u64) -> Result<Vec<Attempt>, LedgerError> {
        Ok(self.tables.lock().nonces(network, signer, first))
    }

    async fn spent_gwei(&self, network: &Network, now: UnixTime) -> Result<u64, LedgerError> {
        Ok(self.tables.lock().spent(network, now))
    }

    async fn reverts(&self, network: &Network, payer: &str, since: UnixTime) -> Result<u64, LedgerError> {
        Ok(self.tables.lock().reverts(network, payer, since))
    }

    async fn page(&self, filter: &Filter, after: i64, limit: u32) -> Result<Vec<Record>, LedgerError> {
        Ok(self.tables.lock().page(filter, after, limit, self.me()))
    }

    async fn healthy(&self) -> Result<(), LedgerError> {
        self.renew();
        Ok(())
    }
}
