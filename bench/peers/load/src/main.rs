//! The whole-system bench: the same payments to several facilitators in turn, on one chain.

mod blocks;
mod chain;
mod figures;
mod flood;
mod floor;
mod http;
mod idle;
mod many;
mod measure;
mod options;
mod pairs;
mod payments;
mod peer;
mod proxy;
mod report;
mod run;
mod targets;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use figures::Figures;
use options::{Options, Part};
use run::Run;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::from_args()?;
    let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let root = bench.parent().context("bench has a parent")?.to_owned();
    let about = about(&options);
    let mut figures = Figures::default();
    let outcome =
        async { Run::start(&options, &bench, &root).await?.all(&options, &mut figures).await }.await;
    // What was measured before a failure is worth reading.
    let text = report::markdown(&figures, &about);
    println!("{text}");
    outcome?;
    if options.write {
        std::fs::write(bench.join("RESULTS.md"), &text)?;
    }
    let missed = targets::missed(&figures);
    if options.check && !missed.is_empty() {
        bail!("{}", missed.join("\n"));
    }
    Ok(())
}

/// Where and how it was measured.
fn about(options: &Options) -> String {
    let first = |path: &str, prefix: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(prefix)).unwrap_or_default().to_owned();
        line.split_once(": ").map_or(line.clone(), |(_, value)| value.to_owned())
    };
    let says = |program: &str| {
        let output = std::process::Command::new(program).arg("--version").output();
        output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
    };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    format!(
        "Phases: {}. {} rounds, {} verifications (twice as many at 64) and {} settlements per round and concurrency; \
         {} s of load at each level; chain {} ms away{}. {}, {} cores, load average at the start {}. {}, Node {}. \
         Unix time {seconds}.",
        Part::names(&options.parts),
        options.rounds,
        options.verify,
        options.settle,
        options.sending.as_secs(),
        options.delay.as_millis(),
        if options.ws { ", tollway hears of blocks over a WebSocket" } else { "" },
        first("/proc/cpuinfo", "model name"),
        std::thread::available_parallelism().map_or(0, usize::from),
        first("/proc/loadavg", ""),
        says("rustc"),
        says("node"),
    )
}
