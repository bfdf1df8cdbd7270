//! What is read of a node's answers; chains add members of their own.

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use serde::{Deserialize, Serialize};

/// A call that is only tried.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Call {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Address>,
    /// Without it, `input` creates a contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<Address>,
    #[serde(rename = "data")]
    pub(crate) input: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gas: Option<U64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    pub(crate) transaction_hash: B256,
    /// The account that sent it.
    #[serde(default)]
    pub(crate) from: Option<Address>,
    pub(crate) status: U64,
    pub(crate) block_number: U64,
    #[serde(default)]
    pub(crate) block_hash: Option<B256>,
    #[serde(default)]
    pub(crate) gas_used: Option<U64>,
    #[serde(default)]
    pub(crate) effective_gas_price: Option<U256>,
    /// What a rollup adds for its data on the chain below.
    #[serde(default)]
    pub(crate) l1_fee: Option<U256>,
    pub(crate) logs: Vec<alloy_primitives::Log>,
}

impl Receipt {
    pub(crate) fn succeeded(&self) -> bool {
        self.status == U64::from(1)
    }

    /// What it cost, in gwei, rounded up.
    pub(crate) fn fee_gwei(&self) -> u64 {
        let gas = U256::from(self.gas_used.unwrap_or_default());
        let execution = gas.saturating_mul(self.effective_gas_price.unwrap_or_default());
        gwei(execution.saturating_add(self.l1_fee.unwrap_or_default()))
    }
}

/// Wei in gwei, rounded up.
pub(crate) fn gwei(wei: U256) -> u64 {
    wei.div_ceil(U256::from(1_000_000_000u64)).saturating_to()
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Block {
    pub(crate) number: U64,
    pub(crate) timestamp: U64,
    #[serde(default)]
    pub(crate) hash: Option<B256>,
    #[serde(default)]
    pub(crate) parent_hash: Option<B256>,
    #[serde(default)]
    pub(crate) base_fee_per_gas: Option<U256>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FeeHistory {
    #[serde(default)]
    pub(crate) base_fee_per_gas: Vec<U256>,
    #[serde(default)]
    pub(crate) reward: Vec<Vec<U256>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FoundLog {
    pub(crate) address: Address,
    pub(crate) topics: Vec<B256>,
    pub(crate) data: Bytes,
    #[serde(default)]
    pub(crate) block_number: Option<U64>,
    pub(crate) transaction_hash: Option<B256>,
}

/// A transaction, as far as it tells what it calls.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Carried {
    pub(crate) hash: B256,
    #[serde(default)]
    pub(crate) to: Option<Address>,
    pub(crate) input: Bytes,
}

/// Where logs are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Blocks {
    /// In this block alone; a node that does not have it answers with an error.
    One(B256),
    /// From one to another, both with it.
    Range(u64, u64),
}

/// The most of a revert's data that is read, in bytes.
const MAX_REVERT: usize = 1_024;

/// What a call reverted with, as a refusal's data has it: hex, which some nodes put behind a word, or into a member of
/// its own.
pub(crate) fn reverted(data: &serde_json::Value) -> Bytes {
    let text = data.as_str().or_else(|| data.get("data")?.as_str()).unwrap_or_default();
    let hex = text.find("0x").and_then(|at| text.get(at..)).unwrap_or_default();
    let end = hex.len().min(MAX_REVERT * 2 + 2);
    let bytes = hex.get(..end).and_then(|hex| alloy_primitives::hex::decode(hex).ok());
    bytes.unwrap_or_default().into()
}
