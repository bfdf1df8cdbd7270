//! The facilitator's half in SQL. Each function runs within one savepoint, or reads.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tollway_protocol::bind::{PaymentKey, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Code, Network};

use super::{Failure, seconds};
use crate::LedgerError;
use crate::journal::{Attempt, Ending, JournalState, Prepared, Record, SignedTransaction};

/// A settlement's row with its latest transaction's.
const RECORD: &str = "
SELECT s.key, s.network, s.state, s.request, t.signer, t.nonce, t.hash, t.raw, coalesce(s.hash, t.hash),
       s.reason, s.message, s.created
FROM settlements s
LEFT JOIN transactions t ON t.settlement = s.id AND t.replaced = 0 AND t.rejected = 0 ";

fn state(text: &str) -> Option<JournalState> {
    Some(match text {
        "prepared" => JournalState::Prepared,
        "signed" => JournalState::Signed,
        "broadcast" => JournalState::Broadcast,
        "settled" => JournalState::Settled,
        "failed" => JournalState::Failed,
        _ => return None,
    })
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn transaction(row: &Row<'_>, first: usize) -> rusqlite::Result<SignedTransaction> {
    Ok(SignedTransaction {
        signer: row.get(first)?,
        nonce: unsigned(row.get(first.saturating_add(1))?),
        hash: row.get(first.saturating_add(2))?,
        raw: row.get(first.saturating_add(3))?,
    })
}

fn record(row: &Row<'_>) -> Result<Record, Failure> {
    let key: String = row.get(0)?;
    let (network, state_text): (String, String) = (row.get(1)?, row.get(2)?);
    let damaged = |what: &str| LedgerError::Damaged(format!("the settlement of {key} has {what}"));
    let signer: Option<String> = row.get(4)?;
    Ok(Record {
        network: Network::new(&network).map_err(|error| damaged(&error.to_string()))?,
        state: state(&state_text).ok_or_else(|| damaged("an unknown state"))?,
        request: row.get(3)?,
        transaction: signer.map(|_| transaction(row, 4)).transpose()?,
        hash: row.get(8)?,
        reason: row.get::<_, Option<String>>(9)?.map(|code| Code::new(&code)),
        message: row.get(10)?,
        created: UnixTime(unsigned(row.get(11)?)),
        key: PaymentKey::stored(key),
    })
}

fn records(connection: &Connection, filter: &str, network: &Network) -> Result<Vec<Record>, Failure> {
    let sql = format!("{RECORD} WHERE s.network = ?1 AND {filter} ORDER BY s.id");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([network.as_str()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(record(row)?);
    }
    Ok(found)
}

pub(super) fn open(connection: &Connection, network: &Network) -> Result<Vec<Record>, Failure> {
    records(connection, "s.state IN ('prepared', 'signed', 'broadcast')", network)
}

pub(super) fn settlements(connection: &Connection, network: &Network) -> Result<Vec<Record>, Failure> {
    records(connection, "s.state = 'settled'", network)
}

pub(super) fn settlement(connection: &Connection, key: &PaymentKey) -> Result<Option<Record>, Failure> {
    let mut statement = connection.prepare_cached(&format!("{RECORD} WHERE s.key = ?1"))?;
    let mut rows = statement.query([key.as_str()])?;
    rows.next()?.map(record).transpose()
}

pub(super) fn history(connection: &Connection, key: &PaymentKey) -> Result<Vec<Attempt>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT t.signer, t.nonce, t.hash, t.raw, t.sent, t.replaced, t.rejected
         FROM transactions t JOIN settlements s ON s.id = t.settlement WHERE s.key = ?1 ORDER BY t.id",
    )?;
    let attempts = statement.query_map([key.as_str()], |row| {
        Ok(Attempt {
            transaction: transaction(row, 0)?,
            sent: row.get(4)?,
            replaced: row.get(5)?,
            rejected: row.get(6)?,
        })
    })?;
    Ok(attempts.collect::<Result<_, _>>()?)
}

