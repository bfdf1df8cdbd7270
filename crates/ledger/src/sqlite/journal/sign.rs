//! Recording transactions before they leave.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, params};
use tollway_protocol::Network;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;

use super::super::Failure;
use super::super::lease::Lease as Process;
use super::take::{self, New};
use super::{conflict, gas, read, signers};
use crate::LedgerError;
use crate::journal::{Batch, Lease, Record, SignedTransaction, Signing};

/// A [`Batch`] as it goes to the thread that writes.
#[derive(Debug)]
pub(in super::super) struct Entry {
    lease: Lease,
    new: Vec<New>,
    again: Vec<PaymentKey>,
    expected: Vec<(PaymentKey, Option<String>)>,
    /// What is claimed, each text once.
    claims: Vec<Vec<u8>>,
    /// What the claims break.
    misclaimed: Option<LedgerError>,
    transaction: SignedTransaction,
    bid: i64,
    budget: u64,
    now: UnixTime,
}

impl Entry {
    pub(in super::super) fn new(lease: &Lease, batch: Batch, now: UnixTime) -> Result<Self, LedgerError> {
        let claims = batch.claimed().into_iter().map(|text| text.as_bytes().to_vec()).collect();
        let misclaimed = batch.check_claims().err();
        let mut new = batch.new.iter().map(New::of).collect::<Result<Vec<_>, _>>()?;
        for new in &mut new {
            new.claim = batch.claim_of(&new.key).map(|text| text.as_bytes().to_vec());
        }
        let Batch { again, expected, transaction, bid_gwei, budget_gwei, .. } = batch;
        Ok(Self {
            lease: lease.clone(),
            new,
            again,
            expected,
            claims,
            misclaimed,
            transaction,
            bid: gas::gwei(bid_gwei),
            budget: budget_gwei,
            now,
        })
    }

    fn network(&self) -> &str {
        self.lease.network.as_str()
    }

    fn refuse(&self, found: String, expected: &'static str) -> Failure {
        let SignedTransaction { signer, nonce, .. } = &self.transaction;
        LedgerError::Conflict { key: format!("nonce {nonce} of {signer}"), found, expected }.into()
    }
}

pub(in super::super) fn sign(
    connection: &Connection,
    process: &Process,
    entry: &Entry,
) -> Result<Signing, Failure> {
    if !signers::is_held(connection, process, &entry.lease)? {
        return Ok(Signing::Lost);
    }
    let mut taken = Vec::new();
    for new in &entry.new {
        taken.extend(read::settlement(connection, process, &new.key)?);
    }
    if !taken.is_empty() {
        return Ok(Signing::Taken(taken));
    }
    let claimants = claimants(connection, process, entry)?;
    if !claimants.is_empty() {
        return Ok(Signing::Claimed(claimants));
    }
    let Some(nonce) = i64::try_from(entry.transaction.nonce).ok() else {
        return Err(entry.refuse("out of range".into(), "a nonce below 2^63"));
    };
    fits(entry)?;
    let again = members(connection, process, entry)?;
    let place = place(connection, entry, nonce, &again)?;
    if place.is_recorded {
        for member in &again {
            connection
                .prepare_cached("UPDATE settlements SET holder = ?2 WHERE id = ?1")?
                .execute(params![member, process.instance])?;
        }
        return Ok(Signing::Done);
    }
    let extra = entry.bid.saturating_sub(place.counted).max(0);
    if extra > 0 {
        let network = &entry.lease.network;
        let spent = gas::spent(connection, network, entry.now)?;
        if spent.saturating_add(super::unsigned(extra)) > entry.budget {
            return Ok(Signing::OverBudget);
        }
        gas::add(connection, entry.network(), gas::hour(entry.now), extra)?;
    }
    record(connection, process, entry, nonce, &again, extra)?;
    Ok(Signing::Done)
}

/// The settlements that hold claims of the batch.
fn claimants(connection: &Connection, process: &Process, entry: &Entry) -> Result<Vec<Record>, Failure> {
    let mut found = Vec::new();
    for claim in &entry.claims {
        found.extend(read::claimant(connection, process, entry.network(), claim)?);
    }
    Ok(found)
}

/// Checks what the batch says of itself.
fn fits(entry: &Entry) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    for key in entry.new.iter().map(|new| &new.key).chain(&entry.again) {
        if !seen.insert(key) {
            return Err(conflict(key, "in the batch twice", "there once"));
        }
    }
    if let Some(other) = entry.new.iter().find(|new| new.network != entry.network()) {
        return Err(conflict(&other.key, format!("on {}", other.network), "on the lease's network"));
    }
    if !entry.transaction.signer.eq_ignore_ascii_case(&entry.lease.signer) {
        return Err(entry.refuse(format!("leased for {}", entry.lease.signer), "leased for its account"));
    }
    entry.misclaimed.clone().map_or(Ok(()), |error| Err(error.into()))
}

/// The settlements that were taken before, if all of them may go into the transaction.
fn members(connection: &Connection, process: &Process, entry: &Entry) -> Result<Vec<i64>, Failure> {
    let mut ids = Vec::with_capacity(entry.again.len());
    for key in &entry.again {
        let expected = "unfinished, and this process's or nobody's";
        let Some(head) = take::head(connection, key)? else {
            return Err(conflict(key, "not there", expected));
        };
        if head.network != entry.network() {
            return Err(conflict(key, format!("on {}", head.network), "on the lease's network"));
        }
        if head.is_finished() {
            return Err(conflict(key, head.state, expected));
        }
        if head.is_others(connection, process)? {
            return Err(conflict(key, "held by another process", expected));
        }
        ids.push(head.id);
    }
    for (key, expected) in &entry.expected {
        let latest: Option<String> = connection
            .prepare_cached(
                "SELECT t.hash FROM settlements s JOIN transactions t ON t.id = s.latest WHERE s.key = ?1",
            )?
            .query_row([key.as_str()], |row| row.get(0))
            .optional()?;
        if latest != *expected {
            let found = latest.map_or("in no transaction".to_owned(), |hash| format!("in {hash}"));
            return Err(conflict(key, found, "in the transaction that the caller knows of"));
        }
    }
    Ok(ids)
}

