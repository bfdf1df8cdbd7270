//! An Ethereum chain in memory, and the contracts for payments on it or on an anvil.
//!
//! ```
//! use tollway_devnet::evm::{self, Chain, Genesis, Mining};
//! # use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chain = Chain::builder().mining(Mining::Interval(Duration::from_secs(2))).build()?;
//! Genesis::base_sepolia().deploy(&chain)?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let server = evm::serve(chain, listener)?;
//! println!("eip155:84532 is at {}", server.url());
//! # server.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does and doesn't
//! The rules are Ethereum's of Osaka (no blob transactions), executed by `revm`. Fees move by EIP-1559, blocks hold 30 M
//! gas. The pool follows geth: transactions with a nonce gap wait, a replacement must pay 10 % more, the texts of
//! refusals are geth's. Blocks, their hashes, roots of transactions and receipts are real; the state root is zero.
//! Blocks are announced over WebSocket at the same address (`eth_subscribe` with `newHeads`); there are no other
//! subscriptions, filters (`eth_newFilter`), proofs or traces. Reorganisations come when they are asked for: by
//! [`Chain::reorg`], `anvil_reorg` or `tollway_reorg`.
//!
//! Block times follow the wall clock and rise by at least one second, so with [`Mining::Auto`] a burst of transactions
//! puts the chain's clock ahead by as many seconds. Under load mine at intervals.

mod admission;
mod block;
mod chain;
mod clock;
mod execution;
mod genesis;
mod install;
mod miner;
mod pool;
mod rpc;
mod server;
mod state;
mod websocket;
mod world;

pub use crate::server::Server;
pub use chain::{Builder, Chain, Mining};
pub use genesis::{
    CREATE2_DEPLOYER, Deployment, EXACT_PERMIT2_PROXY, Genesis, MINTER, MULTICALL3, PERMIT2, Token,
    UPTO_PERMIT2_PROXY,
};
pub use install::{InstallError, Installed, JsonRpc, install};
pub use miner::NoRuntime;
pub use rpc::RpcError;
pub use server::serve;
