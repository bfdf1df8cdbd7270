//! The whole-system bench: the same payments to several facilitators in turn, on one chain.

mod chain;
mod http;
mod measure;
mod payments;
mod peer;
mod proxy;
mod report;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::Address;
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use chain::Chain;
use measure::{Sample, phase};
use payments::{Fault, PRICE, Payer};
use peer::{Kind, Paths, Peer};
use proxy::Proxy;
use report::{Figures, Phase};

const USAGE: &str = "\
bench/run [options]

  --rounds N        how often every facilitator has its turn; 15
  --verify N        payments verified per turn and concurrency; 300
  --settle N        payments settled per turn and concurrency; 20
  --phases A,B      of verify, refuse, settle; all
  --delay MS        how far away the chain is, per RPC round trip; 0
  --only A,B        of tollway, x402-rs, typescript; all
  --write           also into bench/RESULTS.md
  --check           fail when the targets are missed";

const WARM_UP: usize = 500;

struct Options {
    rounds: usize,
    verify: usize,
    settle: usize,
    delay: Duration,
    only: Vec<Kind>,
    phases: Vec<String>,
    write: bool,
    check: bool,
}

fn options() -> Result<Options> {
    let mut options = Options {
        rounds: 15,
        verify: 300,
        settle: 20,
        delay: Duration::ZERO,
        only: Kind::ALL.to_vec(),
        phases: ["verify", "refuse", "settle"].map(str::to_owned).to_vec(),
        write: false,
        check: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--rounds" => options.rounds = value()?.parse()?,
            "--verify" => options.verify = value()?.parse()?,
            "--settle" => options.settle = value()?.parse()?,
            "--delay" => options.delay = Duration::from_millis(value()?.parse()?),
            "--only" => {
                let kinds = value()?;
                let kinds = kinds.split(',').map(|word| Kind::of(word).context(USAGE));
                options.only = kinds.collect::<Result<_>>()?;
            }
            "--phases" => options.phases = value()?.split(',').map(str::to_owned).collect(),
            "--write" => options.write = true,
            "--check" => options.check = true,
            _ => bail!("{USAGE}"),
        }
    }
    ensure!(options.rounds > 0 && options.verify > 0, "nothing to measure");
    Ok(options)
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = options()?;
    let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let root = bench.parent().context("bench has a parent")?.to_owned();
    let scratch = tempfile::tempdir()?;
    let figures = bench_all(&options, &bench, &root, scratch.path()).await?;
    let text = report::markdown(&figures, &about(&options));
    println!("{text}");
    if options.write {
        std::fs::write(bench.join("RESULTS.md"), &text)?;
    }
    let missed = report::missed(&figures);
    if options.check && !missed.is_empty() {
        bail!("{}", missed.join("\n"));
    }
    Ok(())
}

