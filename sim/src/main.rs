//! `cargo run --release -p tollway-sim -- --seeds N`: long runs, and one seed again.
#![allow(clippy::unwrap_used, reason = "all of it is a test")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use clap::Parser;
use parking_lot::Mutex;
use tollway_sim::hunt::{self, Catch, MISTAKES, Mistake};

/// Runs seeds until one breaks a rule.
#[derive(Debug, Parser)]
struct Args {
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

/// The most seeds in which a mistake has to be found.
const MOST: u64 = 10_000;

/// Proves that every rule can be broken, and that it is seen.
fn hunt(from: u64, only: Option<&str>) -> ExitCode {
    let mistakes: Vec<_> =
        MISTAKES.iter().filter(|mistake| only.is_none_or(|only| mistake.name == only)).collect();
    let (next, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    on_threads(8, || {
        while let Some(mistake) = mistakes.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Mistake { name, rule, what } = mistake;
            match hunt::hunt(**mistake, from, MOST) {
                Some(Catch { seed, seeds, others }) => {
                    println!(
                        "{rule} {name}: {seeds} seeds (seed {seed}; {others} broke another rule): {what}"
                    );
                }
                None => {
                    println!("{rule} {name}: NOT FOUND in {MOST} seeds: {what}");
                    missed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    if missed.into_inner() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

fn main() -> ExitCode {
    let args = Args::parse();
    let from = args.from.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) << 20 | now.as_secs() & 0xf_ffff
    });
    if args.hunt {
        return hunt(from, args.bug.as_deref());
    }
    println!("{} seeds from {from}", args.seeds);
    let (next, broken) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let (settled, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let bug = args.bug.map(|bug| &*bug.leak());
    let began = std::time::Instant::now();
    on_threads(args.stack, || {
        tollway_evm::bug::set(bug);
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= args.seeds || (!args.all && !broken.lock().is_empty()) {
                return;
            }
            let report = tollway_sim::run(from + n, args.trace);
            settled.fetch_add(report.ended.0, Ordering::Relaxed);
            failed.fetch_add(report.ended.1, Ordering::Relaxed);
            if let Some(violation) = &report.broken {
                println!("seed {} breaks {}: {}", report.seed, violation.rule, violation.text);
                broken.lock().push(report);
            }
        }
    });
    let broken = broken.into_inner();
    let seconds = began.elapsed().as_secs_f32();
    println!("{} of {} seeds broke a rule, in {seconds:.0} s", broken.len(), args.seeds);
    println!("{} payments were settled, {} failed", settled.into_inner(), failed.into_inner());
    let Some(first) = broken.iter().min_by_key(|report| report.seed) else { return ExitCode::SUCCESS };
    if !args.all {
        println!("{}", first.plan);
        first.tail.iter().for_each(|line| println!("{line}"));
        println!("again: cargo run --release -p tollway-sim -- --from {} --trace", first.seed);
    }
    ExitCode::FAILURE
}
