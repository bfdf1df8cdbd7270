//! What an EVM node is asked.

pub(crate) mod ask;
mod types;

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use serde::Serialize;
use serde::de::DeserializeOwned;

use tollway_rpc::Names;
pub(crate) use tollway_rpc::{Ask, Given, RpcError};
pub use tollway_rpc::{Http, Transport, Unanswered};
pub(crate) use types::{Block, Blocks, Call, Carried, FeeHistory, FoundLog, Receipt, gwei, reverted};

const NAMES: Names = Names {
    calls: "tollway_evm_rpc_total",
    errors: "tollway_evm_rpc_errors_total",
    passed_over: "tollway_evm_rpc_passed_over_total",
};

/// A network's nodes.
#[derive(Clone)]
pub(crate) struct Rpc(tollway_rpc::Rpc);

impl Rpc {
    pub(crate) fn new(ways: Vec<Arc<dyn Transport>>, timeout: Duration) -> Self {
        Self(tollway_rpc::Rpc::new(ways, timeout, NAMES))
    }

    /// Round trips made so far.
    pub(crate) fn trips(&self) -> u64 {
        self.0.trips()
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        self.0.nodes()
    }

    /// Asks the first node that answers.
    async fn request<P: Serialize, R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcError> {
        self.0.request(method, params).await
    }

    /// Asks one node alone.
    pub(crate) async fn request_of<P: Serialize, R: DeserializeOwned>(
        &self,
        node: usize,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcError> {
        self.0.request_of(node, method, params).await
    }

    /// Makes several calls in one round trip, where the node takes them so. All answers are one node's.
    pub(crate) async fn together(&self, asks: &[Ask]) -> Result<Vec<Given>, RpcError> {
        self.0.together(asks).await
    }

    pub(crate) async fn chain_id_of(&self, node: usize) -> Result<u64, RpcError> {
        self.request_of::<_, U64>(node, "eth_chainId", ()).await.map(|id| id.to())
    }

    pub(crate) async fn code(&self, address: Address) -> Result<Bytes, RpcError> {
        self.request("eth_getCode", (address, "latest")).await
    }

    pub(crate) async fn call(&self, call: &Call) -> Result<Bytes, RpcError> {
        self.request("eth_call", (call, "latest")).await
    }

    /// The call in the state after block `number`.
    pub(crate) async fn call_at(&self, call: &Call, number: U64) -> Result<Bytes, RpcError> {
        self.request("eth_call", (call, number)).await
    }

    pub(crate) async fn estimate(&self, call: &Call) -> Result<u64, RpcError> {
        self.request::<_, U64>("eth_estimateGas", (call,)).await.map(|gas| gas.to())
    }

    pub(crate) async fn block(&self) -> Result<Block, RpcError> {
        self.request("eth_getBlockByNumber", ("latest", false)).await
    }

    /// The block of this tag, if there is one yet.
    pub(crate) async fn block_of(&self, tag: &'static str) -> Result<Option<Block>, RpcError> {
        self.request("eth_getBlockByNumber", (tag, false)).await
    }

    /// The block with this number, if the chain is as long.
    pub(crate) async fn block_at(&self, number: u64) -> Result<Option<Block>, RpcError> {
        self.request("eth_getBlockByNumber", (U64::from(number), false)).await
    }

    pub(crate) async fn balance(&self, address: Address) -> Result<U256, RpcError> {
        self.request("eth_getBalance", (address, "latest")).await
    }

    /// Transactions of `address` that are mined.
    pub(crate) async fn nonce(&self, address: Address) -> Result<u64, RpcError> {
        self.request::<_, U64>("eth_getTransactionCount", (address, "latest")).await.map(|n| n.to())
    }

    pub(crate) async fn fees(&self) -> Result<FeeHistory, RpcError> {
        self.request("eth_feeHistory", (U64::from(4), "latest", [50.0])).await
    }

    /// Gives every node the transaction; that one took it is enough.
    pub(crate) async fn send(&self, raw: &[u8]) -> Result<B256, RpcError> {
        let params = (Bytes::copy_from_slice(raw),);
        self.0.request_all("eth_sendRawTransaction", params).await
    }

    pub(crate) async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, RpcError> {
        self.request("eth_getTransactionReceipt", (hash,)).await
    }

    pub(crate) async fn logs(
        &self,
        address: Address,
        topics: &serde_json::Value,
        from_block: u64,
    ) -> Result<Vec<FoundLog>, RpcError> {
        let filter = serde_json::json!({
            "address": address, "topics": topics, "fromBlock": U64::from(from_block), "toBlock": "latest",
        });
        self.request("eth_getLogs", (filter,)).await
    }

    /// The logs of several contracts in some blocks.
    pub(crate) async fn logs_in(
        &self,
        addresses: &[Address],
        topics: &serde_json::Value,
        blocks: Blocks,
    ) -> Result<Vec<FoundLog>, RpcError> {
        let filter = match blocks {
            Blocks::One(hash) => {
                serde_json::json!({"address": addresses, "topics": topics, "blockHash": hash})
            }
            Blocks::Range(from, to) => serde_json::json!({
                "address": addresses, "topics": topics,
                "fromBlock": U64::from(from), "toBlock": U64::from(to),
            }),
        };
        self.request("eth_getLogs", (filter,)).await
    }
}