async fn bench_all(
    options: &Options,
    bench: &Path,
    root: &Path,
    scratch: &Path,
) -> Result<BTreeMap<Kind, Figures>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut payer = Payer::new(PrivateKeySigner::random(), now);
    let keys: Vec<_> = options.only.iter().map(|kind| (*kind, PrivateKeySigner::random())).collect();
    let signers: Vec<Address> = keys.iter().map(|(_, key)| key.address()).collect();
    let receivers: Vec<Address> = keys.iter().map(|_| PrivateKeySigner::random().address()).collect();
    let mut chain = Chain::start(bench, payer.address(), &signers, &receivers).await?;

    let paths = Paths { root: root.to_owned(), scratch: scratch.to_owned() };
    let mut peers = Vec::new();
    for ((kind, key), receiver) in keys.iter().zip(&receivers) {
        let proxy = Proxy::start(chain.address, options.delay).await?;
        peers.push(Peer::start(*kind, &paths, proxy, key, *receiver).await?);
    }

    let pay_to = receivers[0];
    let verify = Arc::new(payer.requests("/verify", pay_to, options.verify, Fault::None)?);
    let mut refuse = Vec::new();
    for fault in [Fault::Expired, Fault::Recipient, Fault::Amount] {
        refuse.extend(payer.requests("/verify", pay_to, options.verify.div_ceil(3), fault)?);
    }
    let refuse = Arc::new(refuse);

    let mut figures: BTreeMap<Kind, Figures> = BTreeMap::new();
    for peer in &peers {
        eprintln!("warming up {}", peer.kind.name());
        let first = Arc::new(payer.requests("/verify", pay_to, WARM_UP, Fault::None)?);
        verified(&phase(peer, &first, 16).await?)?;
        settled(&mut chain, peer, &mut payer, 4, 2).await?;
        figures.entry(peer.kind).or_default().resident = peer.memory()?.1;
    }
    let wanted = |name: &str| options.phases.iter().any(|phase| phase == name);
    let mut phases = Vec::new();
    if wanted("verify") {
        phases.extend([1, 16, 64].map(Phase::Verify));
    }
    if wanted("refuse") {
        phases.push(Phase::Refuse);
    }
    if wanted("settle") {
        phases.extend([1, 8].map(Phase::Settle));
    }
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        // One facilitator right after the other in each phase: what is compared is as close in time as can be.
        for (at, peer) in phases.iter().flat_map(|at| peers.iter().map(move |peer| (*at, peer))) {
            let figures = figures.entry(peer.kind).or_default();
            let sample = match at {
                Phase::Verify(concurrency) => {
                    let sample = phase(peer, &verify, concurrency).await?;
                    verified(&sample)?;
                    sample
                }
                Phase::Refuse => {
                    let sample = phase(peer, &refuse, 16).await?;
                    refused(&sample)?;
                    sample
                }
                Phase::Settle(concurrency) => {
                    let (sample, gas) =
                        settled(&mut chain, peer, &mut payer, options.settle, concurrency).await?;
                    figures.gas.extend(gas);
                    sample
                }
            };
            figures.add(at, sample);
            figures.peak = peer.memory()?.0;
        }
    }
    Ok(figures)
}

fn verified(sample: &Sample) -> Result<()> {
    for (status, body) in &sample.answers {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        ensure!(answer["isValid"] == true, "a good payment: {status} {}", String::from_utf8_lossy(body));
    }
    Ok(())
}

fn refused(sample: &Sample) -> Result<()> {
    for (status, body) in &sample.answers {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        ensure!(answer["isValid"] == false, "a bad payment: {status} {}", String::from_utf8_lossy(body));
    }
    Ok(())
}

/// Settles payments of which none has been seen, and checks on chain that exactly they were made. Returns the gas
/// that each used.
async fn settled(
    chain: &mut Chain,
    peer: &Peer,
    payer: &mut Payer,
    count: usize,
    concurrency: usize,
) -> Result<(Sample, Vec<u64>)> {
    let requests = Arc::new(payer.requests("/settle", peer.pay_to, count, Fault::None)?);
    let before = chain.balance(peer.pay_to).await?;
    let sample = phase(peer, &requests, concurrency).await?;
    let (mut gas, mut told) = (Vec::new(), String::new());
    for (status, body) in &sample.answers {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        if answer["success"] == true
            && let Some(used) = chain.gas_used(answer["transaction"].as_str().unwrap_or_default()).await?
        {
            gas.push(used);
        } else {
            told = format!("{status} {}", String::from_utf8_lossy(body)).chars().take(250).collect();
        }
    }
    if gas.len() < count {
        let failed = count - gas.len();
        eprintln!("{}: {failed} of {count} did not settle, the last: {told}", peer.kind.name());
    }
    let earned = chain.balance(peer.pay_to).await?.saturating_sub(before);
    ensure!(
        earned == PRICE * gas.len() as u64,
        "{}: {} settlements were reported, {earned} was earned",
        peer.kind.name(),
        gas.len()
    );
    Ok((sample, gas))
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
        "{} rounds, {} verifications and {} settlements per round and concurrency, chain {} ms away. {}, {} cores, \
         load average {}. {}, Node {}. Unix time {seconds}.",
        options.rounds,
        options.verify,
        options.settle,
        options.delay.as_millis(),
        first("/proc/cpuinfo", "model name"),
        std::thread::available_parallelism().map_or(0, usize::from),
        first("/proc/loadavg", ""),
        says("rustc"),
        says("node"),
    )
}
