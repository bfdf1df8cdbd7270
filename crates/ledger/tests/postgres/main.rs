//! The ledger on a real Postgres: the behaviour suite, the model, and what only a server can do to it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, with helpers outside their functions")]

mod away;
mod crossed;
mod older;
mod proxy;
mod schema;
mod secret;
mod slow;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tollway_ledger::suite::model::{agrees, block_on, ops};
use tollway_ledger::suite::postgres_server::PostgresServer;
use tollway_ledger::suite::{Clock, LEASE_MILLIS, Site};
use tollway_ledger::{LedgerError, PostgresLedger, PostgresOptions};

/// A schema of its own in a database, so that each is empty.
struct Schema {
    url: String,
    name: String,
}

impl Schema {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Other processes' tests use the same database.
        let name = format!("s{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        Self { url: PostgresServer::shared().url("postgres"), name }
    }

    fn options(&self, clock: &Clock) -> PostgresOptions {
        let clock = clock.clone();
        PostgresOptions {
            lease: Duration::from_millis(LEASE_MILLIS),
            clock: Some(Arc::new(move || clock.millis())),
            schema: self.name.clone(),
            // Many tests share a machine.
            limit: Duration::from_secs(60),
            ..PostgresOptions::default()
        }
    }
}

impl Site for Schema {
    type Ledger = PostgresLedger;

    async fn open(&self, clock: &Clock) -> PostgresLedger {
        PostgresLedger::open(&self.url, self.options(clock)).await.unwrap()
    }
}

mod suite {
    use super::Schema;
    tollway_ledger::ledger_suite!(Schema::new());
    tollway_ledger::shared_ledger_suite!(Schema::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn postgres_agrees_with_the_model_across_restarts(ops in ops(true)) {
        block_on(agrees(&Schema::new(), ops));
    }
}

/// By the database's clock, with calls that end soon.
fn brief() -> PostgresOptions {
    PostgresOptions {
        limit: Duration::from_secs(2),
        lease: Duration::from_secs(60),
        ..PostgresOptions::default()
    }
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, LedgerError>) -> String {
    match result {
        Err(LedgerError::Unavailable(message)) => message,
        other => panic!("{other:?}"),
    }
}
