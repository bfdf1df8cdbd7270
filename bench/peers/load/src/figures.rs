//! All that was measured.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::flood::Flood;
use crate::many::Many;
use crate::measure::{Sample, median, milliseconds, quantile};
use crate::pairs::Pairs;
use crate::peer::Kind;

/// The part of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Good payments, at a concurrency.
    Verify(usize),
    /// Payments with a fault that shows without asking the chain.
    Refuse,
    /// At a concurrency.
    Settle(usize),
}

/// Of the whole run.
#[derive(Default)]
pub struct Figures {
    pub of: BTreeMap<Kind, Each>,
    /// The offline floor, microseconds, in every round.
    pub floor: Vec<f64>,
    /// Gas of a payment in a transaction of its own.
    pub alone: Option<f64>,
}

/// All that one facilitator showed.
#[derive(Default)]
pub struct Each {
    samples: BTreeMap<Phase, Vec<Sample>>,
    /// Payments settled on the instant chain, and the gas of their transactions.
    pub paid: usize,
    pub gas: u64,
    /// KiB, after the warm-up.
    pub resident: u64,
    /// KiB, at most, on the instant chain.
    pub peak: u64,
    /// Latencies, sorted, of single payments on the instant chain and on one-second blocks.
    pub idle: [Vec<Duration>; 2],
    /// By how many were in flight.
    pub floods: BTreeMap<usize, Flood>,
    pub pairs: Option<Pairs>,
    pub many: Option<Many>,
}

impl Each {
    pub fn add(&mut self, phase: Phase, mut sample: Sample) {
        sample.answers = Vec::new();
        self.samples.entry(phase).or_default().push(sample);
    }

    pub fn samples(&self, phase: Phase) -> impl Iterator<Item = &Sample> {
        self.samples.get(&phase).into_iter().flatten()
    }

    pub fn median(&self, phase: Phase, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples(phase).map(of))
    }

    pub fn cpu(&self, phase: Phase) -> f64 {
        self.median(phase, Sample::cpu_each)
    }

    /// How many times the processor time of `ours` this one took, round by round, and of that the median: a change of
    /// the machine's mood between two rounds is in neither.
    pub fn cpu_ratio(&self, ours: &Self, phase: Phase) -> f64 {
        let pairs = self.samples(phase).zip(ours.samples(phase));
        median(pairs.map(|(mine, ours)| mine.cpu_each() / ours.cpu_each()))
    }

    /// How many times the floor a verification at this concurrency took, likewise.
    pub fn over_floor(&self, floor: &[f64], concurrency: usize) -> f64 {
        let pairs = self.samples(Phase::Verify(concurrency)).zip(floor);
        median(pairs.map(|(sample, floor)| sample.cpu_each() / floor))
    }

    pub fn settled(&self) -> usize {
        let all = self.samples.iter().filter(|(phase, _)| matches!(phase, Phase::Settle(_)));
        all.flat_map(|(_, samples)| samples).map(|sample| sample.requests).sum()
    }

    pub fn gas_each(&self) -> f64 {
        self.gas as f64 / self.paid as f64
    }

    fn requests(&self, phase: Phase) -> f64 {
        self.samples(phase).map(|sample| sample.requests).sum::<usize>() as f64
    }

    /// Over all rounds, so that a single stray round trip shows.
    pub fn trips(&self, phase: Phase) -> f64 {
        self.samples(phase).map(|sample| sample.rpc.trips).sum::<u64>() as f64 / self.requests(phase)
    }

    /// JSON-RPC calls per request, by method.
    pub fn calls(&self, phase: Phase) -> String {
        let mut calls = BTreeMap::new();
        for (method, count) in self.samples(phase).flat_map(|sample| &sample.rpc.calls) {
            *calls.entry(method.clone()).or_insert(0) += count;
        }
        per(&calls, self.requests(phase))
    }

    pub fn idle_ms(&self, chain: usize, part: f64) -> f64 {
        quantile(&self.idle[chain], part).map_or(f64::NAN, milliseconds)
    }
}

/// Calls per operation, by method, as text.
pub fn per(calls: &BTreeMap<String, u64>, operations: f64) -> String {
    let name = |method: &str| method.trim_start_matches("eth_").to_owned();
    let each =
        calls.iter().map(|(method, count)| format!("{} {:.2}", name(method), *count as f64 / operations));
    each.collect::<Vec<_>>().join(", ")
}
