//! What is read.

use tokio_postgres::Row;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Code, Network};

use super::super::failure::{Failure, get};
use super::super::instance::{Instance, other_lives};
use super::super::session::{Session, Values};
use super::super::{stored, unsigned};
use super::texts;
use crate::LedgerError;
use crate::journal::{Attempt, Filter, Holder, JournalState, Record, SignedTransaction};

/// Statements that read settlements' rows with their latest transactions'. `$1` is this process, `$2` is its clock.
macro_rules! records {
    ($filter:literal) => {
        concat!(
            "SELECT s.id, s.key, s.network, s.payer, s.state, s.request, t.signer, t.nonce, t.hash AS latest_hash,
                    t.raw, coalesce(s.hash, t.hash) AS hash, s.block, s.is_final, s.reason, s.message,
                    (SELECT sum((m.fee + m.members - 1) / m.members)::int8
                     FROM carried c JOIN transactions m ON m.id = c.carrier
                     WHERE c.settlement = s.id AND m.fee IS NOT NULL) AS fee,
                    s.created, s.ended,
                    coalesce(s.holder = $1, false) AS is_this, coalesce(",
            other_lives!("s.holder", "$1", "$2"),
            ", false) AS is_other, s.told FROM settlements s LEFT JOIN transactions t ON t.id = s.latest ",
            $filter
        )
    };
}

macro_rules! attempts {
    ($filter:literal) => {
        concat!(
            "SELECT t.signer, t.nonce, t.hash AS latest_hash, t.raw, t.sent, t.replaced, t.block,
                    ARRAY(SELECT s.key FROM carried c JOIN settlements s ON s.id = c.settlement
                          WHERE c.carrier = t.id ORDER BY c.place) AS carries
             FROM transactions t ",
            $filter
        )
    };
}

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

fn transaction(row: &Row) -> Result<SignedTransaction, Failure> {
    Ok(SignedTransaction {
        signer: get(row, "signer")?,
        nonce: unsigned(get(row, "nonce")?),
        hash: get(row, "latest_hash")?,
        raw: get(row, "raw")?,
    })
}

fn record(row: &Row) -> Result<Record, Failure> {
    let key: String = get(row, "key")?;
    let (network, text): (String, String) = (get(row, "network")?, get(row, "state")?);
    let damaged = |what: &str| LedgerError::Damaged(format!("the settlement of {key} has {what}"));
    let number = |column| Ok::<_, Failure>(get::<Option<i64>>(row, column)?.map(unsigned));
    Ok(Record {
        id: get(row, "id")?,
        network: Network::new(&network).map_err(|error| damaged(&error.to_string()))?,
        payer: get(row, "payer")?,
        state: state(&text).ok_or_else(|| damaged("an unknown state"))?,
        request: get(row, "request")?,
        transaction: get::<Option<String>>(row, "signer")?.map(|_| transaction(row)).transpose()?,
        hash: get(row, "hash")?,
        block: number("block")?,
        is_final: get(row, "is_final")?,
        reason: get::<Option<String>>(row, "reason")?.map(|code| Code::new(&code)),
        message: get(row, "message")?,
        fee_gwei: number("fee")?,
        created: UnixTime(unsigned(get(row, "created")?)),
        ended: number("ended")?.map(UnixTime),
        holder: match (get(row, "is_this")?, get(row, "is_other")?) {
            (true, _) => Holder::This,
            (_, true) => Holder::Other,
            _ => Holder::Nobody,
        },
        told: get(row, "told")?,
        key: PaymentKey::stored(key),
    })
}

async fn records(db: &Session, sql: &'static str, values: Values<'_>) -> Result<Vec<Record>, Failure> {
    db.query(sql, values).await?.iter().map(record).collect()
}

/// The records that there are of these payments, in the order in which they are asked for.
pub(super) async fn settlements(
    db: &Session,
    me: &Instance,
    keys: &[&PaymentKey],
) -> Result<Vec<Record>, Failure> {
    let sql = records!(
        "JOIN unnest($3::text[]) WITH ORDINALITY AS u (key, place) ON u.key = s.key ORDER BY u.place"
    );
    records(db, sql, &[&me.id(), &me.clock(), &texts(keys.iter().copied())]).await
}

/// The settlements that hold these claims, in the order of the claims.
pub(super) async fn claimants(
    db: &Session,
    me: &Instance,
    network: &str,
    claims: &[Vec<u8>],
) -> Result<Vec<Record>, Failure> {
    let sql = records!(
        "JOIN unnest($4::bytea[]) WITH ORDINALITY AS u (claim, place) ON u.claim = s.claim
         WHERE s.network = $3 AND s.claim IS NOT NULL AND s.state <> 'failed' ORDER BY u.place"
    );
    records(db, sql, &[&me.id(), &me.clock(), &network, &claims]).await
}

pub(super) async fn numbered(db: &Session, me: &Instance, ids: &[i64]) -> Result<Vec<Record>, Failure> {
    records(db, records!("WHERE s.id = ANY ($3) ORDER BY s.id"), &[&me.id(), &me.clock(), &ids]).await
}

pub(super) async fn open(db: &Session, me: &Instance, network: &Network) -> Result<Vec<Record>, Failure> {
    let sql = records!(
        "WHERE s.id IN (
             SELECT id FROM settlements WHERE network = $3 AND state IN ('prepared', 'signed', 'broadcast')
             UNION ALL SELECT id FROM settlements WHERE network = $3 AND state = 'settled' AND NOT is_final
         ) ORDER BY s.id"
    );
    records(db, sql, &[&me.id(), &me.clock(), &network.as_str()]).await
}

