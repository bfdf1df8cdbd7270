//! Taking payments for settlement, and forgetting them.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;
use tollway_protocol::bind::{PaymentKey, Verified};
use tollway_protocol::door::UnixTime;

use super::super::failure::{Failure, get};
use super::super::instance::{Instance, other_lives};
use super::super::session::{Session, Values};
use super::super::store::Done;
use super::super::stored;
use super::{conflict, read, texts};
use crate::LedgerError;
use crate::digest::asker;
use crate::journal::Prepared;

/// Taken by whoever gives out numbers of records, until its transaction ends.
pub(super) const NUMBERS_SHARED: &str =
    "SELECT pg_advisory_xact_lock_shared(hashtextextended(current_schema() || ' numbers', 0))";
/// Waits for all of those.
pub(super) const NUMBERS_EXCLUSIVE: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' numbers', 0))";

/// What the row of a new settlement is made of.
#[derive(Debug)]
pub(super) struct New {
    pub(super) key: PaymentKey,
    pub(super) network: String,
    payer: String,
    request: String,
    pub(super) claim: Option<Vec<u8>>,
    asker: Option<[u8; 32]>,
}

impl New {
    pub(super) fn of(payment: &Verified) -> Result<Self, LedgerError> {
        let key = payment.key().clone();
        let request = serde_json::to_string(&payment.to_request())
            .map_err(|error| LedgerError::Damaged(format!("the request of {key}: {error}")))?;
        let payer = payment.effects().payer.as_str().to_owned();
        let (network, asker) =
            (payment.offer().network.as_str().to_owned(), asker(payment.idempotency_key()));
        Ok(Self { key, network, payer, request, claim: None, asker })
    }
}

/// Makes the rows of those that are not there, numbered in their order but locked in the order of their keys; says
/// which. `signed` is the transaction that carries them. The numbers' lock is to be held.
pub(super) async fn insert(
    db: &Session,
    new: &[New],
    holder: Option<&[u8]>,
    signed: Option<i64>,
    now: UnixTime,
) -> Result<HashMap<String, i64>, Failure> {
    let sql = "INSERT INTO settlements
                   (id, key, network, payer, state, holder, request, latest, created, claim, asker, told)
               SELECT n.id, n.key, n.network, n.payer,
                      CASE WHEN $6::int8 IS NULL THEN 'prepared' ELSE 'signed' END, $5::bytea, n.request, $6,
                      $7::int8, n.claim, n.asker, n.asker IS NOT NULL
               FROM (
                   SELECT nextval('settlements_id_seq') AS id, u.* FROM
                   unnest($1::text[], $2::text[], $3::text[], $4::text[], $8::bytea[], $9::bytea[])
                       AS u (key, network, payer, request, claim, asker)
               ) n ORDER BY n.key COLLATE \"C\"
               ON CONFLICT (key) DO NOTHING RETURNING key, id";
    let column = |of: fn(&New) -> &str| new.iter().map(of).collect::<Vec<_>>();
    let keys = column(|new| new.key.as_str());
    let (networks, payers) = (column(|new| &new.network), column(|new| &new.payer));
    let requests = column(|new| &new.request);
    let claims: Vec<_> = new.iter().map(|new| new.claim.as_deref()).collect();
    let askers: Vec<_> = new.iter().map(|new| new.asker.as_ref().map(<[u8; 32]>::as_slice)).collect();
    let values: Values<'_> =
        &[&keys, &networks, &payers, &requests, &holder, &signed, &stored(now.0), &claims, &askers];
    db.query(sql, values).await?.iter().map(|row| Ok((get(row, "key")?, get(row, "id")?))).collect()
}

