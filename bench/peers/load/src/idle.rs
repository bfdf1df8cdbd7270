//! Single payments to facilitators that have nothing else to do.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::blocks::Blocks;
use crate::chain::Chain;
use crate::http::Connection;
use crate::payments::{Fault, Payers, Payment};
use crate::peer::Peer;

/// How long nothing happens before a payment on the instant chain.
const PAUSE: Duration = Duration::from_millis(25);

/// A block for each transaction: `count` payments to each, in turns.
pub async fn instant(
    chain: &mut Chain,
    peers: &[Peer],
    payers: &mut Payers,
    count: usize,
) -> Result<Vec<Vec<Duration>>> {
    let requests = prepare(peers, payers, count)?;
    let mut took = vec![Vec::with_capacity(count); peers.len()];
    for turn in 0..count {
        // Forth and back, so that nobody always comes after the same one.
        for at in order(peers.len(), turn) {
            tokio::time::sleep(PAUSE).await;
            took[at].extend(requests[at].settle(chain, turn).await?);
        }
    }
    took.iter_mut().for_each(|took| took.sort_unstable());
    Ok(took)
}

/// A block each second: `count` payments to each, spread evenly over the second after a block.
pub async fn every_second(
    chain: &mut Chain,
    blocks: &Blocks,
    peers: &[Peer],
    payers: &mut Payers,
    count: usize,
) -> Result<Vec<Vec<Duration>>> {
    let requests = prepare(peers, payers, count)?;
    let mut took = vec![Vec::with_capacity(count); peers.len()];
    for turn in 0..count {
        for at in order(peers.len(), turn) {
            blocks.after_block(Duration::from_secs_f64((turn as f64 + 0.5) / count as f64)).await?;
            took[at].extend(requests[at].settle(chain, turn).await?);
        }
    }
    took.iter_mut().for_each(|took| took.sort_unstable());
    Ok(took)
}

fn order(count: usize, turn: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    if turn % 2 == 1 {
        order.reverse();
    }
    order
}

/// A facilitator's payments.
struct Requests {
    address: std::net::SocketAddr,
    name: &'static str,
    payments: Vec<Payment>,
}

fn prepare(peers: &[Peer], payers: &mut Payers, count: usize) -> Result<Vec<Requests>> {
    let mut all = Vec::with_capacity(peers.len());
    for peer in peers {
        let payments = payers.requests("/settle", peer.pay_to, count, Fault::None)?;
        all.push(Requests { address: peer.address, name: peer.kind.name(), payments });
    }
    Ok(all)
}

impl Requests {
    /// How long it took, if it was settled.
    async fn settle(&self, chain: &mut Chain, turn: usize) -> Result<Option<Duration>> {
        // A server may have closed a connection that was idle.
        let mut connection = Connection::open(self.address).await?;
        let sent = Instant::now();
        let (status, body) = connection.exchange(&self.payments[turn].request).await?;
        let took = sent.elapsed();
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let hash = answer["transaction"].as_str().unwrap_or_default();
        if answer["success"] == true && chain.gas_used(hash).await?.is_some() {
            return Ok(Some(took));
        }
        eprintln!("{}, idle: {status} {}", self.name, String::from_utf8_lossy(&body));
        Ok(None)
    }
}
