//! The offline floor: `peers/floor`, measured like a facilitator.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::payments::Payment;

/// Verifications of one turn.
const TURN: usize = 2_000;

/// A process that verifies payments and does nothing else.
pub struct Floor {
    pid: Pid,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Floor {
    pub async fn start(root: &Path, payments: &[Payment]) -> Result<Self> {
        let binary = root.join("bench/peers/target/release/tollway-floor");
        let mut child = Command::new(&binary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} is not there: build it", binary.display()))?;
        let pid = Pid::from_raw(i32::try_from(child.id().context("it ended at once")?)?);
        let mut input = child.stdin.take().context("no stdin")?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let mut text = format!("{}\n", payments.len()).into_bytes();
        for payment in payments {
            text.extend_from_slice(payment.body());
            text.push(b'\n');
        }
        input.write_all(&text).await?;
        let mut this = Self { pid, input, output, _child: child };
        this.turn().await.context("the first turn, which warms it up")?;
        Ok(this)
    }

    /// Microseconds of processor time per verification.
    pub async fn turn(&mut self) -> Result<f64> {
        let pid = self.pid;
        let cpu = || clock_gettime(clock_getcpuclockid(pid)?).map(Duration::from);
        let before = cpu()?;
        self.input.write_all(format!("{TURN}\n").as_bytes()).await?;
        let line = self.output.next_line().await?;
        ensure!(line.as_deref() == Some("done"), "the floor ended: see above");
        Ok((cpu()? - before).as_secs_f64() * 1e6 / TURN as f64)
    }
}
