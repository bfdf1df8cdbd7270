//! Killed with SIGKILL at each point of a settlement, started again, and asked again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers may")]

mod common;

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};
use tempfile::TempDir;
use tollway_devnet::evm::{self, Chain, Genesis, Server};
use tollway_evm::keys::Key;
use tollway_evm::{ExactPayer, ExactSeller};
use tollway_ledger::{Journal as _, JournalState, SqliteLedger};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;
use tollway_protocol::json::Object;
use tollway_protocol::money::Money;
use tollway_protocol::scheme::{Ask, PayerScheme as _, SellerScheme as _};
use tollway_protocol::wire::{Kind, Payment, PaymentRequest, Version};
use tollway_protocol::{Network, Secret};

use common::{Running, ask, tollway};

const SIGNER: &str = "0x2121212121212121212121212121212121212121212121212121212121212121";
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
const PRICE: u64 = 10_000;

#[tokio::test]
async fn i10_fa03_killed_before_the_journal_it_settles_once_afterwards() {
    killed_at("settle.before_journal").await;
}

#[tokio::test]
async fn i10_fa03_killed_after_the_journal_it_settles_once_afterwards() {
    killed_at("settle.after_journal").await;
}

#[tokio::test]
async fn i10_fa03_killed_after_the_broadcast_it_settles_once_afterwards() {
    killed_at("settle.after_broadcast").await;
}

#[tokio::test]
async fn i10_fa03_killed_after_the_receipt_it_settles_once_afterwards() {
    killed_at("settle.after_receipt").await;
}

#[tokio::test]
async fn i10_fa03_killed_before_its_answer_it_settles_once_afterwards() {
    killed_at("settle.before_answer").await;
}

async fn killed_at(point: &str) {
    let world = World::new().await;
    let (request, key) = world.payment().await;

    let mut running = world.facilitator(Some(point)).await;
    let cut = settle(&running, &request).await;
    assert!(cut.is_err(), "it answered: {cut:?}");
    assert_eq!(running.ended().await.signal(), Some(9), "it was killed");

    let running = world.facilitator(None).await;
    let first = settle(&running, &request).await.unwrap();
    assert_eq!(first["success"], true, "{first}");
    let again = settle(&running, &request).await.unwrap();
    assert_eq!(again["transaction"], first["transaction"], "i18: answers agree");
    assert_eq!(again["success"], true, "{again}");
    let (status, _) = running.terminate().await;
    assert!(status.success(), "{status}");

    let transfers = world.transfers().await;
    assert_eq!(transfers.len(), 1, "{transfers:?}");
    assert_eq!(transfers[0]["transactionHash"], first["transaction"]);
    let ledger = SqliteLedger::open(world.ledger()).unwrap();
    let record = ledger.settlement(&key).await.unwrap().expect("the payment is in the ledger");
    assert_eq!(record.state, JournalState::Settled);
    assert_eq!(record.hash.as_deref(), first["transaction"].as_str());
    let open = ledger.open(&Network::eip155(84532)).await.unwrap();
    assert!(open.iter().all(|record| record.state == JournalState::Settled), "{open:?}");
}

async fn settle(running: &Running, request: &PaymentRequest) -> Result<Value, reqwest::Error> {
    let url = format!("{}/settle", running.text("/url"));
    reqwest::Client::new().post(url).json(request).send().await?.json().await
}

/// A chain that outlives its facilitators.
struct World {
    home: TempDir,
    server: Server,
    usdc: Address,
    payer: ExactPayer,
    seller: Address,
}

impl World {
    async fn new() -> Self {
        let chain = Chain::builder().build().unwrap();
        let deployment = Genesis::base_sepolia().deploy(&chain).unwrap();
        let payer = ExactPayer::new(key(&format!("0x{}", "31".repeat(32))));
        deployment.fund(key(SIGNER).address());
        deployment.mint(payer.address(), U256::from(PRICE)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = evm::serve(chain, listener).unwrap();
        let home = tempfile::tempdir().unwrap();
        Self { home, server, usdc: deployment.usdc, payer, seller: Address::repeat_byte(0x41) }
    }

    fn ledger(&self) -> PathBuf {
        self.home.path().join("facilitator.db")
    }

    /// A facilitator that is killed at `point`.
    async fn facilitator(&self, point: Option<&str>) -> Running {
        let config = self.config();
        let mut command = tollway(self.home.path(), &["facilitator", "--config", path(&config)]);
        command.env("FACILITATOR_KEY", SIGNER);
        if let Some(point) = point {
            command.env("TOLLWAY_CRASH", point);
        }
        Running::start(command).await
    }

    fn config(&self) -> PathBuf {
        let path = self.home.path().join("facilitator.toml");
        let text = format!(
            "listen = \"127.0.0.1:0\"\nledger = {:?}\n[[network]]\nid = \"eip155:84532\"\nrpc = \"{}\"\nsigner = {{ key_env = \"FACILITATOR_KEY\" }}\npoll_interval_ms = 20\n",
            self.ledger(),
            self.server.url(),
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A payment of all that the payer has: a second transfer could not hide.
    async fn payment(&self) -> (PaymentRequest, PaymentKey) {
        let network = Network::eip155(84532);
        let ask = Ask {
            network: network.clone(),
            price: Money::new("$0.01").unwrap().into(),
            pay_to: self.seller.to_string(),
            max_timeout_seconds: 300,
            extra: Object::new(),
        };
        let kind = Kind {
            x402_version: 2,
            scheme: "exact".to_owned(),
            network: network.to_string(),
            extra: Object::new(),
            unknown: Object::new(),
        };
        let offer = ExactSeller::new().offer(&ask, &kind).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let nonce = B256::repeat_byte(0x51).0;
        let signed = self.payer.sign(&offer, UnixTime(now), nonce).await.unwrap();
        let payment = Payment {
            x402_version: Version,
            resource: None,
            accepted: offer.clone(),
            payload: signed.payload,
            extensions: Object::new(),
            unknown: Object::new(),
        };
        (PaymentRequest::new(payment, offer), signed.effects.key)
    }

    /// Every transfer from the payer to the seller.
    async fn transfers(&self) -> Vec<Value> {
        let topics = json!([TRANSFER, self.payer.address().into_word(), self.seller.into_word()]);
        let filter =
            json!([{ "fromBlock": "0x0", "toBlock": "latest", "address": self.usdc, "topics": topics }]);
        ask(&self.server.url(), "eth_getLogs", filter).await.as_array().unwrap().clone()
    }
}

fn key(hex: &str) -> Key {
    Key::from_hex(&Secret::new(hex.to_owned())).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
