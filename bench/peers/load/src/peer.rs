//! The facilitators under test: how each is started, and what it has used.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use alloy_primitives::Address;
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, Result, bail};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::http::{self, Connection};
use crate::payments::NETWORK;
use crate::proxy::Proxy;

/// How often every facilitator looks for a receipt, in milliseconds. The TypeScript peer's own figure.
const POLL_MS: u64 = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Tollway,
    X402Rs,
    TypeScript,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Tollway, Self::X402Rs, Self::TypeScript];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Tollway => "tollway",
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
    pub pay_to: Address,
    pid: Pid,
    _child: Child,
}

pub struct Paths {
    pub root: PathBuf,
    pub scratch: PathBuf,
}

impl Peer {
    pub async fn start(
        kind: Kind,
        paths: &Paths,
        proxy: Proxy,
        key: &PrivateKeySigner,
        pay_to: Address,
    ) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let log = paths.scratch.join(format!("{kind:?}.log"));
        let mut command = command(kind, paths, address, &proxy)?;
        let key = alloy_primitives::hex::encode_prefixed(key.to_bytes());
        let mut child = command
            .env("PRIVATE_KEY", key)
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
                return Ok(Self { kind, address, proxy, pay_to, pid, _child: child });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("{} was not ready within 30 s: {}", kind.name(), std::fs::read_to_string(&log)?)
    }

    /// The processor time that all its threads have used, those that have ended included.
    pub fn cpu(&self) -> Result<Duration> {
        Ok(clock_gettime(clock_getcpuclockid(self.pid)?)?.into())
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
    Ok(match kind {
        Kind::Tollway => {
            let binary = std::env::var_os("TOLLWAY_BIN").map(PathBuf::from);
            let binary = built(binary.unwrap_or_else(|| paths.root.join("target/release/tollway")))?;
            let mut command = Command::new(binary);
            command.arg("facilitator").arg("--config").arg(config(&paths.scratch, address, proxy)?);
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

/// Ours: every setting its default, but for how often it polls.
fn config(scratch: &Path, address: SocketAddr, proxy: &Proxy) -> Result<PathBuf> {
    let path = scratch.join("tollway.toml");
    let ledger = scratch.join("ledger.db");
    let text = format!(
        "listen = \"{address}\"\nledger = {ledger:?}\n\n[[network]]\nid = \"{NETWORK}\"\n\
         rpc = \"http://{}\"\npoll_interval_ms = {POLL_MS}\nsigner = {{ key_env = \"PRIVATE_KEY\" }}\n",
        proxy.address
    );
    std::fs::write(&path, text)?;
    Ok(path)
}