pub(super) fn next_nonce(
    connection: &Connection,
    network: &Network,
    signer: &str,
) -> Result<Option<u64>, Failure> {
    let highest: Option<i64> = connection
        .prepare_cached(
            "SELECT max(nonce) FROM transactions WHERE network = ?1 AND signer = ?2 AND rejected = 0",
        )?
        .query_row([network.as_str(), signer], |row| row.get(0))?;
    Ok(highest.map(|nonce| unsigned(nonce).saturating_add(1)))
}

pub(super) fn prepare(
    connection: &Connection,
    payment: &Verified,
    now: UnixTime,
) -> Result<Prepared, Failure> {
    let key = payment.key();
    if let Some(record) = settlement(connection, key)? {
        return Ok(Prepared::Exists(Box::new(record)));
    }
    let request = serde_json::to_string(&payment.to_request())
        .map_err(|error| LedgerError::Damaged(format!("the request of {key}: {error}")))?;
    connection
        .prepare_cached(
            "INSERT INTO settlements (key, network, state, request, created)
             VALUES (?1, ?2, 'prepared', ?3, ?4)",
        )?
        .execute(params![key.as_str(), payment.offer().network.as_str(), request, seconds(now)])?;
    Ok(Prepared::New)
}

struct Head {
    id: i64,
    network: String,
    state: String,
    hash: Option<String>,
    reason: Option<String>,
}

impl Head {
    fn is_finished(&self) -> bool {
        matches!(self.state.as_str(), "settled" | "failed")
    }
}

fn conflict(key: &PaymentKey, found: impl Into<String>, expected: &'static str) -> Failure {
    LedgerError::Conflict { key: key.to_string(), found: found.into(), expected }.into()
}

fn head(connection: &Connection, key: &PaymentKey) -> Result<Option<Head>, Failure> {
    let sql = "SELECT id, network, state, hash, reason FROM settlements WHERE key = ?1";
    let head = connection.prepare_cached(sql)?.query_row([key.as_str()], |row| {
        Ok(Head {
            id: row.get(0)?,
            network: row.get(1)?,
            state: row.get(2)?,
            hash: row.get(3)?,
            reason: row.get(4)?,
        })
    });
    Ok(head.optional()?)
}

fn there(connection: &Connection, key: &PaymentKey, expected: &'static str) -> Result<Head, Failure> {
    head(connection, key)?.ok_or_else(|| conflict(key, "not there", expected))
}

fn unfinished(connection: &Connection, key: &PaymentKey) -> Result<Head, Failure> {
    let head = there(connection, key, "unfinished")?;
    if head.is_finished() { Err(conflict(key, head.state, "unfinished")) } else { Ok(head) }
}

fn move_to(connection: &Connection, id: i64, state: &str) -> Result<(), Failure> {
    connection
        .prepare_cached("UPDATE settlements SET state = ?2 WHERE id = ?1")?
        .execute(params![id, state])?;
    Ok(())
}

pub(super) fn signed(
    connection: &Connection,
    key: &PaymentKey,
    transaction: &SignedTransaction,
) -> Result<(), Failure> {
    let head = unfinished(connection, key)?;
    let SignedTransaction { signer, nonce, hash, raw } = transaction;
    let Ok(number) = i64::try_from(*nonce) else {
        return Err(conflict(key, format!("given nonce {nonce}"), "given a nonce below 2^63"));
    };
    let taken: Option<String> = connection
        .prepare_cached(
            "SELECT s.key FROM transactions t JOIN settlements s ON s.id = t.settlement
             WHERE t.network = ?1 AND t.settlement <> ?2
             AND ((t.signer = ?3 AND t.nonce = ?4 AND t.rejected = 0) OR t.hash = ?5) LIMIT 1",
        )?
        .query_row(params![head.network, head.id, signer, number, hash], |row| row.get(0))
        .optional()?;
    if let Some(other) = taken {
        let found = format!("given nonce {nonce} of {signer}, which carries {other}");
        return Err(conflict(key, found, "given a nonce of its own"));
    }
    connection
        .prepare_cached(
            "UPDATE transactions SET replaced = 1
             WHERE settlement = ?1 AND replaced = 0 AND rejected = 0 AND hash <> ?2",
        )?
        .execute(params![head.id, hash])?;
    connection
        .prepare_cached(
            "INSERT INTO transactions (settlement, network, signer, nonce, hash, raw)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (network, hash) DO UPDATE SET replaced = 0, rejected = 0",
        )?
        .execute(params![head.id, head.network, signer, number, hash, raw])?;
    settle_state(connection, head.id)
}

