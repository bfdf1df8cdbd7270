//! `cargo run --release -p tollway-sim -- --seeds N`: long runs, and one seed again.
#![allow(clippy::unwrap_used, reason = "all of it is a test")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use clap::{Parser, ValueEnum};
use parking_lot::Mutex;
use tollway_sim::evm::Evm;
use tollway_sim::hunt::{self, Catch, Mistake};
use tollway_sim::side::Side;
use tollway_sim::svm::Svm;

/// Runs seeds until one breaks a rule.
#[derive(Debug, Parser)]
struct Args {
    /// On which chain; on both unless given, one after the other.
    #[arg(long)]
    chain: Option<Chain>,
    /// The first seed; by chance unless given.
    #[arg(long)]
    from: Option<u64>,
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Prints all that happens.
    #[arg(long)]
    trace: bool,
    /// Goes on after a seed that breaks a rule.
    #[arg(long)]
    all: bool,
    /// Megabytes of stack for each run.
    #[arg(long, default_value_t = 8)]
    stack: usize,
    /// A mistake of the engine's to run with.
    #[arg(long)]
    bug: Option<String>,
    /// Runs each of the engine's mistakes until its rule is broken.
    #[arg(long)]
    hunt: bool,
}

/// A chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Chain {
    /// Base Sepolia.
    Evm,
    /// Solana.
    Svm,
}

/// The most seeds in which a mistake has to be found.
const MOST: u64 = 10_000;

/// Proves that every rule can be broken, and that it is seen.
fn hunt<S: Side>(from: u64, only: Option<&str>) -> bool {
    let mistakes: Vec<_> =
        S::MISTAKES.iter().filter(|mistake| only.is_none_or(|only| mistake.name == only)).collect();
    let (next, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    on_threads(8, || {
        while let Some(mistake) = mistakes.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Mistake { name, rule, what } = mistake;
            match hunt::hunt::<S>(**mistake, from, MOST) {
                Some(Catch { seed, seeds, others }) => {
                    println!(
                        "{} {rule} {name}: {seeds} seeds (seed {seed}; {others} broke another rule): {what}",
                        S::NAME
                    );
                }
                None => {
                    println!("{} {rule} {name}: NOT FOUND in {MOST} seeds: {what}", S::NAME);
                    missed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    missed.into_inner() == 0
}

/// Does the same on every core.
fn on_threads(stack: usize, work: impl Fn() + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let thread = std::thread::Builder::new().stack_size(stack << 20);
            thread.spawn_scoped(scope, &work).unwrap();
        }
    });
}

/// Runs the seeds; tells whether none broke a rule.
fn seeds<S: Side>(args: &Args, from: u64) -> bool {
    println!("{}: {} seeds from {from}", S::NAME, args.seeds);
    let (next, broken) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let (settled, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let bug = args.bug.clone().map(|bug| &*bug.leak());
    let began = std::time::Instant::now();
    on_threads(args.stack, || {
        S::set_bug(bug);
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= args.seeds || (!args.all && !broken.lock().is_empty()) {
                return;
            }
            let report = tollway_sim::run::<S>(from + n, args.trace);
            settled.fetch_add(report.ended.0, Ordering::Relaxed);
            failed.fetch_add(report.ended.1, Ordering::Relaxed);
            if let Some(violation) = &report.broken {
                println!("{} seed {} breaks {}: {}", S::NAME, report.seed, violation.rule, violation.text);
                broken.lock().push(report);
            }
        }
    });
    let broken = broken.into_inner();
    let seconds = began.elapsed().as_secs_f32();
    println!("{} of {} seeds broke a rule, in {seconds:.0} s", broken.len(), args.seeds);
    println!("{} payments were settled, {} failed", settled.into_inner(), failed.into_inner());
    let Some(first) = broken.iter().min_by_key(|report| report.seed) else { return true };
    if !args.all {
        println!("{}", first.plan);
        first.tail.iter().for_each(|line| println!("{line}"));
        let again = "cargo run --release -p tollway-sim -- --chain";
        println!("again: {again} {} --from {} --trace", S::NAME, first.seed);
    }
    false
}

fn main() -> ExitCode {
    let args = Args::parse();
    let from = args.from.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) << 20 | now.as_secs() & 0xf_ffff
    });
    let mut is_good = true;
    for chain in [Chain::Evm, Chain::Svm] {
        if args.chain.is_some_and(|only| only != chain) {
            continue;
        }
        is_good &= match (chain, args.hunt) {
            (Chain::Evm, true) => hunt::<Evm>(from, args.bug.as_deref()),
            (Chain::Svm, true) => hunt::<Svm>(from, args.bug.as_deref()),
            (Chain::Evm, false) => seeds::<Evm>(&args, from),
            (Chain::Svm, false) => seeds::<Svm>(&args, from),
        };
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
