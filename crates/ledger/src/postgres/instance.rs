//! Who this process is in the store, and whether the store is still the one that it knows.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio_postgres::Client;

use super::PostgresOptions;
use super::failure::{Failure, get};
use super::schema;
use super::session::Session;
use crate::LedgerError;

/// A process that ended is remembered for so long, for operators.
const REMEMBER_MILLIS: i64 = 86_400_000;

/// The SQL of now, in milliseconds since 1970: the database's clock, or what is given in its place.
macro_rules! now {
    ($given:literal) => {
        concat!("coalesce(", $given, "::int8, (extract(epoch FROM clock_timestamp()) * 1000)::int8)")
    };
}
pub(super) use now;

/// The SQL of whether a process other than `$me` holds something and lives; `$given` is as for [`now`].
macro_rules! other_lives {
    ($holder:literal, $me:literal, $given:literal) => {
        concat!(
            "(",
            $holder,
            " <> ",
            $me,
            " AND EXISTS (SELECT 1 FROM instances i WHERE i.id = ",
            $holder,
            " AND i.alive_until > ",
            $crate::postgres::instance::now!($given),
            "))"
        )
    };
}
pub(super) use other_lives;

/// This process in the store: while its lease lives, nobody takes its rows.
pub(super) struct Instance {
    /// A random name.
    pub(super) id: [u8; 16],
    options: PostgresOptions,
    /// The number of the latest renewal that the store acknowledged; 0 before there is one.
    beat: AtomicI64,
    /// How long that one lasts.
    until: AtomicI64,
    /// Why the store can't be used any more.
    stopped: Mutex<Option<LedgerError>>,
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], LedgerError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| LedgerError::Unavailable(format!("no randomness: {error}")))?;
    Ok(bytes)
}

impl Instance {
    pub(super) fn new(options: PostgresOptions) -> Result<Self, LedgerError> {
        let (beat, until) = (AtomicI64::new(0), AtomicI64::new(0));
        Ok(Self { id: random()?, options, beat, until, stopped: Mutex::default() })
    }

    /// What the SQL of now is given.
    pub(super) fn clock(&self) -> Option<i64> {
        let clock = self.options.clock.as_ref()?;
        Some(i64::try_from(clock()).unwrap_or(i64::MAX))
    }

    /// This process's name as a value.
    pub(super) fn id(&self) -> &[u8] {
        &self.id
    }

    /// The length of its lease.
    fn millis(&self) -> i64 {
        i64::try_from(self.options.lease.as_millis()).unwrap_or(i64::MAX)
    }

    /// Enters the store.
    pub(super) async fn enter(&self, session: &Session) -> Result<(), Failure> {
        let sql = concat!(
            "INSERT INTO instances (id, alive_until, beat) VALUES ($1, ",
            now!("$2"),
            " + $3, $4) ON CONFLICT (id) DO UPDATE SET beat = instances.beat + 1,
             alive_until = excluded.alive_until RETURNING beat, alive_until"
        );
        let next = self.beat.load(Ordering::SeqCst).saturating_add(1);
        let row = session.row(sql, &[&self.id(), &self.clock(), &self.millis(), &next]).await?;
        let row = row.ok_or_else(|| LedgerError::Damaged("no row was made".into()))?;
        self.acknowledge(get(&row, "beat")?, get(&row, "alive_until")?);
        Ok(())
    }

    /// Lives for another while.
    pub(super) async fn renew(&self, session: &Session) -> Result<(), Failure> {
        let sql = concat!(
            "WITH renewed AS (
                 UPDATE instances SET alive_until = ",
            now!("$2"),
            " + $3, beat = beat + 1 WHERE id = $1 RETURNING beat, alive_until
             ), ended AS (
                 DELETE FROM instances WHERE id <> $1 AND alive_until < ",
            now!("$2"),
            " - $4
             )
             SELECT (SELECT beat FROM renewed) AS beat, (SELECT alive_until FROM renewed) AS alive_until,
                    (SELECT compatible_from FROM schema) AS compatible_from, ",
            now!("$2"),
            " AS now"
        );
        let (known, until) = (self.beat.load(Ordering::SeqCst), self.until.load(Ordering::SeqCst));
        let row = session.row(sql, &[&self.id(), &self.clock(), &self.millis(), &REMEMBER_MILLIS]).await?;
        let row = row.ok_or_else(|| LedgerError::Damaged("the schema is gone".into()))?;
        self.fits(get(&row, "compatible_from")?)?;
        let (beat, now): (Option<i64>, i64) = (get(&row, "beat")?, get(&row, "now")?);
        match beat {
            Some(beat) if beat > known => {
                self.acknowledge(beat, get(&row, "alive_until")?);
                Ok(())
            }
            // It was away for so long that the others forgot it.
            None if now > until.saturating_add(REMEMBER_MILLIS) => self.enter(session).await,
            _ => Err(self.stop(lost()).into()),
        }
    }

    /// Leaves the store, and all that it holds to the others.
    pub(super) async fn leave(&self, session: &Session) -> Result<(), Failure> {
        session.execute("DELETE FROM instances WHERE id = $1", &[&self.id()]).await?;
        Ok(())
    }

    /// Checks that a new connection leads to the store that this process has been using: not to a copy of how it
    /// was, nor to an empty one.
    pub(super) async fn recognise(&self, client: &Client) -> Result<(), Failure> {
        let sql = "SELECT (SELECT beat FROM instances WHERE id = $1) AS beat,
                   (SELECT compatible_from FROM schema) AS compatible_from";
        let known = self.beat.load(Ordering::SeqCst);
        let row = client.query_one(sql, &[&self.id()]).await?;
        self.fits(get(&row, "compatible_from")?)?;
        // Without a row it may have been forgotten: the next renewal can tell.
        match get::<Option<i64>>(&row, "beat")? {
            Some(beat) if beat < known => Err(self.stop(lost()).into()),
            Some(_) => Ok(()),
            None => Err(LedgerError::Unavailable("the store doesn't know this process (yet)".into()).into()),
        }
    }

    fn fits(&self, compatible_from: Option<i32>) -> Result<(), LedgerError> {
        let Some(compatible_from) = compatible_from else {
            return Err(self.stop(LedgerError::Damaged("its schema has no version".into())));
        };
        schema::fits(compatible_from).map_err(|error| self.stop(error))
    }

    fn acknowledge(&self, beat: i64, until: i64) {
        self.beat.fetch_max(beat, Ordering::SeqCst);
        self.until.fetch_max(until, Ordering::SeqCst);
    }

    /// Refuses every call from now on.
    fn stop(&self, error: LedgerError) -> LedgerError {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if stopped.is_none() {
            tracing::error!(%error, "the ledger has stopped");
        }
        stopped.get_or_insert(error).clone()
    }

    /// Why every call is refused, if it is.
    pub(super) fn stopped(&self) -> Option<LedgerError> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn lost() -> LedgerError {
    LedgerError::Damaged(
        "the database has lost what it acknowledged: it was restored, or an older replica took its place. \
         Compare it with the chain, then restart"
            .into(),
    )
}
