//! The tests' own looks into ledgers.

use tollway_ledger::{Journal, PostgresLedger, SqliteLedger};

/// A look into a ledger.
pub(crate) struct Look {
    ledger: Option<Box<dyn Journal>>,
    /// Whether its end waits for a database: nothing of the test may have to wait with it.
    waits: bool,
}

impl Look {
    pub(crate) fn into_file(ledger: SqliteLedger) -> Self {
        Self { ledger: Some(Box::new(ledger)), waits: false }
    }

    pub(crate) fn into_database(ledger: PostgresLedger) -> Self {
        Self { ledger: Some(Box::new(ledger)), waits: true }
    }
}

impl std::ops::Deref for Look {
    type Target = dyn Journal;

    fn deref(&self) -> &Self::Target {
        self.ledger.as_deref().unwrap()
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let ledger = self.ledger.take();
        if self.waits {
            tokio::task::block_in_place(|| drop(ledger));
        }
    }
}
