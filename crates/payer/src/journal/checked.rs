//! Nothing is written that can't be read again: what a server says ends up in these files, and a file that can't be
//! read stops all payments.

use std::path::Path;

use tollway_protocol::header::MAX_HEADER;

use super::Recipients;
use super::entry::{Entry, Record, State};
use super::files::{JournalError, not_written};

/// The longest live file.
pub(super) const MAX_ENTRY: usize = 256 * 1024;

/// What a live file gains after it was reserved: the header, a reason and a transaction.
const GROWTH: usize = MAX_HEADER + 4096;

/// Reads a live file.
pub(super) fn entry(name: &str, bytes: &[u8]) -> Result<Entry, String> {
    let entry: Entry = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if entry.file_name() != name || (entry.state != State::Reserved && entry.header.is_none()) {
        return Err("its name and contents disagree".to_owned());
    }
    Ok(entry)
}

/// Reads a line of the history.
pub(super) fn record(line: &[u8]) -> Result<Record, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

/// A live file's bytes. A reservation leaves room for what is added when it is signed and sent.
pub(super) fn live(path: &Path, written: &Entry) -> Result<Vec<u8>, JournalError> {
    let bytes = serde_json::to_vec(written).map_err(|error| not_written(path, error))?;
    let most = if written.header.is_none() { MAX_ENTRY.saturating_sub(GROWTH) } else { MAX_ENTRY };
    if bytes.len() > most {
        return Err(not_written(
            path,
            format_args!("it would be {} bytes long, at most {most}", bytes.len()),
        ));
    }
    match entry(&written.file_name(), &bytes) {
        Ok(read) if read == *written => Ok(bytes),
        Ok(_) => Err(not_written(path, "it would be read differently")),
        Err(why) => Err(not_written(path, why)),
    }
}

/// A line of the history, without its end.
pub(super) fn line(path: &Path, written: &Record) -> Result<Vec<u8>, JournalError> {
    let bytes = serde_json::to_vec(written).map_err(|error| not_written(path, error))?;
    match record(&bytes) {
        Ok(read) if read == *written => Ok(bytes),
        Ok(_) => Err(not_written(path, "it would be read differently")),
        Err(why) => Err(not_written(path, why)),
    }
}

/// The recipients file's bytes.
pub(super) fn recipients(path: &Path, written: &Recipients) -> Result<Vec<u8>, JournalError> {
    let bytes = serde_json::to_vec_pretty(written).map_err(|error| not_written(path, error))?;
    match serde_json::from_slice::<Recipients>(&bytes) {
        Ok(read) if read == *written => Ok(bytes),
        Ok(_) => Err(not_written(path, "it would be read differently")),
        Err(error) => Err(not_written(path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn reservation() -> Value {
        json!({
            "format": 1, "id": "i", "purchase": "p", "state": "reserved", "method": "GET", "url": "https://a.example/",
            "body_sha256": "", "origin": "https://a.example", "host": "a.example", "resource": "https://a.example/",
            "offer": {"scheme": "exact", "network": "eip155:1", "amount": "1", "asset": "0x1", "payTo": "0x2",
                      "maxTimeoutSeconds": 60},
            "payer": "0x3", "asset": "USDC", "amount": "0.000001", "value": "1000000000000", "created": 1,
            "valid_before": 61, "header": null, "transaction": null, "reason": null,
        })
    }

    #[test]
    fn i13_i19_a_live_file_that_could_not_be_read_again_is_not_written() {
        let path = Path::new("live/p-i.json");
        let good: Entry = serde_json::from_value(reservation()).unwrap();
        assert!(live(path, &good).is_ok());
        for twice in ["amount", "payTo", "maxAmountRequired"] {
            let mut bad = good.clone();
            bad.offer.unknown.0.insert(twice.to_owned(), json!("9"));
            assert!(matches!(live(path, &bad), Err(JournalError::NotWritten { .. })), "{twice}");
        }
        let unsigned = Entry { state: State::Signed, ..good.clone() };
        assert!(matches!(live(path, &unsigned), Err(JournalError::NotWritten { .. })));
        let long = Entry { resource: "x".repeat(MAX_ENTRY - GROWTH), ..good };
        assert!(matches!(live(path, &long), Err(JournalError::NotWritten { .. })), "no room for the header");
    }
}