/// Sets an unfinished settlement's state from its latest transaction.
fn settle_state(connection: &Connection, id: i64) -> Result<(), Failure> {
    let sent: Option<bool> = connection
        .prepare_cached(
            "SELECT sent FROM transactions WHERE settlement = ?1 AND replaced = 0 AND rejected = 0",
        )?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let state = match sent {
        None => "prepared",
        Some(false) => "signed",
        Some(true) => "broadcast",
    };
    move_to(connection, id, state)
}

pub(super) fn broadcast(connection: &Connection, key: &PaymentKey) -> Result<(), Failure> {
    let head = there(connection, key, "signed")?;
    let sent = connection
        .prepare_cached(
            "UPDATE transactions SET sent = 1 WHERE settlement = ?1 AND replaced = 0 AND rejected = 0",
        )?
        .execute([head.id])?;
    match (head.is_finished(), sent) {
        (true, _) => Ok(()),
        (false, 0) => Err(conflict(key, head.state, "signed")),
        (false, _) => move_to(connection, head.id, "broadcast"),
    }
}

pub(super) fn finish(connection: &Connection, key: &PaymentKey, ending: &Ending) -> Result<(), Failure> {
    let head = there(connection, key, "unfinished")?;
    let (state, hash, reason, message) = match ending {
        Ending::Settled { hash } => ("settled", Some(hash), None, None),
        Ending::Failed { reason, message, hash } => {
            ("failed", hash.as_ref(), Some(reason.as_str()), Some(message))
        }
    };
    if head.is_finished() {
        let same = head.state == state && head.hash.as_ref() == hash && head.reason.as_deref() == reason;
        let found = || format!("{} in {}", head.state, head.hash.as_deref().unwrap_or("no transaction"));
        return if same { Ok(()) } else { Err(conflict(key, found(), "unfinished, or ended the same way")) };
    }
    connection
        .prepare_cached(
            "UPDATE settlements SET state = ?2, hash = ?3, reason = ?4, message = ?5 WHERE id = ?1",
        )?
        .execute(params![head.id, state, hash, reason, message])?;
    Ok(())
}

pub(super) fn abandon(connection: &Connection, key: &PaymentKey) -> Result<(), Failure> {
    let Some(head) = head(connection, key)? else { return Ok(()) };
    let attempts = history(connection, key)?.len();
    if head.state != "prepared" || attempts > 0 {
        let found = format!("{} with {attempts} transactions", head.state);
        return Err(conflict(key, found, "prepared with none"));
    }
    connection.prepare_cached("DELETE FROM settlements WHERE id = ?1")?.execute([head.id])?;
    Ok(())
}

pub(super) fn rejected(connection: &Connection, key: &PaymentKey) -> Result<(), Failure> {
    let head = unfinished(connection, key)?;
    let marked = connection
        .prepare_cached(
            "UPDATE transactions SET rejected = 1 WHERE settlement = ?1 AND replaced = 0 AND rejected = 0",
        )?
        .execute([head.id])?;
    if marked == 0 {
        return Err(conflict(key, head.state, "signed or broadcast"));
    }
    connection
        .prepare_cached(
            "UPDATE transactions SET replaced = 0 WHERE id =
             (SELECT max(id) FROM transactions WHERE settlement = ?1 AND rejected = 0)",
        )?
        .execute([head.id])?;
    settle_state(connection, head.id)
}
