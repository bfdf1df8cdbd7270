//! What is read.

use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Code, Network};

use super::super::lease::Lease;
use super::super::{Failure, seconds};
use super::{signed_number, unsigned};
use crate::LedgerError;
use crate::journal::{Attempt, Filter, Holder, JournalState, Record, SignedTransaction};

/// A settlement's row with its latest transaction's. `?1` is this process, `?2` is now.
const RECORD: &str = "
SELECT s.id, s.key, s.network, s.payer, s.state, s.request, t.signer, t.nonce, t.hash, t.raw,
       coalesce(s.hash, t.hash), s.block, s.is_final, s.reason, s.message,
       (SELECT sum((m.fee + m.members - 1) / m.members) FROM carried c JOIN transactions m ON m.id = c.carrier
        WHERE c.settlement = s.id AND m.fee IS NOT NULL),
       s.created, s.ended,
       CASE WHEN s.holder IS NULL THEN 0 WHEN s.holder = ?1 THEN 1
            ELSE 2 * EXISTS (SELECT 1 FROM instances i WHERE i.id = s.holder AND i.alive_until > ?2) END, s.told
FROM settlements s LEFT JOIN transactions t ON t.id = s.latest ";

const ATTEMPT: &str =
    "SELECT t.signer, t.nonce, t.hash, t.raw, t.sent, t.replaced, t.block, t.id FROM transactions t ";

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

const fn name(state: JournalState) -> &'static str {
    match state {
        JournalState::Prepared => "prepared",
        JournalState::Signed => "signed",
        JournalState::Broadcast => "broadcast",
        JournalState::Settled => "settled",
        JournalState::Failed => "failed",
    }
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
    let key: String = row.get(1)?;
    let (network, state_text): (String, String) = (row.get(2)?, row.get(4)?);
    let damaged = |what: &str| LedgerError::Damaged(format!("the settlement of {key} has {what}"));
    let signer: Option<String> = row.get(6)?;
    let optional = |at: usize| Ok::<_, Failure>(row.get::<_, Option<i64>>(at)?.map(unsigned));
    Ok(Record {
        id: row.get(0)?,
        network: Network::new(&network).map_err(|error| damaged(&error.to_string()))?,
        payer: row.get(3)?,
        state: state(&state_text).ok_or_else(|| damaged("an unknown state"))?,
        request: row.get(5)?,
        transaction: signer.map(|_| transaction(row, 6)).transpose()?,
        hash: row.get(10)?,
        block: optional(11)?,
        is_final: row.get(12)?,
        reason: row.get::<_, Option<String>>(13)?.map(|code| Code::new(&code)),
        message: row.get(14)?,
        fee_gwei: optional(15)?,
        created: UnixTime(unsigned(row.get(16)?)),
        ended: optional(17)?.map(UnixTime),
        holder: match row.get(18)? {
            0 => Holder::Nobody,
            1 => Holder::This,
            _ => Holder::Other,
        },
        told: row.get(19)?,
        key: PaymentKey::stored(key),
    })
}

/// The records that `filter` selects; its own parameters begin with `?3`, and `parameters` with the two of [`RECORD`].
fn records(connection: &Connection, filter: &str, parameters: impl Params) -> Result<Vec<Record>, Failure> {
    let mut statement = connection.prepare_cached(&format!("{RECORD}{filter}"))?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(record(row)?);
    }
    Ok(found)
}

pub(in super::super) fn settlement(
    connection: &Connection,
    lease: &Lease,
    key: &PaymentKey,
) -> Result<Option<Record>, Failure> {
    let parameters = params![lease.instance, lease.now(), key.as_str()];
    Ok(records(connection, "WHERE s.key = ?3", parameters)?.pop())
}

/// The settlement that holds a claim.
pub(super) fn claimant(
    connection: &Connection,
    lease: &Lease,
    network: &str,
    claim: &[u8],
) -> Result<Option<Record>, Failure> {
    let filter = "WHERE s.network = ?3 AND s.claim = ?4 AND s.claim IS NOT NULL AND s.state <> 'failed'";
    Ok(records(connection, filter, params![lease.instance, lease.now(), network, claim])?.pop())
}

pub(super) fn numbered(connection: &Connection, lease: &Lease, id: i64) -> Result<Option<Record>, Failure> {
    Ok(records(connection, "WHERE s.id = ?3", params![lease.instance, lease.now(), id])?.pop())
}

pub(in super::super) fn open(
    connection: &Connection,
    lease: &Lease,
    network: &Network,
) -> Result<Vec<Record>, Failure> {
    let filter = "WHERE s.id IN (
            SELECT id FROM settlements WHERE network = ?3 AND state IN ('prepared', 'signed', 'broadcast')
            UNION ALL SELECT id FROM settlements WHERE network = ?3 AND state = 'settled' AND is_final = 0
        ) ORDER BY s.id";
    records(connection, filter, params![lease.instance, lease.now(), network.as_str()])
}

