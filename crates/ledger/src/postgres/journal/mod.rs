//! The facilitator's half in SQL: many payments at a time, so that a batch costs a few round trips.
//!
//! Rows are locked in one order everywhere (leases, settlements by their keys, transactions, gas), so that
//! transactions rarely cross; where they do, the one that gives way is tried again.

mod chain;
mod gas;
mod read;
mod sign;
mod signers;
mod take;

use async_trait::async_trait;
use tollway_protocol::IdempotencyKey;
use tollway_protocol::Network;
use tollway_protocol::bind::{PaymentKey, Verified};
use tollway_protocol::door::UnixTime;

use super::PostgresLedger;
use super::failure::Failure;
use super::instance::Instance;
use super::session::Session;
use super::store::{Done, Kind};
use crate::journal::{Attempt, Batch, Ending, Filter, Journal, Lease, Mined, Prepared, Record, Signing};
use crate::{LedgerError, digest};

fn conflict(key: &PaymentKey, found: impl Into<String>, expected: &'static str) -> Failure {
    LedgerError::Conflict { key: key.to_string(), found: found.into(), expected }.into()
}

/// The keys as a value.
fn texts<'a>(keys: impl IntoIterator<Item = &'a PaymentKey>) -> Vec<&'a str> {
    keys.into_iter().map(PaymentKey::as_str).collect()
}

impl PostgresLedger {
    async fn read<T: Send + 'static>(
        &self,
        work: impl AsyncFn(&Session, &Instance) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let work = async move |db: &Session, me: &Instance| work(db, me).await.map(Done::Keep);
        self.worker.call(Kind::Read, None, work).await
    }

    /// One statement that writes.
    async fn single<T: Send + 'static>(
        &self,
        work: impl AsyncFn(&Session, &Instance) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let work = async move |db: &Session, me: &Instance| work(db, me).await.map(Done::Keep);
        self.worker.call(Kind::Single, None, work).await
    }

    /// One transaction.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl AsyncFn(&Session, &Instance) -> Result<Done<T>, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.worker.call(Kind::Whole, None, work).await
    }
}

#[async_trait]
impl Journal for PostgresLedger {
    async fn prepare(
        &self,
        payments: &[Verified],
        held: bool,
        now: UnixTime,
    ) -> Result<Vec<Prepared>, LedgerError> {
        let new = payments.iter().map(take::New::of).collect::<Result<Vec<_>, _>>()?;
        self.whole(async move |db: &Session, me: &Instance| take::prepare(db, me, &new, held, now).await)
            .await
    }

    async fn sign(&self, lease: &Lease, batch: Batch, now: UnixTime) -> Result<Signing, LedgerError> {
        let entry = sign::Entry::new(lease, batch, now)?;
        self.whole(async move |db: &Session, me: &Instance| sign::sign(db, me, &entry).await).await
    }

    async fn sent(&self, network: &Network, hash: &str) -> Result<(), LedgerError> {
        let (network, hash) = (network.clone(), hash.to_owned());
        self.whole(async move |db: &Session, _: &Instance| sign::sent(db, &network, &hash).await).await
    }

    async fn finish(
        &self,
        network: &Network,
        mined: &[Mined],
        endings: &[(PaymentKey, Ending)],
        now: UnixTime,
    ) -> Result<Vec<Result<(), LedgerError>>, LedgerError> {
        let (network, mined, endings) = (network.clone(), mined.to_vec(), endings.to_vec());
        self.whole(async move |db: &Session, me: &Instance| {
            chain::finish(db, me, &network, &mined, &endings, now).await
        })
        .await
    }

    async fn never_mined(&self, network: &Network, hashes: &[String]) -> Result<(), LedgerError> {
        let (network, hashes) = (network.clone(), hashes.to_vec());
        self.whole(async move |db: &Session, _: &Instance| chain::never_mined(db, &network, &hashes).await)
            .await
    }

    async fn tell(&self, key: &PaymentKey, asker: Option<&IdempotencyKey>) -> Result<bool, LedgerError> {
        let (key, asker) = (key.clone(), digest::asker(asker));
        self.single(async move |db: &Session, _: &Instance| chain::tell(db, &key, asker).await).await
    }

    async fn reopen(&self, keys: &[PaymentKey]) -> Result<(), LedgerError> {
        let keys = keys.to_vec();
        self.whole(async move |db: &Session, me: &Instance| chain::reopen(db, me, &keys).await).await
    }

