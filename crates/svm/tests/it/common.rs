//! A cluster inside the process, accounts on it, and a facilitator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use solana_address::Address;
use tollway_devnet::svm::{Chain, USDC_DEVNET};
use tollway_ledger::{Journal, SqliteLedger};
use tollway_protocol::bind::{Bound, Presented};
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::{FacilitatorScheme, Outcome};
use tollway_protocol::wire::PaymentRequest;
use tollway_protocol::{Network, Refusal, Secret};
use tollway_rpc::{Transport, Unanswered};
use tollway_svm::ExactFacilitator;
use tollway_svm::facilitator::{Cluster, ClusterConfig};
use tollway_svm::keys::Key;

use crate::draft::{Draft, base64};

pub(crate) const AMOUNT: u64 = 10_000;
pub(crate) const RICH: u64 = 1_000_000_000;
pub(crate) const MEMO: &str = "00112233445566778899aabbccddeeff";

pub(crate) fn key(n: u8) -> Key {
    Key::from_seed(&Secret::new([n; 32]))
}

/// A node inside the process. The chain makes a slot whenever it is asked for statuses, so that no test waits for time.
pub(crate) struct Node {
    pub(crate) chain: Chain,
    /// Whether the chain goes on.
    pub(crate) runs: AtomicBool,
}

#[async_trait]
impl Transport for Node {
    async fn ask(&self, body: Vec<u8>) -> Result<Vec<u8>, Unanswered> {
        let (chain, runs) = (self.chain.clone(), self.runs.load(Ordering::SeqCst));
        let answer = tokio::task::spawn_blocking(move || {
            if runs && body.windows(20).any(|part| part == b"getSignatureStatuses") {
                chain.advance(1);
            }
            chain.answer(&body).into_bytes()
        });
        answer.await.map_err(|_| Unanswered("the node panicked"))
    }
}

/// A chain with a funded payer, and a facilitator with one fee payer.
pub(crate) struct World {
    pub(crate) chain: Chain,
    pub(crate) node: Arc<Node>,
    pub(crate) fee_payer: Key,
    pub(crate) payer: Key,
    pub(crate) seller: Address,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) facilitator: ExactFacilitator,
}

pub(crate) fn world() -> World {
    let chain = Chain::builder().finality(8).build().unwrap();
    chain.advance(10);
    let (fee_payer, payer, seller) = (key(1), key(2), key(3).address());
    chain.fund(fee_payer.address(), RICH).unwrap();
    chain.mint(USDC_DEVNET, payer.address(), 1_000_000).unwrap();
    chain.mint(USDC_DEVNET, seller, 0).unwrap();
    let node = Arc::new(Node { chain: chain.clone(), runs: AtomicBool::new(true) });
    let journal: Arc<dyn Journal> = Arc::new(SqliteLedger::memory().unwrap());
    let facilitator = facilitator(vec![node.clone()], vec![fee_payer.clone()], journal.clone());
    World { chain, node, fee_payer, payer, seller, journal, facilitator }
}

pub(crate) fn facilitator(
    nodes: Vec<Arc<dyn Transport>>,
    keys: Vec<Key>,
    journal: Arc<dyn Journal>,
) -> ExactFacilitator {
    let cluster = Cluster::new(config(nodes)).unwrap();
    ExactFacilitator::new(cluster, keys, journal).unwrap()
}

pub(crate) fn config(nodes: Vec<Arc<dyn Transport>>) -> ClusterConfig {
    ClusterConfig {
        rpc: vec![],
        transports: nodes,
        poll: Duration::from_millis(1),
        resend: Duration::from_millis(20),
        housekeeping: Duration::from_millis(20),
        ..ClusterConfig::new(network(), Secret::new(String::new()))
    }
}

pub(crate) fn network() -> Network {
    Network::named("solana-devnet").unwrap()
}

impl World {
    pub(crate) fn blockhash(&self) -> [u8; 32] {
        let latest = self.chain.request("getLatestBlockhash", &json!([{"commitment": "confirmed"}])).unwrap();
        let text = latest["value"]["blockhash"].as_str().unwrap();
        tollway_svm::programs::address(text).unwrap().to_bytes()
    }

    pub(crate) fn draft(&self) -> Draft {
        self.draft_with(MEMO)
    }

    pub(crate) fn draft_with(&self, memo: &str) -> Draft {
        let (fee_payer, payer) = (self.fee_payer.address(), self.payer.address());
        let mut draft = Draft::good(fee_payer, payer, self.seller, USDC_DEVNET, AMOUNT, memo);
        draft.blockhash = self.blockhash();
        draft
    }

    pub(crate) fn offer(&self) -> Value {
        json!({
            "scheme": "exact", "network": network().as_str(), "amount": AMOUNT.to_string(),
            "asset": USDC_DEVNET.to_string(), "payTo": self.seller.to_string(), "maxTimeoutSeconds": 60,
            "extra": {"feePayer": self.fee_payer.address().to_string()},
        })
    }

    pub(crate) fn request(&self, draft: &Draft) -> PaymentRequest {
        request(&self.offer(), &json!({"transaction": base64(&draft.signed(&[&self.payer]))}))
    }

    pub(crate) async fn verify(&self, request: &PaymentRequest) -> Result<(), Refusal> {
        let bound = bind(&self.facilitator, request)?;
        self.facilitator.verify(&bound.at(now())?).await
    }

    pub(crate) async fn settle(&self, request: &PaymentRequest) -> Outcome {
        settle(&self.facilitator, request).await
    }

    pub(crate) fn earned(&self) -> u64 {
        self.chain.token_balance(USDC_DEVNET, self.seller)
    }
}

pub(crate) fn now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixTime(since.as_secs())
}

pub(crate) fn request(offer: &Value, payload: &Value) -> PaymentRequest {
    let request = json!({
        "x402Version": 2, "paymentRequirements": offer,
        "paymentPayload": {"x402Version": 2, "accepted": offer, "payload": payload},
    });
    serde_json::from_value(request).unwrap()
}

pub(crate) fn bind(facilitator: &ExactFacilitator, request: &PaymentRequest) -> Result<Bound, Refusal> {
    let presented = Presented::new(request.payment_requirements.clone(), request.payment_payload.clone())?;
    let effects = facilitator.effects(&presented)?;
    Ok(presented.bind(effects)?.keyed(request.idempotency_key.clone()))
}

pub(crate) async fn settle(facilitator: &ExactFacilitator, request: &PaymentRequest) -> Outcome {
    match bind(facilitator, request) {
        Ok(bound) => facilitator.settle(bound, Duration::from_secs(30)).await,
        Err(refusal) => Outcome::NotSettled { refusal, transaction: None },
    }
}
