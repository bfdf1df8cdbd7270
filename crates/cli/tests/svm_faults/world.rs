//! A cluster and a ledger that outlive the facilitators, the facilitators, and who pays.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tollway_devnet::svm::{Address, Chain, USDC_DEVNET};
use tollway_ledger::{PostgresLedger, PostgresOptions, SqliteLedger};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::{Network, Secret};
use tollway_svm::ExactPayer;
use tollway_svm::keys::Key;
use tollway_svm::node::Nodes;

use crate::common::tollway;
use crate::database::Database;
use crate::look::Look;
use crate::matrix::{Said, said_in_this_cell};
use crate::node::Node;
pub(crate) use crate::patience::WITHIN;
use crate::payment::{Signed, sign};
use crate::replica::Replica;

/// What each fee payer begins with, in lamports.
pub(crate) const LAMPORTS: u64 = 10_000_000_000;
/// What each payer begins with, in atomic units.
pub(crate) const TOKENS: u64 = 1_000_000_000;
/// How many accounts there are that may pay for transactions.
pub(crate) const FEE_PAYERS: u8 = 2;
/// Five times as fast as a cluster has them, on average.
const SLOT: Duration = Duration::from_millis(80);
const PAYERS: u8 = 8;
const SELLERS: u8 = 2;
/// So many lines of each facilitator's log are told of a cell that fails.
const LINES: usize = 60;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn key(seed: u8) -> Key {
    Key::from_seed(&Secret::new([seed; 32]))
}

pub(crate) fn network() -> Network {
    Network::named("solana-devnet").unwrap()
}

/// How a world is set up.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The URL of a Postgres for the ledger; a file of the world's unless set.
    pub(crate) ledger: Option<String>,
    pub(crate) settle_seconds: u64,
    pub(crate) drain_seconds: u64,
    /// For how many slots a payment can be settled. Slots are shorter than on a cluster: these are as many seconds as
    /// there, unless a cell wants it otherwise.
    pub(crate) blockhash_age: u64,
    /// The facilitators' fee payers, by their seeds; payments name the first of them.
    pub(crate) fee_payers: Vec<u8>,
    /// What each fee payer begins with, in lamports.
    pub(crate) lamports: u64,
    /// More of the network's table.
    pub(crate) network: String,
    /// The file with what the facilitators' clock shows, as libfaketime reads it; the system's clock unless set.
    pub(crate) clock: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ledger: None,
            settle_seconds: 3,
            drain_seconds: 30,
            blockhash_age: 750,
            fee_payers: vec![0],
            lamports: LAMPORTS,
            network: String::new(),
            clock: None,
        }
    }
}

pub(crate) struct World {
    pub(crate) home: TempDir,
    pub(crate) chain: Chain,
    pub(crate) node: Node,
    settings: Mutex<Settings>,
    payers: Vec<ExactPayer>,
    numbers: AtomicU64,
    starts: AtomicU64,
    /// What each fee payer was given, in lamports.
    funded: Mutex<[u64; FEE_PAYERS as usize]>,
    /// Where each facilitator listens now.
    doors: Mutex<BTreeMap<usize, SocketAddr>>,
    said: Option<Said>,
}

/// What fails takes its world with it: the end of the logs stays.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        match &self.said {
            Some(said) => lock(said).push_str(&self.last_logs()),
            None => eprintln!("{}", self.last_logs()),
        }
    }
}

impl World {
    /// With a ledger in a file.
    pub(crate) async fn new() -> Arc<Self> {
        Self::with(Settings::default()).await
    }

    /// With a ledger that facilitators share.
    pub(crate) async fn shared() -> Arc<Self> {
        let ledger = Some(Database::shared().await.url().to_owned());
        Self::with(Settings { ledger, ..Settings::default() }).await
    }

    pub(crate) async fn with(settings: Settings) -> Arc<Self> {
        let chain = Chain::builder().slot_time(SLOT).blockhash_age(settings.blockhash_age).build().unwrap();
        // So that there is a confirmed block to sign on.
        chain.advance(3);
        let node = Node::of(chain.clone()).await;
        // Payers have a node of their own: no fault is theirs.
        let nodes = Nodes::new(&[(network(), Secret::new(node.honest().to_owned()))], WITHIN).unwrap();
        let nodes = Arc::new(nodes);
        let payer = |n: u8| ExactPayer::new(key(0x31 + n)).reading(nodes.clone());
        let payers: Vec<_> = (0..PAYERS).map(payer).collect();
        for payer in &payers {
            chain.mint(USDC_DEVNET, payer.address(), TOKENS).unwrap();
        }
        for seller in sellers() {
            chain.mint(USDC_DEVNET, seller, 0).unwrap();
        }
        let lamports = settings.lamports;
        let world = Self {
            home: tempfile::tempdir().unwrap(),
            chain,
            node,
            settings: Mutex::new(settings),
            payers,
            numbers: AtomicU64::new(1),
            starts: AtomicU64::new(0),
            doors: Mutex::default(),
            funded: Mutex::default(),
            said: said_in_this_cell(),
        };
        for seed in 0..FEE_PAYERS {
            world.fund(seed, lamports);
        }
        Arc::new(world)
    }

