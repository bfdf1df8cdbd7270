//! A chain that is served, a client of it, and people who pay on it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use solana_hash::Hash;
use solana_instruction::Instruction;
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;
use std::str::FromStr as _;
use tollway_devnet::svm::{
    Address, Builder, Chain, RpcError, Server, TOKEN_PROGRAM, USDC_DEVNET, associated_token_account, serve,
};

pub(crate) const PRICE: u64 = 1_234;
pub(crate) const PURSE: u64 = 5_000_000;

/// A chain with slots by hand, a payer with USDC, a seller with an empty account for it, and who pays the fees.
pub(crate) struct Shop {
    pub(crate) chain: Chain,
    pub(crate) payer: Keypair,
    pub(crate) fee_payer: Keypair,
    pub(crate) seller: Address,
    pub(crate) server: Server,
    http: reqwest::Client,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::on(Chain::builder()).await
    }

    pub(crate) async fn on(builder: Builder) -> Self {
        let chain = builder.build().unwrap();
        let (payer, fee_payer) = (Keypair::new_from_array([1; 32]), Keypair::new_from_array([2; 32]));
        let seller = Keypair::new_from_array([3; 32]).pubkey();
        chain.fund(fee_payer.pubkey(), 1_000_000_000).unwrap();
        chain.mint(USDC_DEVNET, payer.pubkey(), PURSE).unwrap();
        chain.mint(USDC_DEVNET, seller, 0).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = serve(chain.clone(), listener).unwrap();
        Self { chain, payer, fee_payer, seller, server, http: reqwest::Client::new() }
    }

    pub(crate) async fn post(&self, body: &Value) -> Value {
        self.http.post(self.server.url()).json(body).send().await.unwrap().json().await.unwrap()
    }

    async fn request(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = self.post(&body).await;
        match answer.get_mut("error") {
            Some(error) => Err(serde_json::from_value(error.take()).unwrap()),
            None => Ok(answer["result"].take()),
        }
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        self.request(method, params)
            .await
            .unwrap_or_else(|error| panic!("{method}: {error} {:?}", error.data))
    }

    /// What the node refuses with.
    pub(crate) async fn refusal(&self, method: &str, params: Value) -> RpcError {
        match self.request(method, params).await {
            Err(error) => error,
            Ok(answer) => panic!("{method} answered {answer}"),
        }
    }

    pub(crate) async fn blockhash(&self) -> Hash {
        let answer = self.ask("getLatestBlockhash", json!([{ "commitment": "processed" }])).await;
        Hash::from_str(answer["value"]["blockhash"].as_str().unwrap()).unwrap()
    }

    /// The payer's transfer of an amount to the seller.
    pub(crate) fn transfer(&self, amount: u64) -> Instruction {
        spl_token_interface::instruction::transfer_checked(
            &TOKEN_PROGRAM,
            &associated_token_account(&self.payer.pubkey(), &USDC_DEVNET, &TOKEN_PROGRAM),
            &USDC_DEVNET,
            &associated_token_account(&self.seller, &USDC_DEVNET, &TOKEN_PROGRAM),
            &self.payer.pubkey(),
            &[],
            amount,
            6,
        )
        .unwrap()
    }

    /// Signed by both.
    pub(crate) async fn payment(&self, amount: u64) -> VersionedTransaction {
        let blockhash = self.blockhash().await;
        self.signed(&[self.transfer(amount)], blockhash)
    }

    pub(crate) fn signed(&self, steps: &[Instruction], blockhash: Hash) -> VersionedTransaction {
        let message = Message::new_with_blockhash(steps, Some(&self.fee_payer.pubkey()), &blockhash);
        VersionedTransaction::try_new(VersionedMessage::Legacy(message), &[&self.fee_payer, &self.payer])
            .unwrap()
    }

    /// Without a simulation before.
    pub(crate) async fn send_blindly(&self, transaction: &VersionedTransaction) -> String {
        let options = json!({ "encoding": "base64", "skipPreflight": true });
        self.ask("sendTransaction", json!([wire(transaction), options])).await.as_str().unwrap().to_owned()
    }

    pub(crate) async fn send(&self, transaction: &VersionedTransaction) -> String {
        let answer = self.ask("sendTransaction", checked(transaction)).await;
        answer.as_str().unwrap().to_owned()
    }

    /// A payment that is executed.
    pub(crate) async fn pay(&self, amount: u64) -> String {
        let transaction = self.payment(amount).await;
        self.send(&transaction).await
    }

    pub(crate) async fn simulate(&self, transaction: &VersionedTransaction, options: Value) -> Value {
        let mut all = json!({ "encoding": "base64", "commitment": "processed" });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        self.ask("simulateTransaction", json!([wire(transaction), all])).await["value"].take()
    }

    pub(crate) async fn status(&self, signature: &str) -> Value {
        self.ask("getSignatureStatuses", json!([[signature]])).await["value"][0].take()
    }

    /// What the seller has got.
    pub(crate) fn earned(&self) -> u64 {
        self.chain.token_balance(USDC_DEVNET, self.seller)
    }
}

/// The parameters that send a transaction after a simulation in the newest bank.
pub(crate) fn checked(transaction: &VersionedTransaction) -> Value {
    json!([wire(transaction), { "encoding": "base64", "preflightCommitment": "processed" }])
}

pub(crate) fn wire(transaction: &VersionedTransaction) -> String {
    BASE64_STANDARD.encode(wincode::serialize(transaction).unwrap())
}
