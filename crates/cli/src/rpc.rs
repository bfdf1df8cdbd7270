//! A node, asked over HTTP.

use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tollway_devnet::evm::JsonRpc;
use tollway_evm::abi::Eip3009;

/// The nodes that are asked on Solana's clusters when no other is named.
pub(crate) const PUBLIC_SOLANA: [(&str, &str); 3] = [
    ("solana", "https://api.mainnet-beta.solana.com"),
    ("solana-devnet", "https://api.devnet.solana.com"),
    ("solana-testnet", "https://api.testnet.solana.com"),
];

/// A node's client. Its URL is in no error and no log: it may hold a key.
#[derive(Clone)]
pub(crate) struct Rpc {
    http: reqwest::Client,
    url: String,
}

impl std::fmt::Debug for Rpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rpc")
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RpcError {
    /// It was not reached, or is no node.
    #[error("the node gives no answer: {0}")]
    Http(#[from] reqwest::Error),
    /// It refused.
    #[error("{message} (code {code})")]
    Refused {
        /// JSON-RPC's.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// It answered with something else.
    #[error("{method} was answered with something else than its specification says")]
    Strange {
        /// The method.
        method: String,
    },
}

impl Rpc {
    pub(crate) fn new(url: &str) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(15)).build()?;
        Ok(Self { http, url: url.to_owned() })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Asks and reads the answer's type.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, RpcError> {
        let answer = self.request(method, params).await?;
        serde_json::from_value(answer).map_err(|_| RpcError::Strange { method: method.to_owned() })
    }

    /// Which chain it has.
    pub(crate) async fn chain_id(&self) -> Result<u64, RpcError> {
        self.ask::<U256>("eth_chainId", json!([])).await.map(|id| id.saturating_to())
    }

    /// What `account` has of a token.
    pub(crate) async fn token_balance(&self, token: Address, account: Address) -> Result<U256, RpcError> {
        let data = Bytes::from(Eip3009::balanceOfCall { account }.abi_encode());
        let answer: Bytes = self.ask("eth_call", json!([{ "to": token, "data": data }, "latest"])).await?;
        let strange = || RpcError::Strange { method: "balanceOf".to_owned() };
        Eip3009::balanceOfCall::abi_decode_returns(&answer).map_err(|_| strange())
    }

    /// What `account` has of the chain's own coin, in wei.
    pub(crate) async fn balance(&self, account: Address) -> Result<U256, RpcError> {
        self.ask("eth_getBalance", json!([account, "latest"])).await
    }
}

impl JsonRpc for Rpc {
    type Error = RpcError;

    async fn request(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let sent = self.http.post(&self.url).json(&body).send().await;
        let answer = match sent {
            Ok(response) => response.json::<Value>().await,
            Err(error) => Err(error),
        };
        let mut answer = answer.map_err(reqwest::Error::without_url)?;
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            let text = error.get("message").and_then(Value::as_str).unwrap_or("refused without a reason");
            return Err(RpcError::Refused {
                code: error.get("code").and_then(Value::as_i64).unwrap_or_default(),
                message: text.chars().take(300).collect(),
            });
        }
        let result = answer.get_mut("result").map(Value::take);
        result.ok_or_else(|| RpcError::Strange { method: method.to_owned() })
    }
}
