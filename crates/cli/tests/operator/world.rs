//! A chain, a facilitator on it, and payments.

use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256, U256};
use reqwest::RequestBuilder;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tollway_devnet::evm::{self, Chain, Genesis, Server};
use tollway_evm::keys::Key;
use tollway_evm::{ExactPayer, ExactSeller};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;
use tollway_protocol::json::Object;
use tollway_protocol::money::Money;
use tollway_protocol::scheme::{Ask, PayerScheme as _, SellerScheme as _};
use tollway_protocol::wire::{Kind, Payment, PaymentRequest, Version};
use tollway_protocol::{Network, Secret};

use crate::common::{Running, tollway};

const SIGNER: &str = "0x2121212121212121212121212121212121212121212121212121212121212121";

pub(crate) struct World {
    pub(crate) home: TempDir,
    server: Server,
    pub(crate) payer: ExactPayer,
    seller: Address,
}

/// A signed payment, its key, and its signature.
pub(crate) struct Signed {
    pub(crate) request: PaymentRequest,
    pub(crate) key: PaymentKey,
    pub(crate) signature: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        let chain = Chain::builder().build().unwrap();
        let deployment = Genesis::base_sepolia().deploy(&chain).unwrap();
        let payer = ExactPayer::new(key(&format!("0x{}", "31".repeat(32))));
        deployment.fund(key(SIGNER).address());
        deployment.mint(payer.address(), U256::from(1_000_000)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = evm::serve(chain, listener).unwrap();
        Self { home: tempfile::tempdir().unwrap(), server, payer, seller: Address::repeat_byte(0x41) }
    }

    /// A configuration with `more` in it, before the network.
    pub(crate) fn config(&self, more: &str) -> PathBuf {
        let path = self.home.path().join("facilitator.toml");
        let text = format!(
            "listen = \"127.0.0.1:0\"\nledger = {:?}\n{more}\n[[network]]\nid = \"eip155:84532\"\nrpc = \"{}\"\nsigner = {{ key_env = \"FACILITATOR_KEY\" }}\npoll_interval_ms = 20\n",
            self.home.path().join("facilitator.db"),
            self.server.url(),
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn command(&self, more: &str) -> Command {
        let config = self.config(more);
        let mut command = tollway(self.home.path(), &["facilitator", "--config", config.to_str().unwrap()]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        command.env("FACILITATOR_KEY", SIGNER);
        command
    }

    pub(crate) async fn start(&self, more: &str) -> Running {
        Running::start(self.command(more)).await
    }

    pub(crate) async fn payment(&self, nonce: u8) -> Signed {
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
        let signed = self.payer.sign(&offer, UnixTime(now), B256::repeat_byte(nonce).0).await.unwrap();
        let signature = signed.payload.str("signature").unwrap().to_owned();
        let payment = Payment {
            x402_version: Version,
            resource: None,
            accepted: offer.clone(),
            payload: signed.payload,
            extensions: Object::new(),
            unknown: Object::new(),
        };
        Signed { request: PaymentRequest::new(payment, offer), key: signed.effects.key, signature }
    }
}

fn key(hex: &str) -> Key {
    Key::from_hex(&Secret::new(hex.to_owned())).unwrap()
}

pub(crate) fn post(running: &Running, path: &str, request: &PaymentRequest) -> RequestBuilder {
    reqwest::Client::new().post(format!("{}{path}", running.text("/url"))).json(request)
}

pub(crate) async fn answer(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A file in e2e/, which `node e2e/setup.mjs` installs.
pub(crate) fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e").join(path);
    assert!(path.exists(), "{} is not there: run `node e2e/setup.mjs`", path.display());
    path
}
