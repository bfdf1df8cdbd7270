//! A chain that outlives its facilitators, the node between them, and who pays.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall as _, SolStruct as _, sol};
use serde_json::{Value, json};
use tempfile::TempDir;
use tollway_devnet::evm::{Chain, Deployment, Genesis, Mining};
use tollway_evm::ExactPayer;
use tollway_evm::exact::Domain;
use tollway_evm::keys::Key;
use tollway_ledger::{PostgresLedger, PostgresOptions, SqliteLedger};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::PayerScheme as _;
use tollway_protocol::wire::{Payment, PaymentRequest, Version};
use tollway_protocol::{Network, Offer, Secret};

use crate::common::tollway;
use crate::gate::Gate;
use crate::look::Look;
use crate::matrix::{Said, said_in_this_cell};
use crate::process::Facilitator;
use crate::rpc::Node;

/// How many accounts there are that may send.
pub(crate) const SIGNERS: u8 = 3;
/// How many payers there are.
const PAYERS: u8 = 4;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn secret(seed: u8) -> String {
    format!("0x{}", format!("{seed:02x}").repeat(32))
}

fn key(seed: u8) -> Key {
    Key::from_hex(&Secret::new(secret(seed))).unwrap()
}

/// An account that sends; a facilitator has the first one unless it is told otherwise.
pub(crate) fn signer(seed: u8) -> Key {
    key(0xa1 + seed)
}

pub(crate) fn network() -> Network {
    Network::eip155(84532)
}

pub(crate) fn now() -> UnixTime {
    UnixTime(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs())
}

/// How a world is set up.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) mining: Mining,
    pub(crate) batch: u64,
    pub(crate) confirmations: u64,
    pub(crate) finality: u64,
    pub(crate) settle_seconds: u64,
    pub(crate) drain_seconds: u64,
    /// How long payments are good for, in seconds. Blocks are made in a hurry, and each is a second later than the one
    /// before.
    pub(crate) window: u64,
    /// The sending accounts, by their seeds.
    pub(crate) signers: Vec<u8>,
    /// More of the network's table.
    pub(crate) network: String,
    /// The URL of a Postgres for the ledger; a file of the world's unless set.
    pub(crate) ledger: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mining: Mining::Auto,
            batch: 2,
            confirmations: 1,
            finality: 1,
            settle_seconds: 4,
            drain_seconds: 30,
            window: 3600,
            signers: vec![0],
            network: String::new(),
            ledger: None,
        }
    }
}

pub(crate) struct World {
    pub(crate) home: TempDir,
    pub(crate) chain: Chain,
    pub(crate) deployment: Deployment,
    /// What facilitators have for a node.
    pub(crate) node: Node,
    /// What payers have for a facilitator.
    pub(crate) front: Gate,
    pub(crate) settings: Settings,
    pub(crate) payers: Vec<ExactPayer>,
    pub(crate) seller: Address,
    nonces: AtomicU64,
    starts: AtomicU64,
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

/// So many lines of each facilitator's log are told of a cell that fails.
const LINES: usize = 60;

/// A payment as it is posted, and what it is known by.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) body: Value,
    pub(crate) key: PaymentKey,
    pub(crate) payer: Address,
    pub(crate) nonce: B256,
    pub(crate) value: u64,
}

impl Signed {
    pub(crate) fn signature(&self) -> &str {
        self.body["paymentPayload"]["payload"]["signature"].as_str().unwrap()
    }
}

