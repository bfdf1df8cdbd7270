//! Random histories against a plain model, with the process ended and started among them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, with helpers outside their functions")]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tollway_ledger::suite::model::{agrees, block_on, ops, replicas_agree, steps};
use tollway_ledger::suite::{Clock, LEASE_MILLIS, Site};
use tollway_ledger::{Options, SqliteLedger};

struct File(tempfile::TempDir);

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_file_agrees_with_the_model_across_restarts(ops in ops(true)) {
        block_on(agrees(&File(tempfile::tempdir().unwrap()), ops));
    }

    #[test]
    fn fa06_s08_s10_two_processes_on_a_file_agree_with_the_model(steps in steps()) {
        block_on(replicas_agree(&File(tempfile::tempdir().unwrap()), steps));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn memory_agrees_with_the_model(ops in ops(false)) {
        block_on(agrees(&Memory, ops));
    }
}
