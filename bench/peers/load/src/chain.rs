//! The chain, run by `bench/chain.mjs`, and what is asked of it beside the facilitators.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use alloy_primitives::{Address, U256, keccak256};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::http::{self, Connection};
use crate::payments::USDC;

pub struct Chain {
    pub address: SocketAddr,
    connection: Connection,
    // Its end is the chain's: it watches the pipe.
    _child: Child,
}

impl Chain {
    pub async fn start(
        bench: &Path,
        payer: Address,
        signers: &[Address],
        receivers: &[Address],
    ) -> Result<Self> {
        let list =
            |addresses: &[Address]| addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(",");
        let mut child = Command::new("node")
            .arg(bench.join("chain.mjs"))
            .env("PAYER", payer.to_string())
            .env("SIGNERS", list(signers))
            .env("RECEIVERS", list(receivers))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(false)
            .spawn()
            .context("node bench/chain.mjs")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let line = line.context("bench/chain.mjs ended before the chain was ready: see above")?;
        let ready: Value = serde_json::from_str(&line)?;
        let url = ready["url"].as_str().context("no url")?;
        let address = url.trim_start_matches("http://").parse()?;
        Ok(Self { address, connection: Connection::open(address).await?, _child: child })
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let (_, answer) = self.connection.exchange(&http::request("/", body.as_bytes())).await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        match answer.get("result") {
            Some(result) => Ok(result.clone()),
            None => bail!("{method}: {answer}"),
        }
    }

    pub async fn balance(&mut self, of: Address) -> Result<u64> {
        let selector = &keccak256("balanceOf(address)")[..4];
        let data = alloy_primitives::hex::encode_prefixed([selector, of.into_word().as_slice()].concat());
        let answer = self.call("eth_call", json!([{ "to": USDC, "data": data }, "latest"])).await?;
        let balance: U256 = serde_json::from_value(answer)?;
        Ok(balance.saturating_to())
    }

    /// The gas that a transaction used, if it succeeded.
    pub async fn gas_used(&mut self, transaction: &str) -> Result<Option<u64>> {
        let receipt = self.call("eth_getTransactionReceipt", json!([transaction])).await?;
        if receipt["status"] != "0x1" {
            return Ok(None);
        }
        let gas: U256 = serde_json::from_value(receipt["gasUsed"].clone())?;
        Ok(Some(gas.saturating_to()))
    }
}
