//! `tollway ledger` on Solana: what was settled, compared with the chain.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde_json::{Value, json};
use tollway_devnet::svm::{self, Chain, USDC_DEVNET};
use tollway_ledger::SqliteLedger;
use tollway_protocol::bind::Presented;
use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome, PayerScheme as _};
use tollway_protocol::wire::{Offer, Payment, Version};
use tollway_protocol::{Network, Secret};
use tollway_svm::facilitator::{Cluster, ClusterConfig};
use tollway_svm::keys::Key;
use tollway_svm::node::Nodes;
use tollway_svm::{ExactFacilitator, ExactPayer};

use crate::common::{Done, run, tollway};

/// The fee payer's key, of 32 times 0x11, as wallets export it.
const SECRET: &str = "29d2S7vB453rNYFdR5Ycwt7y9haRT5fwVwL9zTmBhfV2";

/// A cluster, a ledger with two settled payments, and the facilitator's configuration.
struct Books {
    home: tempfile::TempDir,
    chain: Chain,
    server: svm::Server,
    transactions: Vec<String>,
}

fn key(n: u8) -> Key {
    Key::from_seed(&Secret::new([n; 32]))
}

fn offer() -> Offer {
    Offer {
        scheme: "exact".into(),
        network: Network::named("solana-devnet").unwrap(),
        amount: Amount::from(10_000u64),
        asset: USDC_DEVNET.to_string(),
        pay_to: key(3).address().to_string(),
        max_timeout_seconds: 60,
        extra: Object::new().with("feePayer", key(0x11).address().to_string()),
        unknown: Object::new(),
    }
}

/// With `older.db`, a copy of the ledger from between the two payments.
async fn books() -> Books {
    let chain = Chain::builder().slot_time(Duration::from_millis(50)).build().unwrap();
    chain.fund(key(0x11).address(), 1_000_000_000).unwrap();
    chain.mint(USDC_DEVNET, key(2).address(), 1_000_000).unwrap();
    chain.mint(USDC_DEVNET, key(3).address(), 0).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = svm::serve(chain.clone(), listener).unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("facilitator.db");
    let network = offer().network;
    let mut config = ClusterConfig::new(network.clone(), Secret::new(server.url()));
    config.poll = Duration::from_millis(20);
    let ledger = Arc::new(SqliteLedger::open(&path).unwrap());
    let exact = ExactFacilitator::new(Cluster::new(config).unwrap(), vec![key(0x11)], ledger).unwrap();
    let nodes = Nodes::new(&[(network, Secret::new(server.url()))], Duration::from_secs(15)).unwrap();
    let payer = ExactPayer::new(key(2)).reading(Arc::new(nodes));
    let mut transactions = Vec::new();
    for n in 1..=2 {
        transactions.push(pay(&exact, &payer, n).await);
        if n == 1 {
            let copy = home.path().join("older.db");
            let database = rusqlite::Connection::open(&path).unwrap();
            database.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        }
    }
    // Nothing is too young to be told of.
    chain.advance(40);
    Books { home, chain, server, transactions }
}

async fn pay(exact: &ExactFacilitator, payer: &ExactPayer, n: u8) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let signed = payer.sign(&offer(), UnixTime(now.as_secs()), [n; 32]).await.unwrap();
    let payment = Payment {
        x402_version: Version,
        resource: None,
        accepted: offer(),
        payload: signed.payload,
        extensions: Object::new(),
        unknown: Object::new(),
    };
    let presented = Presented::new(offer(), payment).unwrap();
    let effects = exact.effects(&presented).unwrap();
    match exact.settle(presented.bind(effects).unwrap(), Duration::from_secs(60)).await {
        Outcome::Settled { transaction } => transaction,
        other => panic!("{other:?}"),
    }
}

