//! JSON-RPC to one node: bounded in time, counted, its URL kept out of every text.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_json_rpc::{RpcRecv, RpcSend};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_rpc_client::RpcClient;
use alloy_transport::{RpcError as AlloyError, TransportErrorKind};
use alloy_transport_http::Http;
use serde::{Deserialize, Serialize};
use tollway_protocol::Secret;

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// No answer that could be used: nothing is known.
    #[error("the RPC node can't be used: {0}")]
    Unreachable(&'static str),
    /// The node answered with an error.
    #[error("the RPC node refused ({code}): {message}")]
    Refused {
        /// JSON-RPC's code.
        code: i64,
        /// The node's text, bounded.
        message: String,
    },
}

/// A node.
#[derive(Clone)]
pub(crate) struct Rpc {
    client: RpcClient,
    timeout: Duration,
    trips: Arc<AtomicU64>,
}

/// A call that is only tried.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Call {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Address>,
    pub(crate) to: Address,
    #[serde(rename = "data")]
    pub(crate) input: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gas: Option<U64>,
}

/// What a settlement reads of a receipt; chains add members of their own.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    pub(crate) transaction_hash: B256,
    pub(crate) status: U64,
    pub(crate) block_number: U64,
    pub(crate) logs: Vec<alloy_primitives::Log>,
}

/// What is read of a block.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Block {
    pub(crate) number: U64,
    pub(crate) timestamp: U64,
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
    pub(crate) transaction_hash: Option<B256>,
}

impl Rpc {
    /// # Errors
    /// What is wrong with the URL or the HTTP client, without the URL.
    pub(crate) fn connect(url: &Secret<String>, timeout: Duration) -> Result<Self, &'static str> {
        let url = url::Url::parse(url.expose()).map_err(|_| "the RPC URL can't be read")?;
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| "the HTTP client can't be made")?;
        let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let client = RpcClient::new(Http::with_client(http, url), local);
        Ok(Self { client, timeout, trips: Arc::default() })
    }

    /// Round trips made so far.
    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }

    pub(crate) async fn request<P: RpcSend + 'static, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcError> {
        self.trips.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("tollway_evm_rpc_total", "method" => method).increment(1);
        let answer = tokio::time::timeout(self.timeout, self.client.request(method, params)).await;
        let error = match answer {
            Ok(Ok(result)) => return Ok(result),
            Err(_) => RpcError::Unreachable("no answer in time"),
            Ok(Err(error)) => told(&error),
        };
        metrics::counter!("tollway_evm_rpc_errors_total", "method" => method).increment(1);
        tracing::debug!(method, %error, "rpc");
        Err(error)
    }

    pub(crate) async fn chain_id(&self) -> Result<u64, RpcError> {
        self.request::<_, U64>("eth_chainId", ()).await.map(|id| id.to())
    }

    pub(crate) async fn code(&self, address: Address) -> Result<Bytes, RpcError> {
        self.request("eth_getCode", (address, "latest")).await
    }

    pub(crate) async fn call(&self, call: &Call) -> Result<Bytes, RpcError> {
        self.request("eth_call", (call.clone(), "latest")).await
    }

    pub(crate) async fn estimate(&self, call: &Call) -> Result<u64, RpcError> {
        self.request::<_, U64>("eth_estimateGas", (call.clone(),)).await.map(|gas| gas.to())
    }

    pub(crate) async fn block(&self) -> Result<Block, RpcError> {
        self.request("eth_getBlockByNumber", ("latest", false)).await
    }

    pub(crate) async fn balance(&self, address: Address) -> Result<U256, RpcError> {
        self.request("eth_getBalance", (address, "latest")).await
    }

    /// Transactions of `address` that are mined (`latest`) or also waiting (`pending`).
    pub(crate) async fn nonce(&self, address: Address, tag: &'static str) -> Result<u64, RpcError> {
        self.request::<_, U64>("eth_getTransactionCount", (address, tag)).await.map(|n| n.to())
    }

    pub(crate) async fn fees(&self) -> Result<FeeHistory, RpcError> {
        self.request("eth_feeHistory", (U64::from(4), "latest", [50.0])).await
    }

    pub(crate) async fn send(&self, raw: &[u8]) -> Result<B256, RpcError> {
        self.request("eth_sendRawTransaction", (Bytes::copy_from_slice(raw),)).await
    }

    pub(crate) async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, RpcError> {
        self.request("eth_getTransactionReceipt", (hash,)).await
    }

    /// Whether the node knows the transaction, mined or waiting.
    pub(crate) async fn knows(&self, hash: B256) -> Result<bool, RpcError> {
        self.request::<_, Option<serde::de::IgnoredAny>>("eth_getTransactionByHash", (hash,))
            .await
            .map(|found| found.is_some())
    }

    pub(crate) async fn logs(
        &self,
        address: Address,
        topics: Vec<B256>,
        from_block: u64,
    ) -> Result<Vec<FoundLog>, RpcError> {
        let filter = serde_json::json!({
            "address": address, "topics": topics, "fromBlock": U64::from(from_block), "toBlock": "latest",
        });
        self.request("eth_getLogs", (filter,)).await
    }
}

fn told(error: &AlloyError<TransportErrorKind>) -> RpcError {
    match error {
        AlloyError::ErrorResp(payload) => RpcError::Refused {
            code: payload.code,
            message: payload.message.chars().filter(|c| !c.is_control()).take(200).collect(),
        },
        AlloyError::DeserError { .. } => RpcError::Unreachable("its answer can't be read"),
        AlloyError::NullResp => RpcError::Unreachable("its answer is null"),
        _ => RpcError::Unreachable("the connection failed"),
    }
}
