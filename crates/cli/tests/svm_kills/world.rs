//! A cluster and a ledger that outlive the facilitators, the facilitators, and who pays.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;
use tollway_devnet::svm::{Address, Chain, USDC_DEVNET};
use tollway_ledger::{Ledger, SqliteLedger};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::PayerScheme as _;
use tollway_protocol::wire::{Payment, PaymentRequest, Version};
use tollway_protocol::{Network, Offer, Secret};
use tollway_svm::ExactPayer;
use tollway_svm::keys::Key;
use tollway_svm::node::Nodes;

use crate::common::tollway;
use crate::database::Database;
use crate::node::Node;
pub(crate) use crate::patience::WITHIN;
use crate::replica::Replica;

/// What each payment moves.
pub(crate) const AMOUNT: u64 = 10_000;
/// What the fee payer begins with, in lamports.
pub(crate) const LAMPORTS: u64 = 10_000_000_000;
/// Five times as fast as a cluster has them, on average.
const SLOT: Duration = Duration::from_millis(80);
/// A payment can be settled for as many seconds as on a cluster: its slots are shorter, so these are more.
const BLOCKHASH_AGE: u64 = 750;
const FEE_PAYER: [u8; 32] = [0xa1; 32];
const PAYERS: u8 = 8;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(seed: [u8; 32]) -> Key {
    Key::from_seed(&Secret::new(seed))
}

pub(crate) fn network() -> Network {
    Network::named("solana-devnet").unwrap()
}

/// Where the facilitators have their ledger.
enum Place {
    File(PathBuf),
    Database(Database),
}

/// A payment as it is posted, and what it is known by.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) body: Value,
    pub(crate) key: PaymentKey,
}

pub(crate) struct World {
    home: TempDir,
    pub(crate) chain: Chain,
    pub(crate) node: Node,
    ledger: Place,
    payers: Vec<ExactPayer>,
    numbers: AtomicU64,
    starts: AtomicU64,
    /// Where each facilitator listens now.
    doors: Mutex<BTreeMap<usize, SocketAddr>>,
}

impl World {
    /// With a ledger in a file.
    pub(crate) async fn new() -> Arc<Self> {
        let home = tempfile::tempdir().unwrap();
        let ledger = Place::File(home.path().join("facilitator.db"));
        Self::with(home, ledger).await
    }

    /// With a ledger that facilitators share.
    pub(crate) async fn shared() -> Arc<Self> {
        Self::with(tempfile::tempdir().unwrap(), Place::Database(Database::shared().await)).await
    }

    async fn with(home: TempDir, ledger: Place) -> Arc<Self> {
        let chain = Chain::builder().slot_time(SLOT).blockhash_age(BLOCKHASH_AGE).build().unwrap();
        // So that there is a confirmed block to sign on.
        chain.advance(3);
        let node = Node::of(chain.clone()).await;
        let nodes = Nodes::new(&[(network(), Secret::new(node.url()))], WITHIN).unwrap();
        let nodes = Arc::new(nodes);
        let payer = |n: u8| ExactPayer::new(key([0x31 + n; 32])).reading(nodes.clone());
        let payers: Vec<_> = (0..PAYERS).map(payer).collect();
        for payer in &payers {
            chain.mint(USDC_DEVNET, payer.address(), 1_000_000_000).unwrap();
        }
        chain.mint(USDC_DEVNET, seller(), 0).unwrap();
        chain.fund(fee_payer(), LAMPORTS).unwrap();
        Arc::new(Self {
            home,
            chain,
            node,
            ledger,
            payers,
            numbers: AtomicU64::new(1),
            starts: AtomicU64::new(0),
            doors: Mutex::default(),
        })
    }

    /// Starts a facilitator in this place.
    pub(crate) async fn start(&self, place: usize) -> Replica {
        let started = self.start_killed_at(place, None).await;
        started.unwrap_or_else(|status| panic!("it ended before it was ready: {status}: {}", self.logs()))
    }

