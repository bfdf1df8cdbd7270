//! Who holds what: this process's lease, and what was left behind by calls nobody waits for.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::sync::mpsc;
use tollway_protocol::bind::PaymentKey;

use super::writer::{Broken, Work};
use super::{Failure, Options};
use crate::{LedgerError, Turn};

/// A process that ended is remembered for so long, for operators.
const REMEMBER_MILLIS: i64 = 86_400_000;

/// This process's lease: while it lives, nobody takes its rows.
pub(super) struct Lease {
    /// A random name.
    pub(super) instance: [u8; 16],
    options: Options,
}

impl Lease {
    pub(super) fn new(options: Options) -> Result<Self, LedgerError> {
        Ok(Self { instance: random()?, options })
    }

    /// Now, in milliseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        i64::try_from((self.options.clock)()).unwrap_or(i64::MAX)
    }

    /// Lives for another while.
    pub(super) fn renew(&self, connection: &Connection) -> Result<(), Failure> {
        let now = self.now();
        let length = i64::try_from(self.options.lease.as_millis()).unwrap_or(i64::MAX);
        connection
            .prepare_cached("INSERT OR REPLACE INTO instances (id, alive_until) VALUES (?1, ?2)")?
            .execute(params![self.instance, now.saturating_add(length)])?;
        connection
            .prepare_cached("DELETE FROM instances WHERE alive_until < ?1")?
            .execute([now.saturating_sub(REMEMBER_MILLIS)])?;
        Ok(())
    }

    /// Whether the store has heard of this process: it has, unless it is another store.
    pub(super) fn is_known(&self, connection: &Connection) -> Result<bool, Failure> {
        let sql = "SELECT EXISTS (SELECT 1 FROM instances WHERE id = ?1)";
        Ok(connection.query_row(sql, [self.instance], |row| row.get(0))?)
    }

    /// Gives up all that it holds.
    pub(super) fn end(&self, connection: &Connection) -> Result<(), Failure> {
        connection.execute("DELETE FROM instances WHERE id = ?1", [self.instance])?;
        Ok(())
    }

    /// Whether `holder` still has its rows.
    pub(super) fn is_alive(&self, connection: &Connection, holder: &[u8]) -> Result<bool, Failure> {
        if *holder == self.instance {
            return Ok(true);
        }
        let mut statement = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM instances WHERE id = ?1 AND alive_until > ?2)")?;
        Ok(statement.query_row(params![holder, self.now()], |row| row.get(0))?)
    }
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], LedgerError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| LedgerError::Unavailable(format!("no randomness: {error}")))?;
    Ok(bytes)
}

/// Renews the lease until it is dropped.
pub(super) struct Renewal {
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Renew(Arc<Lease>);

impl Work for Renew {
    fn run(&mut self, connection: &Connection) -> Result<(), Failure> {
        self.0.renew(connection)
    }

    fn answer(self: Box<Self>, group: Result<(), Broken>) {
        if let Err(Broken { error, .. }) = group {
            tracing::warn!(%error, "the ledger's lease was not renewed");
        }
    }

    fn counts(&self) -> bool {
        false
    }
}

impl Renewal {
    pub(super) fn start(lease: Arc<Lease>, queue: mpsc::Sender<Box<dyn Work>>) -> Result<Self, LedgerError> {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let period = (lease.options.lease / 5).max(Duration::from_millis(10));
        let work = move || {
            while stopped.recv_timeout(period) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                if queue.blocking_send(Box::new(Renew(Arc::clone(&lease)))).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("ledger-lease".into()).spawn(work);
        let thread = thread.map_err(|error| LedgerError::Unavailable(format!("no thread: {error}")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A claim whose holder is gone: its future was dropped, or its call failed.
#[derive(Debug, Clone)]
pub(super) struct Left {
    /// The payment.
    pub(super) key: PaymentKey,
    /// The claim.
    pub(super) turn: i64,
    /// Whether it was being delivered. The permission never reached anyone, so nothing left.
    pub(super) delivering: bool,
}

impl From<Turn> for Left {
    fn from(Turn { key, number }: Turn) -> Self {
        Self { key, turn: number, delivering: false }
    }
}

/// Claims to give back with the next commit.
#[derive(Default)]
pub(super) struct Lost(Mutex<Vec<Left>>);

impl Lost {
    pub(super) fn take(&self) -> Vec<Left> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn put_back(&self, mut left: Vec<Left>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut left);
    }

    /// Watches over a claim while a call has it.
    pub(super) fn guard(self: &Arc<Self>, left: Left) -> Guard {
        Guard { lost: Arc::clone(self), left: Some(left), unmade: false }
    }

    /// The same for the call that makes the claim: until that has run there is nothing to give back.
    pub(super) fn guard_unmade(self: &Arc<Self>, left: Left) -> Guard {
        Guard { lost: Arc::clone(self), left: Some(left), unmade: true }
    }
}

/// Gives its claim back when it is dropped, unless someone has it.
pub(super) struct Guard {
    lost: Arc<Lost>,
    left: Option<Left>,
    /// Whether the claim is surely not in the store. Without this a store that is away would have a note kept of
    /// every request that it did not take.
    unmade: bool,
}

impl Guard {
    /// Someone has it, or nobody has to.
    pub(super) fn disarm(mut self) {
        self.left = None;
    }

    /// The call that makes the claim runs; says whether it is such a call.
    pub(super) fn made(&mut self) -> bool {
        std::mem::replace(&mut self.unmade, false)
    }

    /// What the call did was surely undone.
    pub(super) fn undone(&mut self) {
        self.unmade = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(left) = self.left.take().filter(|_| !self.unmade) {
            self.lost.put_back(vec![left]);
        }
    }
}
