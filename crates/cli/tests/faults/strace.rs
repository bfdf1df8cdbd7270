//! System calls of a process that fail on some files, by strace.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::patience::WITHIN;
use crate::process::signal;

/// What writes to a file.
pub(crate) const WRITES: &str = "pwrite64,write,ftruncate,fallocate";
/// What has a file kept.
pub(crate) const SYNCS: &str = "fsync,fdatasync";

/// A fault under files, as long as it lasts.
pub(crate) struct Broken(Child);

impl Broken {
    /// From now on `calls` of the process on these files fail with `error`.
    pub(crate) async fn on(files: &[PathBuf], process: u32, calls: &str, error: &str) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:error={error}")]);
        for file in files {
            command.arg("-P").arg(file);
        }
        command.args(["-p", &process.to_string()]);
        let spawned = command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
        let mut strace = spawned.expect("no strace on this machine: `apt-get install strace`");
        let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines();
        let attached = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("attached") {
                    return;
                }
                // Only what it says of files that are not there yet.
                assert!(line.contains("Requested path"), "{line}");
            }
            panic!("strace has ended");
        };
        tokio::time::timeout(WITHIN, attached).await.expect("strace does not attach");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self(strace)
    }

    pub(crate) async fn off(mut self) {
        signal("-TERM", self.0.id().unwrap());
        tokio::time::timeout(WITHIN, self.0.wait()).await.expect("strace does not end").unwrap();
    }
}

/// The files of an SQLite database.
pub(crate) fn files(database: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", database.display())))
}
