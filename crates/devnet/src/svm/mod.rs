//! A Solana chain in memory, with the tokens for payments on it.
//!
//! ```
//! use std::time::Duration;
//! use tollway_devnet::svm::{self, Chain};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chain = Chain::builder().slot_time(Duration::from_millis(400)).build()?;
//! let payer = svm::Address::from([7; 32]);
//! chain.mint(svm::USDC_DEVNET, payer, 5_000_000)?;
//! assert_eq!(chain.token_balance(svm::USDC_DEVNET, payer), 5_000_000);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let server = svm::serve(chain.clone(), listener)?;
//! println!("{} is at {}", chain.network(), server.url());
//! # server.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does and doesn't
//! Transactions are executed by `litesvm`: the runtime and the programs (System, SPL Token, Token-2022, Associated
//! Token, Memo, Compute Budget) are those of a validator. Around them this module keeps what a validator keeps:
//!
//! - Signatures are checked for every transaction that is to be executed; `simulateTransaction` checks them when asked.
//! - A message is executed once while its blockhash lives, whoever signed it. The signature plays no part.
//! - A slot is a bank: the accounts after it. Three commitments name three banks, and every method reads the one it is
//!   asked for, `finalized` by default. A transaction is executed in the slot that is being made (processed), is
//!   confirmed when that slot has a successor, and finalized [`Builder::finality`] slots later.
//! - A slot has one blockhash. It is good for [`Builder::blockhash_age`] slots after it, and for a 25th less in a
//!   simulation, as validators have it.
//! - Block heights are less than slots, as on a chain that has skipped some, and get lower by [`Chain::fork`].
//! - `sendTransaction` answers the signature and no more: what isn't valid any more when its turn comes vanishes.
//!
//! Not here: votes, leaders, rent collection, durable nonces (their transactions have an unknown blockhash), blocks as
//! such (`getBlock`), the encoding `jsonParsed` (answered as `base64`, as nodes do for what they can't parse), priority
//! fees of others (`getRecentPrioritizationFees` answers what [`Chain::set_priority_fee`] says), and the balances of
//! addresses that came from lookup tables in `getTransaction`. A node sends a transaction again while its blockhash
//! lives; this one doesn't, so what a fork undoes stays undone.
//!
//! Every bank until finality holds its own table of accounts (the contents are shared), and each slot copies it: with a
//! hundred thousand accounts let slots be long.

mod admission;
mod bank;
mod blockhashes;
mod chain;
mod history;
mod mints;
mod node;
mod rpc;
mod server;
mod slots;
mod tokens;
mod websocket;

pub use crate::{json_rpc::RpcError, server::Server};
pub use chain::{Builder, Chain, ChainError, DEVNET_GENESIS_HASH};
#[cfg(feature = "test-contracts")]
pub use mints::{HOOK_PROGRAM, HOOKED_MINT, SECOND_MINT, TAXED_MINT};
pub use mints::{MINT_AUTHORITY, PYUSD_DEVNET, USDC_DEVNET};
pub use server::serve;
pub use solana_address::Address;
pub use tokens::{TOKEN_2022_PROGRAM, TOKEN_PROGRAM, associated_token_account};
