//! The run: who takes part, and the phases in their order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, B256, keccak256};
use anyhow::{Result, ensure};
use serde_json::Value;

use crate::blocks::Blocks;
use crate::chain::{Chain, GAS_LIMIT};
use crate::figures::{Figures, Phase};
use crate::flood::{Flood, Load, flood};
use crate::floor::Floor;
use crate::idle;
use crate::many::many;
use crate::measure::{Sample, phase};
use crate::options::{Options, Part};
use crate::pairs::pairs;
use crate::payments::{Account, Fault, PRICE, Payers, Payment};
use crate::peer::{Kind, Paths, Peer};
use crate::proxy::Proxy;

const WARM_UP: usize = 500;
/// Accounts that pay on the instant chain. Each block copies the state there, so the others come later.
const FEW: usize = 1_000;
/// USDC that each payer gets, so that nobody ends at zero, which costs other gas.
const RICH: u64 = 1_000_000_000_000;
/// The least gas that a payment takes, about: says how many can be needed.
const LEAST_GAS: u64 = 42_000;
/// In flight in the long run.
const MANY_IN_FLIGHT: usize = 512;
/// Numbers of accounts that don't pay.
const SIGNERS: u64 = 1 << 32;

pub struct Run {
    root: PathBuf,
    chain: Chain,
    payers: Payers,
    peers: Vec<Peer>,
    seed: B256,
    receivers: u64,
    _scratch: tempfile::TempDir,
}

impl Run {
    pub async fn start(options: &Options, bench: &Path, root: &Path) -> Result<Self> {
        let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let seed = keccak256(nanoseconds.to_be_bytes());
        let keys = options.only.iter().map(|kind| Account::fresh(seed, SIGNERS + *kind as u64));
        let keys: Vec<Account> = keys.collect::<Result<_>>()?;
        let signers: Vec<Address> = keys.iter().map(|key| key.address).collect();
        let mut chain = Chain::start(bench, &signers).await?;
        let mut payers = Payers::new(options.many.max(2 * FEW), seed)?;
        chain.give(&payers.fund(FEW), RICH).await?;

        let scratch = tempfile::tempdir()?;
        let paths = Paths {
            root: root.to_owned(),
            scratch: scratch.path().to_owned(),
            baseline: options.baseline.clone(),
            ws: options.ws.then_some(chain.address),
        };
        let mut this = Self {
            root: root.to_owned(),
            chain,
            payers,
            peers: Vec::new(),
            seed,
            receivers: 0,
            _scratch: scratch,
        };
        for (kind, key) in options.only.iter().zip(&keys) {
            let proxy = Proxy::start(this.chain.address, options.delay).await?;
            let receiver = this.receiver()?;
            this.chain.give(&[receiver], 1).await?;
            this.peers.push(Peer::start(*kind, &paths, proxy, key, receiver).await?);
        }
        Ok(this)
    }

    /// An account that nobody has paid.
    fn receiver(&mut self) -> Result<Address> {
        self.receivers += 1;
        Ok(Account::fresh(self.seed, 2 * SIGNERS + self.receivers)?.address)
    }

    pub async fn all(mut self, options: &Options, figures: &mut Figures) -> Result<()> {
        self.chain.instant().await?;
        self.warm_up(figures).await?;
        if [Part::Verify, Part::Refuse, Part::Settle].iter().any(|part| options.wants(*part)) {
            self.rounds(options, figures).await?;
        }
        if options.wants(Part::Idle) {
            eprintln!("idle, instant blocks");
            let took = idle::instant(&mut self.chain, &self.peers, &mut self.payers, options.idle).await?;
            for (peer, took) in self.peers.iter().zip(took) {
                figures.of.entry(peer.kind).or_default().idle[0] = took;
            }
        }
        let receiver = self.receiver()?;
        self.chain.give(&[receiver], 1).await?;
        let payments = self.payers.requests("/settle", receiver, 10, Fault::None)?;
        figures.alone = Some(self.chain.alone(&payments).await?);
        if [Part::Idle, Part::Flood, Part::Pairs, Part::Many].iter().any(|part| options.wants(*part)) {
            self.by_the_second(options, figures).await?;
        }
        Ok(())
    }

