//! What is asked of the bench.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::peer::Kind;

const USAGE: &str = "\
bench/run [options]

  --phases A,B      of verify, refuse, settle, idle, flood, pairs, many; all
  --only A,B        of tollway, x402-rs, typescript; all
  --baseline FILE   another build of tollway, measured beside the others in verify, refuse, settle and idle
  --ws              tollway hears of blocks over a WebSocket, past the proxy that counts, rather than by asking
  --delay MS        how far away the chain is, per RPC round trip; 0
  --write           also into bench/RESULTS.md
  --check           fail when a target is missed

A block for each transaction, everyone in turn in each round:
  --rounds N        how often; 15
  --verify N        payments verified per turn and concurrency, twice as many at 64; 300
  --settle N        payments settled per turn and concurrency; 20
  --idle N          single payments to each, and a quarter of them on one-second blocks; 120

Blocks of a second and 30 M gas:
  --in-flight A,B   settlements in flight, each level for itself; 64,512,2000
  --seconds N       how long each facilitator is loaded at each level; 15
  --pairs N         payments that are posted twice at the same moment; 96
  --many N          payments of the long run, 512 in flight, tollway alone; 10000";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Verify,
    Refuse,
    Settle,
    Idle,
    Flood,
    Pairs,
    Many,
}

impl Part {
    const ALL: [(&'static str, Self); 7] = [
        ("verify", Self::Verify),
        ("refuse", Self::Refuse),
        ("settle", Self::Settle),
        ("idle", Self::Idle),
        ("flood", Self::Flood),
        ("pairs", Self::Pairs),
        ("many", Self::Many),
    ];

    fn of(word: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(name, _)| *name == word);
        found.map(|(_, part)| *part).with_context(|| format!("no phase {word}\n\n{USAGE}"))
    }

    pub fn names(parts: &[Self]) -> String {
        let names = Self::ALL.iter().filter(|(_, part)| parts.contains(part)).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(", ")
    }
}

pub struct Options {
    pub parts: Vec<Part>,
    pub only: Vec<Kind>,
    pub baseline: Option<PathBuf>,
    pub ws: bool,
    pub delay: Duration,
    pub write: bool,
    pub check: bool,
    pub rounds: usize,
    pub verify: usize,
    pub settle: usize,
    pub idle: usize,
    pub in_flight: Vec<usize>,
    pub sending: Duration,
    pub pairs: usize,
    pub many: usize,
}

impl Options {
    pub fn wants(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    pub fn from_args() -> Result<Self> {
        let mut options = Self {
            parts: Part::ALL.map(|(_, part)| part).to_vec(),
            only: Kind::ALL.to_vec(),
            baseline: None,
            ws: false,
            delay: Duration::ZERO,
            write: false,
            check: false,
            rounds: 15,
            verify: 300,
            settle: 20,
            idle: 120,
            in_flight: vec![64, 512, 2000],
            sending: Duration::from_secs(15),
            pairs: 96,
            many: 10_000,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--phases" => options.parts = value()?.split(',').map(Part::of).collect::<Result<_>>()?,
                "--only" => {
                    let kinds = value()?;
                    let kinds = kinds.split(',').map(|word| Kind::of(word).context(USAGE));
                    options.only = kinds.collect::<Result<_>>()?;
                }
                "--baseline" => options.baseline = Some(std::fs::canonicalize(value()?)?),
                "--ws" => options.ws = true,
                "--delay" => options.delay = Duration::from_millis(value()?.parse()?),
                "--write" => options.write = true,
                "--check" => options.check = true,
                "--rounds" => options.rounds = value()?.parse()?,
                "--verify" => options.verify = value()?.parse()?,
                "--settle" => options.settle = value()?.parse()?,
                "--idle" => options.idle = value()?.parse()?,
                "--in-flight" => {
                    let levels = value()?;
                    options.in_flight = levels.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                "--seconds" => options.sending = Duration::from_secs(value()?.parse()?),
                "--pairs" => options.pairs = value()?.parse()?,
                "--many" => options.many = value()?.parse()?,
                _ => bail!("{USAGE}"),
            }
        }
        ensure!(options.rounds > 0 && options.verify > 0 && options.idle >= 4, "nothing to measure");
        options.only.extend(options.baseline.as_ref().map(|_| Kind::Baseline));
        options.only.sort_unstable();
        options.only.dedup();
        Ok(options)
    }
}
