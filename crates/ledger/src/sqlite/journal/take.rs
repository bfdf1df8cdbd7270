//! Taking payments for settlement, and forgetting them.

use rusqlite::{Connection, OptionalExtension as _, params};
use tollway_protocol::bind::{PaymentKey, Verified};
use tollway_protocol::door::UnixTime;

use super::super::lease::Lease as Process;
use super::super::{Failure, seconds};
use super::{conflict, read};
use crate::LedgerError;
use crate::digest::asker;
use crate::journal::Prepared;

/// What the row of a new settlement is made of.
#[derive(Debug)]
pub(in super::super) struct New {
    pub(super) key: PaymentKey,
    pub(super) network: String,
    payer: String,
    request: String,
    pub(super) claim: Option<Vec<u8>>,
    asker: Option<[u8; 32]>,
}

impl New {
    pub(in super::super) fn of(payment: &Verified) -> Result<Self, LedgerError> {
        let key = payment.key().clone();
        let request = serde_json::to_string(&payment.to_request())
            .map_err(|error| LedgerError::Damaged(format!("the request of {key}: {error}")))?;
        let payer = payment.effects().payer.as_str().to_owned();
        let (network, asker) =
            (payment.offer().network.as_str().to_owned(), asker(payment.idempotency_key()));
        Ok(Self { key, network, payer, request, claim: None, asker })
    }

    /// Makes the row; `signed` is the transaction that carries the payment.
    pub(super) fn insert(
        &self,
        connection: &Connection,
        holder: Option<&Process>,
        signed: Option<i64>,
        now: UnixTime,
    ) -> Result<i64, Failure> {
        connection
            .prepare_cached(
                "INSERT INTO settlements
                     (key, network, payer, state, holder, request, latest, created, claim, asker, told)
                 VALUES (?1, ?2, ?3, iif(?6 IS NULL, 'prepared', 'signed'), ?4, ?5, ?6, ?7, ?8, ?9, ?9 IS NOT NULL)",
            )?
            .execute(params![
                self.key.as_str(),
                self.network,
                self.payer,
                holder.map(|process| process.instance),
                self.request,
                signed,
                seconds(now),
                self.claim,
                self.asker
            ])?;
        Ok(connection.last_insert_rowid())
    }
}

pub(in super::super) fn prepare(
    connection: &Connection,
    process: &Process,
    payments: &[New],
    held: bool,
    now: UnixTime,
) -> Result<Vec<Prepared>, Failure> {
    let mut answers = Vec::with_capacity(payments.len());
    for new in payments {
        answers.push(if let Some(record) = read::settlement(connection, process, &new.key)? {
            Prepared::Exists(Box::new(record))
        } else {
            new.insert(connection, held.then_some(process), None, now)?;
            Prepared::New
        });
    }
    Ok(answers)
}

/// What decides whether something may be done with a settlement.
pub(super) struct Head {
    pub(super) id: i64,
    pub(super) network: String,
    pub(super) state: String,
    pub(super) hash: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) block: Option<i64>,
    pub(super) is_final: bool,
    pub(super) holder: Option<Vec<u8>>,
}

impl Head {
    pub(super) fn is_finished(&self) -> bool {
        matches!(self.state.as_str(), "settled" | "failed")
    }

    /// Whether another process that is alive works on it.
    pub(super) fn is_others(&self, connection: &Connection, process: &Process) -> Result<bool, Failure> {
        match &self.holder {
            Some(holder) if *holder != process.instance => process.is_alive(connection, holder),
            _ => Ok(false),
        }
    }
}

pub(super) fn head(connection: &Connection, key: &PaymentKey) -> Result<Option<Head>, Failure> {
    let sql =
        "SELECT id, network, state, hash, reason, block, is_final, holder FROM settlements WHERE key = ?1";
    let head = connection.prepare_cached(sql)?.query_row([key.as_str()], |row| {
        Ok(Head {
            id: row.get(0)?,
            network: row.get(1)?,
            state: row.get(2)?,
            hash: row.get(3)?,
            reason: row.get(4)?,
            block: row.get(5)?,
            is_final: row.get(6)?,
            holder: row.get(7)?,
        })
    });
    Ok(head.optional()?)
}

pub(in super::super) fn abandon(
    connection: &Connection,
    process: &Process,
    key: &PaymentKey,
) -> Result<(), Failure> {
    let Some(head) = head(connection, key)? else { return Ok(()) };
    let sql = "SELECT count(*) FROM carried WHERE settlement = ?1";
    let carriers: i64 = connection.prepare_cached(sql)?.query_row([head.id], |row| row.get(0))?;
    if head.state != "prepared" || carriers > 0 {
        let found = format!("{} with {carriers} transactions", head.state);
        return Err(conflict(key, found, "prepared with none"));
    }
    if head.is_others(connection, process)? {
        return Err(conflict(key, "held by another process", "this one's or nobody's"));
    }
    connection.prepare_cached("DELETE FROM settlements WHERE id = ?1")?.execute([head.id])?;
    Ok(())
}

/// Makes nobody's what this process holds.
pub(super) fn let_go(connection: &Connection, process: &Process, key: &PaymentKey) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "UPDATE settlements SET holder = NULL
             WHERE key = ?1 AND holder = ?2 AND state IN ('prepared', 'signed', 'broadcast')",
        )?
        .execute(params![key.as_str(), process.instance])?;
    Ok(())
}
