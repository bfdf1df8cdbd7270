//! Recording transactions before they leave.

use std::collections::HashSet;

use futures_util::future::try_join3;
use tokio_postgres::Row;
use tollway_protocol::Network;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;

use super::super::failure::{Failure, get};
use super::super::instance::Instance;
use super::super::session::{Session, Values};
use super::super::store::Done;
use super::super::unsigned;
use super::take::{self, New};
use super::{conflict, gas, read, signers};
use crate::LedgerError;
use crate::journal::{Batch, Lease, SignedTransaction, Signing};

/// A [`Batch`] that is to be recorded.
#[derive(Debug)]
pub(super) struct Entry {
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
    pub(super) fn new(lease: &Lease, batch: Batch, now: UnixTime) -> Result<Self, LedgerError> {
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

    fn nonce(&self) -> Result<i64, Failure> {
        i64::try_from(self.transaction.nonce)
            .map_err(|_| self.refuse("out of range".into(), "a nonce below 2^63"))
    }
}

pub(super) async fn sign(db: &Session, me: &Instance, entry: &Entry) -> Result<Done<Signing>, Failure> {
    if !signers::lock(db, me, &entry.lease).await? {
        return Ok(Done::Undo(Signing::Lost));
    }
    let new: Vec<_> = entry.new.iter().map(|new| &new.key).collect();
    let taken = if new.is_empty() { Vec::new() } else { read::settlements(db, me, &new).await? };
    if !taken.is_empty() {
        return Ok(Done::Undo(Signing::Taken(taken)));
    }
    // One that is made after this look crosses the insert below.
    if !entry.claims.is_empty() {
        let claimants = read::claimants(db, me, entry.network(), &entry.claims).await?;
        if !claimants.is_empty() {
            return Ok(Done::Undo(Signing::Claimed(claimants)));
        }
    }
    let nonce = entry.nonce()?;
    fits(entry)?;
    let again = members(db, me, entry).await?;
    let place = place(db, entry, nonce, &again).await?;
    if place.is_recorded {
        let sql = "UPDATE settlements SET holder = $2 WHERE id = ANY ($1)";
        db.execute(sql, &[&again, &me.id()]).await?;
        return Ok(Done::Keep(Signing::Done));
    }
    let extra = entry.bid.saturating_sub(place.counted).max(0);
    if extra > 0 {
        gas::lock(db, entry.network()).await?;
        let spent = gas::spent(db, entry.network(), entry.now).await?;
        if spent.saturating_add(unsigned(extra)) > entry.budget {
            return Ok(Done::Undo(Signing::OverBudget));
        }
    }
    record(db, me, entry, nonce, &again, extra).await?;
    Ok(Done::Keep(Signing::Done))
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
async fn members(db: &Session, me: &Instance, entry: &Entry) -> Result<Vec<i64>, Failure> {
    let heads = take::lock(db, me, &entry.again.iter().collect::<Vec<_>>()).await?;
    let mut ids = Vec::with_capacity(entry.again.len());
    for key in &entry.again {
        let expected = "unfinished, and this process's or nobody's";
        let Some(head) = heads.get(key.as_str()) else { return Err(conflict(key, "not there", expected)) };
        if head.network != entry.network() {
            return Err(conflict(key, format!("on {}", head.network), "on the lease's network"));
        }
        if head.is_finished() {
            return Err(conflict(key, head.state.as_str(), expected));
        }
        if head.is_others {
            return Err(conflict(key, "held by another process", expected));
        }
        ids.push(head.id);
    }
    let keys: Vec<&str> = entry.expected.iter().map(|(key, _)| key.as_str()).collect();
    if !keys.is_empty() {
        let sql = "SELECT s.key, t.hash FROM settlements s JOIN transactions t ON t.id = s.latest
                   WHERE s.key = ANY ($1)";
        let rows = db.query(sql, &[&keys]).await?;
        let mut latest = std::collections::HashMap::new();
        for row in &rows {
            latest.insert(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        }
        for (key, expected) in &entry.expected {
            let found = latest.get(key.as_str());
            if found != expected.as_ref() {
                let found = found.map_or("in no transaction".to_owned(), |hash| format!("in {hash}"));
                return Err(conflict(key, found, "in the transaction that the caller knows of"));
            }
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

/// A transaction that has the nonce, or the hash.
struct Known {
    is_same: bool,
    is_under: bool,
    nonce: i64,
    hash: String,
    block: Option<i64>,
    counted: i64,
    members: HashSet<i64>,
}

impl Known {
    fn of(row: &Row) -> Result<Self, Failure> {
        Ok(Self {
            is_same: get(row, "is_same")?,
            is_under: get(row, "is_under")?,
            nonce: get(row, "nonce")?,
            hash: get(row, "hash")?,
            block: get(row, "block")?,
            counted: get(row, "counted")?,
            members: get::<Vec<i64>>(row, "members")?.into_iter().collect(),
        })
    }
}

/// Checks that the nonce is free for this batch.
async fn place(db: &Session, entry: &Entry, nonce: i64, again: &[i64]) -> Result<Place, Failure> {
    let SignedTransaction { signer, hash, .. } = &entry.transaction;
    let sql = "SELECT t.hash = $4 AS is_same, lower(t.signer) = lower($2) AND t.nonce = $3 AS is_under,
                      t.nonce, t.hash, t.block, t.counted,
                      ARRAY(SELECT c.settlement FROM carried c WHERE c.carrier = t.id) AS members
               FROM transactions t WHERE t.network = $1
               AND ((lower(t.signer) = lower($2) AND t.nonce = $3) OR t.hash = $4) ORDER BY t.id";
    let rows = db.query(sql, &[&entry.network(), signer, &nonce, hash]).await?;
    let known = rows.iter().map(Known::of).collect::<Result<Vec<_>, _>>()?;
    if let Some(other) = known.iter().find(|known| !known.is_under) {
        let found = format!("given {hash}, which has nonce {}", other.nonce);
        return Err(entry.refuse(found, "given a new transaction"));
    }
    if let Some(spent) = known.iter().find(|known| known.block.is_some()) {
        return Err(entry.refuse(format!("spent by {}", spent.hash), "not spent"));
    }
    if let Some(first) = known.first()
        && (!entry.new.is_empty() || again.iter().any(|id| !first.members.contains(id)))
    {
        return Err(entry.refuse("that of other payments".into(), "unused, or these payments'"));
    }
    let same = known.iter().find(|known| known.is_same);
    if same.is_some_and(|same| same.members != again.iter().copied().collect()) {
        return Err(entry.refuse(format!("given {hash} with other payments"), "given it with the same"));
    }
    let counted = known.iter().fold(0_i64, |sum, known| sum.saturating_add(known.counted));
    Ok(Place { is_recorded: same.is_some(), counted })
}

/// Writes the transaction and all that depends on it.
async fn record(
    db: &Session,
    me: &Instance,
    entry: &Entry,
    nonce: i64,
    again: &[i64],
    counted: i64,
) -> Result<(), Failure> {
    let SignedTransaction { signer, hash, raw, .. } = &entry.transaction;
    let replace = "UPDATE transactions SET replaced = true
                   WHERE network = $1 AND lower(signer) = lower($2) AND nonce = $3 AND NOT replaced";
    db.execute(replace, &[&entry.network(), signer, &nonce]).await?;
    let sql = "INSERT INTO transactions (network, signer, nonce, hash, raw, members, hour, bid, counted)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id";
    let members = entry.new.len().saturating_add(again.len());
    let (members, hour) = (i64::try_from(members).unwrap_or(i64::MAX), gas::hour(entry.now));
    let values: Values<'_> =
        &[&entry.network(), signer, &nonce, hash, raw, &members, &hour, &entry.bid, &counted];
    let row = db.row(sql, values).await?.ok_or(Failure::Crossed)?;
    let id: i64 = get(&row, "id")?;

    let mut settlements = Vec::with_capacity(entry.new.len().saturating_add(again.len()));
    if !entry.new.is_empty() {
        db.query(take::NUMBERS_SHARED, &[]).await?;
        let made = take::insert(db, &entry.new, Some(me.id()), Some(id), entry.now).await?;
        for new in &entry.new {
            // Taken by another process since the look above.
            settlements.push(*made.get(new.key.as_str()).ok_or(Failure::Crossed)?);
        }
    }
    settlements.extend(again);
    carry(db, me, entry, id, &settlements, again, counted).await
}

async fn carry(
    db: &Session,
    me: &Instance,
    entry: &Entry,
    id: i64,
    settlements: &[i64],
    again: &[i64],
    counted: i64,
) -> Result<(), Failure> {
    let mut changes = gas::Changes::default();
    changes.add(gas::hour(entry.now), counted);
    let update = "UPDATE settlements SET state = 'signed', latest = $2, hash = NULL, holder = $3
                  WHERE id = ANY ($1)";
    let insert = "INSERT INTO carried (carrier, place, settlement)
                  SELECT $1::int8, u.place - 1, u.id FROM unnest($2::int8[]) WITH ORDINALITY AS u (id, place)";
    // They depend on nothing of each other's: sent at once, done in this order.
    let (update_values, insert_values): (Values<'_>, Values<'_>) =
        (&[&again, &id, &me.id()], &[&id, &settlements]);
    try_join3(
        db.execute(update, update_values),
        db.execute(insert, insert_values),
        changes.write(db, entry.network()),
    )
    .await?;
    Ok(())
}

pub(super) async fn sent(db: &Session, network: &Network, hash: &str) -> Result<Done<()>, Failure> {
    // The settlements are locked first, as everywhere.
    let sql = "SELECT s.id FROM transactions t JOIN settlements s ON s.latest = t.id
               WHERE t.network = $1 AND t.hash = $2 AND s.state = 'signed'
               AND s.id IN (SELECT c.settlement FROM carried c WHERE c.carrier = t.id)
               ORDER BY s.key FOR UPDATE OF s";
    db.query(sql, &[&network.as_str(), &hash]).await?;
    let sql = "UPDATE transactions SET sent = true WHERE network = $1 AND hash = $2 RETURNING id";
    let Some(row) = db.row(sql, &[&network.as_str(), &hash]).await? else {
        let (found, expected) = ("not there".to_owned(), "recorded before it leaves");
        return Err(LedgerError::Conflict { key: hash.to_owned(), found, expected }.into());
    };
    let id: i64 = get(&row, "id")?;
    let sql = "UPDATE settlements SET state = 'broadcast' WHERE latest = $1 AND state = 'signed'
               AND id IN (SELECT settlement FROM carried WHERE carrier = $1)";
    db.execute(sql, &[&id]).await?;
    Ok(Done::Keep(()))
}
