//! The append-only history, read once and then only at its end.

use std::collections::HashMap;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::checked;
use super::entry::{Outcome, Record};
use super::files::{self, JournalError, corrupt, io};
use crate::budget::{Spend, SpendKind};

/// What budgets need of the history.
#[derive(Default)]
pub(crate) struct History {
    read_to: u64,
    places: HashMap<String, usize>,
    spends: Vec<Spend>,
}

impl History {
    /// Reads what was appended since; call it with the journal's lock held.
    pub(crate) fn refresh(&mut self, path: &Path) -> Result<(), JournalError> {
        let mut file = files::log(path)?;
        let length = file.metadata().map_err(io(path))?.len();
        if length < self.read_to {
            return Err(corrupt(path, "it is shorter than it was"));
        }
        if length == self.read_to {
            return Ok(());
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.read_to)).map_err(io(path))?;
        file.read_to_end(&mut bytes).map_err(io(path))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
        let end = self.read_to.saturating_add(u64::try_from(whole).unwrap_or(u64::MAX));
        if whole < bytes.len() {
            // A crash cut the last append short; its payment is still among the live ones.
            file.set_len(end).and_then(|()| file.sync_all()).map_err(io(path))?;
            bytes.truncate(whole);
        }
        for record in parse(path, &bytes)? {
            self.add(&record);
        }
        self.read_to = end;
        Ok(())
    }

    /// Appends a record durably; without what a server said, if that could not be read again.
    pub(crate) fn append(&mut self, path: &Path, record: &Record) -> Result<(), JournalError> {
        let mut line = checked::line(path, record).or_else(|error| {
            tracing::warn!(id = record.id, %error, "a line of the history is written without what the server said");
            checked::line(path, &record.reduced())
        })?;
        line.push(b'\n');
        let mut file = files::log(path)?;
        file.write_all(&line).and_then(|()| file.sync_all()).map_err(io(path))?;
        self.refresh(path)
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.places.contains_key(id)
    }

    pub(crate) fn spends(&self) -> &[Spend] {
        &self.spends
    }

    fn add(&mut self, record: &Record) {
        let (kind, value) = match record.outcome {
            Outcome::Settled | Outcome::Served | Outcome::Spent => (SpendKind::Spent, record.value),
            Outcome::Unproven => (SpendKind::Unproven, record.value),
            Outcome::Unused => (SpendKind::Spent, crate::Value::ZERO),
        };
        let spend = Spend { at: record.created, host: record.host.clone(), value, kind };
        match self.places.get(&record.id).and_then(|at| self.spends.get_mut(*at)) {
            Some(place) => *place = spend,
            None => {
                self.places.insert(record.id.clone(), self.spends.len());
                self.spends.push(spend);
            }
        }
    }
}

/// Every record; the tail has been checked by [`History::refresh`] under the same lock.
pub(crate) fn read_all(path: &Path) -> Result<Vec<Record>, JournalError> {
    let mut bytes = Vec::new();
    files::log(path)?.read_to_end(&mut bytes).map_err(io(path))?;
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Record>, JournalError> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| checked::record(line).map_err(|why| corrupt(path, why)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn i12_i19_a_line_that_could_not_be_read_again_is_written_without_what_the_server_said_and_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        let record = json!({
            "id": "i", "outcome": "settled", "created": 1, "at": 2, "method": "GET", "url": "https://a.example/",
            "host": "a.example", "network": "eip155:1", "pay_to": "0x2", "asset": "USDC", "amount": "0.01",
            "value": "10000000000000000", "transaction": "0x1",
            "settlement": {"success": true, "transaction": "0x1", "network": "eip155:1"},
        });
        let mut record: Record = serde_json::from_value(record).unwrap();
        record.settlement.as_mut().unwrap().unknown.0.insert("payer".to_owned(), json!(1));
        record.settlement.as_mut().unwrap().payer = Some("0x3".to_owned());
        let mut history = History::default();
        history.append(&path, &record).unwrap();
        assert_eq!(read_all(&path).unwrap(), [record.reduced()]);
        assert_eq!(history.spends().iter().map(|spend| spend.value).collect::<Vec<_>>(), [record.value]);
    }
}
