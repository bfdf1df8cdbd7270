//! The threads that own the connections. The writing one groups commits: whatever is queued goes
//! into one transaction, a savepoint for each call, and is answered after one sync to the disk.

use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::lease::{Guard, Lease, Left, Lost};
use super::schema::Source;
use super::{Failure, is_busy};
use crate::{LedgerError, fault};

/// How many calls may share one commit.
const GROUP: usize = 128;
/// How many calls may wait before callers have to.
const QUEUE: usize = 1024;

/// Why a group of calls failed.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) error: LedgerError,
    /// Whether it is sure that nothing of it is in the store.
    undone: bool,
}

impl Broken {
    fn undone(error: LedgerError) -> Self {
        Self { error, undone: true }
    }
}

/// A call: does its work in a transaction, and answers when that is on the disk.
pub(super) trait Work: Send {
    /// Does the work, within the savepoint.
    fn run(&mut self, connection: &Connection) -> Result<(), Failure>;
    /// Answers: with what `run` found, unless the group failed as a whole.
    fn answer(self: Box<Self>, group: Result<(), Broken>);
    /// Whether it is a caller's, not housekeeping.
    fn counts(&self) -> bool {
        true
    }
}

type Answer<T> = Result<(T, Option<Guard>), LedgerError>;

struct Call<T, F> {
    work: Option<F>,
    result: Option<Result<T, LedgerError>>,
    guard: Option<Guard>,
    /// Whether the guard's claim is made here.
    making: bool,
    answer: oneshot::Sender<Answer<T>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T, Failure> + Send> Work for Call<T, F> {
    fn run(&mut self, connection: &Connection) -> Result<(), Failure> {
        let Some(work) = self.work.take() else { return Ok(()) };
        self.making = self.guard.as_mut().is_some_and(Guard::made);
        match work(connection) {
            Ok(value) => {
                self.result = Some(Ok(value));
                Ok(())
            }
            Err(Failure::Ledger(error)) => {
                self.result = Some(Err(error.clone()));
                Err(error.into())
            }
            Err(error) => Err(error),
        }
    }

    fn answer(self: Box<Self>, group: Result<(), Broken>) {
        let Self { work, result, mut guard, making, answer } = *self;
        drop(work);
        let (result, undone) = match (group, result) {
            (Ok(()), Some(Ok(value))) => return drop(answer.send(Ok((value, guard)))),
            (Ok(()), Some(Err(error))) => (error, true),
            (Ok(()), None) => (LedgerError::Unavailable("the call was not reached".into()), true),
            (Err(broken), _) => (broken.error, broken.undone),
        };
        if let Some(guard) = guard.as_mut().filter(|_| making && undone) {
            guard.undone();
        }
        // What the call held is given back before the caller hears of it.
        drop(guard);
        drop(answer.send(Err(result)));
    }
}

/// A thread with a connection, and the queue to it.
#[derive(Debug)]
pub(super) struct Lane {
    queue: Option<mpsc::Sender<Box<dyn Work>>>,
    thread: Option<JoinHandle<()>>,
}

impl Lane {
    /// The lane that writes.
    pub(super) fn writing(store: Store) -> Result<Self, LedgerError> {
        Self::start("ledger-write", move |queue| store.serve(queue))
    }

    /// A lane that reads.
    pub(super) fn reading(source: Source) -> Result<Self, LedgerError> {
        Self::start("ledger-read", move |queue| read(&source, queue))
    }

    fn start(
        name: &str,
        serve: impl FnOnce(mpsc::Receiver<Box<dyn Work>>) + Send + 'static,
    ) -> Result<Self, LedgerError> {
        let (queue, calls) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || serve(calls));
        let thread = thread.map_err(|error| LedgerError::Unavailable(format!("no thread: {error}")))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// The queue, for housekeeping.
    pub(super) fn queue(&self) -> Option<mpsc::Sender<Box<dyn Work>>> {
        self.queue.clone()
    }

    /// Runs `work` there; `guard` has its claim given back unless the answer arrives.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        guard: Option<Guard>,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let closed = || LedgerError::Unavailable("it is closed".into());
        let (answer, answered) = oneshot::channel();
        let call = Box::new(Call { work: Some(work), result: None, guard, making: false, answer });
        self.queue.as_ref().ok_or_else(closed)?.send(call).await.map_err(|_| closed())?;
        let (value, guard) = answered.await.map_err(|_| closed())??;
        if let Some(guard) = guard {
            guard.disarm();
        }
        Ok(value)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The connection that writes, and whether it can be trusted.
pub(super) struct Store {
    source: Source,
    connection: Option<Connection>,
    /// Set for good when a sync failed: what the disk holds then is not known.
    stopped: Option<LedgerError>,
    lease: Arc<Lease>,
    lost: Arc<Lost>,
}

impl Store {
    pub(super) fn open(source: Source, lease: Arc<Lease>, lost: Arc<Lost>) -> Result<Self, LedgerError> {
        let connection = source.writer()?;
        lease.renew(&connection).map_err(LedgerError::from)?;
        Ok(Self { source, connection: Some(connection), stopped: None, lease, lost })
    }

