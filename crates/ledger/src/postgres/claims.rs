//! The seller's half in SQL: each statement is atomic by itself and says what it expects of the row.

use tokio_postgres::Row;
use tollway_protocol::bind::{Bound, PaymentKey};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Offer, Settlement};

use super::failure::{Failure, get};
use super::instance::{Instance, now, other_lives};
use super::lost::Left;
use super::session::{Session, Values};
use super::store::Done;
use super::{stored, text};
use crate::LedgerError;
use crate::claims::{Claim, Claimed, Paid, Recalled, RequestId, Turn};
use crate::digest::{named, presented, terms};

/// How many claims are forgotten in one statement.
pub(super) const AT_ONCE: u64 = 1_000;

/// How often a row may change hands while it is looked at.
const LOOKS: u32 = 100;

/// A claim to be made.
pub(super) struct New {
    bound: Bound,
    request: RequestId,
    turn: i64,
    keep_until: i64,
    terms: RequestId,
    presented: RequestId,
    offer: String,
}

impl New {
    pub(super) fn of(
        bound: Bound,
        request: RequestId,
        turn: i64,
        keep_until: UnixTime,
    ) -> Result<Self, LedgerError> {
        let offer = serde_json::to_string(bound.offer())
            .map_err(|error| LedgerError::Damaged(format!("the offer of {}: {error}", bound.key())))?;
        let (terms, presented) = (terms(&bound), presented(&bound));
        Ok(Self { bound, request, turn, keep_until: stored(keep_until.0), terms, presented, offer })
    }

    /// By a row that was made or taken. One that an earlier version made names no key.
    fn claimed(&self, row: &Row, transaction: Option<String>) -> Result<Claimed, Failure> {
        let bound = self.bound.clone().keyed(named(get(row, "idempotency_key")?)?);
        Ok(Claimed { bound, request: self.request, turn: self.turn, transaction })
    }
}

pub(super) async fn claim(db: &Session, me: &Instance, new: &New) -> Result<Claim, Failure> {
    for _ in 0..LOOKS {
        // Both leave together; the second one sees what the first one did.
        let (made, found) = futures_util::future::join(insert(db, me, new), find(db, me, new)).await;
        if let Some(row) = made? {
            return Ok(Claim::New(new.claimed(&row, None)?));
        }
        let Some(row) = found? else { continue };
        if let Some(claim) = look(db, me, new, &row).await? {
            return Ok(claim);
        }
    }
    let message = format!("{} changes hands faster than it can be read", new.bound.key());
    Err(LedgerError::Unavailable(message).into())
}

async fn insert(db: &Session, me: &Instance, new: &New) -> Result<Option<Row>, Failure> {
    // Each UUID has 122 bits of a secure source's.
    let sql = "INSERT INTO claims
                   (key, network, request, terms, state, holder, turn, keep_until, presented, offer,
                    idempotency_key)
               VALUES ($1, $2, $3, $4, 'claimed', $5, $6, $7, $8, $9,
                       gen_random_uuid()::text || gen_random_uuid()::text)
               ON CONFLICT (key) DO NOTHING RETURNING idempotency_key";
    let network = new.bound.offer().network.as_str();
    let (request, terms, presented) =
        (new.request.0.as_slice(), new.terms.0.as_slice(), new.presented.0.as_slice());
    let values: Values<'_> = &[
        &new.bound.key().as_str(),
        &network,
        &request,
        &terms,
        &me.id(),
        &new.turn,
        &new.keep_until,
        &presented,
        &new.offer,
    ];
    db.row(sql, values).await
}

