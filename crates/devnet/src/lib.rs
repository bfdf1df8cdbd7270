//! Chains inside the process, for `tollway dev`, demos and tests.
//!
//! [`evm`] is an Ethereum chain on `revm` that speaks JSON-RPC, with USDC, Permit2, its x402 proxies and Multicall3 at the addresses that
//! x402 clients have in their tables, so that unmodified SDKs pay on it. The contracts are our own, written from the
//! public ABIs (`contracts/` in the repository); [`evm::install`] puts the same ones on a running anvil.
//!
//! ```
//! use alloy_primitives::{Address, U256};
//! use tollway_devnet::evm::{Chain, Genesis};
//!
//! let chain = Chain::builder().build()?;
//! let deployment = Genesis::base_sepolia().deploy(&chain)?;
//! let payer = Address::repeat_byte(0x11);
//! deployment.mint(payer, U256::from(5_000_000))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod artefacts;
pub mod evm;
