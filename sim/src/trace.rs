//! What happened in a run, in order: its digest tells whether two runs were the same.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many lines are kept.
const TAIL: usize = 400;

/// The lines of a run.
#[derive(Debug)]
pub struct Trace {
    start: Instant,
    lines: Mutex<Lines>,
    echo: bool,
}

#[derive(Debug, Default)]
struct Lines {
    digest: DefaultHasher,
    count: u64,
    tail: VecDeque<String>,
}

impl Trace {
    /// An empty one; with `echo` lines are printed as they come.
    #[must_use]
    pub fn new(start: Instant, echo: bool) -> Self {
        Self { start, lines: Mutex::default(), echo }
    }

    /// Adds a line.
    pub fn note(&self, line: &str) {
        let at = self.start.elapsed().as_millis();
        let line = format!("{:>4}.{:03} {line}", at / 1000, at % 1000);
        if self.echo {
            println!("{line}");
        }
        let mut lines = self.lines.lock();
        line.hash(&mut lines.digest);
        lines.count += 1;
        if lines.tail.len() == TAIL {
            lines.tail.pop_front();
        }
        lines.tail.push_back(line);
    }

    /// Of all lines so far.
    pub fn digest(&self) -> u64 {
        self.lines.lock().digest.finish()
    }

    /// How many lines there were.
    pub fn count(&self) -> u64 {
        self.lines.lock().count
    }

    /// The last lines.
    pub fn tail(&self) -> Vec<String> {
        self.lines.lock().tail.iter().cloned().collect()
    }
}
