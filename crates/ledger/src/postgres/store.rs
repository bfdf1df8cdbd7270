//! How calls reach the database: each within a bound of time, each all or nothing.
//!
//! What a call that failed left in the store is told as far as it can be. The server's own refusal says that nothing
//! is there; a connection that was lost, or an answer that did not come in time, after the commit was sent says nothing.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Object, Pool, PoolError};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::failure::Failure;
use super::instance::{Instance, random};
use super::lost::{Lost, Mess};
use super::session::{Connector, Session};
use crate::{LedgerError, fault};

/// How often a transaction that was chosen to give way is tried.
const TRIES: u32 = 10;

/// Why a call failed.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) error: LedgerError,
    /// Whether it is sure that nothing of it is in the store, now and later.
    pub(super) undone: bool,
}

/// What a transaction's work wants.
pub(super) enum Done<T> {
    /// What it did to stay.
    Keep(T),
    /// What it did to be taken back: it was no more than a look.
    Undo(T),
}

/// How a call's statements belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing is written.
    Read,
    /// Each statement that writes is a transaction of its own.
    Single,
    /// All of them are one transaction.
    Whole,
}

/// The connections, and how they are used.
pub(super) struct Store {
    pool: Pool<Connector>,
    pub(super) connector: Connector,
    pub(super) instance: Arc<Instance>,
    pub(super) lost: Arc<Lost>,
    clearing: Mutex<()>,
    limit: Duration,
}

impl Store {
    pub(super) fn new(
        connector: Connector,
        connections: usize,
        lost: Arc<Lost>,
    ) -> Result<Self, LedgerError> {
        let pool = Pool::builder(connector.clone()).max_size(connections.max(1)).build();
        let pool = pool.map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        let (instance, limit) = (Arc::clone(&connector.instance), connector.limit);
        Ok(Self { pool, connector, instance, lost, clearing: Mutex::default(), limit })
    }

    /// When a call that begins now has to have ended.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// Does `work`, again when it was crossed by another transaction.
    pub(super) async fn run<T>(
        &self,
        kind: Kind,
        deadline: Instant,
        work: &impl AsyncFn(&Session, &Instance) -> Result<Done<T>, Failure>,
    ) -> Result<T, Broken> {
        let (mut tries, mut lost) = (0, false);
        loop {
            let session = self.session(deadline).await.map_err(|error| Broken { error, undone: true })?;
            let committing = Cell::new(kind == Kind::Single);
            let attempt = attempt(&session, &self.instance, kind, &committing, work);
            let failure = match timeout_at(deadline, attempt).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    self.give_up(session);
                    let error = self.late("the database did not answer", committing.get());
                    return Err(Broken { error, undone: !committing.get() });
                }
            };
            if failure.is_disconnected() {
                self.give_up(session);
                let unknown = committing.get();
                // A connection that had died in the pool is no reason to fail, when nothing was done on it.
                if !unknown && !lost {
                    lost = true;
                    continue;
                }
                return Err(Broken { error: lost_midway(failure, unknown), undone: !unknown });
            }
            if failure.is_demoted() {
                // The next connection is made to the one that writes now.
                drop(Object::take(session));
            }
            tries += 1;
            if !failure.is_crossed() || tries >= TRIES || Instant::now() >= deadline {
                return Err(Broken { error: failure.into(), undone: true });
            }
            back_off(tries).await;
        }
    }

    async fn session(&self, deadline: Instant) -> Result<Object<Connector>, LedgerError> {
        if let Some(error) = self.instance.stopped() {
            return Err(error);
        }
        match timeout_at(deadline, self.pool.get()).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(PoolError::Backend(failure))) => Err(failure.into()),
            Ok(Err(error)) => Err(LedgerError::Unavailable(error.to_string())),
            Err(_) => Err(self.late("there was no connection to the database", false)),
        }
    }

    fn late(&self, what: &str, unknown: bool) -> LedgerError {
        let tail = if unknown { ": whether the call took effect is not known" } else { "" };
        LedgerError::Unavailable(format!("{what} within {} ms{tail}", self.limit.as_millis()))
    }

    /// Throws a connection away on which something may still be under way.
    fn give_up(&self, session: Object<Connector>) {
        self.lost.bury(session.backend);
        drop(Object::take(session));
    }

    /// Ends what may still be at work, then gives back what was left; or waits for whoever does.
    pub(super) async fn clear_up(&self, deadline: Instant) -> Result<(), LedgerError> {
        let Ok(_alone) = timeout_at(deadline, self.clearing.lock()).await else {
            return Err(self.late("what calls left behind was not cleared up", false));
        };
        let Some(mess) = self.lost.take() else { return Ok(()) };
        // Should this be cut off, the rest goes back.
        let mut rest = Rest { lost: &self.lost, mess };
        while let Some(backend) = rest.mess.backends.last().copied() {
            let work = async |session: &Session, _: &Instance| {
                // It waits until that process is gone, so that nothing which is on its way to it is done.
                let sql = "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE pid = $1
                           AND (extract(epoch FROM backend_start) * 1000000)::int8 = $2";
                session.query(sql, &[&backend.pid, &backend.started]).await.map(Done::Keep)
            };
            self.run(Kind::Read, deadline, &work).await.map_err(|broken| broken.error)?;
            rest.mess.backends.pop();
        }
        while let Some(left) = rest.mess.left.last().cloned() {
            let work = async |session: &Session, instance: &Instance| {
                super::claims::give_back(session, instance, &left).await
            };
            self.run(Kind::Single, deadline, &work).await.map_err(|broken| broken.error)?;
            rest.mess.left.pop();
        }
        Ok(())
    }
}

struct Rest<'a> {
    lost: &'a Lost,
    mess: Mess,
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.lost.put_back(std::mem::take(&mut self.mess));
    }
}

async fn attempt<T>(
    session: &Session,
    instance: &Instance,
    kind: Kind,
    committing: &Cell<bool>,
    work: &impl AsyncFn(&Session, &Instance) -> Result<Done<T>, Failure>,
) -> Result<T, Failure> {
    match kind {
        Kind::Read => match work(session, instance).await? {
            Done::Keep(value) | Done::Undo(value) => Ok(value),
        },
        Kind::Single => {
            fault::point("before_commit");
            let (Done::Keep(value) | Done::Undo(value)) = work(session, instance).await?;
            fault::point("after_commit");
            Ok(value)
        }
        Kind::Whole => {
            session.batch("BEGIN").await?;
            match work(session, instance).await {
                Ok(Done::Keep(value)) => {
                    fault::point("before_commit");
                    committing.set(true);
                    session.batch("COMMIT").await?;
                    fault::point("after_commit");
                    Ok(value)
                }
                Ok(Done::Undo(value)) => session.batch("ROLLBACK").await.map(|()| value),
                Err(failure) if failure.is_disconnected() => Err(failure),
                Err(failure) => {
                    session.batch("ROLLBACK").await?;
                    Err(failure)
                }
            }
        }
    }
}

fn lost_midway(failure: Failure, unknown: bool) -> LedgerError {
    match LedgerError::from(failure) {
        LedgerError::Unavailable(why) if unknown => LedgerError::Unavailable(format!(
            "the connection to the database was lost while it committed, so that whether the call took effect is not \
             known: {why}"
        )),
        error => error,
    }
}

/// Waits a little, not as long as another does.
async fn back_off(tries: u32) {
    let spread = random::<1>().map_or(0, |[byte]| u32::from(byte));
    sleep(Duration::from_micros(u64::from((spread * 20 + 1_000) * tries))).await;
}