async fn find(db: &Session, me: &Instance, new: &New) -> Result<Option<Row>, Failure> {
    let sql = concat!(
        "SELECT c.request, c.terms, c.presented, c.state, c.holder, c.turn, c.hash,
                coalesce(c.holder = $2, false) OR coalesce(",
        other_lives!("c.holder", "$2", "$3"),
        ", false) AS busy FROM claims c WHERE c.key = $1"
    );
    db.row(sql, &[&new.bound.key().as_str(), &me.id(), &me.clock()]).await
}

/// Says who has the row, or takes it if it is as it was seen. None when it is not.
async fn look(db: &Session, me: &Instance, new: &New, row: &Row) -> Result<Option<Claim>, Failure> {
    let (state, transaction): (String, Option<String>) = (get(row, "state")?, get(row, "hash")?);
    let is = |column: &str, id: &RequestId| Ok::<_, Failure>(get::<Vec<u8>>(row, column)? == id.0);
    if state == "delivered" {
        return Ok(Some(Claim::Spent { transaction }));
    }
    // Empty in what was released after it may have reached the facilitator: it is whoever's comes next, by its name.
    let is_free = get::<Vec<u8>>(row, "request")?.is_empty();
    let is_same = is("request", &new.request)? && is("terms", &new.terms)?;
    if !is_free && !is_same {
        return Ok(Some(Claim::Elsewhere { transaction }));
    }
    if get(row, "busy")? {
        return Ok(Some(Claim::Busy { transaction }));
    }
    // What is merely claimed was never verified: it is whoever's comes now.
    if state != "claimed" && !is("presented", &new.presented)? {
        return Ok(Some(Claim::Elsewhere { transaction }));
    }
    let sql =
        "UPDATE claims SET holder = $2, turn = $3, keep_until = greatest(keep_until, $4), presented = $5,
                   offer = CASE WHEN state = 'claimed' THEN $6 ELSE offer END, request = $10, terms = $11
               WHERE key = $1 AND state = $7 AND turn = $8 AND holder IS NOT DISTINCT FROM $9
               RETURNING hash, settlement, idempotency_key";
    let (turn, holder): (i64, Option<Vec<u8>>) = (get(row, "turn")?, get(row, "holder")?);
    let (key, presented) = (new.bound.key().as_str(), new.presented.0.as_slice());
    let (request, terms) = (new.request.0.as_slice(), new.terms.0.as_slice());
    let values: Values<'_> = &[
        &key,
        &me.id(),
        &new.turn,
        &new.keep_until,
        &presented,
        &new.offer,
        &state,
        &turn,
        &holder,
        &request,
        &terms,
    ];
    let Some(row) = db.row(sql, values).await? else { return Ok(None) };
    let claimed = new.claimed(&row, get(&row, "hash")?)?;
    Ok(Some(match (state.as_str(), get::<Option<String>>(&row, "settlement")?) {
        ("claimed", _) => Claim::New(claimed),
        ("settling", _) => Claim::Resume(claimed),
        ("settled", Some(text)) => {
            let settlement: Settlement = serde_json::from_str(&text)
                .map_err(|error| LedgerError::Damaged(format!("the settlement of {key}: {error}")))?;
            Claim::Paid(Box::new(Paid { claimed, settlement }))
        }
        (state, _) => return Err(LedgerError::Damaged(format!("the claim of {key} is {state}")).into()),
    }))
}

pub(super) async fn recall(db: &Session, key: &PaymentKey) -> Result<Option<Recalled>, Failure> {
    let sql = "SELECT offer, hash FROM claims WHERE key = $1 AND state <> 'claimed'";
    let Some(row) = db.row(sql, &[&key.as_str()]).await? else { return Ok(None) };
    let offer: Offer = serde_json::from_str(&get::<String>(&row, "offer")?)
        .map_err(|error| LedgerError::Damaged(format!("the offer of {key}: {error}")))?;
    Ok(Some(Recalled { offer, transaction: get(&row, "hash")? }))
}

/// Says that the one row was moved on, or how it was found instead.
async fn step(
    db: &Session,
    me: &Instance,
    turn: &Turn,
    changed: u64,
    expected: &'static str,
) -> Result<Done<()>, Failure> {
    if changed == 1 {
        return Ok(Done::Keep(()));
    }
    let sql = "SELECT state, coalesce(holder = $2 AND turn = $3, false) AS mine FROM claims WHERE key = $1";
    let row = db.row(sql, &[&turn.key.as_str(), &me.id(), &turn.number]).await?;
    let found = match row {
        None => "not there".to_owned(),
        Some(row) if get(&row, "mine")? => get(&row, "state")?,
        Some(row) => format!("{} and not held by this claim", get::<String>(&row, "state")?),
    };
    Err(LedgerError::Conflict { key: turn.key.to_string(), found, expected }.into())
}

pub(super) async fn settling(db: &Session, me: &Instance, turn: &Turn) -> Result<Done<()>, Failure> {
    let sql = "UPDATE claims SET state = 'settling'
               WHERE key = $1 AND holder = $2 AND turn = $3 AND state IN ('claimed', 'settling')";
    let changed = db.execute(sql, &[&turn.key.as_str(), &me.id(), &turn.number]).await?;
    step(db, me, turn, changed, "claimed").await
}

