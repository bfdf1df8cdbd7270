//! Chains inside the process, for `tollway dev`, demos and tests.
//!
//! [`evm`] is an Ethereum chain on `revm` that speaks JSON-RPC, with USDC, Permit2, its x402 proxies and Multicall3 at the addresses that
//! x402 clients have in their tables, so that unmodified SDKs pay on it. The contracts are our own, written from the
//! public ABIs (`contracts/` in the repository); [`evm::install`] puts the same ones on a running anvil.
//!
//! ```
//! # #[cfg(feature = "evm")] {
//! use alloy_primitives::{Address, U256};
//! use tollway_devnet::evm::{Chain, Genesis};
//!
//! let chain = Chain::builder().build()?;
//! let deployment = Genesis::base_sepolia().deploy(&chain)?;
//! let payer = Address::repeat_byte(0x11);
//! deployment.mint(payer, U256::from(5_000_000))?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`svm`] is a Solana chain on `litesvm` that speaks JSON-RPC and stands for devnet, with USDC and PYUSD where devnet
//! has them. The token programs are the originals.
//!
//! ```
//! # #[cfg(feature = "svm")] {
//! use tollway_devnet::svm::{Address, Chain, USDC_DEVNET};
//!
//! let chain = Chain::builder().build()?;
//! let payer = Address::from([0x11; 32]);
//! chain.mint(USDC_DEVNET, payer, 5_000_000)?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each is a feature, `evm` and `svm`; both are on unless `default-features = false`.

#[cfg(feature = "evm")]
pub mod artefacts;
#[cfg(feature = "evm")]
pub mod evm;
#[cfg(any(feature = "evm", feature = "svm"))]
mod json_rpc;
#[cfg(any(feature = "evm", feature = "svm"))]
mod server;
#[cfg(feature = "svm")]
pub mod svm;
