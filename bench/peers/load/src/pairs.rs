//! Payments each posted twice at the same moment.

use std::sync::Arc;

use alloy_primitives::Address;
use anyhow::Result;
use serde_json::Value;
use tokio::sync::Barrier;

use crate::blocks::Blocks;
use crate::chain::Chain;
use crate::http::Connection;
use crate::payments::Payment;
use crate::peer::Peer;

/// What came of it.
pub struct Pairs {
    pub posted: usize,
    pub transfers: usize,
    pub transactions: usize,
    pub reverted: usize,
    pub gas_burned: u64,
    /// Pairs of which both were told success and the same transaction.
    pub alike: usize,
    /// Pairs of which at least one was told success.
    pub served: usize,
}

pub async fn pairs(
    chain: &mut Chain,
    blocks: &Blocks,
    peer: &Peer,
    payments: Vec<Payment>,
    to: Address,
) -> Result<Pairs> {
    chain.give(&[to], 1).await?;
    chain.usual_fee().await?;
    let first = blocks.next().await?;
    let posted = payments.len();
    let (payments, together) = (Arc::new(payments), Arc::new(Barrier::new(posted * 2)));
    let mut posts = Vec::with_capacity(posted * 2);
    for post in 0..posted * 2 {
        let mut connection = Connection::open(peer.address).await?;
        let (payments, together) = (payments.clone(), together.clone());
        posts.push(tokio::spawn(async move {
            together.wait().await;
            let exchange = connection.exchange(&payments[post / 2].request);
            let answer = tokio::time::timeout(std::time::Duration::from_secs(40), exchange).await;
            let body = answer.ok().and_then(Result::ok).map(|(_, body)| body);
            body.and_then(|body| serde_json::from_slice::<Value>(&body).ok()).unwrap_or_default()
        }));
    }
    let mut answers = Vec::with_capacity(posts.len());
    for post in posts {
        answers.push(post.await?);
    }
    chain.quiet().await?;
    let sent = chain.sent_by(peer.signer, first).await?;
    let good = |answer: &Value| answer["success"] == true;
    let alike = |pair: &[Value]| pair.iter().all(good) && pair[0]["transaction"] == pair[1]["transaction"];
    Ok(Pairs {
        posted,
        transfers: chain.transfers(to, first).await?.len(),
        transactions: sent.len(),
        reverted: sent.iter().filter(|sent| !sent.good).count(),
        gas_burned: sent.iter().filter(|sent| !sent.good).map(|sent| sent.gas).sum(),
        alike: answers.chunks(2).filter(|pair| alike(pair)).count(),
        served: answers.chunks(2).filter(|pair| pair.iter().any(good)).count(),
    })
}
