//! A payment that one call works on.

use std::fs::File;

use tollway_protocol::Settlement;
use tollway_protocol::door::UnixTime;

use super::entry::{Entry, Live, Outcome, Record};
use super::{Journal, JournalError, files};

/// A payment that this call alone works on, until it is dropped.
pub(crate) struct Held {
    pub(super) journal: Journal,
    pub(crate) entry: Entry,
    /// Locked.
    pub(super) file: File,
}

/// What a request for a new payment got.
pub(crate) enum Reserved {
    Fresh(Held),
    Orphan(Held),
}

impl Held {
    /// What it is, for whoever finds it left behind.
    pub(crate) fn summary(&self) -> Live {
        self.entry.summary(false)
    }

    /// Writes a change to the payment durably.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Entry)) -> Result<(), JournalError> {
        let mut entry = self.entry.clone();
        change(&mut entry);
        // The old file's lock is let go only after the new one is in place and locked.
        self.file = self.journal.locked(|journal, _| journal.write(&entry))?;
        self.entry = entry;
        Ok(())
    }

    /// Moves the payment to the history.
    pub(crate) fn finish(
        &self,
        outcome: Outcome,
        settlement: Option<Settlement>,
        now: UnixTime,
    ) -> Result<(), JournalError> {
        self.journal.locked(|journal, history| {
            let record = Record::of(&self.entry, outcome, now, settlement);
            history.append(&journal.history_path(), &record)?;
            files::remove(&journal.live_path().join(self.entry.file_name()))
        })
    }

    /// Gives the budget back: nothing that was signed has left.
    pub(crate) fn cancel(self) -> Result<(), JournalError> {
        self.journal.locked(|journal, _| files::remove(&journal.live_path().join(self.entry.file_name())))
    }
}
