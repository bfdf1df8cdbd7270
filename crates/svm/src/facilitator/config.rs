//! What a facilitator is told of its cluster.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tollway_protocol::assets::Asset;
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Network, Secret};
use tollway_rpc::Transport;

use crate::facilitator::cluster::Commitment;
use crate::layout::Limits;

/// A cluster, its nodes, and what may be spent there.
pub struct ClusterConfig {
    /// The cluster: the first 32 characters of its genesis hash after `solana:`. Every node is asked for it.
    pub network: Network,
    /// The nodes' URLs, the preferred one first; may hold credentials, and are never printed.
    pub rpc: Vec<Secret<String>>,
    /// A node's WebSocket URL to be told of new slots by, and of what came of transactions. Without it, or while it
    /// doesn't work, pending transactions are asked for every [`poll`](Self::poll).
    pub ws: Option<Secret<String>>,
    /// Other ways to nodes, after those at URLs.
    pub transports: Vec<Arc<dyn Transport>>,
    /// By how many slots a node may be behind the others: one that is further behind is asked last, and not believed while
    /// another answers.
    pub lag: u64,
    /// How often all nodes are asked how far they are.
    pub measure: Duration,
    /// From which amount on, in atomic units of whatever mint, two nodes have to say the same of a settlement before it is
    /// recorded as anything; none unless set. It takes two nodes.
    pub agree_above: Option<u64>,
    /// Mints to settle besides the known ones of this network.
    pub assets: Vec<Asset>,
    /// What a settlement waits for: confirmed or finalized. A confirmed one is looked at until it is final.
    pub commitment: Commitment,
    /// How often pending transactions are asked for, all in one call.
    pub poll: Duration,
    /// How often a transaction that is in no block yet is given to the nodes again.
    pub resend: Duration,
    /// How often what dead processes left is looked for, and what became final.
    pub housekeeping: Duration,
    /// How long one RPC call may take.
    pub rpc_timeout: Duration,
    /// Compute units and their price.
    pub limits: Limits,
    /// The most lamports that may be paid for transactions in 24 hours, all processes on the ledger together.
    pub lamports_per_day: u64,
    /// A fee payer's balance, in lamports, below which the facilitator is not ready.
    pub low_lamports: u64,
    /// The most settlements on their way in this process.
    pub in_flight: usize,
    /// The time of day, by which offers expire and days of the budget end.
    pub clock: Arc<dyn Fn() -> UnixTime + Send + Sync>,
    /// What tells this process from every other one that shares the journal.
    pub process: u64,
}

impl ClusterConfig {
    /// The defaults for `network`, with one node.
    #[must_use]
    pub fn new(network: Network, rpc: Secret<String>) -> Self {
        Self {
            network,
            rpc: vec![rpc],
            ws: None,
            transports: Vec::new(),
            lag: 50,
            measure: Duration::from_secs(10),
            agree_above: None,
            assets: Vec::new(),
            commitment: Commitment::Confirmed,
            poll: Duration::from_millis(400),
            resend: Duration::from_secs(2),
            housekeeping: Duration::from_secs(2),
            rpc_timeout: Duration::from_secs(5),
            limits: Limits::default(),
            lamports_per_day: 1_000_000_000,
            low_lamports: 10_000_000,
            in_flight: 4_096,
            clock: Arc::new(now),
            process: rand::random(),
        }
    }
}

fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
