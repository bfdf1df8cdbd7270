//! JSON-RPC to a network's nodes: bounded in time, counted, their URLs kept out of every text.

mod pool;
mod transport;
mod types;

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use pool::Pool;
pub use transport::{Http, Transport, Unanswered};
pub(crate) use types::{Block, Blocks, Call, Carried, FeeHistory, FoundLog, Receipt, gwei};

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
        /// What the call reverted with, bounded; empty when the node gives nothing.
        data: Bytes,
    },
}

impl From<Unanswered> for RpcError {
    fn from(Unanswered(why): Unanswered) -> Self {
        Self::Unreachable(why)
    }
}

/// A network's nodes.
#[derive(Clone)]
pub(crate) struct Rpc {
    pool: Pool,
}

#[derive(Serialize)]
struct Question<'a, P> {
    jsonrpc: &'static str,
    id: usize,
    method: &'a str,
    params: P,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    id: Option<serde_json::Value>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<Told>,
}

#[derive(Deserialize)]
struct Told {
    code: i64,
    message: String,
    #[serde(default)]
    data: Option<serde_json::Value>,
}

/// One call of several that are made together.
pub(crate) struct Ask {
    method: &'static str,
    /// Written once: the calldata of many payments is long.
    params: Box<RawValue>,
}

impl Ask {
    fn new(method: &'static str, params: &impl Serialize) -> Self {
        // Numbers, bytes and texts can always be written.
        let params = serde_json::value::to_raw_value(params).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self { method, params }
    }

    pub(crate) fn head() -> Self {
        Self::new("eth_getBlockByNumber", &("latest", false))
    }

    pub(crate) fn receipt(hash: B256) -> Self {
        Self::new("eth_getTransactionReceipt", &[hash])
    }

    pub(crate) fn transaction(hash: B256) -> Self {
        Self::new("eth_getTransactionByHash", &[hash])
    }

    pub(crate) fn nonce(address: Address) -> Self {
        Self::new("eth_getTransactionCount", &(address, "latest"))
    }

    pub(crate) fn balance(address: Address) -> Self {
        Self::new("eth_getBalance", &(address, "latest"))
    }

    pub(crate) fn code(address: Address) -> Self {
        Self::new("eth_getCode", &(address, "latest"))
    }

    pub(crate) fn call(call: &Call) -> Self {
        Self::new("eth_call", &(call, "latest"))
    }

    pub(crate) fn logs(addresses: &[Address], topics: &serde_json::Value, from_block: u64) -> Self {
        let filter = serde_json::json!([{
            "address": addresses, "topics": topics, "fromBlock": U64::from(from_block), "toBlock": "latest",
        }]);
        Self::new("eth_getLogs", &filter)
    }
}

/// What one of several calls gave; read as what was asked for.
pub(crate) struct Given(Result<Box<RawValue>, RpcError>);

impl Given {
    pub(crate) fn read<R: DeserializeOwned>(self) -> Result<R, RpcError> {
        let raw = self.0?;
        serde_json::from_str(raw.get()).map_err(|_| UNREADABLE)
    }
}

/// What is around the parameters of a call, in bytes, and a little more.
const FRAME: usize = 96;

const UNREADABLE: RpcError = RpcError::Unreachable("its answer can't be read");

impl Rpc {
    pub(crate) fn new(ways: Vec<Arc<dyn Transport>>, timeout: Duration) -> Self {
        Self { pool: Pool::new(ways, timeout) }
    }

    /// Round trips made so far.
    pub(crate) fn trips(&self) -> u64 {
        self.pool.trips()
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        self.pool.len()
    }

