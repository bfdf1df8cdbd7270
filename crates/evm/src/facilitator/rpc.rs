//! JSON-RPC to one node: bounded in time, counted, its URL kept out of every text.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tollway_protocol::Secret;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RpcError {
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

/// A node. Its URL may hold credentials: it is in no text of ours, and reqwest's own log names the host only.
#[derive(Clone)]
pub(crate) struct Rpc {
    client: reqwest::Client,
    url: url::Url,
    timeout: Duration,
    trips: Arc<AtomicU64>,
}

#[derive(Serialize)]
struct Question<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: P,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<Told>,
}

#[derive(Deserialize)]
struct Told {
    code: i64,
    message: String,
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
    pub(crate) topics: Vec<B256>,
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
        Ok(Self { client: http, url, timeout, trips: Arc::default() })
    }

    /// Round trips made so far.
    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }

    pub(crate) async fn request<P: Serialize, R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcError> {
        let id = self.trips.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("tollway_evm_rpc_total", "method" => method).increment(1);
        let question = Question { jsonrpc: "2.0", id, method, params };
        let answer = match serde_json::to_vec(&question) {
            Ok(body) => tokio::time::timeout(self.timeout, self.ask(body))
                .await
                .unwrap_or(Err(RpcError::Unreachable("no answer in time"))),
            Err(_) => Err(RpcError::Unreachable("the call can't be written")),
        };
        answer.and_then(|bytes| read(&bytes)).inspect_err(|error| {
            metrics::counter!("tollway_evm_rpc_errors_total", "method" => method).increment(1);
            tracing::debug!(method, %error, "rpc");
        })
    }

    async fn ask(&self, body: Vec<u8>) -> Result<Vec<u8>, RpcError> {
        let failed = |_| RpcError::Unreachable("the connection failed");
        let request =
            self.client.post(self.url.clone()).header("content-type", "application/json").body(body);
        let mut response = request.send().await.map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(RpcError::Unreachable("its answer is too long"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    pub(crate) async fn chain_id(&self) -> Result<u64, RpcError> {
        self.request::<_, U64>("eth_chainId", ()).await.map(|id| id.to())
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
        topics: (&[B256], B256, B256),
        from_block: u64,
    ) -> Result<Vec<FoundLog>, RpcError> {
        let filter = serde_json::json!({
            "address": address, "topics": topics, "fromBlock": U64::from(from_block), "toBlock": "latest",
        });
        self.request("eth_getLogs", (filter,)).await
    }
}

fn read<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, RpcError> {
    let unreadable = |_| RpcError::Unreachable("its answer can't be read");
    let answer: Answer<'_> = serde_json::from_slice(bytes).map_err(unreadable)?;
    match answer.error {
        Some(Told { code, message }) => Err(RpcError::Refused {
            code,
            message: message.chars().filter(|c| !c.is_control()).take(200).collect(),
        }),
        None => serde_json::from_str(answer.result.map_or("null", RawValue::get)).map_err(unreadable),
    }
}