/// What is under the nonce already.
struct Place {
    /// Whether the very same transaction is.
    is_recorded: bool,
    /// What counts for the nonce in the budget, in gwei.
    counted: i64,
}

/// Checks that the nonce is free for this batch.
fn place(connection: &Connection, entry: &Entry, nonce: i64, again: &[i64]) -> Result<Place, Failure> {
    let SignedTransaction { signer, hash, .. } = &entry.transaction;
    let same: Option<(i64, i64, bool)> = connection
        .prepare_cached("SELECT id, nonce, signer = ?3 FROM transactions WHERE network = ?1 AND hash = ?2")?
        .query_row(params![entry.network(), hash, signer], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    if let Some((_, other, is_signers)) = same
        && (other != nonce || !is_signers)
    {
        return Err(entry.refuse(format!("given {hash}, which has nonce {other}"), "given a new transaction"));
    }
    let mut statement = connection.prepare_cached(
        "SELECT id, counted, block, hash FROM transactions
         WHERE network = ?1 AND signer = ?2 AND nonce = ?3 ORDER BY id",
    )?;
    let mut rows = statement.query(params![entry.network(), signer, nonce])?;
    let (mut first, mut counted) = (None, 0_i64);
    while let Some(row) = rows.next()? {
        if row.get::<_, Option<i64>>(2)?.is_some() {
            let spent: String = row.get(3)?;
            return Err(entry.refuse(format!("spent by {spent}"), "not spent"));
        }
        counted = counted.saturating_add(row.get(1)?);
        first = first.or(Some(row.get::<_, i64>(0)?));
    }
    if let Some(first) = first {
        let owners = carried(connection, first)?;
        let stranger = again.iter().find(|id| !owners.contains(*id));
        if stranger.is_some() || !entry.new.is_empty() {
            return Err(entry.refuse("that of other payments".into(), "unused, or these payments'"));
        }
    }
    let same = same.map(|(id, ..)| id);
    if let Some(id) = same
        && carried(connection, id)? != again.iter().copied().collect()
    {
        return Err(entry.refuse(format!("given {hash} with other payments"), "given it with the same"));
    }
    Ok(Place { is_recorded: same.is_some(), counted })
}

/// The settlements in a transaction.
fn carried(connection: &Connection, transaction: i64) -> Result<HashSet<i64>, Failure> {
    let mut statement = connection.prepare_cached("SELECT settlement FROM carried WHERE carrier = ?1")?;
    let ids = statement.query_map([transaction], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Writes the transaction and all that depends on it.
fn record(
    connection: &Connection,
    process: &Process,
    entry: &Entry,
    nonce: i64,
    again: &[i64],
    counted: i64,
) -> Result<(), Failure> {
    let SignedTransaction { signer, hash, raw, .. } = &entry.transaction;
    connection
        .prepare_cached(
            "UPDATE transactions SET replaced = 1
             WHERE network = ?1 AND signer = ?2 AND nonce = ?3 AND replaced = 0",
        )?
        .execute(params![entry.network(), signer, nonce])?;
    let members = entry.new.len().saturating_add(again.len());
    connection
        .prepare_cached(
            "INSERT INTO transactions (network, signer, nonce, hash, raw, members, hour, bid, counted)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            entry.network(),
            signer,
            nonce,
            hash,
            raw,
            i64::try_from(members).unwrap_or(i64::MAX),
            gas::hour(entry.now),
            entry.bid,
            counted
        ])?;
    let id = connection.last_insert_rowid();
    let mut settlements = Vec::with_capacity(members);
    for new in &entry.new {
        settlements.push(new.insert(connection, Some(process), Some(id), entry.now)?);
    }
    for settlement in again {
        connection
            .prepare_cached(
                "UPDATE settlements SET state = 'signed', latest = ?2, hash = NULL, holder = ?3 WHERE id = ?1",
            )?
            .execute(params![settlement, id, process.instance])?;
    }
    settlements.extend(again);
    let mut carry =
        connection.prepare_cached("INSERT INTO carried (carrier, place, settlement) VALUES (?1, ?2, ?3)")?;
    for (place, settlement) in (0_i64..).zip(settlements) {
        carry.execute(params![id, place, settlement])?;
    }
    Ok(())
}

pub(in super::super) fn sent(connection: &Connection, network: &Network, hash: &str) -> Result<(), Failure> {
    let id: Option<i64> = connection
        .prepare_cached("UPDATE transactions SET sent = 1 WHERE network = ?1 AND hash = ?2 RETURNING id")?
        .query_row([network.as_str(), hash], |row| row.get(0))
        .optional()?;
    let Some(id) = id else {
        let (found, expected) = ("not there".to_owned(), "recorded before it leaves");
        return Err(LedgerError::Conflict { key: hash.to_owned(), found, expected }.into());
    };
    connection
        .prepare_cached(
            "UPDATE settlements SET state = 'broadcast' WHERE latest = ?1 AND state = 'signed'
             AND id IN (SELECT settlement FROM carried WHERE carrier = ?1)",
        )?
        .execute([id])?;
    Ok(())
}
