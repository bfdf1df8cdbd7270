//! `cargo run --release -p tollway-sim -- --seeds N`: long runs, and one seed again.
#![allow(clippy::unwrap_used, reason = "all of it is a test")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use parking_lot::Mutex;

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
}

fn main() -> ExitCode {
    let args = Args::parse();
    let from = args.from.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) << 20 | now.as_secs() & 0xf_ffff
    });
    println!("{} seeds from {from}", args.seeds);
    let (next, broken) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let bug = args.bug.map(|bug| &*bug.leak());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            // Deep enough for what a debug build makes of the EVM.
            let thread = std::thread::Builder::new().stack_size(args.stack << 20);
            let work = || {
                tollway_evm::bug::set(bug);
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= args.seeds || (!args.all && !broken.lock().is_empty()) {
                        return;
                    }
                    let report = tollway_sim::run(from + n, args.trace);
                    if let Some(violation) = &report.broken {
                        println!("seed {} breaks {}: {}", report.seed, violation.rule, violation.text);
                        broken.lock().push(report);
                    }
                }
            };
            thread.spawn_scoped(scope, work).unwrap();
        }
    });
    let broken = broken.into_inner();
    let seconds = began.elapsed().as_secs_f32();
    println!("{} of {} seeds broke a rule, in {seconds:.0} s", broken.len(), args.seeds);
    let Some(first) = broken.iter().min_by_key(|report| report.seed) else { return ExitCode::SUCCESS };
    if !args.all {
        println!("{}", first.plan);
        first.tail.iter().for_each(|line| println!("{line}"));
        println!("again: cargo run --release -p tollway-sim -- --from {} --trace", first.seed);
    }
    ExitCode::FAILURE
}
