//! The embedded ledger: one `SQLite` file, which several processes on one machine may share.
//!
//! Calls go to a thread that owns the connection and commits whatever is queued as one transaction,
//! synced to the disk before any of them is answered. Each row of a claim is held by one process,
//! for as long as that renews its lease; a stale holder is told by its turn, so that one which was only
//! asleep gets a [`LedgerError::Conflict`] and can't act on what is another's by now.

mod claims;
mod journal;
mod lease;
mod schema;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, ffi};
use tollway_protocol::Settlement;
use tollway_protocol::bind::{Bound, PaymentKey};
use tollway_protocol::door::UnixTime;

use crate::{Claim, Claimed, Claims, Delivery, LedgerError, Paid, Recalled, RequestId, Turn};
use lease::{Guard, Lease, Left, Lost, Renewal};
use schema::Source;
use writer::{Lane, Store};

/// How a [`SqliteLedger`] keeps its lease.
#[derive(Clone)]
pub struct Options {
    /// How long what this process holds is its own after it has ended without a word: its claims, its settlements,
    /// the accounts that it sends from. Renewed five times in that time.
    pub lease: Duration,
    /// The wall clock, in milliseconds since 1970; the same for every process that shares the file.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        let clock = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        };
        Self { lease: Duration::from_secs(5), clock: Arc::new(clock) }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// A ledger in an `SQLite` database.
///
/// Dropping it finishes what is queued, ends the lease and waits for its threads.
///
/// Two kinds of store errors are told apart. After a full disk or a failed write the file is opened
/// again with the next call, so that service returns with the space. After a failed *sync* what the
/// disk holds is not known, and every call is refused until the process is started again.
pub struct SqliteLedger {
    // In the order in which they have to end.
    _renewal: Renewal,
    reader: Option<Lane>,
    writer: Lane,
    lease: Arc<Lease>,
    lost: Arc<Lost>,
    turns: AtomicI64,
}

impl std::fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteLedger").finish_non_exhaustive()
    }
}

impl SqliteLedger {
    /// Opens the file at `path`, making it if it isn't there. Blocks for the disk.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] for another program's file or a newer schema;
    /// [`LedgerError::Unavailable`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LedgerError> {
        Self::open_with(path, Options::default())
    }

    /// As [`SqliteLedger::open`], with `options`.
    ///
    /// # Errors
    /// As [`SqliteLedger::open`].
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self, LedgerError> {
        Self::start(Source::File(path.as_ref().to_owned()), options)
    }

    /// A ledger that is gone when it is dropped: nothing in it survives the process.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn memory() -> Result<Self, LedgerError> {
        Self::start(Source::Memory, Options::default())
    }

    fn start(source: Source, options: Options) -> Result<Self, LedgerError> {
        let (lease, lost) = (Arc::new(Lease::new(options)?), Arc::new(Lost::default()));
        let store = Store::open(source.clone(), Arc::clone(&lease), Arc::clone(&lost))?;
        let writer = Lane::writing(store)?;
        let reader = match source {
            Source::File(_) => Some(Lane::reading(source)?),
            Source::Memory => None,
        };
        let queue = writer.queue().ok_or_else(|| LedgerError::Unavailable("it is closed".into()))?;
        let renewal = Renewal::start(Arc::clone(&lease), queue)?;
        // Turns start anywhere, so that a claim of another ledger's is not taken for one of this one's.
        let turns = AtomicI64::new(i64::from(u32::from_be_bytes(lease::random()?)).saturating_mul(1 << 30));
        Ok(Self { _renewal: renewal, reader, writer, lease, lost, turns })
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Lease) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.write_guarded(None, work).await
    }

    /// A write on behalf of a claim that goes back unless its answer arrives.
    async fn write_held<T: Send + 'static>(
        &self,
        held: Left,
        work: impl FnOnce(&Connection, &Lease) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.write_guarded(Some(self.lost.guard(held)), work).await
    }

    async fn write_guarded<T: Send + 'static>(
        &self,
        guard: Option<Guard>,
        work: impl FnOnce(&Connection, &Lease) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let lease = Arc::clone(&self.lease);
        self.writer.call(guard, move |connection| work(connection, &lease)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.reader.as_ref().unwrap_or(&self.writer).call(None, work).await
    }
}

