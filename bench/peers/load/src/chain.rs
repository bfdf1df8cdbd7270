//! The chain, run by `bench/chain.mjs`, and what is asked of it beside the facilitators.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256, hex, keccak256};
use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::http::{self, Connection};
use crate::payments::{Payment, USDC};

/// The gas of a block, at most.
pub const GAS_LIMIT: u64 = 30_000_000;
/// Where FiatTokenV2_2 keeps `balanceAndBlacklistStates`.
const BALANCES: u64 = 9;
/// anvil's first account, which it signs for.
const ANYONE: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
/// Calls in one request.
const BATCH: usize = 500;

pub struct Chain {
    pub address: SocketAddr,
    /// anvil's.
    pub pid: Pid,
    connection: Connection,
    // Its end is the chain's: it watches the pipe.
    _child: Child,
}

/// A payment that the chain has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transfer {
    pub from: Address,
    pub transaction: B256,
    pub block: u64,
    pub value: u64,
}

/// A transaction that the chain has.
pub struct Sent {
    pub gas: u64,
    pub good: bool,
}

impl Chain {
    pub async fn start(bench: &Path, signers: &[Address]) -> Result<Self> {
        let signers = signers.iter().map(Address::to_string).collect::<Vec<_>>().join(",");
        let mut child = Command::new("node")
            .arg(bench.join("chain.mjs"))
            .env("SIGNERS", signers)
            .env("GAS_LIMIT", GAS_LIMIT.to_string())
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
        let node = child.id().context("node ended")?;
        let children = std::fs::read_to_string(format!("/proc/{node}/task/{node}/children"))?;
        let anvil = children.split_whitespace().next().context("node has no child")?;
        let (pid, connection) = (Pid::from_raw(anvil.parse()?), Connection::open(address).await?);
        Ok(Self { address, pid, connection, _child: child })
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        let answers = self.batch(vec![(method, params)]).await?;
        answers.into_iter().next().context("no answer")
    }