pub(in super::super) fn unfinal(
    connection: &Connection,
    lease: &Lease,
    network: &Network,
    block: u64,
    limit: u32,
) -> Result<Vec<Record>, Failure> {
    let filter = "WHERE s.id IN (
            SELECT id FROM settlements
            WHERE network = ?3 AND state = 'settled' AND is_final = 0 AND block <= ?4
            ORDER BY block, id LIMIT ?5
        ) ORDER BY s.block, s.id";
    let block = signed_number(block);
    records(connection, filter, params![lease.instance, lease.now(), network.as_str(), block, limit])
}

pub(in super::super) fn page(
    connection: &Connection,
    lease: &Lease,
    filter: &Filter,
    after: i64,
    limit: u32,
) -> Result<Vec<Record>, Failure> {
    let since = seconds(filter.since);
    // So that a look at the last days does not read all that was before them.
    let after = if after == 0 && since > 0 {
        let sql = "SELECT min(id) FROM settlements INDEXED BY settlements_by_time WHERE created >= ?1";
        let first: Option<i64> = connection.prepare_cached(sql)?.query_row([since], |row| row.get(0))?;
        let Some(first) = first else { return Ok(Vec::new()) };
        first.saturating_sub(1)
    } else {
        after
    };
    let sql = "WHERE s.id > ?3 AND (?4 IS NULL OR s.network = ?4) AND (?5 IS NULL OR s.state = ?5)
               AND s.created >= ?6 AND s.created < ?7
               ORDER BY s.id LIMIT ?8";
    let parameters = params![
        lease.instance,
        lease.now(),
        after,
        filter.network.as_ref().map(Network::as_str),
        filter.state.map(name),
        since,
        seconds(filter.until),
        limit
    ];
    records(connection, sql, parameters)
}

/// The payments in a transaction.
fn carries(connection: &Connection, transaction: i64) -> Result<Vec<PaymentKey>, Failure> {
    let sql = "SELECT s.key FROM carried c JOIN settlements s ON s.id = c.settlement
               WHERE c.carrier = ?1 ORDER BY c.place";
    let mut statement = connection.prepare_cached(sql)?;
    let keys = statement.query_map([transaction], |row| row.get(0).map(PaymentKey::stored))?;
    Ok(keys.collect::<Result<_, _>>()?)
}

fn attempts(connection: &Connection, filter: &str, parameters: impl Params) -> Result<Vec<Attempt>, Failure> {
    let mut statement = connection.prepare_cached(&format!("{ATTEMPT}{filter}"))?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Attempt {
            transaction: transaction(row, 0)?,
            carries: carries(connection, row.get(7)?)?,
            sent: row.get(4)?,
            replaced: row.get(5)?,
            block: row.get::<_, Option<i64>>(6)?.map(unsigned),
        });
    }
    Ok(found)
}

pub(in super::super) fn history(connection: &Connection, key: &PaymentKey) -> Result<Vec<Attempt>, Failure> {
    let filter = "WHERE t.id IN (SELECT c.carrier FROM carried c JOIN settlements s ON s.id = c.settlement
                  WHERE s.key = ?1) ORDER BY t.id";
    attempts(connection, filter, [key.as_str()])
}

pub(in super::super) fn nonces(
    connection: &Connection,
    network: &Network,
    signer: &str,
    first: u64,
) -> Result<Vec<Attempt>, Failure> {
    let filter =
        "WHERE t.network = ?1 AND t.signer = ?2 AND t.nonce >= ?3 AND t.replaced = 0 ORDER BY t.nonce";
    attempts(connection, filter, params![network.as_str(), signer, signed_number(first)])
}

pub(in super::super) fn next_nonce(
    connection: &Connection,
    network: &Network,
    signer: &str,
) -> Result<Option<u64>, Failure> {
    let highest: Option<i64> = connection
        .prepare_cached("SELECT max(nonce) FROM transactions WHERE network = ?1 AND signer = ?2")?
        .query_row([network.as_str(), signer], |row| row.get(0))?;
    Ok(highest.map(|nonce| unsigned(nonce).saturating_add(1)))
}

pub(in super::super) fn reverts(
    connection: &Connection,
    network: &Network,
    payer: &str,
    since: UnixTime,
) -> Result<u64, Failure> {
    let sum: Option<i64> = connection
        .prepare_cached(
            "SELECT sum(reverts) FROM settlements
             WHERE network = ?1 AND payer = ?2 AND created >= ?3 AND reverts > 0",
        )?
        .query_row(params![network.as_str(), payer, seconds(since)], |row| row.get(0))
        .optional()?
        .flatten();
    Ok(sum.map_or(0, unsigned))
}
