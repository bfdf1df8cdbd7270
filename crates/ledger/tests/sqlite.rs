//! The behaviour suite on a file and in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, with helpers outside their functions")]

use std::sync::Arc;
use std::time::Duration;

use tollway_ledger::suite::{Clock, LEASE_MILLIS, Site};
use tollway_ledger::{Options, SqliteLedger};

struct File(tempfile::TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Site for File {
    type Ledger = SqliteLedger;

    async fn open(&self, clock: &Clock) -> SqliteLedger {
        let clock = clock.clone();
        let clock = Arc::new(move || clock.millis());
        let options = Options { lease: Duration::from_millis(LEASE_MILLIS), clock };
        SqliteLedger::open_with(self.0.path().join("ledger.db"), options).unwrap()
    }
}

struct Memory;

impl Site for Memory {
    type Ledger = SqliteLedger;

    async fn open(&self, _clock: &Clock) -> SqliteLedger {
        SqliteLedger::memory().unwrap()
    }
}

mod file {
    use super::File;
    tollway_ledger::ledger_suite!(File::new());
    tollway_ledger::shared_ledger_suite!(File::new());
}

mod memory {
    use super::Memory;
    tollway_ledger::ledger_suite!(Memory);
}
