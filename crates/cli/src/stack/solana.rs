//! A Solana cluster to pay on, embedded.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tollway_devnet::svm::{self, Address, Chain, Server, USDC_DEVNET};
use tollway_ledger::SqliteLedger;
use tollway_protocol::{Network, Secret};
use tollway_svm::ExactFacilitator;
use tollway_svm::facilitator::{Cluster, ClusterConfig};
use tollway_svm::keys::Key;

use crate::exit::{Doing as _, Failure};

/// As often as Solana's own.
const SLOT: Duration = Duration::from_millis(400);
/// How often a transaction's fate is looked for.
const POLL: Duration = Duration::from_millis(50);
/// Ten SOL, in lamports.
const FUNDS: u64 = 10_000_000_000;

/// A cluster of our own that looks like Solana's devnet, served on loopback.
pub(crate) struct Solana {
    /// Its id.
    pub(crate) network: Network,
    chain: Chain,
    server: Server,
}

impl Solana {
    pub(crate) async fn embedded(port: u16) -> Result<Self, Failure> {
        let chain = Chain::builder().slot_time(SLOT).build()?;
        let network = Network::new(&chain.network())?;
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .doing(|| format!("can't listen on 127.0.0.1:{port}"))
            .map_err(|failure| failure.todo("something else listens there: choose another with --port"))?;
        let server = svm::serve(chain.clone(), listener)?;
        Ok(Self { network, chain, server })
    }

    /// Its node.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Its node, for subscriptions.
    pub(crate) fn websocket_url(&self) -> String {
        self.server.websocket_url()
    }

    /// The token that payments are in.
    pub(crate) const fn usdc() -> Address {
        USDC_DEVNET
    }

    /// Gives an account lamports for fees.
    pub(crate) fn fund(&self, account: Address) -> Result<(), Failure> {
        self.chain.fund(account, FUNDS).doing(|| format!("no SOL for {account} on {}", self.network))
    }

    /// Makes units of the token for an account, and its token account if there is none yet.
    pub(crate) fn mint(&self, account: Address, units: u64) -> Result<(), Failure> {
        let doing = || format!("no USDC for {account} on {}", self.network);
        self.chain.mint(Self::usdc(), account, units).doing(doing)
    }

    /// What an account has of the token, in the slot that is being made.
    pub(crate) fn token_balance(&self, account: Address) -> u64 {
        self.chain.token_balance(Self::usdc(), account)
    }

    /// The mechanism that settles here, with `key` as the fee payer.
    pub(crate) fn mechanism(&self, key: Key, ledger: Arc<SqliteLedger>) -> Result<ExactFacilitator, Failure> {
        let mut config = ClusterConfig::new(self.network.clone(), Secret::new(self.url()));
        config.ws = Some(Secret::new(self.websocket_url()));
        config.poll = POLL;
        Ok(ExactFacilitator::new(Cluster::new(config)?, vec![key], ledger)?)
    }

    /// Stops the cluster.
    pub(crate) async fn stop(self) {
        let stopped = tokio::time::timeout(super::DRAIN, self.server.shutdown()).await;
        tracing::debug!(?stopped, "the cluster has stopped");
    }
}
