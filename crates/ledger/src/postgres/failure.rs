//! How a call fails.

use std::error::Error as _;

use tokio_postgres::Row;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::FromSqlOwned;

use crate::LedgerError;

/// A call's own refusal, or the store's.
#[derive(Debug)]
pub(super) enum Failure {
    Ledger(LedgerError),
    Postgres(tokio_postgres::Error),
    /// Another transaction came between: to be tried again.
    Crossed,
}

impl Failure {
    fn database(&self) -> Option<&DbError> {
        match self {
            Self::Ledger(_) | Self::Crossed => None,
            Self::Postgres(error) => error.as_db_error(),
        }
    }

    /// Whether this transaction gave way to another: it may be tried again.
    pub(super) fn is_crossed(&self) -> bool {
        let crossed = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
        matches!(self, Self::Crossed)
            || self.database().is_some_and(|error| crossed.contains(error.code()) || is_claimed(error))
    }

    /// Whether a lock was not had in time.
    pub(super) fn is_locked_out(&self) -> bool {
        self.database().is_some_and(|error| *error.code() == SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Whether the server refuses to write: it was the one that writes when the connection was made.
    pub(super) fn is_demoted(&self) -> bool {
        self.database().is_some_and(|error| *error.code() == SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Whether the connection is of no more use: what was sent on it last may or may not have been done.
    pub(super) fn is_disconnected(&self) -> bool {
        match self {
            Self::Ledger(_) | Self::Crossed => false,
            Self::Postgres(error) => error.as_db_error().is_none_or(|error| {
                !matches!(error.parsed_severity(), Some(Severity::Error | Severity::Warning))
            }),
        }
    }

    /// Whether what it says about the schema can't pass by waiting.
    fn is_damage(&self) -> bool {
        self.database().is_some_and(|error| {
            let code = error.code().code();
            // Integrity, syntax and access (but for rights), corruption.
            ["23", "42", "XX"].iter().any(|class| code.starts_with(class))
                && *error.code() != SqlState::INSUFFICIENT_PRIVILEGE
        })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ledger(error) => error.fmt(f),
            Self::Crossed => f.write_str("others changed the same records again and again"),
            Self::Postgres(error) => match (error.as_db_error(), error.source()) {
                (Some(error), _) => write!(f, "{} ({})", error.message(), error.code().code()),
                (None, Some(source)) => write!(f, "{error}: {source}"),
                (None, None) => error.fmt(f),
            },
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<Failure> for LedgerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Ledger(error) => error,
            failure if failure.is_damage() => Self::Damaged(failure.to_string()),
            failure => Self::Unavailable(failure.to_string()),
        }
    }
}

/// Whether another transaction made the same claim since this one looked.
fn is_claimed(error: &DbError) -> bool {
    *error.code() == SqlState::UNIQUE_VIOLATION && error.constraint() == Some("settlements_claimed")
}

/// A column's value.
pub(super) fn get<T: FromSqlOwned>(row: &Row, column: &str) -> Result<T, Failure> {
    row.try_get(column).map_err(|error| LedgerError::Damaged(Failure::from(error).to_string()).into())
}
