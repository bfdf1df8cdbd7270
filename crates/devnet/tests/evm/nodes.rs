//! The two chains, each with the contracts installed.

use std::{fs, path::PathBuf, process::Stdio};

use alloy_primitives::{Address, B256, U256};
use alloy_signer_local::PrivateKeySigner;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
};
use tollway_devnet::evm::{Chain, Genesis, Installed, MULTICALL3, Server, install, serve};

use crate::client::{Client, signer};

pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) contracts: Installed<Client>,
    _process: Process,
}

#[expect(dead_code, reason = "held until the test ends")]
enum Process {
    Embedded(Server),
    Anvil(Child),
}

impl Node {
    pub(crate) async fn embedded() -> Self {
        let chain = Chain::builder().build().unwrap();
        Genesis::base_sepolia().deploy(&chain).unwrap();
        Self::serving(chain).await
    }

    pub(crate) async fn serving(chain: Chain) -> Self {
        let server = serve(chain, TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
        Self::with_contracts(server.url(), Process::Embedded(server)).await
    }

    /// With the original Multicall3.
    pub(crate) async fn anvil() -> Self {
        let (url, process) = start_anvil().await;
        let code = original_multicall3(&Client::new(url.clone())).await;
        Client::new(url.clone()).ask::<Value>("anvil_setCode", json!([MULTICALL3, code])).await;
        Self::with_contracts(url, Process::Anvil(process)).await
    }

    async fn with_contracts(url: String, process: Process) -> Self {
        let client = Client::new(url);
        let contracts = install(client.clone(), &Genesis::base_sepolia()).await.unwrap();
        Self { client, contracts, _process: process }
    }

    pub(crate) fn usdc(&self) -> Address {
        self.contracts.usdc
    }

    /// An account with ether.
    pub(crate) async fn account(&self, number: u8) -> PrivateKeySigner {
        let account = signer(number);
        self.client.fund(account.address()).await;
        account
    }

    /// An account with ether and a million units of the token.
    pub(crate) async fn payer(&self) -> PrivateKeySigner {
        let payer = self.account(0x11).await;
        self.contracts.mint(payer.address(), U256::from(1_000_000)).await.unwrap();
        payer
    }
}

pub(crate) fn e2e() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e"))
}

async fn start_anvil() -> (String, Child) {
    let installed = e2e().join("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
    let path = std::env::var_os("TOLLWAY_ANVIL").map_or(installed, PathBuf::from);
    assert!(
        path.exists(),
        "there is no anvil at {}: run `npm ci` in e2e/ or set TOLLWAY_ANVIL",
        path.display()
    );
    let mut command = Command::new(path);
    command
        .args(["--port", "0", "--chain-id", "84532", "--accounts", "0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(address) = line.strip_prefix("Listening on ") {
            let url = format!("http://{}", address.trim());
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (url, child);
        }
    }
    panic!("anvil ended without listening");
}

/// The runtime of the code that viem ships.
async fn original_multicall3(client: &Client) -> String {
    let path = e2e().join("node_modules/viem/_esm/constants/contracts.js");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (_, rest) = text.split_once("multicall3Bytecode = '").expect("viem ships multicall3Bytecode");
    let (creation, _) = rest.split_once('\'').unwrap();
    client.ask("eth_call", json!([{ "data": creation }, "latest"])).await
}

pub(crate) fn topic(address: Address) -> B256 {
    address.into_word()
}
