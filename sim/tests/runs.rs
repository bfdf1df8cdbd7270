//! The engine under simulated faults, in short; long runs are the binary's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, with helpers outside their functions")]

use std::sync::atomic::{AtomicU64, Ordering};

use tollway_sim::evm::Evm;
use tollway_sim::hunt::hunt;
use tollway_sim::side::Side;
use tollway_sim::svm::Svm;
use tollway_sim::{Report, run};

/// The seeds that are run each time: the same ones, so that what a change breaks is the change's. Fresh ones are the
/// binary's.
const SEEDS: std::ops::Range<u64> = 5_000_000..5_000_100;
/// On Solana, where a run is a second of work without optimisation.
const SVM_SEEDS: std::ops::Range<u64> = 5_000_000..5_000_012;

/// Says of a broken run how to see it again.
fn told<S: Side>(report: &Report) -> String {
    let broken = report.broken.as_ref().unwrap();
    let tail = report.tail.join("\n");
    format!(
        "seed {} breaks {}: {}\n{}\n{tail}\nagain: cargo run -p tollway-sim -- --chain {} --from {} --trace",
        report.seed,
        broken.rule,
        broken.text,
        report.plan,
        S::NAME,
        report.seed
    )
}

/// Runs the seeds on two threads; the first that breaks a rule is the test's failure.
fn run_all<S: Side>(seeds: &[u64]) {
    let next = AtomicU64::new(0);
    let work = || -> Vec<String> {
        let mut broken = Vec::new();
        while let Some(seed) = seeds.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap()) {
            let report = run::<S>(*seed, false);
            if report.broken.is_some() {
                broken.push(told::<S>(&report));
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
    run_all::<Evm>(&SEEDS.collect::<Vec<_>>());
}

#[test]
fn s01_to_s11_v1_v3_hold_on_solana_in_a_dozen_runs() {
    run_all::<Svm>(&SVM_SEEDS.collect::<Vec<_>>());
}

#[test]
fn s01_to_s11_v1_v3_hold_in_runs_that_found_a_mistake_once() {
    let seeds = include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#'));
    let (svm, evm): (Vec<&str>, Vec<&str>) = seeds.partition(|line| line.starts_with("svm "));
    let seed = |line: &str| line.trim_start_matches("svm ").split(' ').next()?.try_into_seed();
    let evm: Vec<u64> = evm.into_iter().filter_map(seed).collect();
    assert!(!evm.is_empty());
    run_all::<Evm>(&evm);
    run_all::<Svm>(&svm.into_iter().filter_map(seed).collect::<Vec<_>>());
}

trait Seed {
    fn try_into_seed(self) -> Option<u64>;
}

impl Seed for &str {
    fn try_into_seed(self) -> Option<u64> {
        <u64 as std::str::FromStr>::from_str(self).ok()
    }
}

fn is_one_run<S: Side>(seeds: &[u64]) {
    for seed in seeds {
        let (first, second) = (run::<S>(*seed, false), run::<S>(*seed, false));
        assert_eq!((first.digest, first.lines), (second.digest, second.lines), "seed {seed} ran in two ways");
        assert!(first.lines > 100, "seed {seed} did nothing");
    }
    assert_ne!(run::<S>(seeds[0], false).digest, run::<S>(seeds[1], false).digest);
}

#[test]
fn a_seed_is_one_run() {
    is_one_run::<Evm>(&[7, 14, 61]);
}

#[test]
fn a_seed_is_one_run_on_solana() {
    is_one_run::<Svm>(&[7, 14]);
}

fn settled<S: Side>(seeds: std::ops::Range<u64>) -> usize {
    seeds.map(|seed| run::<S>(seed, false).ended.0).sum()
}

#[test]
fn payments_are_settled_in_runs() {
    for settled in [settled::<Evm>(0..4), settled::<Svm>(0..2)] {
        assert!(settled > 10, "{settled} payments were settled");
    }
}

fn are_found<S: Side>(rules: &[&str]) {
    for rule in rules {
        let mistake = S::MISTAKES.iter().find(|mistake| mistake.rule == *rule).unwrap();
        assert!(hunt::<S>(*mistake, 1_000, 50).is_some(), "{mistake:?} was not found in 50 seeds");
    }
}

#[test]
fn mistakes_that_any_run_shows_are_found() {
    are_found::<Evm>(&["S5", "S7", "S8", "S9", "S10"]);
}

#[test]
fn mistakes_that_any_run_shows_are_found_on_solana() {
    are_found::<Svm>(&["S1", "S2", "S7", "S8", "S9"]);
}

fn has_mistakes<S: Side>() {
    for rule in ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "V1", "V3"] {
        assert!(
            S::MISTAKES.iter().any(|mistake| mistake.rule == rule),
            "nothing proves {rule} on {}",
            S::NAME
        );
    }
}

#[test]
fn every_rule_has_its_mistake() {
    has_mistakes::<Evm>();
    has_mistakes::<Svm>();
}