    fn serve(mut self, mut calls: mpsc::Receiver<Box<dyn Work>>) {
        let mut group = Vec::with_capacity(GROUP);
        while calls.blocking_recv_many(&mut group, GROUP) > 0 {
            let outcome = self.commit(&mut group);
            for call in group.drain(..) {
                call.answer(outcome.clone());
            }
        }
        // So that nobody has to wait for the lease to run out.
        if let Some(connection) = &self.connection
            && let Err(error) = self.lease.end(connection)
        {
            tracing::debug!(error = %LedgerError::from(error), "the ledger's lease was left to run out");
        }
    }

    fn commit(&mut self, group: &mut [Box<dyn Work>]) -> Result<(), Broken> {
        if let Some(error) = &self.stopped {
            return Err(Broken::undone(error.clone()));
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.reopen().map_err(Broken::undone)?,
        };
        let lost = self.lost.take();
        match transact(&connection, group, &lost, &self.lease) {
            Ok(()) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err((failure, committing)) => {
                self.lost.put_back(lost);
                let undone = !committing || failure.is_refused();
                Err(Broken { error: self.nurse(connection, failure), undone })
            }
        }
    }

    /// Decides what a failed group says about the connection.
    fn nurse(&mut self, connection: Connection, failure: Failure) -> LedgerError {
        let in_memory = matches!(self.source, Source::Memory);
        if failure.is_busy() || in_memory {
            if !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err() && in_memory {
                self.stopped = Some(LedgerError::Unavailable("the memory database is broken".into()));
            }
            self.connection = Some(connection);
            return failure.into();
        }
        let unsynced = failure.is_unsynced();
        drop(connection);
        let error = LedgerError::from(failure);
        if unsynced {
            let stopped = LedgerError::Unavailable(format!(
                "stopped, since the disk failed to keep what was written ({error}): check it and restart"
            ));
            tracing::error!(error = %stopped, "the ledger has stopped");
            self.stopped = Some(stopped.clone());
            return stopped;
        }
        tracing::warn!(%error, "the ledger failed; it will be reopened");
        error
    }

    fn reopen(&self) -> Result<Connection, LedgerError> {
        let connection = self.source.again()?;
        if !self.lease.is_known(&connection)? {
            return Err(LedgerError::Damaged("the file was replaced while it was in use: restart".into()));
        }
        // The log's end may hold what was never synced: start another.
        let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        let busy = busy.map_err(|error| LedgerError::from(Failure::from(error)))?;
        tracing::info!(shared = busy != 0, "the ledger was reopened");
        Ok(connection)
    }
}

/// On failure says whether it was the commit that failed.
fn transact(
    connection: &Connection,
    group: &mut [Box<dyn Work>],
    lost: &[Left],
    lease: &Lease,
) -> Result<(), (Failure, bool)> {
    work(connection, group, lost, lease).map_err(|failure| (failure, false))?;
    let counts = group.iter().any(|call| call.counts());
    if counts {
        fault::point("before_commit");
    }
    execute(connection, "COMMIT").map_err(|failure| (failure, true))?;
    if counts {
        fault::point("after_commit");
    }
    Ok(())
}

fn work(
    connection: &Connection,
    group: &mut [Box<dyn Work>],
    lost: &[Left],
    lease: &Lease,
) -> Result<(), Failure> {
    execute(connection, "BEGIN IMMEDIATE")?;
    for left in lost {
        super::claims::give_back(connection, lease, left)?;
    }
    for call in &mut *group {
        execute(connection, "SAVEPOINT call")?;
        match call.run(connection) {
            Ok(()) => {}
            Err(Failure::Ledger(_)) => execute(connection, "ROLLBACK TO call")?,
            Err(error) => return Err(error),
        }
        execute(connection, "RELEASE call")?;
    }
    Ok(())
}

fn execute(connection: &Connection, sql: &str) -> Result<(), Failure> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

fn read(source: &Source, mut calls: mpsc::Receiver<Box<dyn Work>>) {
    let mut connection = None;
    while let Some(mut call) = calls.blocking_recv() {
        let opened = match connection.take() {
            Some(connection) => Ok(connection),
            None => source.reader(),
        };
        let outcome = match opened {
            Err(error) => Err(Broken::undone(error.into())),
            Ok(reader) => match call.run(&reader) {
                Ok(()) | Err(Failure::Ledger(_)) => {
                    connection = Some(reader);
                    Ok(())
                }
                Err(Failure::Sqlite(error)) => {
                    if is_busy(&error) {
                        connection = Some(reader);
                    }
                    Err(Broken::undone(Failure::from(error).into()))
                }
            },
        };
        call.answer(outcome);
    }
}