fn held(claimed: &Claimed) -> Left {
    claimed.turn().into()
}

#[async_trait]
impl Claims for SqliteLedger {
    async fn claim(
        &self,
        payment: Bound,
        request: RequestId,
        keep_until: UnixTime,
    ) -> Result<Claim, LedgerError> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let left = Left { key: payment.key().clone(), turn, delivering: false };
        self.write_guarded(Some(self.lost.guard_unmade(left)), move |db, lease| {
            claims::claim(db, lease, payment, request, turn, keep_until)
        })
        .await
    }

    async fn recall(&self, key: &PaymentKey) -> Result<Option<Recalled>, LedgerError> {
        let key = key.clone();
        self.read(move |db| claims::recall(db, &key)).await
    }

    async fn settling(&self, claimed: &Claimed) -> Result<(), LedgerError> {
        let claimed =
            Claimed { bound: claimed.bound.clone(), transaction: claimed.transaction.clone(), ..*claimed };
        self.write(move |db, lease| claims::settling(db, lease, &claimed)).await
    }

    async fn pending(&self, claimed: Claimed, transaction: Option<&str>) -> Result<(), LedgerError> {
        let transaction = transaction.map(str::to_owned);
        self.write_held(held(&claimed), move |db, lease| {
            claims::pending(db, lease, &claimed, transaction.as_deref())
        })
        .await
    }

    async fn settled(&self, claimed: Claimed, settlement: Settlement) -> Result<Paid, LedgerError> {
        if let Err(found) = claimed.check(&settlement) {
            let key = claimed.bound.key().to_string();
            // Such an answer says nothing about the money: the payment may be settled all the same.
            self.pending(claimed, None).await?;
            let expected = "a settlement of this payment";
            return Err(LedgerError::Conflict {
                key,
                found: format!("given one of which {found}"),
                expected,
            });
        }
        self.write_held(held(&claimed), move |db, lease| claims::settled(db, lease, claimed, settlement))
            .await
    }

    async fn deliver(&self, paid: Paid) -> Result<Delivery, LedgerError> {
        let held = Left { delivering: true, ..held(&paid.claimed) };
        self.write_held(held, move |db, lease| claims::deliver(db, lease, paid)).await
    }

    async fn undelivered(&self, paid: Paid) -> Result<(), LedgerError> {
        self.write_held(held(&paid.claimed), move |db, lease| claims::undelivered(db, lease, &paid)).await
    }

    async fn release(&self, claimed: Claimed) -> Result<(), LedgerError> {
        self.write_held(held(&claimed), move |db, lease| claims::release(db, lease, &claimed)).await
    }

    async fn abandon(&self, turn: &Turn) -> Result<(), LedgerError> {
        let left = Left::from(turn.clone());
        self.write_held(left.clone(), move |db, lease| claims::give_back(db, lease, &left)).await
    }

    async fn forget(&self, now: UnixTime) -> Result<u64, LedgerError> {
        self.write(move |db, lease| claims::forget(db, lease, now)).await
    }
}

/// A call's own refusal, or the store's.
#[derive(Debug)]
enum Failure {
    Ledger(LedgerError),
    Sqlite(rusqlite::Error),
}

impl Failure {
    fn is_busy(&self) -> bool {
        matches!(self, Self::Sqlite(error) if is_busy(error))
    }

    /// Whether the store said no before it wrote anything that counts.
    fn is_refused(&self) -> bool {
        let full = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        matches!(self, Self::Sqlite(error) if full(error) || is_busy(error))
    }

    /// Whether a sync failed, so that what the disk holds is not known.
    fn is_unsynced(&self) -> bool {
        let Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) = self else { return false };
        matches!(error.extended_code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Failure> for LedgerError {
    fn from(failure: Failure) -> Self {
        use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
        match failure {
            Failure::Ledger(error) => error,
            Failure::Sqlite(error) => match (error.sqlite_error_code(), &error) {
                (Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt), _)
                | (_, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..)) => {
                    Self::Damaged(error.to_string())
                }
                _ => Self::Unavailable(error.to_string()),
            },
        }
    }
}

/// A time as `SQLite` keeps it; the end of time comes somewhat sooner there.
fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
