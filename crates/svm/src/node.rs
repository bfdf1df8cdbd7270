//! A node that a payer asks for what an offer does not say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use solana_address::Address;
use tollway_protocol::{Network, Secret};
use tollway_rpc::{Http, Names, Rpc, Transport};

use crate::pay::{Mint, Reader};
use crate::programs::{self, TOKEN, TOKEN_2022};

const NAMES: Names = Names {
    calls: "tollway_svm_rpc_total",
    errors: "tollway_svm_rpc_errors_total",
    passed_over: "tollway_svm_rpc_passed_over_total",
};
/// Where a mint has its decimals: after an optional authority of 36 bytes and a supply of 8.
const DECIMALS: usize = 44;
/// The most mints that are remembered.
const MOST: usize = 1_024;

/// Reads mints and blockhashes from nodes, by network.
pub struct Nodes {
    nodes: Vec<(Network, Rpc)>,
    /// What never changes of a mint.
    mints: Mutex<HashMap<(Network, Address), Mint>>,
}

#[derive(Deserialize)]
struct InContext<T> {
    value: T,
}

#[derive(Deserialize)]
struct Account {
    owner: String,
    data: (String, String),
}

#[derive(Deserialize)]
struct Latest {
    blockhash: String,
}

impl Nodes {
    /// The node at each network's URL; no I/O yet.
    ///
    /// # Errors
    /// What is wrong with a URL or the HTTP client, without the URL.
    pub fn new(urls: &[(Network, Secret<String>)], timeout: Duration) -> Result<Self, &'static str> {
        let node = |(network, url): &(Network, Secret<String>)| {
            let way: Arc<dyn Transport> = Arc::new(Http::new(url, timeout)?);
            Ok((network.clone(), Rpc::new(vec![way], timeout, NAMES)))
        };
        let nodes = urls.iter().map(node).collect::<Result<_, &'static str>>()?;
        Ok(Self { nodes, mints: Mutex::default() })
    }

    fn on(&self, network: &Network) -> Result<&Rpc, String> {
        let found = self.nodes.iter().find(|(known, _)| known == network);
        found.map(|(_, rpc)| rpc).ok_or_else(|| format!("no node is configured for {network}"))
    }
}

#[async_trait]
impl Reader for Nodes {
    async fn mint(&self, network: &Network, mint: &Address) -> Result<Mint, String> {
        let place = (network.clone(), *mint);
        let known = self.mints.lock().unwrap_or_else(PoisonError::into_inner).get(&place).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let params = (mint.to_string(), json!({"encoding": "base64", "commitment": "confirmed"}));
        let found: InContext<Option<Account>> =
            self.on(network)?.request("getAccountInfo", params).await.map_err(|error| error.to_string())?;
        let account = found.value.ok_or_else(|| format!("there is no mint {mint}"))?;
        let read = read(&account).ok_or_else(|| format!("{mint} is no mint of either token program"))?;
        let mut mints = self.mints.lock().unwrap_or_else(PoisonError::into_inner);
        if mints.len() >= MOST {
            mints.clear();
        }
        mints.insert(place, read);
        Ok(read)
    }

    async fn blockhash(&self, network: &Network) -> Result<[u8; 32], String> {
        let rpc = self.on(network)?;
        let latest: InContext<Latest> = rpc
            .request("getLatestBlockhash", [json!({"commitment": "confirmed"})])
            .await
            .map_err(|error| error.to_string())?;
        let hash = programs::address(&latest.value.blockhash);
        hash.map(|hash| hash.to_bytes()).map_err(|_| "its blockhash can't be read".to_owned())
    }
}

fn read(account: &Account) -> Option<Mint> {
    let program = programs::address(&account.owner).ok()?;
    let data = STANDARD.decode(&account.data.0).ok()?;
    let is_token = program == TOKEN || program == TOKEN_2022;
    Some(Mint { program, decimals: *data.get(DECIMALS).filter(|_| is_token)? })
}