pub(super) async fn unfinal(
    db: &Session,
    me: &Instance,
    network: &Network,
    block: u64,
    limit: u32,
) -> Result<Vec<Record>, Failure> {
    let sql = records!(
        "WHERE s.id IN (
             SELECT id FROM settlements
             WHERE network = $3 AND state = 'settled' AND NOT is_final AND block <= $4
             ORDER BY block, id LIMIT $5
         ) ORDER BY s.block, s.id"
    );
    let limit = i64::from(limit);
    records(db, sql, &[&me.id(), &me.clock(), &network.as_str(), &stored(block), &limit]).await
}

pub(super) async fn page(
    db: &Session,
    me: &Instance,
    filter: &Filter,
    after: i64,
    limit: u32,
) -> Result<Vec<Record>, Failure> {
    // A look at the last days does not read all that was before them.
    let sql = records!(
        "WHERE s.id > CASE WHEN $3::int8 = 0 AND $6::int8 > 0
             THEN coalesce((SELECT min(id) - 1 FROM settlements WHERE created >= $6), $3) ELSE $3 END
         AND ($4::text IS NULL OR s.network = $4) AND ($5::text IS NULL OR s.state = $5)
         AND s.created >= $6 AND s.created < $7
         ORDER BY s.id LIMIT $8"
    );
    let values: Values<'_> = &[
        &me.id(),
        &me.clock(),
        &after,
        &filter.network.as_ref().map(Network::as_str),
        &filter.state.map(name),
        &stored(filter.since.0),
        &stored(filter.until.0),
        &i64::from(limit),
    ];
    records(db, sql, values).await
}

async fn attempts(db: &Session, sql: &'static str, values: Values<'_>) -> Result<Vec<Attempt>, Failure> {
    let attempt = |row: &Row| {
        Ok(Attempt {
            transaction: transaction(row)?,
            carries: get::<Vec<String>>(row, "carries")?.into_iter().map(PaymentKey::stored).collect(),
            sent: get(row, "sent")?,
            replaced: get(row, "replaced")?,
            block: get::<Option<i64>>(row, "block")?.map(unsigned),
        })
    };
    db.query(sql, values).await?.iter().map(attempt).collect()
}

pub(super) async fn history(db: &Session, key: &PaymentKey) -> Result<Vec<Attempt>, Failure> {
    let sql = attempts!(
        "WHERE t.id IN (SELECT c.carrier FROM carried c JOIN settlements s ON s.id = c.settlement
         WHERE s.key = $1) ORDER BY t.id"
    );
    attempts(db, sql, &[&key.as_str()]).await
}

pub(super) async fn nonces(
    db: &Session,
    network: &Network,
    signer: &str,
    first: u64,
) -> Result<Vec<Attempt>, Failure> {
    let sql = attempts!(
        "WHERE t.network = $1 AND lower(t.signer) = lower($2) AND t.nonce >= $3 AND NOT t.replaced ORDER BY t.nonce"
    );
    attempts(db, sql, &[&network.as_str(), &signer, &stored(first)]).await
}

pub(super) async fn next_nonce(
    db: &Session,
    network: &Network,
    signer: &str,
) -> Result<Option<u64>, Failure> {
    let sql =
        "SELECT max(nonce) AS highest FROM transactions WHERE network = $1 AND lower(signer) = lower($2)";
    let row = db.row(sql, &[&network.as_str(), &signer]).await?;
    let highest: Option<i64> = row.map(|row| get(&row, "highest")).transpose()?.flatten();
    Ok(highest.map(|nonce| unsigned(nonce).saturating_add(1)))
}

pub(super) async fn reverts(
    db: &Session,
    network: &Network,
    payer: &str,
    since: UnixTime,
) -> Result<u64, Failure> {
    let sql = "SELECT sum(reverts)::int8 AS reverts FROM settlements
               WHERE network = $1 AND payer = $2 AND created >= $3 AND reverts > 0";
    let row = db.row(sql, &[&network.as_str(), &payer, &stored(since.0)]).await?;
    let sum: Option<i64> = row.map(|row| get(&row, "reverts")).transpose()?.flatten();
    Ok(sum.map_or(0, unsigned))
}
