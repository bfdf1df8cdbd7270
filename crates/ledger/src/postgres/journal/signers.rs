//! Who may send from an account, and who takes over what is left.

use tollway_protocol::Network;

use super::super::failure::{Failure, get};
use super::super::instance::{Instance, other_lives};
use super::super::session::Session;
use super::read;
use crate::journal::{Lease, Record};

pub(super) async fn lease(
    db: &Session,
    me: &Instance,
    network: &Network,
    signer: &str,
) -> Result<Option<Lease>, Failure> {
    let sql = concat!(
        "INSERT INTO leases AS l (network, signer, holder, turn) VALUES ($3, lower($4), $1, 1)
         ON CONFLICT (network, signer) DO UPDATE
         SET holder = $1, turn = l.turn + CASE WHEN l.holder = $1 THEN 0 ELSE 1 END
         WHERE l.holder IS NULL OR NOT ",
        other_lives!("l.holder", "$1", "$2"),
        " RETURNING turn"
    );
    let row = db.row(sql, &[&me.id(), &me.clock(), &network.as_str(), &signer]).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Lease { network: network.clone(), signer: signer.to_owned(), turn: get(&row, "turn")? }))
}

/// Whether the lease is still this process's; nobody takes it before the transaction ends.
pub(super) async fn lock(db: &Session, me: &Instance, lease: &Lease) -> Result<bool, Failure> {
    let sql = "SELECT 1 FROM leases
               WHERE network = $1 AND signer = lower($2) AND holder = $3 AND turn = $4 FOR UPDATE";
    let row = db.row(sql, &[&lease.network.as_str(), &lease.signer, &me.id(), &lease.turn]).await?;
    Ok(row.is_some())
}

pub(super) async fn give_back(db: &Session, me: &Instance, lease: &Lease) -> Result<(), Failure> {
    let sql = "UPDATE leases SET holder = NULL
               WHERE network = $1 AND signer = lower($2) AND holder = $3 AND turn = $4";
    db.execute(sql, &[&lease.network.as_str(), &lease.signer, &me.id(), &lease.turn]).await?;
    Ok(())
}

pub(super) async fn take_over(
    db: &Session,
    me: &Instance,
    network: &Network,
    limit: u32,
) -> Result<Vec<Record>, Failure> {
    let sql = concat!(
        "UPDATE settlements SET holder = $1 WHERE id IN (
             SELECT s.id FROM settlements s
             WHERE s.network = $3 AND s.state IN ('prepared', 'signed', 'broadcast')
             AND (s.holder IS NULL OR (s.holder <> $1 AND NOT ",
        other_lives!("s.holder", "$1", "$2"),
        ")) AND NOT EXISTS (
                 SELECT 1 FROM transactions t JOIN leases l ON l.network = t.network AND l.signer = lower(t.signer)
                 WHERE t.id = s.latest AND ",
        other_lives!("l.holder", "$1", "$2"),
        ")
             ORDER BY s.id LIMIT $4 FOR UPDATE SKIP LOCKED
         ) RETURNING id"
    );
    let rows = db.query(sql, &[&me.id(), &me.clock(), &network.as_str(), &i64::from(limit)]).await?;
    let ids = rows.iter().map(|row| get(row, "id")).collect::<Result<Vec<i64>, _>>()?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    read::numbered(db, me, &ids).await
}