    /// The results of several calls, in their order.
    async fn batch(&mut self, calls: Vec<(&str, Value)>) -> Result<Vec<Value>> {
        let mut results = Vec::with_capacity(calls.len());
        for calls in calls.chunks(BATCH) {
            let question: Vec<Value> = calls
                .iter()
                .enumerate()
                .map(|(id, (method, params))| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
                .collect();
            let body = serde_json::to_vec(&question)?;
            let (_, answer) = self.connection.exchange(&http::request("/", &body)).await?;
            let mut answers: Vec<Value> = serde_json::from_slice(&answer)?;
            ensure!(answers.len() == calls.len(), "{} answers to {} calls", answers.len(), calls.len());
            answers.sort_by_key(|answer| answer["id"].as_u64());
            for ((method, _), mut answer) in calls.iter().zip(answers) {
                match answer.get_mut("result") {
                    Some(result) => results.push(result.take()),
                    None => bail!("{method}: {answer}"),
                }
            }
        }
        Ok(results)
    }

    /// A block for each transaction, at once.
    pub async fn instant(&mut self) -> Result<()> {
        self.call("evm_setAutomine", json!([true])).await.map(drop)
    }

    /// A block each second, from now on.
    pub async fn every_second(&mut self) -> Result<()> {
        self.call("anvil_setIntervalMining", json!([1])).await.map(drop)
    }

    /// The next block's base fee is one gwei again, whatever full blocks have made of it.
    pub async fn usual_fee(&mut self) -> Result<()> {
        self.call("anvil_setNextBlockBaseFeePerGas", json!(["0x3b9aca00"])).await.map(drop)
    }

    /// Gives each this much USDC.
    pub async fn give(&mut self, to: &[Address], amount: u64) -> Result<()> {
        let value = B256::from(U256::from(amount));
        let calls = to.iter().map(|account| {
            let slot = keccak256([account.into_word(), B256::from(U256::from(BALANCES))].concat());
            ("anvil_setStorageAt", json!([USDC, slot, value]))
        });
        self.batch(calls.collect()).await?;
        let Some(last) = to.last() else { return Ok(()) };
        ensure!(self.balance(*last).await? == amount, "USDC keeps balances elsewhere");
        Ok(())
    }

    pub async fn balance(&mut self, of: Address) -> Result<u64> {
        let selector = &keccak256("balanceOf(address)")[..4];
        let data = hex::encode_prefixed([selector, of.into_word().as_slice()].concat());
        let answer = self.call("eth_call", json!([{ "to": USDC, "data": data }, "latest"])).await?;
        number(&answer)
    }

    pub async fn height(&mut self) -> Result<u64> {
        number(&self.call("eth_blockNumber", json!([])).await?)
    }

    /// Transactions that are not in a block: that could be in the next one, and that wait for a nonce before theirs.
    pub async fn waiting(&mut self) -> Result<(u64, u64)> {
        let status = self.call("txpool_status", json!([])).await?;
        Ok((number(&status["pending"])?, number(&status["queued"])?))
    }

    /// Waits, but not forever, until no transaction waits for a block. How many still did.
    pub async fn quiet(&mut self) -> Result<u64> {
        let started = Instant::now();
        loop {
            let (pending, _) = self.waiting().await?;
            if pending == 0 || started.elapsed() > Duration::from_secs(15) {
                return Ok(pending);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The gas that a transaction used, if it succeeded.
    pub async fn gas_used(&mut self, transaction: &str) -> Result<Option<u64>> {
        let receipt = self.call("eth_getTransactionReceipt", json!([transaction])).await?;
        if receipt["status"] != "0x1" { Ok(None) } else { number(&receipt["gasUsed"]).map(Some) }
    }

    /// USDC that `to` was paid after block `after`.
    pub async fn transfers(&mut self, to: Address, after: u64) -> Result<Vec<Transfer>> {
        let topics = json!([keccak256("Transfer(address,address,uint256)"), null, to.into_word()]);
        let filter = json!({ "address": USDC, "topics": topics, "fromBlock": quantity(after + 1), "toBlock": "latest" });
        let logs = self.call("eth_getLogs", json!([filter])).await?;
        let read = |log: &Value| {
            let from: B256 = serde_json::from_value(log["topics"][1].clone())?;
            Ok(Transfer {
                from: Address::from_word(from),
                transaction: serde_json::from_value(log["transactionHash"].clone())?,
                block: number(&log["blockNumber"])?,
                value: number(&log["data"])?,
            })
        };
        logs.as_array().context("no logs")?.iter().map(read).collect()
    }

    /// The transactions of `signer` after block `after`.
    pub async fn sent_by(&mut self, signer: Address, after: u64) -> Result<Vec<Sent>> {
        let mut sent = Vec::new();
        for block in after + 1..=self.height().await? {
            let receipts = self.call("eth_getBlockReceipts", json!([quantity(block)])).await?;
            for receipt in receipts.as_array().into_iter().flatten() {
                if serde_json::from_value::<Address>(receipt["from"].clone())? == signer {
                    sent.push(Sent { gas: number(&receipt["gasUsed"])?, good: receipt["status"] == "0x1" });
                }
            }
        }
        Ok(sent)
    }

    /// How much of the gas of these blocks was used.
    pub async fn fullness(&mut self, blocks: impl Iterator<Item = u64>) -> Result<f64> {
        let calls: Vec<_> =
            blocks.map(|block| ("eth_getBlockByNumber", json!([quantity(block), false]))).collect();
        let count = calls.len();
        let mut used = 0;
        for block in self.batch(calls).await? {
            used += number(&block["gasUsed"])?;
        }
        Ok(used as f64 / (GAS_LIMIT as f64 * count as f64))
    }

    /// The gas of each of these payments in a transaction of its own, submitted by an account of anvil's.
    pub async fn alone(&mut self, payments: &[Payment]) -> Result<f64> {
        let mut gas = 0;
        for payment in payments {
            let transaction =
                json!({ "from": ANYONE, "to": USDC, "data": hex::encode_prefixed(&payment.call) });
            let hash = self.call("eth_sendTransaction", json!([transaction])).await?;
            while self.waiting().await?.0 > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let used = self.gas_used(hash.as_str().unwrap_or_default()).await?;
            gas += used.context("a good payment was reverted")?;
        }
        Ok(gas as f64 / payments.len() as f64)
    }
}

fn number(value: &Value) -> Result<u64> {
    let number: U256 = serde_json::from_value(value.clone())?;
    u64::try_from(number).context("more than 64 bits")
}

fn quantity(number: u64) -> String {
    format!("{number:#x}")
}
