//! Running the binary: bounded waits, no sleeps, everything ends with its test.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Longer nothing takes, on a busy machine either.
const WITHIN: Duration = Duration::from_secs(120);

/// What our environment may have that the binary would heed.
const OURS: [&str; 7] = [
    "RUST_LOG",
    "NO_COLOR",
    "TOLLWAY_PRIVATE_KEY",
    "TOLLWAY_SOLANA_KEY",
    "TOLLWAY_SOLANA_KEY_FILE",
    "TOLLWAY_PASSPHRASE",
    "TOLLWAY_CRASH",
];

/// A command of the binary, with a home of its own and nothing from our environment that it would heed.
pub(crate) fn tollway(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollway"));
    for name in OURS {
        command.env_remove(name);
    }
    command.args(args).env("TOLLWAY_HOME", home).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The JSON lines on stderr.
    pub(crate) fn told(&self) -> Vec<Value> {
        json_lines(&self.stderr)
    }

    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Runs a command to its end.
pub(crate) async fn run(mut command: Command) -> Done {
    let output = timeout(WITHIN, command.output()).await.expect("it does not end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A server, started.
pub(crate) struct Running {
    pub(crate) ready: Value,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Waits for the line that says that it is ready.
    pub(crate) async fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = timeout(WITHIN, stdout.next_line()).await.expect("it does not become ready").unwrap();
        let Some(first) = first else {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
            panic!("it ended before it was ready: {said}");
        };
        let ready = serde_json::from_str(&first).unwrap_or_else(|error| panic!("{first}: {error}"));
        Self { ready, child, stdout }
    }

    /// Asks it to stop; returns how it ended and what else it printed.
    pub(crate) async fn terminate(mut self) -> (ExitStatus, Vec<String>) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let status = self.ended().await;
        let mut more = Vec::new();
        while let Some(line) = self.stdout.next_line().await.unwrap() {
            more.push(line);
        }
        (status, more)
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(WITHIN, self.child.wait()).await.expect("it does not end").unwrap()
    }

    pub(crate) fn text(&self, pointer: &str) -> String {
        let value = self.ready.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("no {pointer} in {}", self.ready)).to_owned()
    }
}

/// `tollway dev`, and a home for those who pay it.
pub(crate) struct Dev {
    pub(crate) home: TempDir,
    pub(crate) running: Running,
}

impl Dev {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(more: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let args = [&["dev", "--json"], more].concat();
        let running = Running::start(tollway(home.path(), &args)).await;
        Self { home, running }
    }

    pub(crate) fn weather(&self) -> String {
        self.running.text("/paid/0")
    }

    pub(crate) fn secret(&self) -> String {
        self.running.text("/payer/eip155:84532/secret")
    }

    pub(crate) fn payer(&self) -> String {
        self.running.text("/payer/eip155:84532/address")
    }

    pub(crate) fn rpc(&self) -> String {
        self.running.text("/rpc/eip155:84532")
    }

    /// `tollway` with the funded key.
    pub(crate) fn paying(&self, args: &[&str]) -> Command {
        let mut command = tollway(self.home.path(), args);
        command.env("TOLLWAY_PRIVATE_KEY", self.secret());
        command
    }

    /// What an account has in USDC's atomic units.
    pub(crate) async fn usdc(&self, account: &str) -> u64 {
        let asset = self.running.text("/asset/eip155:84532");
        let word = format!("{:0>64}", account.trim_start_matches("0x"));
        let call = json!([{ "to": asset, "data": format!("0x70a08231{word}") }, "latest"]);
        let answer = ask(&self.rpc(), "eth_call", call).await;
        u64::from_str_radix(answer.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }
}

/// Asks a node.
pub(crate) async fn ask(rpc: &str, method: &str, params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer = reqwest::Client::new().post(rpc).json(&body).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    answer["result"].clone()
}

/// Every file's name and text under a directory.
pub(crate) fn files(directory: &Path) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            found.push((path.display().to_string(), text));
        }
    }
    found
}
