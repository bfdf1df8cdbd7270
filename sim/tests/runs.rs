//! The engine under simulated faults, in short; long runs are the binary's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, with helpers outside their functions")]

use std::sync::atomic::{AtomicU64, Ordering};

use tollway_sim::hunt::{MISTAKES, hunt};
use tollway_sim::{Report, run};

/// The seeds that are run each time: the same ones, so that what a change breaks is the change's. Fresh ones are the
/// binary's.
const SEEDS: std::ops::Range<u64> = 5_000_000..5_000_100;

/// Says of a broken run how to see it again.
fn told(report: &Report) -> String {
    let broken = report.broken.as_ref().unwrap();
    let tail = report.tail.join("\n");
    format!(
        "seed {} breaks {}: {}\n{}\n{tail}\nagain: cargo run -p tollway-sim -- --from {} --trace",
        report.seed, broken.rule, broken.text, report.plan, report.seed
    )
}

/// Runs the seeds on two threads; the first that breaks a rule is the test's failure.
fn run_all(seeds: &[u64]) {
    let next = AtomicU64::new(0);
    let work = || -> Vec<String> {
        let mut broken = Vec::new();
        while let Some(seed) = seeds.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap()) {
            let report = run(*seed, false);
            if report.broken.is_some() {
                broken.push(told(&report));
            }
        }
        broken
    };
    let broken: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(broken.is_empty(), "{} of {} seeds broke a rule; {}", broken.len(), seeds.len(), broken[0]);
}

#[test]
fn s01_to_s11_v1_v3_hold_in_a_hundred_runs() {
    run_all(&SEEDS.collect::<Vec<_>>());
}

#[test]
fn s01_to_s11_v1_v3_hold_in_runs_that_found_a_mistake_once() {
    let seeds = include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#'));
    let seeds: Vec<u64> = seeds.filter_map(|line| line.split(' ').next()?.try_into_seed()).collect();
    assert!(!seeds.is_empty());
    run_all(&seeds);
}

trait Seed {
    fn try_into_seed(self) -> Option<u64>;
}

impl Seed for &str {
    fn try_into_seed(self) -> Option<u64> {
        <u64 as std::str::FromStr>::from_str(self).ok()
    }
}

#[test]
fn a_seed_is_one_run() {
    for seed in [7, 14, 61] {
        let (first, second) = (run(seed, false), run(seed, false));
        assert_eq!((first.digest, first.lines), (second.digest, second.lines), "seed {seed} ran in two ways");
        assert!(first.lines > 100, "seed {seed} did nothing");
    }
    assert_ne!(run(7, false).digest, run(14, false).digest);
}

#[test]
fn payments_are_settled_in_runs() {
    let settled: usize = (0..4).map(|seed| run(seed, false).ended.0).sum();
    assert!(settled > 10, "{settled} payments were settled in four runs");
}

#[test]
fn mistakes_that_any_run_shows_are_found() {
    for rule in ["S5", "S7", "S8", "S9", "S10"] {
        let mistake = MISTAKES.iter().find(|mistake| mistake.rule == rule).unwrap();
        assert!(hunt(*mistake, 1_000, 50).is_some(), "{mistake:?} was not found in 50 seeds");
    }
}

#[test]
fn every_rule_has_its_mistake() {
    for rule in ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "V1", "V3"] {
        assert!(MISTAKES.iter().any(|mistake| mistake.rule == rule), "nothing proves {rule}");
    }
}
