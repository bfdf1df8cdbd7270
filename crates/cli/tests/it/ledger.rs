//! `tollway ledger`: what was settled, listed and compared with the chain.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use serde_json::Value;
use tollway_devnet::evm::{self, Chain as DevChain, Genesis, Server};
use tollway_evm::facilitator::ChainConfig;
use tollway_evm::keys::Key;
use tollway_evm::{Chain, ExactFacilitator, ExactPayer};
use tollway_ledger::SqliteLedger;
use tollway_protocol::bind::Presented;
use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome, PayerScheme as _};
use tollway_protocol::wire::{Offer, Payment, Resource, Version};
use tollway_protocol::{Network, Secret};

use crate::common::{Done, run, tollway};

const SIGNER: [u8; 32] = [0x21; 32];

/// A chain, a ledger with two settled payments, and the facilitator's configuration.
struct Books {
    home: tempfile::TempDir,
    _server: Server,
    transactions: Vec<String>,
    payer: Address,
}

async fn books() -> Books {
    let chain = DevChain::builder().build().unwrap();
    let deployment = Genesis::base_sepolia().deploy(&chain).unwrap();
    let signer = Key::from_bytes(&Secret::new(SIGNER)).unwrap();
    deployment.fund(signer.address());
    let payer = ExactPayer::new(Key::from_bytes(&Secret::new([0x31; 32])).unwrap());
    deployment.mint(payer.address(), U256::from(1_000_000)).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = evm::serve(chain, listener).unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("facilitator.db");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nledger = {path:?}\n[[network]]\nid = \"eip155:84532\"\nrpc = \"{}\"\nsigner = {{ key_env = \"FACILITATOR_KEY\" }}\n",
        server.url()
    );
    std::fs::write(home.path().join("facilitator.toml"), text).unwrap();
    let mut config = ChainConfig::new(Network::eip155(84532), Secret::new(server.url()));
    config.poll = Duration::from_millis(20);
    let ledger = Arc::new(SqliteLedger::open(&path).unwrap());
    let facilitator = ExactFacilitator::new(Chain::new(config).unwrap(), signer, ledger);
    let mut transactions = Vec::new();
    for (nonce, url) in [(1, "https://api.example/weather"), (2, "=HYPERLINK(\"https://evil.example\")")] {
        let offer = offer(deployment.usdc);
        let now =
            UnixTime(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs());
        let signed = payer.sign(&offer, now, [nonce; 32]).await.unwrap();
        let resource: Resource = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
        let payment = Payment {
            x402_version: Version,
            resource: Some(resource),
            accepted: offer.clone(),
            payload: signed.payload,
            extensions: Object::new(),
            unknown: Object::new(),
        };
        let presented = Presented::new(offer, payment).unwrap();
        let effects = facilitator.effects(&presented).unwrap();
        match facilitator.settle(presented.bind(effects).unwrap(), Duration::from_secs(20)).await {
            Outcome::Settled { transaction } => transactions.push(transaction),
            other => panic!("{other:?}"),
        }
    }
    Books { home, _server: server, transactions, payer: payer.address() }
}

fn offer(usdc: Address) -> Offer {
    Offer {
        scheme: "exact".into(),
        network: Network::eip155(84532),
        amount: Amount::from(10_000),
        asset: usdc.to_string(),
        pay_to: Address::repeat_byte(0x41).to_string(),
        max_timeout_seconds: 300,
        extra: Object::new().with("name", "USDC").with("version", "2"),
        unknown: Object::new(),
    }
}

impl Books {
    async fn run(&self, args: &[&str]) -> Done {
        let config = self.home.path().join("facilitator.toml");
        let all = [&["ledger"], args, &["--config", config.to_str().unwrap()]].concat();
        let mut command = tollway(self.home.path(), &all);
        command.env("FACILITATOR_KEY", format!("0x{}", hex::encode(SIGNER)));
        run(command).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i11_what_was_settled_is_exported_for_bookkeeping() {
    let books = books().await;
    let json = books.run(&["export", "--format", "json", "--state", "settled"]).await.ended_with(0);
    let rows: Value = serde_json::from_str(&json.stdout).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["payer"].as_str().unwrap().to_lowercase(), books.payer.to_string().to_lowercase());
    assert_eq!(
        (&rows[0]["amount"], &rows[0]["usd"], &rows[0]["symbol"]),
        (&"0.01".into(), &"0.01".into(), &"USDC".into())
    );
    assert_eq!(rows[0]["resource"], "https://api.example/weather");
    assert_eq!(rows[1]["transaction"], books.transactions[1]);
    assert!(rows.iter().all(|row| row["gas_gwei"].as_u64().is_some_and(|gas| gas > 0)));
    let text = books.run(&["export"]).await.ended_with(0).stdout;
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.starts_with("payment,network,scheme,state,"), "{text}");
    assert!(text.contains("'=HYPERLINK"), "what a payer chose is no formula: {text}");
    let none = books.run(&["export", "--since", "2100-01-01", "--format", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&none.stdout).unwrap(), serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i11_fx_d4_ledger_and_chain_are_compared_and_a_difference_is_told() {
    let books = books().await;
    let same = books.run(&["reconcile"]).await.ended_with(0);
    let told: Value = serde_json::from_str(&same.stdout).unwrap();
    assert_eq!((&told["settled"], &told["differences"]), (&2.into(), &serde_json::json!([])));
    // A ledger that names a transaction which the chain has not.
    let database = rusqlite::Connection::open(books.home.path().join("facilitator.db")).unwrap();
    database
        .execute("UPDATE settlements SET hash = ?1 WHERE id = 1", [format!("0x{}", "ab".repeat(32))])
        .unwrap();
    drop(database);
    let told: Value = serde_json::from_str(&books.run(&["reconcile"]).await.ended_with(1).stdout).unwrap();
    let kinds: Vec<_> = told["differences"].as_array().unwrap().iter().map(|found| &found["kind"]).collect();
    assert!(kinds.contains(&&"not_on_chain".into()), "{told}");
}
