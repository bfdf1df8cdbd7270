//! The figures as Markdown, ours first, the others also as ratios to ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::measure::{Sample, median};
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

/// All that one facilitator showed.
#[derive(Default)]
pub struct Figures {
    samples: BTreeMap<Phase, Vec<Sample>>,
    /// Of every settled payment.
    pub gas: Vec<u64>,
    /// KiB, after the warm-up.
    pub resident: u64,
    /// KiB, at most.
    pub peak: u64,
}

impl Figures {
    pub fn add(&mut self, phase: Phase, mut sample: Sample) {
        sample.answers = Vec::new();
        self.samples.entry(phase).or_default().push(sample);
    }

    fn median(&self, phase: Phase, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.get(&phase).into_iter().flatten().map(of))
    }

    fn cpu(&self, phase: Phase) -> f64 {
        self.median(phase, Sample::cpu_each)
    }

    /// How many times the processor time of `ours` this one took, round by round, and of that the median: a change of
    /// the machine's mood between two rounds is in neither.
    fn cpu_ratio(&self, ours: &Self, phase: Phase) -> f64 {
        let (mine, ours) = (self.samples.get(&phase), ours.samples.get(&phase));
        let pairs = mine.into_iter().flatten().zip(ours.into_iter().flatten());
        median(pairs.map(|(mine, ours)| mine.cpu_each() / ours.cpu_each()))
    }

    fn settled(&self) -> usize {
        let all = self.samples.iter().filter(|(phase, _)| matches!(phase, Phase::Settle(_)));
        all.flat_map(|(_, samples)| samples).map(|sample| sample.requests).sum()
    }

    /// Over all rounds, so that a single stray round trip shows.
    fn trips(&self, phase: Phase) -> f64 {
        let samples = || self.samples.get(&phase).into_iter().flatten();
        let requests: usize = samples().map(|sample| sample.requests).sum();
        samples().map(|sample| sample.rpc.trips).sum::<u64>() as f64 / requests as f64
    }

    fn calls(&self, phase: Phase) -> String {
        let mut calls: BTreeMap<&str, u64> = BTreeMap::new();
        let mut requests = 0;
        for sample in self.samples.get(&phase).into_iter().flatten() {
            requests += sample.requests;
            for (method, count) in &sample.rpc.calls {
                *calls.entry(method.trim_start_matches("eth_")).or_default() += count;
            }
        }
        let each = |(method, count): (&str, u64)| format!("{method} {:.2}", count as f64 / requests as f64);
        calls.into_iter().map(each).collect::<Vec<_>>().join(", ")
    }
}

type Row = (String, fn(&Figures, Phase) -> f64, Phase, usize);

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for c in [1, 16, 64] {
        let at = Phase::Verify(c);
        rows.push((format!("verify, c={c}: CPU, µs"), Figures::cpu, at, 0));
        rows.push((format!("verify, c={c}: requests/s"), |f, p| f.median(p, Sample::per_second), at, 0));
        rows.push((format!("verify, c={c}: p50, ms"), |f, p| f.median(p, |s| s.quantile(0.5)), at, 2));
        rows.push((format!("verify, c={c}: p99, ms"), |f, p| f.median(p, |s| s.quantile(0.99)), at, 2));
        rows.push((format!("verify, c={c}: RPC round trips"), Figures::trips, at, 3));
    }
    let at = Phase::Refuse;
    rows.push(("refused locally: CPU, µs".into(), Figures::cpu, at, 0));
    rows.push(("refused locally: RPC round trips".into(), Figures::trips, at, 3));
    for c in [1, 8] {
        let at = Phase::Settle(c);
        rows.push((format!("settle, c={c}: CPU, µs"), Figures::cpu, at, 0));
        rows.push((format!("settle, c={c}: RPC round trips"), Figures::trips, at, 2));
        rows.push((format!("settle, c={c}: p50, ms"), |f, p| f.median(p, |s| s.quantile(0.5)), at, 1));
        rows.push((format!("settle, c={c}: p99, ms"), |f, p| f.median(p, |s| s.quantile(0.99)), at, 1));
    }
    let gas: fn(&Figures, Phase) -> f64 = |f, _| f.gas.iter().sum::<u64>() as f64 / f.gas.len() as f64;
    rows.push(("gas per payment".into(), gas, at, 0));
    rows.push(("memory after warm-up, MiB".into(), |f, _| f.resident as f64 / 1024.0, at, 1));
    rows.push(("memory at most, MiB".into(), |f, _| f.peak as f64 / 1024.0, at, 1));
    rows
}