    /// Asks the first node that answers.
    pub(crate) async fn request<P: Serialize, R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcError> {
        let body = written(&Question { jsonrpc: "2.0", id: 1, method, params })?;
        let mut last = RpcError::Unreachable("no node is configured");
        for node in self.pool.order() {
            match self.one(node, method, body.clone()).await {
                Err(error @ RpcError::Unreachable(_)) => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    async fn one<R: DeserializeOwned>(
        &self,
        node: usize,
        method: &'static str,
        body: Vec<u8>,
    ) -> Result<R, RpcError> {
        metrics::counter!("tollway_evm_rpc_total", "method" => method).increment(1);
        let answer = self.pool.ask(node, body).await.map_err(RpcError::from);
        answer.and_then(|bytes| read(&bytes)).inspect_err(|error| {
            metrics::counter!("tollway_evm_rpc_errors_total", "method" => method).increment(1);
            tracing::debug!(method, node, %error, "rpc");
        })
    }

    /// Asks one node alone.
    pub(crate) async fn request_of<P: Serialize, R: DeserializeOwned>(
        &self,
        node: usize,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcError> {
        let body = written(&Question { jsonrpc: "2.0", id: 1, method, params })?;
        self.one(node, method, body).await
    }

    /// Makes several calls in one round trip, where the node takes them so. All answers are one node's.
    pub(crate) async fn together(&self, asks: &[Ask]) -> Result<Vec<Given>, RpcError> {
        let mut last = RpcError::Unreachable("no node is configured");
        for node in self.pool.order() {
            match self.together_at(node, asks).await {
                Err(error @ RpcError::Unreachable(_)) => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    async fn together_at(&self, node: usize, asks: &[Ask]) -> Result<Vec<Given>, RpcError> {
        if asks.len() > 1 && self.pool.takes_batches(node) {
            let questions: Vec<_> = asks
                .iter()
                .enumerate()
                .map(|(id, ask)| Question { jsonrpc: "2.0", id, method: ask.method, params: &ask.params })
                .collect();
            for ask in asks {
                metrics::counter!("tollway_evm_rpc_total", "method" => ask.method).increment(1);
            }
            let length = asks.iter().map(|ask| ask.params.get().len().saturating_add(FRAME)).sum();
            let body = written_in(Vec::with_capacity(length), &questions)?;
            let bytes = self.pool.ask(node, body).await?;
            match unpacked(&bytes, asks.len()) {
                Some(given) => return Ok(given),
                None if bytes.trim_ascii_start().starts_with(b"[") => return Err(UNREADABLE),
                None => self.pool.refuses_batches(node),
            }
        }
        let mut given = Vec::with_capacity(asks.len());
        for ask in asks {
            match self.request_of::<_, Box<RawValue>>(node, ask.method, &ask.params).await {
                Err(error @ RpcError::Unreachable(_)) => return Err(error),
                answer => given.push(Given(answer)),
            }
        }
        Ok(given)
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
        let method = "eth_sendRawTransaction";
        metrics::counter!("tollway_evm_rpc_total", "method" => method).increment(1);
        let params = (Bytes::copy_from_slice(raw),);
        let body = written(&Question { jsonrpc: "2.0", id: 1, method, params })?;
        let mut last = RpcError::Unreachable("no node is configured");
        for answer in self.pool.tell_all(&body).await {
            match answer.map_err(RpcError::from).and_then(|bytes| read::<B256>(&bytes)) {
                Ok(hash) => return Ok(hash),
                Err(error) => last = error,
            }
        }
        metrics::counter!("tollway_evm_rpc_errors_total", "method" => method).increment(1);
        Err(last)
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

fn written<T: Serialize>(question: &T) -> Result<Vec<u8>, RpcError> {
    written_in(Vec::new(), question)
}

/// [`written`], into `body`, which may have room for it.
fn written_in<T: Serialize>(mut body: Vec<u8>, question: &T) -> Result<Vec<u8>, RpcError> {
    let written = serde_json::to_writer(&mut body, question);
    written.map(|()| body).map_err(|_| RpcError::Unreachable("the call can't be written"))
}

fn read<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, RpcError> {
    let answer: Answer<'_> = serde_json::from_slice(bytes).map_err(|_| UNREADABLE)?;
    let raw = result(&answer)?;
    serde_json::from_str(raw).map_err(|_| UNREADABLE)
}

fn result<'a>(answer: &Answer<'a>) -> Result<&'a str, RpcError> {
    match &answer.error {
        Some(Told { code, message, data }) => Err(RpcError::Refused {
            code: *code,
            message: message.chars().filter(|c| !c.is_control()).take(200).collect(),
            data: data.as_ref().map(reverted).unwrap_or_default(),
        }),
        None => Ok(answer.result.map_or("null", RawValue::get)),
    }
}

/// The most of a revert's data that is read, in bytes.
const MAX_REVERT: usize = 1_024;

/// What a call reverted with: hex, which some nodes put behind a word, or into a member of its own.
fn reverted(data: &serde_json::Value) -> Bytes {
    let text = data.as_str().or_else(|| data.get("data")?.as_str()).unwrap_or_default();
    let hex = text.find("0x").and_then(|at| text.get(at..)).unwrap_or_default();
    let end = hex.len().min(MAX_REVERT * 2 + 2);
    let bytes = hex.get(..end).and_then(|hex| alloy_primitives::hex::decode(hex).ok());
    bytes.unwrap_or_default().into()
}

/// The answers to `count` calls in their order; None unless there is exactly one for each.
fn unpacked(bytes: &[u8], count: usize) -> Option<Vec<Given>> {
    let answers: Vec<Answer<'_>> = serde_json::from_slice(bytes).ok()?;
    let mut given: Vec<Option<Given>> = (0..count).map(|_| None).collect();
    for answer in answers {
        let id = usize::try_from(answer.id.as_ref()?.as_u64()?).ok()?;
        let slot = given.get_mut(id)?;
        let raw =
            result(&answer).and_then(|raw| RawValue::from_string(raw.to_owned()).map_err(|_| UNREADABLE));
        *slot = Some(Given(raw));
    }
    given.into_iter().collect()
}
