//! A facilitator's process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tollway_protocol::door::decimal_u64;

use crate::patience::WITHIN;

/// A facilitator that runs.
pub(crate) struct Facilitator {
    child: Child,
    id: u32,
    address: SocketAddr,
}

impl Facilitator {
    pub(crate) async fn start(mut command: Command, log: &Path) -> Self {
        let stderr = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let id = child.id().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(WITHIN, lines.next_line()).await;
        let said = || if log.is_file() { std::fs::read_to_string(log).unwrap() } else { String::new() };
        let Ok(Ok(Some(line))) = first else { panic!("it does not become ready: {first:?}: {}", said()) };
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = url::Url::parse(ready["url"].as_str().unwrap()).unwrap();
        let address = url.socket_addrs(|| None).unwrap()[0];
        Self { child, id, address }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn kill(&self) {
        signal("-KILL", self.id);
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(WITHIN, self.child.wait()).await.expect("it does not end").unwrap()
    }

    /// Whether it has not ended.
    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to stop, and has it end in order: it used neither much memory nor many files.
    pub(crate) async fn stop(mut self) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak: u64 = peak.map_or(0, |kb| decimal_u64(kb.trim().trim_end_matches(" kB")).unwrap());
        assert!(peak < 300 * 1024, "{peak} kB of memory");
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.id)).map_or(0, Iterator::count);
        assert!(files < 200, "{files} open files");
        signal("-TERM", self.id);
        let status = self.ended().await;
        assert!(status.success(), "{status}");
    }
}

pub(crate) fn signal(signal: &str, id: u32) {
    let done = std::process::Command::new("kill").args([signal, &id.to_string()]).status().unwrap();
    assert!(done.success(), "kill {signal} {id}");
}
