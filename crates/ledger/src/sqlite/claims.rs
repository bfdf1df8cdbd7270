//! The seller's half in SQL. Each function runs within one savepoint.

use rusqlite::{Connection, OptionalExtension as _, params};
use tollway_protocol::Settlement;
use tollway_protocol::bind::{Bound, PaymentKey};
use tollway_protocol::door::UnixTime;

use super::lease::{Lease, Left};
use super::{Failure, seconds};
use crate::claims::{Claim, Claimed, Paid, RequestId};
use crate::{Delivery, LedgerError};

/// What the payment moves, apart from how it was signed. A second payment with the same key can have
/// other terms, and then is no reason to treat it as this one.
fn terms(payment: &Bound) -> RequestId {
    let effects = payment.effects();
    let mut parts = vec![effects.scheme.clone(), effects.payer.as_str().to_owned()];
    for only in &effects.moves {
        let amount = only.amount.to_string();
        parts.extend([only.asset.as_str(), only.from.as_str(), only.to.as_str(), &amount].map(str::to_owned));
    }
    RequestId::of(&parts.iter().map(String::as_bytes).collect::<Vec<_>>())
}

struct Row {
    request: [u8; 32],
    terms: [u8; 32],
    state: String,
    holder: Option<Vec<u8>>,
    hash: Option<String>,
    settlement: Option<String>,
}

fn find(connection: &Connection, key: &PaymentKey) -> Result<Option<Row>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT request, terms, state, holder, hash, settlement FROM claims WHERE key = ?1",
    )?;
    let row = statement.query_row([key.as_str()], |row| {
        Ok(Row {
            request: row.get(0)?,
            terms: row.get(1)?,
            state: row.get(2)?,
            holder: row.get(3)?,
            hash: row.get(4)?,
            settlement: row.get(5)?,
        })
    });
    Ok(row.optional()?)
}

pub(super) fn claim(
    connection: &Connection,
    lease: &Lease,
    bound: Bound,
    request: RequestId,
    turn: i64,
    keep_until: UnixTime,
) -> Result<Claim, Failure> {
    let key = bound.key().clone();
    let terms = terms(&bound);
    let Some(row) = find(connection, &key)? else {
        connection
            .prepare_cached(
                "INSERT INTO claims (key, network, request, terms, state, holder, turn, keep_until)
                 VALUES (?1, ?2, ?3, ?4, 'claimed', ?5, ?6, ?7)",
            )?
            .execute(params![
                key.as_str(),
                bound.offer().network.as_str(),
                request.0,
                terms.0,
                lease.instance,
                turn,
                seconds(keep_until)
            ])?;
        return Ok(Claim::New(Claimed { bound, request, turn, transaction: None }));
    };
    let transaction = row.hash;
    if row.state == "delivered" {
        return Ok(Claim::Spent { transaction });
    }
    if row.request != request.0 || row.terms != terms.0 {
        return Ok(Claim::Elsewhere { transaction });
    }
    if let Some(holder) = &row.holder
        && lease.is_alive(connection, holder)?
    {
        return Ok(Claim::Busy { transaction });
    }
    connection
        .prepare_cached(
            "UPDATE claims SET holder = ?2, turn = ?3, keep_until = max(keep_until, ?4) WHERE key = ?1",
        )?
        .execute(params![key.as_str(), lease.instance, turn, seconds(keep_until)])?;
    let claimed = Claimed { bound, request, turn, transaction };
    match (row.state.as_str(), row.settlement) {
        ("claimed", _) => Ok(Claim::New(claimed)),
        ("settling", _) => Ok(Claim::Resume(claimed)),
        ("settled", Some(text)) => {
            let settlement = serde_json::from_str(&text)
                .map_err(|error| LedgerError::Damaged(format!("the settlement of {key}: {error}")))?;
            Ok(Claim::Paid(Box::new(Paid { claimed, settlement })))
        }
        (state, _) => Err(LedgerError::Damaged(format!("the claim of {key} is {state}")).into()),
    }
}

/// Moves the claim's row on by `sql`, which gets the key, the holder, the turn and `?4`.
fn step(
    connection: &Connection,
    lease: &Lease,
    claimed: &Claimed,
    sql: &str,
    value: Option<&str>,
    expected: &'static str,
) -> Result<(), Failure> {
    let key = claimed.bound.key();
    let changed = connection.prepare_cached(sql)?.execute(params![
        key.as_str(),
        lease.instance,
        claimed.turn,
        value
    ])?;
    if changed == 1 {
        return Ok(());
    }
    let found = find(connection, key)?.map_or_else(
        || "not there".to_owned(),
        |row| match row.holder {
            Some(holder) if holder == lease.instance => row.state,
            _ => format!("{} and not held by this claim", row.state),
        },
    );
    Err(LedgerError::Conflict { key: key.to_string(), found, expected }.into())
}

