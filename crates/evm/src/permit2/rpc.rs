//! A [`ChainReader`] over JSON-RPC.

use std::time::Duration;

use alloy_primitives::{Address, Bytes, U64, U128, U256};
use alloy_sol_types::SolCall;
use async_trait::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tollway_protocol::Network;
use tollway_protocol::json as bounded;
use url::Url;

use super::reader::{ChainReader, Fees, ReadError};
use crate::abi::Eip2612::{allowanceCall, noncesCall};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks nodes over HTTP, each network its own.
pub struct RpcReader {
    client: reqwest::Client,
    nodes: Vec<(Network, Url)>,
}

impl std::fmt::Debug for RpcReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // URLs carry keys.
        f.debug_list().entries(self.nodes.iter().map(|(network, _)| network)).finish()
    }
}

/// Why a reader can't be made.
#[derive(Debug, thiserror::Error)]
#[error("the RPC client can't be made: {0}")]
pub struct RpcReaderError(#[source] reqwest::Error);

impl RpcReader {
    /// Asks each network's node at its URL.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn new(nodes: impl IntoIterator<Item = (Network, Url)>) -> Result<Self, RpcReaderError> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(RpcReaderError)?;
        Ok(Self { client, nodes: nodes.into_iter().collect() })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        network: &Network,
        method: &str,
        params: Value,
    ) -> Result<T, ReadError> {
        let (_, url) = self
            .nodes
            .iter()
            .find(|(known, _)| known == network)
            .ok_or(ReadError::Unreachable("no node of this network is configured"))?;
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let lost = |_| ReadError::Unreachable("the node does not answer");
        let request = self.client.post(url.clone()).header("content-type", "application/json").body(body);
        let mut response = request.send().await.map_err(lost)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if bytes.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(ReadError::Unreachable("the node's answer is too long"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let answer: Answer = bounded::decode(&bytes, MAX_ANSWER).map_err(|_| GARBLED)?;
        match answer {
            // 3 is a revert; the others of nodes say nothing of the contract.
            Answer { error: Some(Failure { code: 3 }), .. } => Err(ReadError::Refused),
            Answer { error: Some(_), .. } => Err(ReadError::Unreachable("the node answers with an error")),
            Answer { result: Some(result), .. } => serde_json::from_value(result).map_err(|_| GARBLED),
            Answer { result: None, error: None } => Err(GARBLED),
        }
    }

    async fn call(&self, network: &Network, to: Address, call: &impl SolCall) -> Result<U256, ReadError> {
        let data = Bytes::from(call.abi_encode());
        let bytes: Bytes =
            self.ask(network, "eth_call", json!([{ "to": to, "input": data }, "latest"])).await?;
        // No code there, or a fallback that answers nothing.
        <[u8; 32]>::try_from(&bytes[..]).map(U256::from_be_bytes).map_err(|_| ReadError::Refused)
    }
}

const GARBLED: ReadError = ReadError::Unreachable("the node's answer can't be read");

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Option<Value>,
    #[serde(default)]
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    code: i64,
}

#[async_trait]
impl ChainReader for RpcReader {
    async fn allowance(
        &self,
        network: &Network,
        token: Address,
        owner: Address,
        spender: Address,
    ) -> Result<U256, ReadError> {
        self.call(network, token, &allowanceCall { owner, spender }).await
    }

    async fn permit_nonce(
        &self,
        network: &Network,
        token: Address,
        owner: Address,
    ) -> Result<U256, ReadError> {
        self.call(network, token, &noncesCall { owner }).await
    }

    async fn account_nonce(&self, network: &Network, owner: Address) -> Result<u64, ReadError> {
        let count: U64 = self.ask(network, "eth_getTransactionCount", json!([owner, "latest"])).await?;
        Ok(count.to())
    }

    async fn fees(&self, network: &Network) -> Result<Fees, ReadError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            base_fee_per_gas: Option<U128>,
        }
        let head: Head = self.ask(network, "eth_getBlockByNumber", json!(["latest", false])).await?;
        let tip: U128 = self.ask(network, "eth_maxPriorityFeePerGas", json!([])).await?;
        let base: u128 = head.base_fee_per_gas.ok_or(GARBLED)?.to();
        let tip: u128 = tip.to();
        // Good for a base fee that doubles meanwhile.
        Ok(Fees {
            max_fee_per_gas: base.saturating_mul(2).saturating_add(tip),
            max_priority_fee_per_gas: tip,
        })
    }
}
