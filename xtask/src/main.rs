//! The workspace's chores: `cargo xtask <verb>`.

mod depends;
mod docs;
mod faults;
mod fuzz;
mod shell;
mod steps;
mod tools;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "\
cargo xtask <verb>

  test [--only a,b]    install what is missing, then run what CI runs; --only picks steps
  fmt                  format the workspace
  lint                 formatting, clippy, licences, rustdoc
  fuzz [seconds] [target]
                       run the fuzz targets, 60 seconds each unless told
  faults [evm|solana]  run the whole fault matrix, or that of one kind of chains, and write its table
  faults <filter>      run the cells of the tests with that in their names, and only print the table
  bench [name]         run the benchmarks
  contracts [--check]  compile the contracts, or check that their artefacts are current
  docs [--check]       write the generated documents, or check that they are current
  e2e                  the published x402 SDKs against our binary";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<()> {
    std::env::set_current_dir(shell::root()).context("the workspace's folder")?;
    match words {
        ["test"] => steps::run(&steps::names()),
        ["test", "--only", list] => steps::run(&list.split(',').collect::<Vec<_>>()),
        ["fmt"] => shell::cargo(&["fmt", "--all"]),
        ["lint"] => steps::run(&["fmt", "lint", "deny", "doc"]),
        ["fuzz", rest @ ..] => {
            let (seconds, rest) = match rest {
                [first, rest @ ..] if first.starts_with(|c: char| c.is_ascii_digit()) => {
                    (fuzz::seconds(first)?, rest)
                }
                rest => (60, rest),
            };
            let target = match rest {
                [] => None,
                [target] => Some(*target),
                _ => bail!("{USAGE}"),
            };
            tools::install(&["cargo-fuzz"])?;
            fuzz::run(seconds, target)
        }
        ["faults", filter @ ..] => faults::run(filter),
        ["bench", rest @ ..] => {
            shell::cargo(&[&["bench", "--workspace", "--all-features", "--benches"], rest].concat())
        }
        ["contracts"] => steps::contracts(false),
        ["contracts", "--check"] => steps::contracts(true),
        ["docs"] => docs::write(),
        ["docs", "--check"] => docs::check(),
        ["e2e"] => steps::run(&["e2e"]),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}\n\nsteps of test: {}", steps::names().join(" "));
            Ok(())
        }
        _ => bail!("{USAGE}"),
    }
}