impl Books {
    /// What `reconcile` says, with this exit code.
    async fn reconcile(&self, ledger: &str, node: &str, code: i32) -> Value {
        let path = self.home.path().join("facilitator.toml");
        let ledger = self.home.path().join(ledger);
        let text = format!(
            "listen = \"127.0.0.1:0\"\nledger = {ledger:?}\n[[network]]\nid = \"solana-devnet\"\nrpc = \"{node}\"\n"
        );
        std::fs::write(&path, text).unwrap();
        let done = self.run(&path).await.ended_with(code);
        serde_json::from_str(&done.stdout).unwrap()
    }

    async fn run(&self, config: &Path) -> Done {
        let args = ["ledger", "reconcile", "--config", config.to_str().unwrap()];
        let mut command = tollway(self.home.path(), &args);
        command.env("TOLLWAY_SOLANA_KEY", SECRET);
        run(command).await
    }

    fn change(&self, statement: &str, value: &str) {
        let database = rusqlite::Connection::open(self.home.path().join("facilitator.db")).unwrap();
        assert_eq!(database.execute(statement, [value]).unwrap(), 1);
    }

    fn sums(ledger: &str, chain: &str, unknown: &str) -> Value {
        json!([{
            "payTo": key(3).address().to_string(), "asset": USDC_DEVNET.to_string(),
            "ledger": ledger, "chain": chain, "unknown": unknown,
        }])
    }
}

fn kinds(told: &Value) -> Vec<&str> {
    told["differences"].as_array().unwrap().iter().map(|found| found["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i11_on_solana_ledger_and_chain_agree_to_the_sum_of_each_recipient() {
    let books = books().await;
    let told = books.reconcile("facilitator.db", &books.server.url(), 0).await;
    assert_eq!(
        (&told["settled"], &told["transactions"], &told["unknown"]),
        (&2.into(), &2.into(), &0.into())
    );
    assert_eq!((&told["differences"], &told["unknowns"]), (&json!([]), &json!([])));
    assert_eq!(told["sums"], Books::sums("20000", "20000", "0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i11_on_solana_a_payment_that_an_older_copy_of_the_ledger_lacks_is_told() {
    let books = books().await;
    let told = books.reconcile("older.db", &books.server.url(), 1).await;
    assert_eq!(kinds(&told), ["unknown_transaction"]);
    assert_eq!(told["differences"][0]["transaction"], books.transactions[1].as_str());
    assert_eq!(told["sums"], Books::sums("10000", "20000", "0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i11_on_solana_records_that_the_chain_contradicts_are_told() {
    let books = books().await;
    // A transaction that the chain has not.
    let other = bs58::encode([0xab; 64]).into_string();
    books.change("UPDATE settlements SET hash = ?1 WHERE id = 1", &other);
    let told = books.reconcile("facilitator.db", &books.server.url(), 1).await;
    assert_eq!(kinds(&told), ["not_on_chain"]);
    assert_eq!(told["differences"][0]["transaction"], other.as_str());
    // And one that paid, and is in the ledger as failed.
    books.change(
        "UPDATE settlements SET state = 'failed', block = NULL, is_final = 1, reason = ?1 WHERE id = 2",
        "transaction_failed",
    );
    let told = books.reconcile("facilitator.db", &books.server.url(), 1).await;
    assert_eq!(kinds(&told), ["not_in_ledger", "not_on_chain"]);
    assert_eq!(told["differences"][0]["transaction"], books.transactions[1].as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i11_on_solana_what_the_node_has_not_kept_is_unknown_and_not_good() {
    let books = books().await;
    let chain = books.chain.clone();
    let forgetful = move |body: String| {
        // It keeps no transactions.
        let answer = chain.answer(body.replace("getTransaction", "getNothing").as_bytes());
        std::future::ready(answer.replace("-32601", "-32011"))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(forgetful);
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let told = books.reconcile("facilitator.db", &node, 1).await;
    serving.abort();
    assert_eq!((&told["differences"], &told["unknown"]), (&json!([]), &2.into()), "{told}");
    let named: Vec<_> = told["unknowns"].as_array().unwrap().iter().map(|one| &one["transaction"]).collect();
    assert_eq!(named, books.transactions.iter().collect::<Vec<_>>());
    assert_eq!(told["sums"], Books::sums("20000", "0", "20000"));
}
