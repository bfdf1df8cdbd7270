//! A facilitator's process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::world::WITHIN;

/// A facilitator's process that serves.
pub(crate) struct Replica {
    child: Child,
    id: u32,
    address: SocketAddr,
    /// Kept open: what is printed must find a reader.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Replica {
    /// Starts it; its log goes to the file.
    pub(crate) async fn start(command: Command, log: PathBuf) -> Self {
        let started = Self::try_start(command, &log).await;
        started.unwrap_or_else(|status| {
            panic!("it ended before it was ready: {status}: {}", std::fs::read_to_string(&log).unwrap())
        })
    }

    /// The same, or how it ended before it was ready.
    pub(crate) async fn try_start(mut command: Command, log: &Path) -> Result<Self, ExitStatus> {
        let stderr = std::fs::File::create(log).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let id = child.id().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(WITHIN, lines.next_line()).await;
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        let Ok(Ok(line)) = first else { panic!("it does not become ready: {first:?}: {}", said()) };
        let Some(line) = line else {
            return Err(tokio::time::timeout(WITHIN, child.wait()).await.expect("it does not end").unwrap());
        };
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = url::Url::parse(ready["url"].as_str().unwrap()).unwrap();
        let address = url.socket_addrs(|| None).unwrap()[0];
        Ok(Self { child, id, address, _stdout: lines })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process's id.
    #[allow(dead_code, reason = "what only some of the programs that use this need")]
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    fn signal(&self, name: &str) {
        let done = std::process::Command::new("kill").args([name, &self.id.to_string()]).status().unwrap();
        assert!(done.success(), "kill {name} {}", self.id);
    }

    /// SIGKILL; returns when it is gone.
    pub(crate) async fn kill(mut self) {
        use std::os::unix::process::ExitStatusExt as _;
        self.signal("-KILL");
        let status = self.ended().await;
        assert_eq!(status.signal(), Some(9), "{status}");
    }

    /// SIGTERM; returns when it has ended.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        self.signal("-TERM");
        self.ended().await
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(WITHIN, self.child.wait()).await.expect("it does not end").unwrap()
    }
}