impl World {
    pub(crate) async fn new(settings: Settings) -> Self {
        let chain = Chain::builder().mining(settings.mining).build().unwrap();
        let deployment = Genesis::base_sepolia().deploy(&chain).unwrap();
        let payers: Vec<_> = (0..PAYERS).map(|n| ExactPayer::new(key(0x31 + n))).collect();
        for payer in &payers {
            deployment.mint(payer.address(), U256::from(100_000_000)).unwrap();
        }
        for seed in 0..SIGNERS {
            deployment.fund(signer(seed).address());
        }
        let node = Node::of(chain.clone()).await;
        let home = tempfile::tempdir().unwrap();
        Self {
            home,
            chain,
            deployment,
            node,
            front: Gate::new().await,
            settings,
            payers,
            seller: Address::repeat_byte(0x41),
            nonces: AtomicU64::new(1),
            starts: AtomicU64::new(0),
            said: said_in_this_cell(),
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.home.path().join("facilitator.db")
    }

    /// A look of our own into the ledger.
    pub(crate) async fn ledger(&self) -> Arc<Look> {
        Arc::new(match &self.settings.ledger {
            Some(url) => {
                Look::into_database(PostgresLedger::open(url, PostgresOptions::default()).await.unwrap())
            }
            None => Look::into_file(SqliteLedger::open(self.file()).unwrap()),
        })
    }

    /// A facilitator, behind the front door, whose transactions must be in the ledger before they leave.
    pub(crate) async fn start(&self) -> Facilitator {
        self.start_killed_at(None).await
    }

    /// As [`World::start`]; it ends itself at `point`.
    pub(crate) async fn start_killed_at(&self, point: Option<&str>) -> Facilitator {
        let facilitator = self.replica(point).await;
        self.front.lead_to(facilitator.address());
        facilitator
    }

    /// As [`World::start`], with another place for its log.
    pub(crate) async fn start_logging_to(&self, log: &Path) -> Facilitator {
        let facilitator = self.run(None, Some(log)).await;
        self.front.lead_to(facilitator.address());
        facilitator
    }

    /// A facilitator that no door leads to.
    pub(crate) async fn replica(&self, point: Option<&str>) -> Facilitator {
        self.run(point, None).await
    }

    async fn run(&self, point: Option<&str>, log: Option<&Path>) -> Facilitator {
        self.node.check_against(Some(self.ledger().await));
        let number = self.starts.fetch_add(1, Ordering::SeqCst);
        let config = self.home.path().join(format!("facilitator-{number}.toml"));
        std::fs::write(&config, self.config()).unwrap();
        let mut command = tollway(self.home.path(), &["facilitator", "--config", config.to_str().unwrap()]);
        for seed in 0..SIGNERS {
            command.env(format!("SIGNER_{seed}"), secret(0xa1 + seed));
        }
        if let Some(point) = point {
            command.env("TOLLWAY_CRASH", point);
        }
        let place = self.home.path().join(format!("facilitator-{number}.log"));
        let log = log.map_or(place, Path::to_owned);
        Facilitator::start(command, &log).await
    }

    fn config(&self) -> String {
        let Settings { batch, confirmations, finality, settle_seconds, drain_seconds, .. } = self.settings;
        let ledger = self.settings.ledger.clone().unwrap_or_else(|| self.file().display().to_string());
        let signers: Vec<_> =
            self.settings.signers.iter().map(|seed| format!("{{ key_env = \"SIGNER_{seed}\" }}")).collect();
        let rpc = format!("rpc = \"{}\"\n", self.node.gate.url());
        let rpc = if self.settings.network.contains("rpc = ") { String::new() } else { rpc };
        format!(
            "listen = \"127.0.0.1:0\"\nledger = {ledger:?}\n\
             [limits]\nsettle_seconds = {settle_seconds}\ndrain_seconds = {drain_seconds}\n\
             [[network]]\nid = \"eip155:84532\"\n{rpc}signer = [{}]\npoll_interval_ms = 20\n\
             batch = {batch}\nconfirmations = {confirmations}\nfinality = {finality}\n{}",
            signers.join(", "),
            self.settings.network,
        )
    }

    /// A payment of its own value, by one of the payers in their turn.
    pub(crate) async fn pay(&self) -> Signed {
        let number = self.nonces.fetch_add(1, Ordering::SeqCst);
        let payer = usize::try_from(number).unwrap() % self.payers.len();
        self.sign(payer, number, 10_000 + number).await
    }

    /// Another payment with the nonce of `first`.
    pub(crate) async fn rival(&self, first: &Signed) -> Signed {
        let payer = self.payers.iter().position(|payer| payer.address() == first.payer).unwrap();
        let number = U256::from_be_bytes(first.nonce.0).to();
        self.sign(payer, number, first.value + 5_000).await
    }

    pub(crate) async fn sign(&self, payer: usize, number: u64, value: u64) -> Signed {
        self.sign_in(self.deployment.usdc, "USDC", payer, number, value).await
    }

    /// A payment in another token, by its name.
    pub(crate) async fn sign_in(
        &self,
        asset: Address,
        name: &str,
        payer: usize,
        number: u64,
        value: u64,
    ) -> Signed {
        let payer = &self.payers[payer];
        let mut offer = self.offer(asset, value);
        offer.extra = Object::new().with("name", name).with("version", "2");
        let nonce = B256::from(U256::from(number));
        let signed = payer.sign(&offer, now(), nonce.0).await.unwrap();
        let body = request(offer, signed.payload);
        Signed { body, key: signed.effects.key, payer: payer.address(), nonce, value }
    }

    pub(crate) fn offer(&self, asset: Address, value: u64) -> Offer {
        Offer {
            scheme: "exact".into(),
            network: network(),
            amount: Amount::from(value),
            asset: asset.to_string(),
            pay_to: self.seller.to_string(),
            max_timeout_seconds: self.settings.window,
            extra: Object::new().with("name", "USDC").with("version", "2"),
            unknown: Object::new(),
        }
    }

    /// A transaction of somebody who has nothing to do with all this.
    pub(crate) fn by_stranger(&self, to: Address, data: Vec<u8>) -> B256 {
        let stranger = Address::repeat_byte(0x55);
        self.deployment.fund(stranger);
        self.chain.request("anvil_impersonateAccount", &json!([stranger])).unwrap();
        let sent = json!([{"from": stranger, "to": to, "data": Bytes::from(data), "gas": "0xf4240",
            "maxFeePerGas": "0x174876e800", "maxPriorityFeePerGas": "0x3b9aca00"}]);
        serde_json::from_value(self.chain.request("eth_sendTransaction", &sent).unwrap()).unwrap()
    }

    /// How many transactions of the account are mined.
    pub(crate) fn mined_of(&self, account: Address) -> u64 {
        let count = self.chain.request("eth_getTransactionCount", &json!([account, "latest"])).unwrap();
        serde_json::from_value::<U256>(count).unwrap().to()
    }

    /// What all facilitators said in their logs.
    pub(crate) fn logs(&self) -> String {
        self.each_log().collect()
    }

    fn each_log(&self) -> impl Iterator<Item = String> {
        let logs = (0..self.starts.load(Ordering::SeqCst))
            .map(|number| self.home.path().join(format!("facilitator-{number}.log")));
        logs.map(|path| std::fs::read_to_string(path).unwrap_or_default())
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
}

/// The call by which the payer cancels a payment.
pub(crate) fn cancellation(world: &World, payment: &Signed) -> Vec<u8> {
    sol! {
        struct CancelAuthorization { address authorizer; bytes32 nonce; }
        function cancelAuthorization(address authorizer, bytes32 nonce, uint8 v, bytes32 r, bytes32 s);
    }
    let payer = world.payers.iter().position(|payer| payer.address() == payment.payer).unwrap();
    let cancel = CancelAuthorization { authorizer: payment.payer, nonce: payment.nonce };
    let domain = Domain::new("USDC", "2", 84532, world.deployment.usdc);
    let preimage = [&[0x19, 1][..], domain.0.as_slice(), cancel.eip712_hash_struct().as_slice()].concat();
    let seed = 0x31 + u8::try_from(payer).unwrap();
    let key = secp256k1::SecretKey::from_secret_bytes([seed; 32]).unwrap();
    let message = secp256k1::Message::from_digest(keccak256(preimage).0);
    let signature = secp256k1::ecdsa::RecoverableSignature::sign_ecdsa_recoverable(message, &key);
    let (id, compact) = signature.serialize_compact();
    let call = cancelAuthorizationCall {
        authorizer: payment.payer,
        nonce: payment.nonce,
        v: if id == secp256k1::ecdsa::RecoveryId::One { 28 } else { 27 },
        r: B256::from_slice(&compact[..32]),
        s: B256::from_slice(&compact[32..]),
    };
    call.abi_encode()
}

pub(crate) fn request(offer: Offer, payload: Object) -> Value {
    let payment = Payment {
        x402_version: Version,
        resource: None,
        accepted: offer.clone(),
        payload,
        extensions: Object::new(),
        unknown: Object::new(),
    };
    serde_json::to_value(PaymentRequest::new(payment, offer)).unwrap()
}
