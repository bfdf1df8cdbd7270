//! A chain and a database that outlive the replicas, the replicas, and who pays.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};
use tempfile::TempDir;
use tollway_devnet::evm::{Chain, Deployment, Genesis, Mining};
use tollway_evm::ExactPayer;
use tollway_evm::keys::Key;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::PayerScheme as _;
use tollway_protocol::wire::{Payment, PaymentRequest, Version};
use tollway_protocol::{Network, Offer, Secret};

use crate::common::tollway;
use crate::database::Database;
use crate::node::Node;
use crate::replica::Replica;

/// Longer nothing takes, on a busy machine either.
pub(crate) const WITHIN: Duration = Duration::from_secs(100);
/// Between two blocks. Each is a second later than the one before, by the chain's clock.
pub(crate) const BLOCKS: Mining = Mining::Interval(Duration::from_millis(200));
const PAYERS: u8 = 16;
/// How long payments are good for, in seconds.
const WINDOW: u64 = 7200;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn secret(seed: u8) -> String {
    format!("0x{}", format!("{seed:02x}").repeat(32))
}

fn key(seed: u8) -> Key {
    Key::from_hex(&Secret::new(secret(seed))).unwrap()
}

pub(crate) fn network() -> Network {
    Network::eip155(84532)
}

/// For looking again and again at what tells no news; it ends, loudly.
pub(crate) struct Patience {
    what: &'static str,
    until: tokio::time::Instant,
}

impl Patience {
    pub(crate) fn for_(what: &'static str) -> Self {
        Self { what, until: tokio::time::Instant::now() + WITHIN }
    }

    /// Whether it has come to an end.
    pub(crate) fn is_over(&self) -> bool {
        tokio::time::Instant::now() >= self.until
    }

    /// A moment's pause.
    pub(crate) async fn again(&self) {
        assert!(!self.is_over(), "it never comes to this: {}", self.what);
        // The one place where conditions that tell no news are polled.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A payment as it is posted, and what it is known by.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) body: Value,
    pub(crate) key: PaymentKey,
    pub(crate) payer: Address,
    pub(crate) nonce: B256,
    pub(crate) value: u64,
}

pub(crate) struct World {
    home: TempDir,
    pub(crate) chain: Chain,
    pub(crate) deployment: Deployment,
    pub(crate) node: Node,
    pub(crate) database: Database,
    /// How many accounts the replicas share.
    signers: u8,
    payers: Vec<ExactPayer>,
    pub(crate) seller: Address,
    nonces: AtomicU64,
    starts: AtomicU64,
    /// Where each replica listens now.
    doors: Mutex<BTreeMap<usize, SocketAddr>>,
}

impl World {
    /// With so many accounts that send.
    pub(crate) async fn new(signers: u8, database: Database) -> Arc<Self> {
        let chain = Chain::builder().mining(BLOCKS).build().unwrap();
        let deployment = Genesis::base_sepolia().deploy(&chain).unwrap();
        let payers: Vec<_> = (0..PAYERS).map(|n| ExactPayer::new(key(0x31 + n))).collect();
        for payer in &payers {
            deployment.mint(payer.address(), U256::from(1_000_000_000)).unwrap();
        }
        for seed in 0..signers {
            deployment.fund(key(0xa1 + seed).address());
        }
        Arc::new(Self {
            home: tempfile::tempdir().unwrap(),
            node: Node::of(chain.clone()).await,
            chain,
            deployment,
            database,
            signers,
            payers,
            seller: Address::repeat_byte(0x41),
            nonces: AtomicU64::new(1),
            starts: AtomicU64::new(0),
            doors: Mutex::default(),
        })
    }

    /// The accounts that send.
    pub(crate) fn signers(&self) -> Vec<Address> {
        (0..self.signers).map(|seed| key(0xa1 + seed).address()).collect()
    }

    /// Starts a process in the replica's place.
    pub(crate) async fn start(&self, place: usize) -> Replica {
        let number = self.starts.fetch_add(1, Ordering::SeqCst);
        let config = self.home.path().join(format!("facilitator-{place}.toml"));
        std::fs::write(&config, self.config(place)).unwrap();
        let mut command = tollway(self.home.path(), &["facilitator", "--config", config.to_str().unwrap()]);
        for seed in 0..self.signers {
            command.env(format!("SIGNER_{seed}"), secret(0xa1 + seed));
        }
        command.env("RUST_LOG", "info,tollway_evm=debug");
        let replica = Replica::start(command, self.log(number)).await;
        lock(&self.doors).insert(place, replica.address());
        replica
    }

    /// Where the replica listens, or has listened.
    pub(crate) fn door(&self, place: usize) -> SocketAddr {
        lock(&self.doors)[&place]
    }

    fn config(&self, place: usize) -> String {
        let signers: Vec<_> =
            (0..self.signers).map(|seed| format!("{{ key_env = \"SIGNER_{seed}\" }}")).collect();
        format!(
            "listen = \"127.0.0.1:0\"\nledger = {:?}\n\
             [limits]\nsettle_seconds = 4\ndrain_seconds = 30\n\
             [[network]]\nid = \"eip155:84532\"\nrpc = \"{}\"\nsigner = [{}]\npoll_interval_ms = 50\n\
             batch = 4\nconfirmations = 1\nfinality = 1\n",
            self.database.url(),
            self.node.url(place),
            signers.join(", "),
        )
    }

    fn log(&self, number: u64) -> PathBuf {
        self.home.path().join(format!("facilitator-{number}.log"))
    }

    /// What every process said in its log.
    pub(crate) fn logs(&self) -> String {
        let logs = (0..self.starts.load(Ordering::SeqCst)).map(|number| {
            let text = std::fs::read_to_string(self.log(number)).unwrap_or_default();
            format!("--- process {number}\n{text}")
        });
        logs.collect()
    }

    /// Keeps the logs beyond the test, for the one who has to find out; where.
    pub(crate) fn keep_logs(&self) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tollway-replicas-{}.log", std::process::id()));
        std::fs::write(&path, self.logs()).unwrap();
        path
    }

    /// A payment of its own value and nonce, by one of the payers in their turn.
    pub(crate) async fn pay(&self) -> Signed {
        let number = self.nonces.fetch_add(1, Ordering::SeqCst);
        let payer = &self.payers[usize::try_from(number).unwrap() % self.payers.len()];
        let (value, nonce) = (10_000 + number, B256::from(U256::from(number)));
        let offer = Offer {
            scheme: "exact".into(),
            network: network(),
            amount: Amount::from(value),
            asset: self.deployment.usdc.to_string(),
            pay_to: self.seller.to_string(),
            max_timeout_seconds: WINDOW,
            extra: Object::new().with("name", "USDC").with("version", "2"),
            unknown: Object::new(),
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let signed = payer.sign(&offer, UnixTime(now), nonce.0).await.unwrap();
        let payment = Payment {
            x402_version: Version,
            resource: None,
            accepted: offer.clone(),
            payload: signed.payload,
            extensions: Object::new(),
            unknown: Object::new(),
        };
        let body = serde_json::to_value(PaymentRequest::new(payment, offer)).unwrap();
        Signed { body, key: signed.effects.key, payer: payer.address(), nonce, value }
    }

    /// How many transactions of the accounts are mined.
    pub(crate) fn mined(&self) -> u64 {
        let count = |account: Address| -> u64 {
            let count = self.chain.request("eth_getTransactionCount", &json!([account, "latest"])).unwrap();
            serde_json::from_value::<U256>(count).unwrap().to()
        };
        self.signers().into_iter().map(count).sum()
    }
}