pub(super) fn settling(connection: &Connection, lease: &Lease, claimed: &Claimed) -> Result<(), Failure> {
    let sql = "UPDATE claims SET state = 'settling', hash = coalesce(?4, hash)
               WHERE key = ?1 AND holder = ?2 AND turn = ?3 AND state IN ('claimed', 'settling')";
    step(connection, lease, claimed, sql, None, "claimed")
}

/// Takes a payment that is merely claimed along: once there is a transaction, releasing it would be wrong.
pub(super) fn pending(
    connection: &Connection,
    lease: &Lease,
    claimed: &Claimed,
    transaction: Option<&str>,
) -> Result<(), Failure> {
    let sql = "UPDATE claims SET state = 'settling', hash = coalesce(?4, hash), holder = NULL
               WHERE key = ?1 AND holder = ?2 AND turn = ?3 AND state IN ('claimed', 'settling')";
    step(connection, lease, claimed, sql, transaction, "settling")
}

pub(super) fn settled(
    connection: &Connection,
    lease: &Lease,
    claimed: Claimed,
    settlement: Settlement,
) -> Result<Paid, Failure> {
    let key = claimed.bound.key();
    let text = serde_json::to_string(&settlement)
        .map_err(|error| LedgerError::Damaged(format!("the settlement of {key}: {error}")))?;
    let sql = "UPDATE claims SET state = 'settled', settlement = ?4, hash = ?4 ->> '$.transaction'
               WHERE key = ?1 AND holder = ?2 AND turn = ?3 AND state IN ('claimed', 'settling')";
    step(connection, lease, &claimed, sql, Some(&text), "settling")?;
    Ok(Paid { claimed, settlement })
}

pub(super) fn deliver(connection: &Connection, lease: &Lease, paid: Paid) -> Result<Delivery, Failure> {
    let sql = "UPDATE claims SET state = 'delivered', hash = coalesce(?4, hash)
               WHERE key = ?1 AND holder = ?2 AND turn = ?3 AND state = 'settled'";
    step(connection, lease, &paid.claimed, sql, None, "settled")?;
    Ok(Delivery { settlement: paid.settlement })
}

pub(super) fn undelivered(connection: &Connection, lease: &Lease, paid: &Paid) -> Result<(), Failure> {
    let sql = "UPDATE claims SET holder = NULL, hash = coalesce(?4, hash)
               WHERE key = ?1 AND holder = ?2 AND turn = ?3 AND state = 'settled'";
    step(connection, lease, &paid.claimed, sql, None, "settled")
}

pub(super) fn release(connection: &Connection, lease: &Lease, claimed: &Claimed) -> Result<(), Failure> {
    let sql = "DELETE FROM claims
               WHERE key = ?1 AND holder = ?2 AND turn = ?3 AND state IN ('claimed', 'settling') AND ?4 IS NULL";
    step(connection, lease, claimed, sql, None, "claimed or settling")
}

pub(super) fn abandon(connection: &Connection, lease: &Lease, key: &PaymentKey) -> Result<(), Failure> {
    let mine = params![key.as_str(), lease.instance];
    connection
        .prepare_cached("DELETE FROM claims WHERE key = ?1 AND holder = ?2 AND state = 'claimed'")?
        .execute(mine)?;
    connection
        .prepare_cached(
            "UPDATE claims SET holder = NULL
             WHERE key = ?1 AND holder = ?2 AND state IN ('settling', 'settled')",
        )?
        .execute(mine)?;
    Ok(())
}

/// As [`abandon`], for one claim and no later one.
pub(super) fn give_back(connection: &Connection, lease: &Lease, left: &Left) -> Result<(), Failure> {
    let held = "SELECT EXISTS (SELECT 1 FROM claims WHERE key = ?1 AND holder = ?2 AND turn = ?3)";
    let this = params![left.key.as_str(), lease.instance, left.turn];
    if !connection.prepare_cached(held)?.query_row(this, |row| row.get::<_, bool>(0))? {
        return Ok(());
    }
    if left.delivering {
        connection
            .prepare_cached("UPDATE claims SET state = 'settled' WHERE key = ?1 AND state = 'delivered'")?
            .execute([left.key.as_str()])?;
    }
    abandon(connection, lease, &left.key)
}

/// Forgets what was delivered, and what was claimed without being charged by a process that is gone.
/// What was charged, or may have been, and has bought nothing yet stays for good.
pub(super) fn forget(connection: &Connection, lease: &Lease, now: UnixTime) -> Result<u64, Failure> {
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM claims WHERE keep_until < ?1 AND state IN ('claimed', 'delivered') AND (
                 state = 'delivered' OR holder IS NULL OR (
                     holder <> ?2 AND holder NOT IN (SELECT id FROM instances WHERE alive_until > ?3)
                 ))",
        )?
        .execute(params![seconds(now), lease.instance, lease.now()])?;
    Ok(u64::try_from(forgotten).unwrap_or(u64::MAX))
}
