//! One phase: requests through some connections, and what they cost the facilitator.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::http::Connection;
use crate::payments::Payment;
use crate::peer::Peer;
use crate::proxy::Counts;

/// What one phase showed.
pub struct Sample {
    pub requests: usize,
    pub wall: Duration,
    pub cpu: Duration,
    pub rpc: Counts,
    /// Of every request, sorted.
    pub latencies: Vec<Duration>,
    pub answers: Vec<(u16, Vec<u8>)>,
}

/// Sends `requests` through `concurrency` connections, each taking the next as soon as it is free.
pub async fn phase(peer: &Peer, requests: &Arc<Vec<Payment>>, concurrency: usize) -> Result<Sample> {
    let mut connections = Vec::new();
    for _ in 0..concurrency {
        connections.push(Connection::open(peer.address).await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let (cpu, rpc, started) = (peer.cpu()?, peer.proxy.counts(), Instant::now());
    let workers: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let (requests, next) = (requests.clone(), next.clone());
            tokio::spawn(async move {
                let mut done = Vec::new();
                while let Some(payment) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let sent = Instant::now();
                    let answer = connection.exchange(&payment.request).await?;
                    done.push((sent.elapsed(), answer));
                }
                anyhow::Ok(done)
            })
        })
        .collect();
    let mut done = Vec::with_capacity(requests.len());
    for worker in workers {
        done.extend(worker.await??);
    }
    let wall = started.elapsed();
    let cpu = peer.cpu()?.saturating_sub(cpu);
    let rpc = peer.proxy.counts().since(&rpc);
    let (mut latencies, answers): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    latencies.sort_unstable();
    Ok(Sample { requests: requests.len(), wall, cpu, rpc, latencies, answers })
}

impl Sample {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64()
    }

    /// Microseconds of processor time per request.
    pub fn cpu_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.requests as f64
    }

    /// Milliseconds within which this part of the requests was answered.
    pub fn quantile(&self, part: f64) -> f64 {
        quantile(&self.latencies, part).map_or(f64::NAN, milliseconds)
    }
}

/// The value that this part of the sorted values does not exceed.
pub fn quantile<T: Copy>(sorted: &[T], part: f64) -> Option<T> {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied()
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}
