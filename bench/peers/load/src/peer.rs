//! The facilitators under test: how each is started, and what it has used.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use alloy_primitives::Address;
use anyhow::{Context as _, Result, bail};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::http::{self, Connection};
use crate::payments::{Account, NETWORK};
use crate::proxy::Proxy;

/// How often every facilitator looks for a receipt, in milliseconds. The TypeScript peer's own figure.
const POLL_MS: u64 = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Tollway,
    /// Another build of ours, given with `--baseline`.
    Baseline,
    X402Rs,
    TypeScript,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Tollway, Self::X402Rs, Self::TypeScript];

    /// Whether its payments by the second and its double ones are worth the time.
    pub const fn floods(self) -> bool {
        !matches!(self, Self::Baseline)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Tollway => "tollway",
            Self::Baseline => "tollway before",
            Self::X402Rs => "x402-rs 2.0.2",
            Self::TypeScript => "TypeScript 2.27",
        }
    }

    pub fn of(word: &str) -> Option<Self> {
        match word {
            "tollway" => Some(Self::Tollway),
            "x402-rs" => Some(Self::X402Rs),
            "typescript" => Some(Self::TypeScript),
            _ => None,
        }
    }
}

/// A running facilitator.
pub struct Peer {
    pub kind: Kind,
    pub address: SocketAddr,
    pub proxy: Proxy,
    /// Who pays for its transactions.
    pub signer: Address,
    /// Who is paid by it when the chain is instant.
    pub pay_to: Address,
    /// Where one of ours keeps its ledger.
    pub ledger: PathBuf,
    pid: Pid,
    _child: Child,
}

pub struct Paths {
    pub root: PathBuf,
    pub scratch: PathBuf,
    /// The other build of ours.
    pub baseline: Option<PathBuf>,
    /// Where the current build of ours hears of blocks, unless it asks.
    pub ws: Option<SocketAddr>,
}

/// The processor time that all threads of a process have used, those that have ended included.
pub fn cpu_of(pid: Pid) -> Result<Duration> {
    Ok(clock_gettime(clock_getcpuclockid(pid)?)?.into())
}

impl Peer {
    pub async fn start(
        kind: Kind,
        paths: &Paths,
        proxy: Proxy,
        signer: &Account,
        pay_to: Address,
    ) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let log = paths.scratch.join(format!("{kind:?}.log"));
        let mut command = command(kind, paths, address, &proxy)?;
        let mut child = command
            .env("PRIVATE_KEY", signer.hex())
            .env("RPC_URL", format!("http://{}", proxy.address))
            .env("PORT", port.to_string())
            .env("POLL_MS", POLL_MS.to_string())
            .env("NODE_ENV", "production")
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let pid = Pid::from_raw(i32::try_from(child.id().context("it ended at once")?)?);
        for _ in 0..300 {
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status}: {}", kind.name(), std::fs::read_to_string(&log)?);
            }
            if let Ok(mut connection) = Connection::open(address).await
                && let Ok((200, _)) = connection.exchange(&http::get("/supported")).await
            {
                let (signer, ledger) = (signer.address, ledger(kind, paths));
                return Ok(Self { kind, address, proxy, signer, pay_to, ledger, pid, _child: child });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("{} was not ready within 30 s: {}", kind.name(), std::fs::read_to_string(&log)?)
    }

    /// The processor time that it has used.
    pub fn cpu(&self) -> Result<Duration> {
        cpu_of(self.pid)
    }

    /// Lets the most memory that was resident be counted anew.
    pub fn forget_peak(&self) -> Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.pid), "5")?)
    }

    /// The most memory that was ever resident, and how much is now, in KiB.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok((field("VmHWM:")?, field("VmRSS:")?))
    }
}

fn command(kind: Kind, paths: &Paths, address: SocketAddr, proxy: &Proxy) -> Result<Command> {
    let built = |path: PathBuf| -> Result<PathBuf> {
        if path.exists() { Ok(path) } else { bail!("{} is not there: build it", path.display()) }
    };
    let facilitator = |binary: PathBuf| -> Result<Command> {
        let mut command = Command::new(built(binary)?);
        command.arg("facilitator").arg("--config").arg(config(kind, paths, address, proxy)?);
        Ok(command)
    };
    Ok(match kind {
        Kind::Tollway => {
            let binary = std::env::var_os("TOLLWAY_BIN").map(PathBuf::from);
            facilitator(binary.unwrap_or_else(|| paths.root.join("target/release/tollway")))?
        }
        Kind::Baseline => {
            let mut command = facilitator(paths.baseline.clone().context("--baseline is not given")?)?;
            // Variables under this name are settings of the current build, and may be new.
            for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOLLWAY_")) {
                command.env_remove(name);
            }
            command
        }
        Kind::X402Rs => Command::new(built(paths.root.join("bench/peers/target/release/peer-x402-rs"))?),
        Kind::TypeScript => {
            let mut command = Command::new("node");
            command.arg(paths.root.join("e2e/peers/js/facilitator.mjs"));
            command
        }
    })
}

fn ledger(kind: Kind, paths: &Paths) -> PathBuf {
    paths.scratch.join(format!("{kind:?}.db"))
}

/// Ours: every setting its default, but for how often it polls, and for limits that thousands of requests at once and
/// a day's gas in a minute would reach.
fn config(kind: Kind, paths: &Paths, address: SocketAddr, proxy: &Proxy) -> Result<PathBuf> {
    let path = paths.scratch.join(format!("{kind:?}.toml"));
    let ledger = ledger(kind, paths);
    let ws = paths.ws.filter(|_| kind == Kind::Tollway).map(|node| format!("ws = \"ws://{node}\"\n"));
    let text = format!(
        "listen = \"{address}\"\nledger = {ledger:?}\n\n\
         [limits]\nconnections = 8192\nconcurrency = 8192\nsettlements = 16384\n\n\
         [[network]]\nid = \"{NETWORK}\"\nrpc = \"http://{}\"\npoll_interval_ms = {POLL_MS}\n\
         signer = {{ key_env = \"PRIVATE_KEY\" }}\n{}\n\
         [network.gas]\nper_day_wei = \"100000000000000000000000\"\n",
        proxy.address,
        ws.unwrap_or_default(),
    );
    std::fs::write(&path, text)?;
    Ok(path)
}