    /// Starts one that is killed at a point; or how it ended before it was ready.
    pub(crate) async fn start_killed_at(
        &self,
        place: usize,
        point: Option<&str>,
    ) -> Result<Replica, ExitStatus> {
        let number = self.starts.fetch_add(1, Ordering::SeqCst);
        let config = self.home.path().join(format!("facilitator-{place}.toml"));
        std::fs::write(&config, self.config()).unwrap();
        let mut command = tollway(self.home.path(), &["facilitator", "--config", config.to_str().unwrap()]);
        command.env("TOLLWAY_SOLANA_KEY", bs58::encode(FEE_PAYER).into_string());
        command.env("RUST_LOG", "info,tollway_svm=debug");
        if let Some(point) = point {
            command.env("TOLLWAY_CRASH", point);
        }
        let replica = Replica::try_start(command, &self.log(number)).await?;
        lock(&self.doors).insert(place, replica.address());
        Ok(replica)
    }

    /// Where the facilitator listens, or has listened.
    pub(crate) fn door(&self, place: usize) -> SocketAddr {
        lock(&self.doors)[&place]
    }

    fn config(&self) -> String {
        let ledger = match &self.ledger {
            Place::File(path) => path.to_str().unwrap(),
            Place::Database(database) => database.url(),
        };
        format!(
            "listen = \"127.0.0.1:0\"\nledger = {ledger:?}\n\
             [limits]\nsettle_seconds = 3\ndrain_seconds = 30\n\
             [[network]]\nid = \"solana-devnet\"\nrpc = \"{}\"\npoll_interval_ms = 40\n",
            self.node.url(),
        )
    }

    /// A look of our own into the ledger.
    pub(crate) async fn ledger(&self) -> Box<dyn Ledger> {
        match &self.ledger {
            Place::File(path) => Box::new(SqliteLedger::open(path).unwrap()),
            Place::Database(database) => Box::new(database.ledger().await),
        }
    }

    fn log(&self, number: u64) -> PathBuf {
        self.home.path().join(format!("facilitator-{number}.log"))
    }

    /// What every process said in its log.
    pub(crate) fn logs(&self) -> String {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let logs = (0..self.starts.load(Ordering::SeqCst))
            .map(|number| format!("--- process {number}\n{}", read(&self.log(number))));
        logs.collect()
    }

    /// Keeps the logs beyond the test, for the one who has to find out; where.
    pub(crate) fn keep_logs(&self) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tollway-svm-kills-{}.log", std::process::id()));
        std::fs::write(&path, self.logs()).unwrap();
        path
    }

    /// A payment by one of the payers in their turn.
    pub(crate) async fn pay(&self) -> Signed {
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let payer = &self.payers[usize::try_from(number).unwrap() % self.payers.len()];
        let offer = Offer {
            scheme: "exact".into(),
            network: network(),
            amount: Amount::from(AMOUNT),
            asset: USDC_DEVNET.to_string(),
            pay_to: seller().to_string(),
            max_timeout_seconds: 60,
            extra: Object::new().with("feePayer", fee_payer().to_string()),
            unknown: Object::new(),
        };
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&number.to_be_bytes());
        let now = UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        let signed = payer.sign(&offer, now, nonce).await.unwrap();
        let payment = Payment {
            x402_version: Version,
            resource: None,
            accepted: offer.clone(),
            payload: signed.payload,
            extensions: Object::new(),
            unknown: Object::new(),
        };
        let body = serde_json::to_value(PaymentRequest::new(payment, offer)).unwrap();
        Signed { body, key: signed.effects.key }
    }
}

/// Who pays for every transaction.
pub(crate) fn fee_payer() -> Address {
    key(FEE_PAYER).address()
}

pub(crate) fn seller() -> Address {
    key([0x41; 32]).address()
}