    async fn warm_up(&mut self, figures: &mut Figures) -> Result<()> {
        let receiver = self.peers[0].pay_to;
        for peer in &self.peers {
            eprintln!("warming up {}", peer.kind.name());
            let first = Arc::new(self.payers.requests("/verify", receiver, WARM_UP, Fault::None)?);
            all_valid(&phase(peer, &first, 16).await?, true)?;
            settled(&mut self.chain, peer, &mut self.payers, 4, 2).await?;
            figures.of.entry(peer.kind).or_default().resident = peer.memory()?.1;
        }
        Ok(())
    }

    /// One facilitator right after the other in each phase: what is compared is as close in time as can be. Another one
    /// is the first in each round: who comes after a busy one finds cold caches, and what that one still does.
    async fn rounds(&mut self, options: &Options, figures: &mut Figures) -> Result<()> {
        let mut phases = Vec::new();
        if options.wants(Part::Verify) {
            phases.extend([1, 16, 64].map(Phase::Verify));
        }
        if options.wants(Part::Refuse) {
            phases.push(Phase::Refuse);
        }
        if options.wants(Part::Settle) {
            phases.extend([1, 8].map(Phase::Settle));
        }
        let receiver = self.peers[0].pay_to;
        let payments = self.payers.requests("/verify", receiver, 300, Fault::None)?;
        let mut floor = Floor::start(&self.root, &payments).await?;
        for round in 1..=options.rounds {
            eprintln!("round {round} of {}", options.rounds);
            for at in &phases {
                let requests = Arc::new(self.round(*at, receiver, options)?);
                let (late, early) = self.peers.split_at(round % self.peers.len());
                for peer in early.iter().chain(late) {
                    let figures = figures.of.entry(peer.kind).or_default();
                    let sample = if let Phase::Settle(concurrency) = *at {
                        let (chain, payers) = (&mut self.chain, &mut self.payers);
                        let (sample, paid, gas) =
                            settled(chain, peer, payers, options.settle, concurrency).await?;
                        figures.paid += paid;
                        figures.gas += gas;
                        sample
                    } else {
                        let concurrency = if let Phase::Verify(concurrency) = *at { concurrency } else { 16 };
                        let sample = phase(peer, &requests, concurrency).await?;
                        all_valid(&sample, *at != Phase::Refuse)?;
                        sample
                    };
                    figures.add(*at, sample);
                    figures.peak = peer.memory()?.0;
                }
                if *at == Phase::Verify(64) {
                    figures.floor.push(floor.turn().await?);
                }
            }
        }
        Ok(())
    }

    /// A round's requests: nobody has seen them, and everybody gets the same.
    fn round(&mut self, at: Phase, to: Address, options: &Options) -> Result<Vec<Payment>> {
        let mut make = |count, fault| self.payers.requests("/verify", to, count, fault);
        Ok(match at {
            Phase::Verify(64) => make(options.verify * 2, Fault::None)?,
            Phase::Verify(_) => make(options.verify, Fault::None)?,
            Phase::Refuse => {
                let mut all = Vec::new();
                for fault in [Fault::Expired, Fault::Recipient, Fault::Amount] {
                    all.extend(make(options.verify.div_ceil(3), fault)?);
                }
                all
            }
            Phase::Settle(_) => Vec::new(),
        })
    }