/// Takes a payment that is merely claimed along: once there is a transaction, releasing it would be wrong.
pub(super) async fn pending(
    db: &Session,
    me: &Instance,
    turn: &Turn,
    transaction: Option<&str>,
) -> Result<Done<()>, Failure> {
    let sql = "UPDATE claims SET state = 'settling', hash = coalesce($4, hash), holder = NULL
               WHERE key = $1 AND holder = $2 AND turn = $3 AND state IN ('claimed', 'settling')";
    let transaction = transaction.map(text);
    let changed = db.execute(sql, &[&turn.key.as_str(), &me.id(), &turn.number, &transaction]).await?;
    step(db, me, turn, changed, "settling").await
}

pub(super) async fn settled(
    db: &Session,
    me: &Instance,
    turn: &Turn,
    settlement: &str,
    transaction: Option<&str>,
) -> Result<Done<()>, Failure> {
    let sql = "UPDATE claims SET state = 'settled', settlement = $4, hash = $5
               WHERE key = $1 AND holder = $2 AND turn = $3 AND state IN ('claimed', 'settling')";
    let values: Values<'_> = &[&turn.key.as_str(), &me.id(), &turn.number, &settlement, &transaction];
    let changed = db.execute(sql, values).await?;
    step(db, me, turn, changed, "settling").await
}

pub(super) async fn deliver(db: &Session, me: &Instance, turn: &Turn) -> Result<Done<()>, Failure> {
    let sql = "UPDATE claims SET state = 'delivered'
               WHERE key = $1 AND holder = $2 AND turn = $3 AND state = 'settled'";
    let changed = db.execute(sql, &[&turn.key.as_str(), &me.id(), &turn.number]).await?;
    step(db, me, turn, changed, "settled").await
}

pub(super) async fn undelivered(db: &Session, me: &Instance, turn: &Turn) -> Result<Done<()>, Failure> {
    let sql = "UPDATE claims SET holder = NULL
               WHERE key = $1 AND holder = $2 AND turn = $3 AND state = 'settled'";
    let changed = db.execute(sql, &[&turn.key.as_str(), &me.id(), &turn.number]).await?;
    step(db, me, turn, changed, "settled").await
}

pub(super) async fn release(db: &Session, me: &Instance, turn: &Turn) -> Result<Done<()>, Failure> {
    let mine: Values<'_> = &[&turn.key.as_str(), &me.id(), &turn.number];
    // A copy of the request may be on its way still: whoever asks again is known by the same name.
    let keep = "UPDATE claims SET state = 'claimed', holder = NULL, hash = NULL, request = ''::bytea
                WHERE key = $1 AND holder = $2 AND turn = $3 AND state = 'settling'";
    if db.execute(keep, mine).await? == 1 {
        return Ok(Done::Keep(()));
    }
    let sql = "DELETE FROM claims WHERE key = $1 AND holder = $2 AND turn = $3 AND state = 'claimed'";
    let changed = db.execute(sql, mine).await?;
    step(db, me, turn, changed, "claimed or settling").await
}

/// Gives back what one claim holds, and no later one.
pub(super) async fn give_back(db: &Session, me: &Instance, left: &Left) -> Result<Done<()>, Failure> {
    let sql = "WITH unmade AS (
                   DELETE FROM claims WHERE key = $1 AND holder = $2 AND turn = $3 AND state = 'claimed'
               )
               UPDATE claims SET state = CASE state WHEN 'delivered' THEN 'settled' ELSE state END, holder = NULL
               WHERE key = $1 AND holder = $2 AND turn = $3
               AND (state IN ('settling', 'settled') OR ($4 AND state = 'delivered'))";
    db.execute(sql, &[&left.key.as_str(), &me.id(), &left.turn, &left.delivering]).await?;
    Ok(Done::Keep(()))
}

/// Forgets some of what was delivered, and of what was claimed without being charged by a process that is gone.
/// What was charged, or may have been, and has bought nothing yet stays for good.
pub(super) async fn forget(db: &Session, me: &Instance, now: UnixTime) -> Result<Done<u64>, Failure> {
    let sql = concat!(
        "DELETE FROM claims WHERE key IN (
             SELECT c.key FROM claims c
             WHERE c.keep_until < $1 AND c.state IN ('claimed', 'delivered') AND (
                 c.state = 'delivered' OR c.holder IS NULL OR (c.holder <> $2 AND NOT EXISTS (
                     SELECT 1 FROM instances i WHERE i.id = c.holder AND i.alive_until > ",
        now!("$3"),
        ")))
             ORDER BY c.keep_until LIMIT $4 FOR UPDATE OF c SKIP LOCKED)"
    );
    let at_once = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
    let forgotten = db.execute(sql, &[&stored(now.0), &me.id(), &me.clock(), &at_once]).await?;
    Ok(Done::Keep(forgotten))
}