pub(super) async fn prepare(
    db: &Session,
    me: &Instance,
    payments: &[New],
    held: bool,
    now: UnixTime,
) -> Result<Done<Vec<Prepared>>, Failure> {
    db.query(NUMBERS_SHARED, &[]).await?;
    let mut made = insert(db, payments, held.then_some(me.id()), None, now).await?;
    let mut found = HashMap::new();
    if made.len() < payments.len() {
        let keys: Vec<_> = payments.iter().map(|new| &new.key).collect();
        for record in read::settlements(db, me, &keys).await? {
            found.insert(record.key.as_str().to_owned(), record);
        }
    }
    let mut answers = Vec::with_capacity(payments.len());
    for new in payments {
        // The same payment twice in the list is new once.
        answers.push(if made.remove(new.key.as_str()).is_some() {
            Prepared::New
        } else {
            // Given back between the two looks.
            let record = found.get(new.key.as_str()).ok_or(Failure::Crossed)?;
            Prepared::Exists(Box::new(record.clone()))
        });
    }
    Ok(Done::Keep(answers))
}

/// What decides whether something may be done with a settlement.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: i64,
    pub(super) network: String,
    pub(super) state: String,
    pub(super) hash: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) block: Option<i64>,
    pub(super) is_final: bool,
    /// Whether another process that is alive works on it.
    pub(super) is_others: bool,
}

impl Head {
    pub(super) fn is_finished(&self) -> bool {
        matches!(self.state.as_str(), "settled" | "failed")
    }

    fn of(row: &Row) -> Result<(String, Self), Failure> {
        let head = Self {
            id: get(row, "id")?,
            network: get(row, "network")?,
            state: get(row, "state")?,
            hash: get(row, "hash")?,
            reason: get(row, "reason")?,
            block: get(row, "block")?,
            is_final: get(row, "is_final")?,
            is_others: get(row, "is_others")?,
        };
        Ok((get(row, "key")?, head))
    }
}

/// The settlements, locked until the transaction ends.
pub(super) async fn lock(
    db: &Session,
    me: &Instance,
    keys: &[&PaymentKey],
) -> Result<HashMap<String, Head>, Failure> {
    let sql = concat!(
        "SELECT s.key, s.id, s.network, s.state, s.hash, s.reason, s.block, s.is_final, coalesce(",
        other_lives!("s.holder", "$2", "$3"),
        ", false) AS is_others FROM settlements s WHERE s.key = ANY ($1) ORDER BY s.key FOR UPDATE OF s"
    );
    let keys = texts(keys.iter().copied().collect::<HashSet<_>>());
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    db.query(sql, &[&keys, &me.id(), &me.clock()]).await?.iter().map(Head::of).collect()
}

pub(super) async fn abandon(db: &Session, me: &Instance, key: &PaymentKey) -> Result<(), Failure> {
    let sql = concat!(
        "DELETE FROM settlements s WHERE s.key = $1 AND s.state = 'prepared'
         AND NOT EXISTS (SELECT 1 FROM carried c WHERE c.settlement = s.id) AND NOT coalesce(",
        other_lives!("s.holder", "$2", "$3"),
        ", false)"
    );
    if db.execute(sql, &[&key.as_str(), &me.id(), &me.clock()]).await? == 1 {
        return Ok(());
    }
    let sql = "SELECT s.state, (SELECT count(*) FROM carried c WHERE c.settlement = s.id) AS carriers
               FROM settlements s WHERE s.key = $1";
    let Some(row) = db.row(sql, &[&key.as_str()]).await? else { return Ok(()) };
    let (state, carriers): (String, i64) = (get(&row, "state")?, get(&row, "carriers")?);
    if state == "prepared" && carriers == 0 {
        return Err(conflict(key, "held by another process", "this one's or nobody's"));
    }
    Err(conflict(key, format!("{state} with {carriers} transactions"), "prepared with none"))
}

/// Makes nobody's what this process holds.
pub(super) async fn let_go(db: &Session, me: &Instance, key: &PaymentKey) -> Result<(), Failure> {
    let sql = "UPDATE settlements SET holder = NULL
               WHERE key = $1 AND holder = $2 AND state IN ('prepared', 'signed', 'broadcast')";
    db.execute(sql, &[&key.as_str(), &me.id()]).await?;
    Ok(())
}
