//! Where the ledger is.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use url::Url;

/// The ledger: a file of SQLite's, or a Postgres database that several replicas share. Printed without credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Ledger(Where);

#[derive(Clone, PartialEq, Eq)]
enum Where {
    Sqlite(PathBuf),
    Postgres(Url),
}

const EXPECTED: &str = "expected a file's path, sqlite:PATH, or postgres://USER@HOST/DATABASE";

impl Ledger {
    /// Reads a path, `sqlite:PATH` or `postgres://…`.
    ///
    /// # Errors
    /// What was expected; the text may hold a password and is not repeated.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let url = Url::parse(text).map_err(|_| EXPECTED)?;
            let good = url.host_str().is_some_and(|host| !host.is_empty());
            return if good { Ok(Self(Where::Postgres(url))) } else { Err(EXPECTED) };
        }
        if text.contains("://") {
            return Err(EXPECTED);
        }
        Ok(Self::file(text.strip_prefix("sqlite:").unwrap_or(text)))
    }

    /// A file of SQLite's.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Where::Sqlite(path.into()))
    }

    /// The file, where it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Where::Sqlite(path) => Some(path),
            Where::Postgres(_) => None,
        }
    }

    /// The database's URL with its credentials, where it is one.
    #[must_use]
    pub fn postgres(&self) -> Option<&str> {
        match &self.0 {
            Where::Sqlite(_) => None,
            Where::Postgres(url) => Some(url.as_str()),
        }
    }

    pub(super) fn is_nowhere(&self) -> bool {
        self.path().is_some_and(|path| path.as_os_str().is_empty())
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Where::Sqlite(path) => write!(f, "{}", path.display()),
            Where::Postgres(url) => write!(f, "postgres://{}", url.host_str().unwrap_or_default()),
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({self})")
    }
}

impl<'de> Deserialize<'de> for Ledger {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}
