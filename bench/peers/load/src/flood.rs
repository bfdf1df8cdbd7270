//! Settlements in a closed loop: as many in flight as wanted, each answered one replaced at once. What was settled is
//! read from the chain, not from the answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::sync::watch;

use crate::blocks::Blocks;
use crate::chain::{Chain, Transfer};
use crate::http::Connection;
use crate::measure::{milliseconds, quantile};
use crate::payments::{PRICE, Payment};
use crate::peer::{Peer, cpu_of};
use crate::proxy::Counts;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(40);
/// Blocks at the beginning that are not counted as steady: the first ones catch what came at once.
const RAMP: u64 = 2;

/// What is to be sent.
pub struct Load {
    pub payments: Vec<Payment>,
    pub to: Address,
    pub in_flight: usize,
    /// After this nothing more is sent.
    pub sending: Duration,
}

/// What came of it.
pub struct Flood {
    pub sent: usize,
    /// Payments that the chain has.
    pub settled: usize,
    /// Payments that were answered with success.
    pub told: usize,
    /// Answers of success for which the chain has no payment in the transaction that they name.
    pub lies: usize,
    /// What other answers said, and how often.
    pub refusals: BTreeMap<String, usize>,
    /// From the first request to the last answer.
    pub whole: Duration,
    /// Payments per second while nothing began or ended, unless that was too short.
    pub steady: Option<f64>,
    /// The part of these blocks' gas that was used.
    pub fullness: Option<f64>,
    /// How long these blocks took each: more than a second when anvil has too much to do.
    pub block_time: Option<f64>,
    /// The facilitator's transactions, those that failed, and their gas.
    pub transactions: usize,
    pub reverted: usize,
    pub gas: u64,
    pub gas_reverted: u64,
    /// Of what was settled and said so, sorted.
    latencies: Vec<Duration>,
    blocks: Vec<u64>,
    pub cpu: Duration,
    /// The generator's and the chain's processor time.
    pub cpu_others: (Duration, Duration),
    pub rpc: Counts,
    /// KiB at most while it ran.
    pub peak: u64,
    /// Transactions that waited for a block when the next facilitator's turn came.
    pub left: u64,
}

struct Answer {
    from: Address,
    took: Duration,
    blocks: u64,
    status: u16,
    body: Value,
}

impl Flood {
    pub fn failures(&self) -> usize {
        self.sent - self.told + self.lies
    }

    pub fn per_second(&self) -> f64 {
        self.settled as f64 / self.whole.as_secs_f64()
    }

    /// `what` for each payment settled.
    pub fn each(&self, what: f64) -> f64 {
        if self.settled == 0 { f64::NAN } else { what / self.settled as f64 }
    }

    pub fn milliseconds(&self, part: f64) -> f64 {
        quantile(&self.latencies, part).map_or(f64::NAN, milliseconds)
    }

    pub fn blocks(&self, part: f64) -> f64 {
        quantile(&self.blocks, part).map_or(f64::NAN, |blocks| blocks as f64)
    }
}

pub async fn flood(chain: &mut Chain, blocks: &Blocks, peer: &Peer, load: Load) -> Result<Flood> {
    chain.give(&[load.to], 1).await?;
    chain.usual_fee().await?;
    let mut connections = Vec::with_capacity(load.in_flight);
    for _ in 0..load.in_flight {
        connections.push(Connection::open(peer.address).await?);
    }
    peer.forget_peak()?;
    let first = blocks.next().await?;
    let cpus = || anyhow::Ok((peer.cpu()?, cpu_of(nix::unistd::Pid::this())?, cpu_of(chain.pid)?));
    let (cpu, rpc, started) = (cpus()?, peer.proxy.counts(), Instant::now());
    let work = Arc::new(Work {
        until: started + load.sending,
        next: AtomicUsize::new(0),
        payments: load.payments,
        last: watch::channel(None).0,
    });
    let workers: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::spawn(work.clone().send(connection, peer.address, blocks.receiver())))
        .collect();
    let mut answers = Vec::new();
    for worker in workers {
        answers.extend(worker.await?);
    }
    let (whole, after) = (started.elapsed(), cpus()?);
    let rpc = peer.proxy.counts().since(&rpc);
    let peak = peer.memory()?.0;

    // Twice: what was about to be sent when all had been answered is in the block after.
    chain.quiet().await?;
    blocks.next().await?;
    let left = chain.quiet().await?;
    let stopped = work.last.borrow().context("nothing was sent")?;
    let transfers = chain.transfers(load.to, first).await?;
    let sent = chain.sent_by(peer.signer, first).await?;
    let steady = first + RAMP..stopped;
    let (mut rate, mut fullness, mut block_time) = (None, None, None);
    if stopped > first + RAMP + 2 {
        let inside = transfers.iter().filter(|t| t.block > steady.start && t.block <= steady.end).count();
        let seconds = blocks.between(steady.start, steady.end).as_secs_f64();
        rate = Some(inside as f64 / seconds);
        block_time = Some(seconds / (steady.end - steady.start) as f64);
        fullness = Some(chain.fullness(steady.start + 1..=steady.end).await?);
    }
    let answered = Answered::of(&answers, &transfers);
    Ok(Flood {
        sent: answers.len(),
        settled: transfers.iter().filter(|transfer| transfer.value == PRICE).count(),
        told: answered.told,
        lies: answered.lies,
        refusals: answered.refusals,
        whole,
        steady: rate,
        fullness,
        block_time,
        transactions: sent.len(),
        reverted: sent.iter().filter(|sent| !sent.good).count(),
        gas: sent.iter().map(|sent| sent.gas).sum(),
        gas_reverted: sent.iter().filter(|sent| !sent.good).map(|sent| sent.gas).sum(),
        latencies: answered.latencies,
        blocks: answered.blocks,
        cpu: after.0 - cpu.0,
        cpu_others: (after.1 - cpu.1, after.2 - cpu.2),
        rpc,
        peak,
        left,
    })
}