    /// On blocks of a second.
    async fn by_the_second(&mut self, options: &Options, figures: &mut Figures) -> Result<()> {
        self.chain.give(&self.payers.fund(usize::MAX), RICH).await?;
        self.chain.every_second().await?;
        let blocks = Blocks::watch(self.chain.address).await?;
        if options.wants(Part::Idle) {
            eprintln!("idle, one-second blocks");
            let count = options.idle / 4;
            let took =
                idle::every_second(&mut self.chain, &blocks, &self.peers, &mut self.payers, count).await?;
            for (peer, took) in self.peers.iter().zip(took) {
                figures.of.entry(peer.kind).or_default().idle[1] = took;
            }
        }
        let loaded: Vec<usize> = (0..self.peers.len()).filter(|at| self.peers[*at].kind.floods()).collect();
        if options.wants(Part::Flood) {
            let seconds = options.sending.as_secs();
            for in_flight in &options.in_flight {
                let most = in_flight + ((seconds + 2) * GAS_LIMIT / LEAST_GAS) as usize;
                for at in &loaded {
                    let load = self.load(most, *in_flight, options.sending)?;
                    let peer = &self.peers[*at];
                    let flood = flood(&mut self.chain, &blocks, peer, load).await?;
                    tell(peer, *in_flight, &flood);
                    figures.of.entry(peer.kind).or_default().floods.insert(*in_flight, flood);
                }
            }
        }
        if options.wants(Part::Pairs) {
            for at in &loaded {
                let receiver = self.receiver()?;
                let payments = self.payers.requests("/settle", receiver, options.pairs, Fault::None)?;
                let peer = &self.peers[*at];
                eprintln!("{}: {} pairs", peer.kind.name(), options.pairs);
                let pairs = pairs(&mut self.chain, &blocks, peer, payments, receiver).await?;
                figures.of.entry(peer.kind).or_default().pairs = Some(pairs);
            }
        }
        if options.wants(Part::Many) && options.only.contains(&Kind::Tollway) {
            let load = self.load(options.many, MANY_IN_FLIGHT, Duration::from_secs(600))?;
            let ours = self.peers.iter().find(|peer| peer.kind == Kind::Tollway);
            if let Some(peer) = ours {
                let many = many(&mut self.chain, &blocks, peer, load).await?;
                tell(peer, MANY_IN_FLIGHT, &many.flood);
                figures.of.entry(peer.kind).or_default().many = Some(many);
            }
        }
        Ok(())
    }

    fn load(&mut self, count: usize, in_flight: usize, sending: Duration) -> Result<Load> {
        let to = self.receiver()?;
        let payments = self.payers.requests("/settle", to, count, Fault::None)?;
        Ok(Load { payments, to, in_flight, sending })
    }
}

/// For who watches.
fn tell(peer: &Peer, in_flight: usize, flood: &Flood) {
    let name = peer.kind.name();
    let steady = flood.steady.unwrap_or_else(|| flood.per_second());
    eprintln!("{name}, {in_flight} in flight: {} of {} settled, {steady:.0}/s", flood.settled, flood.sent);
    for (why, count) in &flood.refusals {
        eprintln!("  {count} × {why}");
    }
    if flood.left > 0 {
        eprintln!("  {} transactions of whomever still waited for a block", flood.left);
    }
}

fn all_valid(sample: &Sample, valid: bool) -> Result<()> {
    for (status, body) in &sample.answers {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let kind = if valid { "good" } else { "bad" };
        ensure!(answer["isValid"] == valid, "a {kind} payment: {status} {}", String::from_utf8_lossy(body));
    }
    Ok(())
}

/// Settles payments of which none has been seen, and checks on chain that exactly they were made. Returns how many
/// were, and the gas that their transactions used.
async fn settled(
    chain: &mut Chain,
    peer: &Peer,
    payers: &mut Payers,
    count: usize,
    concurrency: usize,
) -> Result<(Sample, usize, u64)> {
    let requests = Arc::new(payers.requests("/settle", peer.pay_to, count, Fault::None)?);
    let before = chain.balance(peer.pay_to).await?;
    let sample = phase(peer, &requests, concurrency).await?;
    let (mut paid, mut gas, mut told) = (0, BTreeMap::new(), String::new());
    for (status, body) in &sample.answers {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let hash = answer["transaction"].as_str().unwrap_or_default();
        if answer["success"] == true
            && let Some(used) = chain.gas_used(hash).await?
        {
            paid += 1;
            gas.insert(hash.to_owned(), used);
        } else {
            told = format!("{status} {}", String::from_utf8_lossy(body)).chars().take(250).collect();
        }
    }
    if paid < count {
        eprintln!("{}: {} of {count} did not settle, the last: {told}", peer.kind.name(), count - paid);
    }
    let earned = chain.balance(peer.pay_to).await?.saturating_sub(before);
    ensure!(
        earned == PRICE * paid as u64,
        "{}: {paid} settlements were reported, {earned} was earned",
        peer.kind.name()
    );
    Ok((sample, paid, gas.into_values().sum()))
}
