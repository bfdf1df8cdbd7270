//! A whole x402 world in this process, for `demo` and `dev`: an EVM chain and a Solana cluster, a facilitator over HTTP on
//! loopback, and an API that sells.

mod net;
mod service;
mod shop;
mod solana;

pub(crate) use net::Net;
pub(crate) use service::{Service, registry_limits};
pub(crate) use shop::{PRICE, Shop, ShopConfig};
pub(crate) use solana::Solana;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tollway_evm::facilitator::ChainConfig;
use tollway_evm::keys::Key;
use tollway_evm::{Chain, ExactFacilitator};
use tollway_facilitator::{Server, config};
use tollway_ledger::{Ledger, PostgresLedger, PostgresOptions, SqliteLedger};
use tollway_protocol::Secret;

use crate::exit::{Doing as _, Failure};

/// How long what is in flight may take when a development stack stops.
pub(crate) const DRAIN: Duration = Duration::from_secs(2);

/// A listener on loopback; port 0 takes a free one.
pub(crate) async fn listen(port: u16) -> Result<Server, Failure> {
    Server::bind(("127.0.0.1", port)).await.doing(|| format!("can't listen on 127.0.0.1:{port}")).map_err(
        |failure| failure.todo("something else listens there: choose another with --port, or stop it"),
    )
}

/// The mechanism that settles on `net` from `key`'s account.
pub(crate) fn mechanism(net: &Net, key: Key, ledger: Arc<SqliteLedger>) -> Result<ExactFacilitator, Failure> {
    let mut config = ChainConfig::new(net.network.clone(), Secret::new(net.rpc.url().to_owned()));
    config.poll = net.poll();
    Ok(ExactFacilitator::new(Chain::new(config)?, key, ledger))
}

/// Opens a facilitator's ledger, making it if it isn't there.
pub(crate) async fn open(place: &config::Ledger) -> Result<Arc<dyn Ledger>, Failure> {
    let Some(url) = place.postgres() else {
        let path = place.path().ok_or_else(|| Failure::general(format!("ledger: {place}: no file")))?;
        return Ok(open_ledger(path)?);
    };
    let opened = PostgresLedger::open(url, PostgresOptions::default()).await;
    let opened = opened.doing(|| format!("the ledger {place}"));
    opened.map(|ledger| Arc::new(ledger) as Arc<dyn Ledger>).map_err(|failure| {
        failure.todo("is the database up, and may this account make tables in its schema `tollway`?")
    })
}

/// As [`open`], but never makes a file.
pub(crate) async fn open_existing(place: &config::Ledger) -> Result<Arc<dyn Ledger>, Failure> {
    if let Some(path) = place.path().filter(|path| !path.is_file()) {
        return Err(Failure::general(format!("the ledger {}: there is no such file", path.display())));
    }
    open(place).await
}

/// Opens a ledger's file, or says what is wrong with it.
pub(crate) fn open_ledger(path: &Path) -> Result<Arc<SqliteLedger>, Failure> {
    let opened = SqliteLedger::open(path).doing(|| format!("the ledger {}", path.display()));
    opened.map(Arc::new).map_err(|failure| {
        failure.todo("it must be a file that Tollway made, in a directory that exists and can be written")
    })
}
