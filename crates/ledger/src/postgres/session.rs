//! One connection, with the statements that were planned on it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::address::{Address, Drive};
use super::failure::{Failure, get};
use super::instance::Instance;
use crate::LedgerError;

/// What a statement is given.
pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Said once of each connection. `local` is enough for a power cut here and not for one that takes the disk along.
const SET_UP: &str = "
SELECT pg_backend_pid() AS pid,
       (SELECT (extract(epoch FROM backend_start) * 1000000)::int8
        FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS started,
       current_setting('server_version_num')::int4 AS version,
       current_setting('server_encoding') AS encoding,
       set_config('search_path', $1, false),
       set_config('statement_timeout', $2, false),
       set_config('lock_timeout', $3, false),
       set_config('idle_in_transaction_session_timeout', $4, false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('synchronous_commit', CASE
           WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on'
           ELSE current_setting('synchronous_commit') END, false)";

/// Says which server process served a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) pid: i32,
    /// When it started, in microseconds since 1970: numbers of processes are used again.
    pub(super) started: i64,
}

/// A connection.
pub(super) struct Session {
    client: Client,
    _drive: Drive,
    pub(super) backend: Backend,
    statements: RefCell<HashMap<&'static str, Statement>>,
}

impl Session {
    async fn statement(&self, sql: &'static str) -> Result<Statement, Failure> {
        let known = self.statements.borrow().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }

    /// The rows.
    pub(super) async fn query(&self, sql: &'static str, values: Values<'_>) -> Result<Vec<Row>, Failure> {
        let statement = self.statement(sql).await?;
        Ok(self.client.query(&statement, values).await?)
    }

    /// The row, if there is one.
    pub(super) async fn row(&self, sql: &'static str, values: Values<'_>) -> Result<Option<Row>, Failure> {
        Ok(self.query(sql, values).await?.into_iter().next())
    }

    /// How many rows were changed.
    pub(super) async fn execute(&self, sql: &'static str, values: Values<'_>) -> Result<u64, Failure> {
        let statement = self.statement(sql).await?;
        Ok(self.client.execute(&statement, values).await?)
    }

    /// Does all of `sql`, which takes no values.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.client.batch_execute(sql).await?)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) address: Arc<Address>,
    pub(super) schema: String,
    pub(super) limit: Duration,
    pub(super) instance: Arc<Instance>,
}

impl Connector {
    /// A connection to a server that can be used, whatever is in the database.
    pub(super) async fn connect(&self) -> Result<Session, Failure> {
        self.in_time(self.limit, self.set_up()).await
    }

    /// What `work` comes to, within a bound.
    pub(super) async fn in_time<T>(
        &self,
        bound: Duration,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout(bound, work).await.unwrap_or_else(|_| {
            let message = format!("the database did not answer within {} ms", bound.as_millis());
            Err(LedgerError::Unavailable(message).into())
        })
    }

    async fn set_up(&self) -> Result<Session, Failure> {
        let (client, drive) = self.address.connect().await?;
        let millis = |part: f64| format!("{}ms", self.limit.mul_f64(part).as_millis());
        let values: Values<'_> = &[&self.schema, &millis(1.0), &millis(0.5), &millis(2.0)];
        let row = client.query_one(SET_UP, values).await?;
        let (version, encoding): (i32, String) = (get(&row, "version")?, get(&row, "encoding")?);
        if version < 140_000 {
            let message = format!("PostgreSQL 14 or later is needed, this is {}", version / 10_000);
            return Err(LedgerError::Unavailable(message).into());
        }
        if encoding != "UTF8" {
            let message = format!("the database has to be encoded in UTF8, this is {encoding}");
            return Err(LedgerError::Unavailable(message).into());
        }
        let backend = Backend { pid: get(&row, "pid")?, started: get(&row, "started")? };
        Ok(Session { client, _drive: drive, backend, statements: RefCell::default() })
    }
}

impl Manager for Connector {
    type Type = Session;
    type Error = Failure;

    /// A connection to the very store that this process has been using.
    async fn create(&self) -> Result<Session, Failure> {
        let session = self.connect().await?;
        self.instance.recognise(&session.client).await?;
        Ok(session)
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<Failure> {
        if session.is_closed() { Err(RecycleError::message("closed")) } else { Ok(()) }
    }
}
