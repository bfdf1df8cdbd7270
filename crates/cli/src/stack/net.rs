//! A chain to pay on: embedded, or a development node outside.

use std::time::Duration;

use alloy_primitives::{Address, U256};
use tokio::net::TcpListener;
use tollway_devnet::evm::{self, Chain, Deployment, Genesis, Installed, Mining};
use tollway_protocol::Network;

use crate::exit::{Doing as _, Failure};
use crate::rpc::Rpc;

/// A chain with the contracts that payments need.
pub(crate) struct Net {
    /// Its id.
    pub(crate) network: Network,
    /// A client of its node.
    pub(crate) rpc: Rpc,
    /// The token that payments are in.
    pub(crate) usdc: Address,
    purse: Purse,
}

enum Purse {
    Embedded(Box<(Deployment, evm::Server)>),
    Outside(Box<Installed<Rpc>>),
}

impl Net {
    /// A chain of our own as Base Sepolia, served on loopback.
    pub(crate) async fn embedded(port: u16, mining: Mining) -> Result<Self, Failure> {
        let genesis = Genesis::base_sepolia();
        let chain = Chain::builder().chain_id(genesis.chain_id).mining(mining).build()?;
        let deployment = genesis.deploy(&chain)?;
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .doing(|| format!("can't listen on 127.0.0.1:{port}"))
            .map_err(|failure| failure.todo("something else listens there: choose another with --port"))?;
        let server = evm::serve(chain, listener)?;
        Ok(Self {
            network: Network::eip155(genesis.chain_id),
            rpc: Rpc::new(&server.url())?,
            usdc: deployment.usdc,
            purse: Purse::Embedded(Box::new((deployment, server))),
        })
    }

    /// A node such as anvil; contracts that it lacks are put there.
    pub(crate) async fn outside(network: Network, url: &str) -> Result<Self, Failure> {
        let genesis = match network.chain_id() {
            Some(84532) => Genesis::base_sepolia(),
            Some(8453) => Genesis::base(),
            _ => {
                return Err(Failure::general(format!(
                    "--rpc {network}: there is no development kit for this network"
                ))
                .todo(
                    "use eip155:84532 (Base Sepolia) or eip155:8453 (Base), as in `anvil --chain-id 84532`",
                ));
            }
        };
        let rpc = Rpc::new(url)?;
        let installed = evm::install(rpc.clone(), &genesis)
            .await
            .doing(|| format!("the contracts can't be put on {network}"))
            .map_err(|failure| {
                failure.todo("start a development node: `anvil --chain-id 84532`, or leave --rpc out for the embedded chain")
            })?;
        Ok(Self { network, rpc, usdc: installed.usdc, purse: Purse::Outside(Box::new(installed)) })
    }

    /// Gives an account ether for fees.
    pub(crate) async fn fund(&self, account: Address) -> Result<(), Failure> {
        match &self.purse {
            Purse::Embedded(embedded) => embedded.0.fund(account),
            Purse::Outside(installed) => {
                installed
                    .fund(account)
                    .await
                    .doing(|| format!("no ether for {account} on {}", self.network))?;
            }
        }
        Ok(())
    }

    /// Makes units of the token for an account.
    pub(crate) async fn mint(&self, account: Address, units: u64) -> Result<(), Failure> {
        let doing = || format!("no USDC for {account} on {}", self.network);
        match &self.purse {
            Purse::Embedded(embedded) => embedded.0.mint(account, U256::from(units)).doing(doing),
            Purse::Outside(installed) => installed.mint(account, U256::from(units)).await.doing(doing),
        }
    }

    /// How often a transaction's fate is looked for.
    pub(crate) fn poll(&self) -> Duration {
        match &self.purse {
            Purse::Embedded(_) => Duration::from_millis(20),
            Purse::Outside(_) => Duration::from_millis(50),
        }
    }

    /// Stops the embedded chain.
    pub(crate) async fn stop(self) {
        if let Purse::Embedded(embedded) = self.purse {
            let stopped = tokio::time::timeout(super::DRAIN, embedded.1.shutdown()).await;
            tracing::debug!(?stopped, "the chain has stopped");
        }
    }
}