/// What the workers share.
struct Work {
    payments: Vec<Payment>,
    next: AtomicUsize,
    until: Instant,
    /// The height when the last payment was sent.
    last: watch::Sender<Option<u64>>,
}

impl Work {
    async fn send(
        self: Arc<Self>,
        connection: Connection,
        to: std::net::SocketAddr,
        height: watch::Receiver<u64>,
    ) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut open = Some(connection);
        while Instant::now() < self.until
            && let Some(payment) = self.payments.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            let (sent, before) = (Instant::now(), *height.borrow());
            self.last.send_replace(Some(before));
            let exchange = async {
                let mut connection = match open.take() {
                    Some(connection) => connection,
                    None => Connection::open(to).await?,
                };
                let answer = connection.exchange(&payment.request).await?;
                anyhow::Ok((connection, answer))
            };
            let (status, body) = match tokio::time::timeout(PATIENCE, exchange).await {
                Ok(Ok((connection, (status, body)))) => {
                    open = Some(connection);
                    (status, serde_json::from_slice(&body).unwrap_or_default())
                }
                Ok(Err(error)) => (0, Value::String(error.to_string())),
                Err(_elapsed) => (0, Value::String(format!("no answer in {} s", PATIENCE.as_secs()))),
            };
            let blocks = height.borrow().saturating_sub(before);
            answers.push(Answer { from: payment.from, took: sent.elapsed(), blocks, status, body });
        }
        answers
    }
}

/// The answers, held against the chain.
#[derive(Default)]
struct Answered {
    told: usize,
    lies: usize,
    refusals: BTreeMap<String, usize>,
    latencies: Vec<Duration>,
    blocks: Vec<u64>,
}

impl Answered {
    fn of(answers: &[Answer], transfers: &[Transfer]) -> Self {
        let mut this = Self::default();
        let mut made: BTreeMap<(Address, B256), usize> = BTreeMap::new();
        for transfer in transfers.iter().filter(|transfer| transfer.value == PRICE) {
            *made.entry((transfer.from, transfer.transaction)).or_default() += 1;
        }
        for answer in answers {
            if answer.body["success"] != true {
                *this.refusals.entry(answer.why()).or_default() += 1;
                continue;
            }
            this.told += 1;
            let named = answer.body["transaction"].as_str().and_then(|hash| hash.parse::<B256>().ok());
            match named.and_then(|hash| made.get_mut(&(answer.from, hash))) {
                Some(count) if *count > 0 => *count -= 1,
                _ => this.lies += 1,
            }
            this.latencies.push(answer.took);
            this.blocks.push(answer.blocks);
        }
        this.latencies.sort_unstable();
        this.blocks.sort_unstable();
        this
    }
}

impl Answer {
    /// What a refusal says, without what differs from one to the next.
    fn why(&self) -> String {
        let text = ["errorReason", "error", "errorMessage", "message"]
            .iter()
            .find_map(|name| self.body[*name].as_str())
            .or(self.body.as_str())
            .unwrap_or("no reason");
        let text: String = text.lines().next().unwrap_or_default().chars().take(90).collect();
        format!("{} {text}", self.status)
    }
}
