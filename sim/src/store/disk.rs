//! How a replica reaches the store: slowly, sometimes not at all, sometimes without hearing the answer. What a call
//! did is durable, whether it was answered or not; a crash before the answer leaves open which of both.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use tollway_ledger::{
    Attempt, Batch, Ending, Filter, Journal, Lease, LedgerError, Mined, Prepared, Record, Signing,
};
use tollway_protocol::bind::{PaymentKey, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{IdempotencyKey, Network};

use super::Process;
use crate::life::{Life, Pulse};
use crate::replica::takes_turns;
use crate::side::Side;
use crate::world::World;

/// Milliseconds that a call may take in fair weather.
const SLOW: u64 = 100;

/// A replica's way to the store.
pub struct Disk<S: Side> {
    world: Arc<World<S>>,
    replica: usize,
    process: Process,
    pulse: Pulse,
}

impl<S: Side> Disk<S> {
    /// Opens the store as a new process.
    #[must_use]
    pub fn open(world: Arc<World<S>>, replica: usize, pulse: Pulse) -> Self {
        let clock = world.clone();
        let process = Process::open(world.tables.clone(), Arc::new(move || clock.millis()));
        Self { world, replica, process, pulse }
    }

    /// The process, as the store knows it.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    async fn call<T: Send>(
        &self,
        name: &'static str,
        act: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        let (world, who) = (&self.world, self.replica);
        self.pulse.passes().await;
        let sea = world.weather.sea();
        if sea.slow > SLOW {
            // It may be too late for whoever waits.
            world.hurts(who);
        }
        tokio::time::sleep(world.chance.millis(0, sea.slow)).await;
        // What was asked for before a crash may arrive after it, or never.
        if self.pulse.now() == Life::Dead && world.chance.permille(500) {
            std::future::pending::<()>().await;
        }
        let sea = world.weather.sea();
        if sea.is_down || world.chance.permille(sea.fails) {
            world.hurts(who);
            world.trace.note(&format!("r{who} store {name}: unavailable"));
            return Err(LedgerError::Unavailable("simulated outage".into()));
        }
        let done = act.await;
        world.trace.note(&format!("r{who} store {name}: {}", if done.is_ok() { "ok" } else { "conflict" }));
        world.oracle.lock().stored(world, who, name);
        tokio::time::sleep(world.chance.millis(0, sea.slow)).await;
        self.pulse.passes().await;
        if world.chance.permille(sea.lost_answers) {
            world.hurts(who);
            world.trace.note(&format!("r{who} store {name}: its answer is lost"));
            return Err(LedgerError::Unavailable("simulated lost answer".into()));
        }
        done
    }
}

#[async_trait]
impl<S: Side> Journal for Disk<S> {
    async fn prepare(
        &self,
        payments: &[Verified],
        held: bool,
        now: UnixTime,
    ) -> Result<Vec<Prepared>, LedgerError> {
        self.call("prepare", self.process.prepare(payments, held, now)).await
    }

    async fn sign(&self, lease: &Lease, batch: Batch, now: UnixTime) -> Result<Signing, LedgerError> {
        self.call("sign", self.process.sign(lease, batch, now)).await
    }

    async fn sent(&self, network: &Network, hash: &str) -> Result<(), LedgerError> {
        self.call("sent", self.process.sent(network, hash)).await
    }

    async fn finish(
        &self,
        network: &Network,
        mined: &[Mined],
        endings: &[(PaymentKey, Ending)],
        now: UnixTime,
    ) -> Result<Vec<Result<(), LedgerError>>, LedgerError> {
        self.call("finish", self.process.finish(network, mined, endings, now)).await
    }

    async fn never_mined(&self, network: &Network, hashes: &[String]) -> Result<(), LedgerError> {
        self.call("never_mined", self.process.never_mined(network, hashes)).await
    }

    async fn tell(&self, key: &PaymentKey, asker: Option<&IdempotencyKey>) -> Result<bool, LedgerError> {
        takes_turns().await;
        self.call("tell", self.process.tell(key, asker)).await
    }

    async fn reopen(&self, keys: &[PaymentKey]) -> Result<(), LedgerError> {
        self.call("reopen", self.process.reopen(keys)).await
    }

    async fn finalize(&self, network: &Network, block: u64, keys: &[PaymentKey]) -> Result<u64, LedgerError> {
        self.call("finalize", self.process.finalize(network, block, keys)).await
    }

    async fn let_go(&self, key: &PaymentKey) -> Result<(), LedgerError> {
        self.call("let_go", self.process.let_go(key)).await
    }

    async fn abandon_settlement(&self, key: &PaymentKey) -> Result<(), LedgerError> {
        self.call("abandon", self.process.abandon_settlement(key)).await
    }

    async fn settlement(&self, key: &PaymentKey) -> Result<Option<Record>, LedgerError> {
        self.call("settlement", self.process.settlement(key)).await
    }

    async fn history(&self, key: &PaymentKey) -> Result<Vec<Attempt>, LedgerError> {
        self.call("history", self.process.history(key)).await
    }

    async fn open(&self, network: &Network) -> Result<Vec<Record>, LedgerError> {
        self.call("open", Journal::open(&self.process, network)).await
    }

    async fn unfinal(&self, network: &Network, block: u64, limit: u32) -> Result<Vec<Record>, LedgerError> {
        self.call("unfinal", self.process.unfinal(network, block, limit)).await
    }

    async fn take_over(&self, network: &Network, limit: u32) -> Result<Vec<Record>, LedgerError> {
        self.call("take_over", self.process.take_over(network, limit)).await
    }

    async fn lease(&self, network: &Network, signer: &str) -> Result<Option<Lease>, LedgerError> {
        self.call("lease", self.process.lease(network, signer)).await
    }

    async fn give_back(&self, lease: &Lease) -> Result<(), LedgerError> {
        self.call("give_back", self.process.give_back(lease)).await
    }

    async fn next_nonce(&self, network: &Network, signer: &str) -> Result<Option<u64>, LedgerError> {
        self.call("next_nonce", self.process.next_nonce(network, signer)).await
    }

    async fn nonces(&self, network: &Network, signer: &str, first: u64) -> Result<Vec<Attempt>, LedgerError> {
        self.call("nonces", self.process.nonces(network, signer, first)).await
    }

    async fn spent_gwei(&self, network: &Network, now: UnixTime) -> Result<u64, LedgerError> {
        self.call("spent", self.process.spent_gwei(network, now)).await
    }

    async fn reverts(&self, network: &Network, payer: &str, since: UnixTime) -> Result<u64, LedgerError> {
        self.call("reverts", self.process.reverts(network, payer, since)).await
    }

    async fn page(&self, filter: &Filter, after: i64, limit: u32) -> Result<Vec<Record>, LedgerError> {
        self.call("page", self.process.page(filter, after, limit)).await
    }

    async fn healthy(&self) -> Result<(), LedgerError> {
        self.call("healthy", self.process.healthy()).await
    }
}