pub fn markdown(figures: &BTreeMap<Kind, Figures>, about: &str) -> String {
    let mut text = String::from("# What verifying and settling cost\n\n");
    let _ = writeln!(
        text,
        "Written by `bench/run --write`; [README.md](README.md) says what is measured and how.\n"
    );
    let _ = writeln!(text, "{about}\n");
    let ours = figures.get(&Kind::Tollway);
    let others = || figures.keys().filter(|kind| **kind != Kind::Tollway || ours.is_none());
    let mut header = vec![String::new()];
    header.extend(figures.keys().map(|kind| kind.name().to_owned()));
    if ours.is_some() {
        header.extend(others().map(|kind| format!("{} ÷ tollway", kind.name())));
    }
    line(&mut text, &header);
    line(&mut text, &header.iter().map(|_| "---".to_owned()).collect::<Vec<_>>());
    for (name, value, phase, digits) in rows() {
        let mut cells = vec![name];
        cells.extend(figures.values().map(|figures| format!("{:.digits$}", value(figures, phase))));
        if let Some(ours) = ours {
            let cpu = cells.first().is_some_and(|name| name.contains("CPU"));
            let ratio = |kind| match cpu {
                true => figures[kind].cpu_ratio(ours, phase),
                false => value(&figures[kind], phase) / value(ours, phase),
            };
            cells.extend(others().map(|kind| {
                let ratio = ratio(kind);
                if ratio.is_finite() { format!("{ratio:.2}") } else { "-".to_owned() }
            }));
        }
        line(&mut text, &cells);
    }
    let mut cells = vec!["settled and on chain".to_owned()];
    cells.extend(figures.values().map(|f| format!("{} of {}", f.gas.len(), f.settled())));
    cells.resize(header.len(), String::new());
    line(&mut text, &cells);

    text.push_str(
        "\nCPU is the facilitator's process, user and system. CPU, rates and latencies are medians of the rounds, and the \
         ratio of CPU is the median of the rounds' ratios; round trips, calls and gas are means over all.\n\n## JSON-RPC calls per payment\n\n",
    );
    for (kind, figures) in figures {
        for (name, phase) in [("verify", Phase::Verify(16)), ("settle", Phase::Settle(1))] {
            let _ = writeln!(text, "- {}, {name}: {}", kind.name(), figures.calls(phase));
        }
    }
    text.push_str("\n## CPU per verification, every round\n\n");
    for (kind, figures) in figures {
        for c in [1, 16, 64] {
            let samples = figures.samples.get(&Phase::Verify(c)).into_iter().flatten();
            let each: Vec<_> = samples.map(|sample| format!("{:.0}", sample.cpu_each())).collect();
            let _ = writeln!(text, "- {}, c={c}: {} µs", kind.name(), each.join(", "));
        }
    }
    text.push_str("\n## Targets\n\n");
    for (target, met, found) in targets(figures) {
        let _ = writeln!(text, "- {}: {target}: {found}", if met { "met" } else { "**missed**" });
    }
    text
}

fn line(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn targets(figures: &BTreeMap<Kind, Figures>) -> Vec<(&'static str, bool, String)> {
    let mut found = Vec::new();
    let Some(ours) = figures.get(&Kind::Tollway) else { return found };
    let at = Phase::Verify(16);
    for (kind, part, target) in [
        (Kind::X402Rs, 2.0, "verify CPU at most 1/2 of x402-rs's, c=16"),
        (Kind::TypeScript, 15.0, "verify CPU at most 1/15 of the TypeScript one's, c=16"),
    ] {
        if let Some(theirs) = figures.get(&kind) {
            let ratio = theirs.cpu_ratio(ours, at);
            found.push((target, ratio >= part, format!("1/{ratio:.1}")));
        }
    }
    let trips = [1, 16, 64].map(|c| ours.trips(Phase::Verify(c)));
    let once = trips.iter().all(|trips| *trips == 1.0);
    found.push(("exactly one RPC round trip per verify", once, format!("{trips:.3?}")));
    let trips = ours.trips(Phase::Refuse);
    found.push(("no RPC round trip for what fails local checks", trips == 0.0, format!("{trips:.3}")));
    let all = ours.gas.len() == ours.settled();
    found.push(("every settlement on chain", all, format!("{} of {}", ours.gas.len(), ours.settled())));
    found
}

pub fn missed(figures: &BTreeMap<Kind, Figures>) -> Vec<String> {
    let missed = targets(figures).into_iter().filter(|(_, met, _)| !met);
    missed.map(|(target, _, found)| format!("missed: {target}: {found}")).collect()
}
