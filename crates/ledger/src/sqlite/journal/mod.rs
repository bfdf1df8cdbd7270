//! The facilitator's half in SQL. Each function runs within one savepoint, or reads.

mod chain;
mod gas;
mod read;
mod sign;
mod signers;
mod take;

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use tollway_protocol::IdempotencyKey;
use tollway_protocol::Network;
use tollway_protocol::bind::{PaymentKey, Verified};
use tollway_protocol::door::UnixTime;

use super::lease::Lease as Process;
use super::{Failure, SqliteLedger};
use crate::journal::{Attempt, Batch, Ending, Filter, Journal, Lease, Mined, Prepared, Record, Signing};
use crate::{LedgerError, digest};

fn conflict(key: &PaymentKey, found: impl Into<String>, expected: &'static str) -> Failure {
    LedgerError::Conflict { key: key.to_string(), found: found.into(), expected }.into()
}

/// A number that was stored: none is negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A number as it is stored: no block's or nonce's is so high that this changes it.
fn signed_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl SqliteLedger {
    /// A read that has to know which process this is.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Process) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let process = Arc::clone(&self.lease);
        self.read(move |connection| work(connection, &process)).await
    }
}

#[async_trait]
impl Journal for SqliteLedger {
    async fn prepare(
        &self,
        payments: &[Verified],
        held: bool,
        now: UnixTime,
    ) -> Result<Vec<Prepared>, LedgerError> {
        let new = payments.iter().map(take::New::of).collect::<Result<Vec<_>, _>>()?;
        self.write(move |db, process| take::prepare(db, process, &new, held, now)).await
    }

    async fn sign(&self, lease: &Lease, batch: Batch, now: UnixTime) -> Result<Signing, LedgerError> {
        let entry = sign::Entry::new(lease, batch, now)?;
        self.write(move |db, process| sign::sign(db, process, &entry)).await
    }

    async fn sent(&self, network: &Network, hash: &str) -> Result<(), LedgerError> {
        let (network, hash) = (network.clone(), hash.to_owned());
        self.write(move |db, _| sign::sent(db, &network, &hash)).await
    }

    async fn finish(
        &self,
        network: &Network,
        mined: &[Mined],
        endings: &[(PaymentKey, Ending)],
        now: UnixTime,
    ) -> Result<Vec<Result<(), LedgerError>>, LedgerError> {
        let (network, mined, endings) = (network.clone(), mined.to_vec(), endings.to_vec());
        self.write(move |db, _| chain::finish(db, &network, &mined, &endings, now)).await
    }

    async fn never_mined(&self, network: &Network, hashes: &[String]) -> Result<(), LedgerError> {
        let (network, hashes) = (network.clone(), hashes.to_vec());
        self.write(move |db, _| chain::never_mined(db, &network, &hashes)).await
    }

    async fn tell(&self, key: &PaymentKey, asker: Option<&IdempotencyKey>) -> Result<bool, LedgerError> {
        let (key, asker) = (key.clone(), digest::asker(asker));
        self.write(move |db, _| chain::tell(db, &key, asker)).await
    }

    async fn reopen(&self, keys: &[PaymentKey]) -> Result<(), LedgerError> {
        let keys = keys.to_vec();
        self.write(move |db, process| chain::reopen(db, process, &keys)).await
    }

    async fn finalize(&self, network: &Network, block: u64, keys: &[PaymentKey]) -> Result<u64, LedgerError> {
        let (network, keys) = (network.clone(), keys.to_vec());
        self.write(move |db, _| chain::finalize(db, &network, block, &keys)).await
    }

    async fn let_go(&self, key: &PaymentKey) -> Result<(), LedgerError> {
        let key = key.clone();
        self.write(move |db, process| take::let_go(db, process, &key)).await
    }

    async fn abandon_settlement(&self, key: &PaymentKey) -> Result<(), LedgerError> {
        let key = key.clone();
        self.write(move |db, process| take::abandon(db, process, &key)).await
    }

    async fn settlement(&self, key: &PaymentKey) -> Result<Option<Record>, LedgerError> {
        let key = key.clone();
        self.look(move |db, process| read::settlement(db, process, &key)).await
    }

    async fn history(&self, key: &PaymentKey) -> Result<Vec<Attempt>, LedgerError> {
        let key = key.clone();
        self.read(move |db| read::history(db, &key)).await
    }

    async fn open(&self, network: &Network) -> Result<Vec<Record>, LedgerError> {
        let network = network.clone();
        self.look(move |db, process| read::open(db, process, &network)).await
    }

    async fn unfinal(&self, network: &Network, block: u64, limit: u32) -> Result<Vec<Record>, LedgerError> {
        let network = network.clone();
        self.look(move |db, process| read::unfinal(db, process, &network, block, limit)).await
    }

    async fn take_over(&self, network: &Network, limit: u32) -> Result<Vec<Record>, LedgerError> {
        let network = network.clone();
        self.write(move |db, process| signers::take_over(db, process, &network, limit)).await
    }

    async fn lease(&self, network: &Network, signer: &str) -> Result<Option<Lease>, LedgerError> {
        let (network, signer) = (network.clone(), signer.to_owned());
        self.write(move |db, process| signers::lease(db, process, &network, &signer)).await
    }

    async fn give_back(&self, lease: &Lease) -> Result<(), LedgerError> {
        let lease = lease.clone();
        self.write(move |db, process| signers::give_back(db, process, &lease)).await
    }

    async fn next_nonce(&self, network: &Network, signer: &str) -> Result<Option<u64>, LedgerError> {
        let (network, signer) = (network.clone(), signer.to_owned());
        self.read(move |db| read::next_nonce(db, &network, &signer)).await
    }

    async fn nonces(&self, network: &Network, signer: &str, first: u64) -> Result<Vec<Attempt>, LedgerError> {
        let (network, signer) = (network.clone(), signer.to_owned());
        self.read(move |db| read::nonces(db, &network, &signer, first)).await
    }

    async fn spent_gwei(&self, network: &Network, now: UnixTime) -> Result<u64, LedgerError> {
        let network = network.clone();
        self.read(move |db| gas::spent(db, &network, now)).await
    }

    async fn reverts(&self, network: &Network, payer: &str, since: UnixTime) -> Result<u64, LedgerError> {
        let (network, payer) = (network.clone(), payer.to_owned());
        self.read(move |db| read::reverts(db, &network, &payer, since)).await
    }

    async fn page(&self, filter: &Filter, after: i64, limit: u32) -> Result<Vec<Record>, LedgerError> {
        let filter = filter.clone();
        self.look(move |db, process| read::page(db, process, &filter, after, limit)).await
    }

    async fn healthy(&self) -> Result<(), LedgerError> {
        self.write(|db, process| process.renew(db)).await
    }
}