    pub(crate) fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    /// Changes what the next facilitators are told.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut lock(&self.settings));
    }

    /// The ledger's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.home.path().join("facilitator.db")
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
        self.node.check_against(Some(self.ledger().await));
        let number = self.starts.fetch_add(1, Ordering::SeqCst);
        let config = self.home.path().join(format!("facilitator-{place}.toml"));
        std::fs::write(&config, self.config()).unwrap();
        let mut command = tollway(self.home.path(), &["facilitator", "--config", config.to_str().unwrap()]);
        for seed in 0..FEE_PAYERS {
            command.env(format!("FEE_PAYER_{seed}"), secret(seed));
        }
        command.env("RUST_LOG", "info,tollway_svm=debug");
        if let Some(point) = point {
            command.env("TOLLWAY_CRASH", point);
        }
        if let Some(clock) = &self.settings().clock {
            crate::clock::set(&mut command, clock);
        }
        let replica = Replica::try_start(command, &self.log(number)).await?;
        lock(&self.doors).insert(place, replica.address());
        Ok(replica)
    }

    /// Tells it to stop: it ends in order.
    pub(crate) async fn stop(&self, replica: Replica) {
        let status = replica.terminate().await;
        assert!(status.success(), "{status}: {}", self.logs());
    }

    /// Where the facilitator listens, or has listened.
    pub(crate) fn door(&self, place: usize) -> SocketAddr {
        lock(&self.doors)[&place]
    }

    fn config(&self) -> String {
        let Settings { settle_seconds, drain_seconds, fee_payers, network, ledger, .. } = self.settings();
        let ledger = ledger.unwrap_or_else(|| self.file().display().to_string());
        let rpc = format!("rpc = \"{}\"\n", self.node.url());
        let rpc = if network.contains("rpc = ") { String::new() } else { rpc };
        let signers: Vec<_> =
            fee_payers.iter().map(|seed| format!("{{ key_env = \"FEE_PAYER_{seed}\" }}")).collect();
        format!(
            "listen = \"127.0.0.1:0\"\nledger = {ledger:?}\n\
             [limits]\nsettle_seconds = {settle_seconds}\ndrain_seconds = {drain_seconds}\n\
             [[network]]\nid = \"solana-devnet\"\n{rpc}signer = [{}]\npoll_interval_ms = 40\n{network}",
            signers.join(", "),
        )
    }

    /// A look of our own into the ledger.
    pub(crate) async fn ledger(&self) -> Arc<Look> {
        Arc::new(match &self.settings().ledger {
            Some(url) => {
                Look::into_database(PostgresLedger::open(url, PostgresOptions::default()).await.unwrap())
            }
            None => Look::into_file(SqliteLedger::open(self.file()).unwrap()),
        })
    }

    fn log(&self, number: u64) -> PathBuf {
        self.home.path().join(format!("facilitator-{number}.log"))
    }

    fn each_log(&self) -> impl Iterator<Item = String> {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        (0..self.starts.load(Ordering::SeqCst)).map(move |number| read(&self.log(number)))
    }

    /// What every process said in its log.
    pub(crate) fn logs(&self) -> String {
        self.each_log().enumerate().map(|(number, log)| format!("--- process {number}\n{log}")).collect()
    }

    /// The last lines of each facilitator's log.
    fn last_logs(&self) -> String {
        let last = |(number, log): (usize, String)| {
            let lines: Vec<_> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(LINES)..].join("\n");
            format!("── facilitator {number} said last:\n{end}\n")
        };
        self.each_log().enumerate().map(last).collect()
    }

    /// Keeps the logs beyond the test, for the one who has to find out; where.
    pub(crate) fn keep_logs(&self) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tollway-svm-faults-{}.log", std::process::id()));
        std::fs::write(&path, self.logs()).unwrap();
        path
    }

    /// A payment of its own value, by one of the payers in their turn, to one of the sellers.
    pub(crate) async fn pay(&self) -> Signed {
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let payer = &self.payers[usize::try_from(number).unwrap() % self.payers.len()];
        self.sign(payer, number, 10_000 + number).await
    }

    async fn sign(&self, payer: &ExactPayer, number: u64, value: u64) -> Signed {
        let seller = sellers()[usize::try_from(number).unwrap() % sellers().len()];
        let with = self.settings().fee_payers[0];
        let signed = sign(payer, key(0xa1 + with), seller, number, value).await;
        self.node.knows(&signed);
        signed
    }

    /// A payment that nobody asked for, over a fee payer of nobody's: all that the payer has goes elsewhere.
    pub(crate) async fn drain(&self, payer: Address) -> Signed {
        let payer = self.payers.iter().find(|known| known.address() == payer).unwrap();
        let (elsewhere, stranger) = (key(0x77).address(), key(0x78));
        self.chain.mint(USDC_DEVNET, elsewhere, 0).unwrap();
        self.chain.fund(stranger.address(), LAMPORTS).unwrap();
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let left = self.chain.token_balance(USDC_DEVNET, payer.address());
        sign(payer, stranger, elsewhere, number, left).await
    }

    /// Gives a fee payer lamports.
    pub(crate) fn fund(&self, seed: u8, lamports: u64) {
        self.chain.fund(fee_payer(seed), lamports).unwrap();
        lock(&self.funded)[usize::from(seed)] += lamports;
    }

    /// What each fee payer was given, in lamports.
    pub(crate) fn funded(&self) -> [u64; FEE_PAYERS as usize] {
        *lock(&self.funded)
    }

    /// What the ledger has of a payment.
    pub(crate) async fn recorded(&self, key: &PaymentKey) -> Option<tollway_ledger::Record> {
        self.ledger().await.settlement(key).await.unwrap()
    }
}

/// A fee payer's secret, as it is told to the facilitators.
pub(crate) fn secret(seed: u8) -> String {
    bs58::encode([0xa1 + seed; 32]).into_string()
}

/// Who pays for transactions.
pub(crate) fn fee_payer(seed: u8) -> Address {
    key(0xa1 + seed).address()
}

/// Who is paid.
pub(crate) fn sellers() -> Vec<Address> {
    (0..SELLERS).map(|n| key(0x41 + n).address()).collect()
}
