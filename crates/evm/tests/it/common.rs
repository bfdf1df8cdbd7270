use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall as _, SolEvent as _};
use axum::{Json, Router, extract::State, routing::post};
use parking::Hook;
use serde_json::{Value, json};
use tollway_devnet::evm::{Chain as DevChain, Deployment, Genesis, Mining};
use tollway_evm::abi::{Eip3009, TransferWithAuthorization};
use tollway_evm::exact::{Authorization, Domain};
use tollway_evm::facilitator::ChainConfig;
use tollway_evm::keys::Key;
use tollway_evm::{Chain, ExactFacilitator, ExactPayer};
use tollway_ledger::SqliteLedger;
use tollway_protocol::bind::{Bound, Presented};
use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome, PayerScheme as _};
use tollway_protocol::wire::{Payment, Version};
use tollway_protocol::{Network, Offer, Reason, Refusal, Secret};

pub(crate) const SELLER: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
pub(crate) const PRICE: u64 = 10_000;

/// What a test may do to the calls between the facilitator and the chain.
pub(crate) mod parking {
    use serde_json::Value;
    /// Given method and parameters, an answer instead of the chain's; `None` passes.
    pub(crate) type Hook = Box<dyn Fn(&str, &Value) -> Option<Fault> + Send + Sync>;
    pub(crate) enum Fault {
        /// This result.
        Result(Value),
        /// A JSON-RPC error.
        Error(i64, &'static str),
        /// The chain executes, but the answer is an error.
        LostReply,
        /// The chain's answer to another call.
        Instead(String, Value),
        /// The chain's answer, changed.
        Changed(fn(Value) -> Value),
        /// Neither chain nor answer.
        Hang,
    }
}

pub(crate) struct Stack {
    pub(crate) chain: DevChain,
    pub(crate) deployment: Deployment,
    pub(crate) payer: ExactPayer,
    pub(crate) ledger: Arc<SqliteLedger>,
    pub(crate) facilitator: ExactFacilitator,
    pub(crate) rpc: String,
    pub(crate) sends: Arc<AtomicUsize>,
    pub(crate) signer: Key,
}

pub(crate) fn key(seed: u8) -> Key {
    Key::from_bytes(&Secret::new([seed; 32])).unwrap()
}

pub(crate) fn network() -> Network {
    Network::eip155(84532)
}

pub(crate) fn now() -> UnixTime {
    UnixTime(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs())
}

struct Shared {
    chain: DevChain,
    hook: Hook,
    sends: Arc<AtomicUsize>,
}

async fn answer(State(shared): State<Arc<Shared>>, Json(body): Json<Value>) -> Json<Value> {
    let Some(calls) = body.as_array() else { return Json(answer_one(&shared, &body).await) };
    let mut answers = Vec::new();
    for call in calls {
        answers.push(answer_one(&shared, call).await);
    }
    Json(answers.into())
}

async fn answer_one(shared: &Shared, body: &Value) -> Value {
    use parking::Fault;
    let method = body["method"].as_str().unwrap().to_owned();
    if method == "eth_sendRawTransaction" {
        shared.sends.fetch_add(1, Ordering::SeqCst);
    }
    let reply = |result: Result<Value, Value>| match result {
        Ok(result) => json!({"jsonrpc": "2.0", "id": body["id"], "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "id": body["id"], "error": error}),
    };
    let ask = || match shared.chain.request(&method, &body["params"]) {
        Ok(result) => Ok(result),
        Err(error) => Err(json!({"code": error.code, "message": error.message, "data": error.data})),
    };
    match (shared.hook)(&method, &body["params"]) {
        None => reply(ask()),
        Some(Fault::Result(result)) => reply(Ok(result)),
        Some(Fault::Error(code, message)) => reply(Err(json!({"code": code, "message": message}))),
        Some(Fault::LostReply) => {
            let _ = ask();
            reply(Err(json!({"code": -32000, "message": "upstream connection reset"})))
        }
        Some(Fault::Instead(method, params)) => match shared.chain.request(&method, &params) {
            Ok(result) => reply(Ok(result)),
            Err(error) => reply(Err(json!({"code": error.code, "message": error.message}))),
        },
        Some(Fault::Changed(change)) => reply(ask().map(change)),
        Some(Fault::Hang) => std::future::pending().await,
    }
}

pub(crate) async fn rpc_to(chain: DevChain, hook: Hook) -> (String, Arc<AtomicUsize>) {
    let sends = Arc::new(AtomicUsize::new(0));
    let shared = Arc::new(Shared { chain, hook, sends: sends.clone() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(answer)).with_state(shared);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, sends)
}

pub(crate) fn facilitator(
    rpc: &str,
    ledger: Arc<SqliteLedger>,
    signer: Key,
    adjust: impl FnOnce(&mut ChainConfig),
) -> ExactFacilitator {
    let mut config = ChainConfig::new(network(), Secret::new(rpc.to_owned()));
    config.poll = Duration::from_millis(10);
    config.rpc_timeout = Duration::from_secs(2);
    adjust(&mut config);
    ExactFacilitator::new(Chain::new(config).unwrap(), signer, ledger)
}

impl Stack {
    pub(crate) async fn new() -> Self {
        Self::with(Mining::Auto, Box::new(|_, _| None), |_| {}).await
    }

    pub(crate) async fn hooked(hook: Hook) -> Self {
        Self::with(Mining::Auto, hook, |_| {}).await
    }

    pub(crate) async fn with(mining: Mining, hook: Hook, adjust: impl FnOnce(&mut ChainConfig)) -> Self {
        let chain = DevChain::builder().chain_id(84532).mining(mining).build().unwrap();
        let deployment = Genesis::base_sepolia().deploy(&chain).unwrap();
        let (payer, signer) = (ExactPayer::new(key(7)), key(9));
        deployment.mint(payer.address(), U256::from(1_000_000)).unwrap();
        deployment.fund(signer.address());
        let (rpc, sends) = rpc_to(chain.clone(), hook).await;
        let ledger = Arc::new(SqliteLedger::memory().unwrap());
        let facilitator = facilitator(&rpc, ledger.clone(), signer.clone(), adjust);
        Self { chain, deployment, payer, ledger, facilitator, rpc, sends, signer }
    }

    pub(crate) fn offer(&self) -> Offer {
        offer_of(self.deployment.usdc)
    }

    pub(crate) fn balance(&self, account: Address) -> u64 {
        self.balance_of(self.deployment.usdc, account)
    }

    pub(crate) fn balance_of(&self, token: Address, account: Address) -> u64 {
        let data = Bytes::from(Eip3009::balanceOfCall { account }.abi_encode());
        let out = self.chain.request("eth_call", &json!([{"to": token, "data": data}, "latest"])).unwrap();
        let word: U256 = serde_json::from_value(out).unwrap();
        word.to()
    }

    pub(crate) fn seller_balance(&self) -> u64 {
        self.balance(SELLER.to_lowercase().parse_address())
    }

    /// The token's transfers to the seller, by transaction.
    pub(crate) fn transfers(&self) -> Vec<B256> {
        let to: Address = SELLER.to_lowercase().parse_address();
        let filter = json!([{"address": self.deployment.usdc, "fromBlock": "0x0", "toBlock": "latest",
            "topics": [Eip3009::Transfer::SIGNATURE_HASH, null, to.into_word()]}]);
        let logs = self.chain.request("eth_getLogs", &filter).unwrap();
        logs.as_array()
            .unwrap()
            .iter()
            .map(|log| serde_json::from_value(log["transactionHash"].clone()).unwrap())
            .collect()
    }

    pub(crate) fn transactions_of_signer(&self) -> u64 {
        let count = self.chain.request("eth_getTransactionCount", &json!([self.signer.address(), "latest"]));
        let count: U256 = serde_json::from_value(count.unwrap()).unwrap();
        count.to()
    }

    pub(crate) async fn pay(&self, offer: &Offer, nonce: u8) -> Payment {
        let signed = self.payer.sign(offer, now(), [nonce; 32]).await.unwrap();
        payment(offer, signed.payload)
    }

    pub(crate) async fn bound(&self, nonce: u8) -> Bound {
        let offer = self.offer();
        bound(&self.facilitator, &offer, self.pay(&offer, nonce).await).unwrap()
    }

    pub(crate) async fn settle(&self, bound: Bound) -> Outcome {
        self.facilitator.settle(bound, Duration::from_secs(10)).await
    }
}

pub(crate) trait ParseAddress {
    fn parse_address(&self) -> Address;
}

impl ParseAddress for String {
    fn parse_address(&self) -> Address {
        tollway_protocol::door::hex_array::<20>(self).unwrap().into()
    }
}

pub(crate) fn offer_of(asset: Address) -> Offer {
    Offer {
        scheme: "exact".into(),
        network: network(),
        amount: Amount::from(PRICE),
        asset: asset.to_string(),
        pay_to: SELLER.into(),
        max_timeout_seconds: 300,
        extra: Object::new().with("name", "USDC").with("version", "2"),
        unknown: Object::new(),
    }
}

pub(crate) fn payment(offer: &Offer, payload: Object) -> Payment {
    Payment {
        x402_version: Version,
        resource: None,
        accepted: offer.clone(),
        payload,
        extensions: Object::new(),
        unknown: Object::new(),
    }
}

pub(crate) fn bound(f: &ExactFacilitator, offer: &Offer, payment: Payment) -> Result<Bound, Refusal> {
    let presented = Presented::new(offer.clone(), payment)?;
    let effects = f.effects(&presented)?;
    presented.bind(effects)
}

/// Presents a payment as `/verify` does.
pub(crate) async fn verify(f: &ExactFacilitator, offer: &Offer, payment: Payment) -> Result<(), Reason> {
    let judged = async { f.verify(&bound(f, offer, payment)?.at(f.now(now()))?).await };
    judged.await.map_err(|refusal: Refusal| refusal.reason)
}

pub(crate) fn transfer(from: Address, value: u64, nonce: u8) -> TransferWithAuthorization {
    TransferWithAuthorization {
        from,
        to: SELLER.to_lowercase().parse_address(),
        value: U256::from(value),
        validAfter: U256::from(now().0 - 60),
        validBefore: U256::from(now().0 + 300),
        nonce: B256::repeat_byte(nonce),
    }
}

pub(crate) fn digest(transfer: &TransferWithAuthorization, token: Address) -> B256 {
    Authorization::digest(transfer, Domain::new("USDC", "2", 84532, token))
}

/// Signs any digest with a key made from `seed`, as a wallet outside of this crate would.
pub(crate) fn sign(seed: u8, digest: B256) -> Vec<u8> {
    let key = secp256k1::SecretKey::from_secret_bytes([seed; 32]).unwrap();
    let signature = secp256k1::ecdsa::RecoverableSignature::sign_ecdsa_recoverable(
        secp256k1::Message::from_digest(digest.0),
        &key,
    );
    let (id, compact) = signature.serialize_compact();
    let v = if id == secp256k1::ecdsa::RecoveryId::One { 28 } else { 27 };
    [&compact[..], &[v]].concat()
}

pub(crate) fn reason_of(outcome: &Outcome) -> Option<&Reason> {
    match outcome {
        Outcome::NotSettled { refusal, .. } => Some(&refusal.reason),
        _ => None,
    }
}

pub(crate) fn hash_of(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Settled { transaction } => Some(transaction),
        Outcome::Charged { transaction, .. }
        | Outcome::NotSettled { transaction, .. }
        | Outcome::Pending { transaction, .. } => transaction.as_deref(),
    }
}

/// The call by which the payer cancels the authorization whose nonce is all `nonce`s.
pub(crate) fn cancellation(stack: &Stack, nonce: u8) -> Vec<u8> {
    use alloy_sol_types::SolStruct as _;
    alloy_sol_types::sol! {
        struct CancelAuthorization { address authorizer; bytes32 nonce; }
        function cancelAuthorization(address authorizer, bytes32 nonce, uint8 v, bytes32 r, bytes32 s);
    }
    let cancel = CancelAuthorization { authorizer: stack.payer.address(), nonce: [nonce; 32].into() };
    let domain = Domain::new("USDC", "2", 84532, stack.deployment.usdc);
    let preimage = [&[0x19, 1][..], domain.0.as_slice(), cancel.eip712_hash_struct().as_slice()].concat();
    let signature = sign(7, alloy_primitives::keccak256(preimage));
    let call = cancelAuthorizationCall {
        authorizer: cancel.authorizer,
        nonce: cancel.nonce,
        v: signature[64],
        r: B256::from_slice(&signature[..32]),
        s: B256::from_slice(&signature[32..64]),
    };
    call.abi_encode()
}
