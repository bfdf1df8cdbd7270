//! What a payer asks a chain before it signs allowances.

use alloy_primitives::{Address, U256};
use async_trait::async_trait;
use tollway_protocol::Network;

/// What a transaction should offer for gas, in wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// The most that it pays per gas.
    pub max_fee_per_gas: u128,
    /// How much of that may go to the block's producer.
    pub max_priority_fee_per_gas: u128,
}

/// Why the chain did not say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The contract has no such function, or refused.
    #[error("the contract does not answer that")]
    Refused,
    /// The chain can't be asked, or its answer can't be read.
    #[error("the chain can't be asked: {0}")]
    Unreachable(&'static str),
}

/// Reads what a payer by Permit2 needs to know of EVM chains.
#[async_trait]
pub trait ChainReader: Send + Sync {
    /// How much of `owner`'s `token` the `spender` may move.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn allowance(
        &self,
        network: &Network,
        token: Address,
        owner: Address,
        spender: Address,
    ) -> Result<U256, ReadError>;
    /// The nonce of `owner`'s next EIP-2612 permit.
    ///
    /// # Errors
    /// [`ReadError::Refused`] when the token has no permits.
    async fn permit_nonce(
        &self,
        network: &Network,
        token: Address,
        owner: Address,
    ) -> Result<U256, ReadError>;
    /// The nonce of `owner`'s next transaction.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn account_nonce(&self, network: &Network, owner: Address) -> Result<u64, ReadError>;
    /// What a transaction should offer now.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn fees(&self, network: &Network) -> Result<Fees, ReadError>;
}
