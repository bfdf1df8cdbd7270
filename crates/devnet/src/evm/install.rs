//! The same contracts on a node outside: anvil, or what speaks its `anvil_` methods.

use std::{error::Error, future::Future};

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Chain, Genesis, MINTER, MULTICALL3, PERMIT2, RpcError,
    genesis::{configureMinterCall, contracts, funds, masterMinterCall, mintCall, minterAllowanceCall},
};
use crate::artefacts;

/// How often a receipt is asked for. A block is made before each time but the first.
const TRIES: u32 = 10;

/// Something that answers JSON-RPC requests, over HTTP for example.
pub trait JsonRpc: Sync {
    /// Why there is no answer, or what the node answered as `error`.
    type Error: Error + Send + Sync + 'static;

    /// Sends one request; `params` is an array.
    fn request(&self, method: &str, params: Value)
    -> impl Future<Output = Result<Value, Self::Error>> + Send;
}

impl JsonRpc for Chain {
    type Error = RpcError;

    async fn request(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        Chain::request(self, method, &params)
    }
}

/// Why contracts can't be installed on a node, or tokens not be minted there.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Only a development node lets one write code to an address.
    #[error(
        "the node is {client}, not an anvil: it has no anvil_setBalance, so contracts can't be installed on it"
    )]
    NotAnvil {
        /// What it calls itself.
        client: String,
        /// What it answered.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The node has another chain than the genesis is for.
    #[error("the node has chain {found}, the contracts are for chain {expected}")]
    OtherChain {
        /// What the genesis says.
        expected: u64,
        /// What the node says.
        found: u64,
    },
    /// The node didn't answer, or refused.
    #[error("{method} failed")]
    Request {
        /// The JSON-RPC method.
        method: &'static str,
        /// What it answered.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The node's answer has another shape than the method's.
    #[error("{method} answered {answer}")]
    Answer {
        /// The JSON-RPC method.
        method: &'static str,
        /// What it answered.
        answer: Value,
    },
    /// A transaction was mined and did nothing.
    #[error("the contract {contract} refused the transaction {transaction}")]
    Reverted {
        /// Whose function was called.
        contract: Address,
        /// Its hash.
        transaction: B256,
    },
    /// A transaction didn't get into a block.
    #[error("the transaction {0} isn't mined")]
    NotMined(B256),
}

/// The contracts of a [`Genesis`] on a node outside.
#[derive(Debug, Clone)]
pub struct Installed<R> {
    rpc: R,
    /// The token that payments are in.
    pub usdc: Address,
    /// See [`MULTICALL3`].
    pub multicall3: Address,
    /// See [`PERMIT2`].
    pub permit2: Address,
}

/// Puts the contracts on a node. What is at one of the addresses already stays.
///
/// # Errors
/// The node isn't a development node, has another chain, or can't be reached.
pub async fn install<R: JsonRpc>(rpc: R, genesis: &Genesis) -> Result<Installed<R>, InstallError> {
    let usdc = genesis.usdc.address;
    let node = Installed { rpc, usdc, multicall3: MULTICALL3, permit2: PERMIT2 };
    node.require_development_node(genesis.chain_id).await?;
    for (address, code) in contracts() {
        node.set_code(address, code).await?;
    }
    if node.set_code(usdc, Bytes::from_static(artefacts::USDC.runtime)).await? {
        node.send_as(MINTER, usdc, genesis.usdc.initialization()).await?;
    }
    Ok(node)
}

impl<R: JsonRpc> Installed<R> {
    /// Makes units of the token, in a transaction of its master minter: that works with Circle's own contract too.
    ///
    /// # Errors
    /// The token isn't a FiatToken or refuses, or the node can't be reached.
    pub async fn mint(&self, to: Address, amount: U256) -> Result<(), InstallError> {
        let master = self.read(masterMinterCall {}).await?;
        if self.read(minterAllowanceCall { minter: master }).await? < amount {
            let configure = configureMinterCall { minter: master, allowance: U256::MAX };
            self.send_as(master, self.usdc, configure.abi_encode().into()).await?;
        }
        self.send_as(master, self.usdc, mintCall { to, amount }.abi_encode().into()).await
    }

    /// Makes an account's balance 100 ether.
    ///
    /// # Errors
    /// The node can't be reached.
    pub async fn fund(&self, account: Address) -> Result<(), InstallError> {
        self.ask::<Value>("anvil_setBalance", json!([account, funds()])).await.map(|_| ())
    }

    async fn require_development_node(&self, expected: u64) -> Result<(), InstallError> {
        let found = self.ask::<U256>("eth_chainId", json!([])).await?.saturating_to();
        if found != expected {
            return Err(InstallError::OtherChain { expected, found });
        }
        let Err(refusal) = self.rpc.request("anvil_setBalance", json!([MINTER, funds()])).await else {
            return Ok(());
        };
        let client = self.ask("web3_clientVersion", json!([])).await?;
        Err(InstallError::NotAnvil { client, source: refusal.into() })
    }

    /// Says whether it did: code that is there stays.
    async fn set_code(&self, address: Address, code: Bytes) -> Result<bool, InstallError> {
        let found: Bytes = self.ask("eth_getCode", json!([address, "latest"])).await?;
        if found.is_empty() {
            self.ask::<Value>("anvil_setCode", json!([address, code])).await?;
        }
        Ok(found.is_empty())
    }

    async fn read<C: SolCall + Send>(&self, call: C) -> Result<C::Return, InstallError> {
        let data = Bytes::from(call.abi_encode());
        let answer: Bytes =
            self.ask("eth_call", json!([{ "to": self.usdc, "data": data }, "latest"])).await?;
        C::abi_decode_returns(&answer)
            .map_err(|_| InstallError::Answer { method: "eth_call", answer: json!(answer) })
    }

    async fn send_as(&self, from: Address, to: Address, data: Bytes) -> Result<(), InstallError> {
        if self.ask::<U256>("eth_getBalance", json!([from, "latest"])).await? < funds() {
            self.fund(from).await?;
        }
        self.ask::<Value>("anvil_impersonateAccount", json!([from])).await?;
        let sent = self.ask("eth_sendTransaction", json!([{ "from": from, "to": to, "data": data }])).await;
        self.ask::<Value>("anvil_stopImpersonatingAccount", json!([from])).await?;
        let transaction = sent?;
        match self.succeeded(transaction).await? {
            true => Ok(()),
            false => Err(InstallError::Reverted { contract: to, transaction }),
        }
    }

    async fn succeeded(&self, transaction: B256) -> Result<bool, InstallError> {
        const METHOD: &str = "eth_getTransactionReceipt";
        for _ in 0..TRIES {
            let receipt: Value = self.ask(METHOD, json!([transaction])).await?;
            match receipt.get("status").and_then(Value::as_str) {
                Some(status) => return Ok(status == "0x1"),
                None => self.ask::<Value>("evm_mine", json!([])).await?,
            };
        }
        Err(InstallError::NotMined(transaction))
    }

    async fn ask<T: DeserializeOwned>(&self, method: &'static str, params: Value) -> Result<T, InstallError> {
        let request = self.rpc.request(method, params).await;
        let answer = request.map_err(|error| InstallError::Request { method, source: error.into() })?;
        T::deserialize(&answer).map_err(|_| InstallError::Answer { method, answer: answer.clone() })
    }
}