    async fn finalize(&self, network: &Network, block: u64, keys: &[PaymentKey]) -> Result<u64, LedgerError> {
        let (network, keys) = (network.clone(), keys.to_vec());
        let work = async move |db: &Session, _: &Instance| chain::finalize(db, &network, block, &keys).await;
        self.single(work).await
    }

    async fn let_go(&self, key: &PaymentKey) -> Result<(), LedgerError> {
        let key = key.clone();
        self.single(async move |db: &Session, me: &Instance| take::let_go(db, me, &key).await).await
    }

    async fn abandon_settlement(&self, key: &PaymentKey) -> Result<(), LedgerError> {
        let key = key.clone();
        self.single(async move |db: &Session, me: &Instance| take::abandon(db, me, &key).await).await
    }

    async fn settlement(&self, key: &PaymentKey) -> Result<Option<Record>, LedgerError> {
        let key = key.clone();
        let work = async move |db: &Session, me: &Instance| read::settlements(db, me, &[&key]).await;
        Ok(self.read(work).await?.pop())
    }

    async fn history(&self, key: &PaymentKey) -> Result<Vec<Attempt>, LedgerError> {
        let key = key.clone();
        self.read(async move |db: &Session, _: &Instance| read::history(db, &key).await).await
    }

    async fn open(&self, network: &Network) -> Result<Vec<Record>, LedgerError> {
        let network = network.clone();
        self.read(async move |db: &Session, me: &Instance| read::open(db, me, &network).await).await
    }

    async fn unfinal(&self, network: &Network, block: u64, limit: u32) -> Result<Vec<Record>, LedgerError> {
        let network = network.clone();
        let work =
            async move |db: &Session, me: &Instance| read::unfinal(db, me, &network, block, limit).await;
        self.read(work).await
    }

    async fn take_over(&self, network: &Network, limit: u32) -> Result<Vec<Record>, LedgerError> {
        let network = network.clone();
        let work = async move |db: &Session, me: &Instance| signers::take_over(db, me, &network, limit).await;
        self.whole(async move |db: &Session, me: &Instance| work(db, me).await.map(Done::Keep)).await
    }

    async fn lease(&self, network: &Network, signer: &str) -> Result<Option<Lease>, LedgerError> {
        let (network, signer) = (network.clone(), signer.to_owned());
        self.single(async move |db: &Session, me: &Instance| signers::lease(db, me, &network, &signer).await)
            .await
    }

    async fn give_back(&self, lease: &Lease) -> Result<(), LedgerError> {
        let lease = lease.clone();
        self.single(async move |db: &Session, me: &Instance| signers::give_back(db, me, &lease).await).await
    }

    async fn next_nonce(&self, network: &Network, signer: &str) -> Result<Option<u64>, LedgerError> {
        let (network, signer) = (network.clone(), signer.to_owned());
        self.read(async move |db: &Session, _: &Instance| read::next_nonce(db, &network, &signer).await).await
    }

    async fn nonces(&self, network: &Network, signer: &str, first: u64) -> Result<Vec<Attempt>, LedgerError> {
        let (network, signer) = (network.clone(), signer.to_owned());
        self.read(async move |db: &Session, _: &Instance| read::nonces(db, &network, &signer, first).await)
            .await
    }

    async fn spent_gwei(&self, network: &Network, now: UnixTime) -> Result<u64, LedgerError> {
        let network = network.clone();
        self.read(async move |db: &Session, _: &Instance| gas::spent(db, network.as_str(), now).await).await
    }

    async fn reverts(&self, network: &Network, payer: &str, since: UnixTime) -> Result<u64, LedgerError> {
        let (network, payer) = (network.clone(), payer.to_owned());
        self.read(async move |db: &Session, _: &Instance| read::reverts(db, &network, &payer, since).await)
            .await
    }

    async fn page(&self, filter: &Filter, after: i64, limit: u32) -> Result<Vec<Record>, LedgerError> {
        let filter = filter.clone();
        self.whole(async move |db: &Session, me: &Instance| {
            // Numbers are given out before they can be seen: wait for those that are on their way, so that whoever
            // goes on after the last one of a page has missed none.
            db.query(take::NUMBERS_EXCLUSIVE, &[]).await?;
            read::page(db, me, &filter, after, limit).await.map(Done::Undo)
        })
        .await
    }

    async fn healthy(&self) -> Result<(), LedgerError> {
        self.single(async |db: &Session, me: &Instance| me.renew(db).await).await
    }
}
