//! A client of a node.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};
use alloy_rpc_types_eth::{Block, Transaction, TransactionReceipt};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tollway_devnet::evm::{JsonRpc, RpcError};

const GWEI: u128 = 1_000_000_000;
/// How often a receipt is asked for.
const TRIES: u32 = 2_000;

#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    pub(crate) url: String,
}

impl JsonRpc for Client {
    type Error = RpcError;

    async fn request(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = self.post(&body).await;
        match answer.get_mut("error") {
            Some(error) => Err(serde_json::from_value(error.take()).unwrap()),
            None => Ok(answer["result"].take()),
        }
    }
}

impl Client {
    pub(crate) fn new(url: String) -> Self {
        Self { http: reqwest::Client::new(), url }
    }

    pub(crate) async fn post(&self, body: &Value) -> Value {
        let answer = self.http.post(&self.url).json(body).send().await.unwrap();
        answer.json().await.unwrap()
    }

    pub(crate) async fn ask<T: DeserializeOwned>(&self, method: &str, params: Value) -> T {
        let answer = self.request(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"));
        serde_json::from_value(answer.clone())
            .unwrap_or_else(|error| panic!("{method} answered {answer}: {error}"))
    }

    pub(crate) async fn number(&self, method: &str, params: Value) -> u64 {
        self.ask::<U256>(method, params).await.to()
    }

    /// What the node refuses with.
    pub(crate) async fn refusal(&self, method: &str, params: Value) -> RpcError {
        match self.request(method, params).await {
            Err(error) => error,
            Ok(answer) => panic!("{method} answered {answer}"),
        }
    }

    pub(crate) async fn read<C: SolCall>(&self, to: Address, call: C) -> C::Return {
        let answer: Bytes = self.ask("eth_call", call_params(to, &call)).await;
        C::abi_decode_returns(&answer).unwrap()
    }

    pub(crate) async fn call_refusal<C: SolCall>(&self, to: Address, call: C) -> RpcError {
        self.refusal("eth_call", call_params(to, &call)).await
    }

    pub(crate) async fn block(&self, tag: &str) -> Block {
        self.ask("eth_getBlockByNumber", json!([tag, false])).await
    }

    /// The time of the newest block.
    pub(crate) async fn time(&self) -> u64 {
        self.block("latest").await.header.timestamp
    }

    pub(crate) async fn fund(&self, account: Address) {
        self.ask::<Value>("anvil_setBalance", json!([account, U256::from(10u128.pow(20))])).await;
    }

    /// Sends a call as a transaction and waits for its receipt.
    pub(crate) async fn send<C: SolCall>(
        &self,
        from: &PrivateKeySigner,
        to: Address,
        call: C,
    ) -> TransactionReceipt {
        let hash =
            self.send_raw(&self.prepared(from, TxKind::Call(to), call.abi_encode()).await.signed(from)).await;
        self.receipt(hash).await
    }

    pub(crate) async fn deploy(&self, from: &PrivateKeySigner, code: Vec<u8>) -> Address {
        let hash = self.send_raw(&self.prepared(from, TxKind::Create, code).await.signed(from)).await;
        let receipt = self.receipt(hash).await;
        assert!(receipt.status(), "the deployment failed");
        receipt.contract_address.unwrap()
    }

    pub(crate) async fn prepared(&self, from: &PrivateKeySigner, to: TxKind, input: Vec<u8>) -> Draft {
        let nonce = self.number("eth_getTransactionCount", json!([from.address(), "pending"])).await;
        Draft(TxEip1559 {
            chain_id: 84532,
            nonce,
            gas_limit: 3_000_000,
            max_fee_per_gas: 10 * GWEI,
            max_priority_fee_per_gas: GWEI,
            to,
            value: U256::ZERO,
            access_list: Default::default(),
            input: input.into(),
        })
    }

    pub(crate) async fn send_raw(&self, raw: &str) -> B256 {
        self.ask("eth_sendRawTransaction", json!([raw])).await
    }

    pub(crate) async fn receipt(&self, hash: B256) -> TransactionReceipt {
        for _ in 0..TRIES {
            if let Some(receipt) = self.ask("eth_getTransactionReceipt", json!([hash])).await {
                return receipt;
            }
        }
        panic!("no receipt of {hash}");
    }

    /// The transaction in its block. An anvil may show it as waiting for a moment after its receipt is there.
    pub(crate) async fn mined(&self, hash: B256) -> Transaction {
        for _ in 0..TRIES {
            let transaction: Transaction = self.ask("eth_getTransactionByHash", json!([hash])).await;
            if transaction.block_number.is_some() {
                return transaction;
            }
        }
        panic!("{hash} is in no block");
    }
}

/// A transaction before it is signed.
#[derive(Clone)]
pub(crate) struct Draft(pub(crate) TxEip1559);

impl Draft {
    /// A plain transfer of one wei.
    pub(crate) fn of_one_wei(nonce: u64) -> Self {
        Self(TxEip1559 {
            chain_id: 84532,
            nonce,
            gas_limit: 21_000,
            max_fee_per_gas: 10 * GWEI,
            max_priority_fee_per_gas: GWEI,
            to: TxKind::Call(Address::repeat_byte(0xee)),
            value: U256::ONE,
            ..TxEip1559::default()
        })
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut TxEip1559)) -> Self {
        change(&mut self.0);
        self
    }

    pub(crate) fn signed(self, from: &PrivateKeySigner) -> String {
        raw(self.0, from)
    }
}

pub(crate) fn raw<T>(transaction: T, from: &PrivateKeySigner) -> String
where
    T: SignableTransaction<alloy_signer::Signature>,
    TxEnvelope: From<alloy_consensus::Signed<T>>,
{
    let signature = from.sign_hash_sync(&transaction.signature_hash()).unwrap();
    hex::encode_prefixed(TxEnvelope::from(transaction.into_signed(signature)).encoded_2718())
}

pub(crate) fn signer(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(number)).unwrap()
}

fn call_params<C: SolCall>(to: Address, call: &C) -> Value {
    json!([{ "to": to, "data": Bytes::from(call.abi_encode()) }, "latest"])
}
