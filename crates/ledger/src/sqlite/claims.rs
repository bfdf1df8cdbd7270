//! The seller's half in SQL. Each function runs within one savepoint.

use rusqlite::{Connection, OptionalExtension as _, params};
use tollway_protocol::bind::{Bound, PaymentKey};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Offer, Settlement};

use super::lease::{Lease, Left};
use super::{Failure, seconds};
use crate::claims::{Claim, Claimed, Paid, Recalled, RequestId};
use crate::digest::{named, presented, terms};
use crate::{Delivery, LedgerError};

struct Row {
    /// Empty in what was released after it may have reached the facilitator: it is whoever's comes next, by its name.
    request: Vec<u8>,
    terms: [u8; 32],
    presented: [u8; 32],
    state: String,
    holder: Option<Vec<u8>>,
    hash: Option<String>,
    settlement: Option<String>,
    /// None in a row that an earlier version made.
    idempotency_key: Option<String>,
}

fn find(connection: &Connection, key: &PaymentKey) -> Result<Option<Row>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT request, terms, presented, state, holder, hash, settlement, idempotency_key
         FROM claims WHERE key = ?1",
    )?;
    let row = statement.query_row([key.as_str()], |row| {
        Ok(Row {
            request: row.get(0)?,
            terms: row.get(1)?,
            presented: row.get(2)?,
            state: row.get(3)?,
            holder: row.get(4)?,
            hash: row.get(5)?,
            settlement: row.get(6)?,
            idempotency_key: row.get(7)?,
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
    let (terms, presented) = (terms(&bound), presented(&bound));
    let offer = serde_json::to_string(bound.offer())
        .map_err(|error| LedgerError::Damaged(format!("the offer of {key}: {error}")))?;
    let Some(row) = find(connection, &key)? else {
        let name: String = connection
            .prepare_cached(
                "INSERT INTO claims
                     (key, network, request, terms, state, holder, turn, keep_until, presented, offer,
                      idempotency_key)
                 VALUES (?1, ?2, ?3, ?4, 'claimed', ?5, ?6, ?7, ?8, ?9, hex(randomblob(32)))
                 RETURNING idempotency_key",
            )?
            .query_row(
                params![
                    key.as_str(),
                    bound.offer().network.as_str(),
                    request.0,
                    terms.0,
                    lease.instance,
                    turn,
                    seconds(keep_until),
                    presented.0,
                    offer
                ],
                |row| row.get(0),
            )?;
        let bound = bound.keyed(named(Some(name))?);
        return Ok(Claim::New(Claimed { bound, request, turn, transaction: None }));
    };
    let transaction = row.hash;
    if row.state == "delivered" {
        return Ok(Claim::Spent { transaction });
    }
    let is_free = row.request.is_empty();
    if !is_free && (row.request != request.0 || row.terms != terms.0) {
        return Ok(Claim::Elsewhere { transaction });
    }
    if let Some(holder) = &row.holder
        && lease.is_alive(connection, holder)?
    {
        return Ok(Claim::Busy { transaction });
    }
    // What is merely claimed was never verified: it is whoever's comes now.
    if row.state != "claimed" && row.presented != presented.0 {
        return Ok(Claim::Elsewhere { transaction });
    }
    connection
        .prepare_cached(
            "UPDATE claims SET holder = ?2, turn = ?3, keep_until = max(keep_until, ?4),
                 presented = ?5, offer = iif(state = 'claimed', ?6, offer), request = ?7, terms = ?8
             WHERE key = ?1",
        )?
        .execute(params![
            key.as_str(),
            lease.instance,
            turn,
            seconds(keep_until),
            presented.0,
            offer,
            request.0,
            terms.0
        ])?;
    let bound = bound.keyed(named(row.idempotency_key)?);
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

pub(super) fn recall(connection: &Connection, key: &PaymentKey) -> Result<Option<Recalled>, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT offer, hash FROM claims WHERE key = ?1 AND state <> 'claimed'")?;
    let row = statement.query_row([key.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)));
    let Some((offer, transaction)) = row.optional()? else { return Ok(None) };
    let offer: Offer = serde_json::from_str(&offer)
        .map_err(|error| LedgerError::Damaged(format!("the offer of {key}: {error}")))?;
    Ok(Some(Recalled { offer, transaction }))
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
    let mine = params![claimed.bound.key().as_str(), lease.instance, claimed.turn];
    // A copy of the request may be on its way still: whoever asks again is known by the same name.
    let kept = connection
        .prepare_cached(
            "UPDATE claims SET state = 'claimed', holder = NULL, hash = NULL, request = x''
             WHERE key = ?1 AND holder = ?2 AND turn = ?3 AND state = 'settling'",
        )?
        .execute(mine)?;
    if kept == 1 {
        return Ok(());
    }
    let sql = "DELETE FROM claims
               WHERE key = ?1 AND holder = ?2 AND turn = ?3 AND state = 'claimed' AND ?4 IS NULL";
    step(connection, lease, claimed, sql, None, "claimed or settling")
}

/// Gives back what one claim holds, and no later one.
pub(super) fn give_back(connection: &Connection, lease: &Lease, left: &Left) -> Result<(), Failure> {
    let mine = params![left.key.as_str(), lease.instance, left.turn];
    if left.delivering {
        connection
            .prepare_cached(
                "UPDATE claims SET state = 'settled'
                 WHERE key = ?1 AND holder = ?2 AND turn = ?3 AND state = 'delivered'",
            )?
            .execute(mine)?;
    }
    connection
        .prepare_cached(
            "DELETE FROM claims WHERE key = ?1 AND holder = ?2 AND turn = ?3 AND state = 'claimed'",
        )?
        .execute(mine)?;
    connection
        .prepare_cached(
            "UPDATE claims SET holder = NULL
             WHERE key = ?1 AND holder = ?2 AND turn = ?3 AND state IN ('settling', 'settled')",
        )?
        .execute(mine)?;
    Ok(())
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
