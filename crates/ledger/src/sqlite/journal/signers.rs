//! Who may send from an account, and who takes over what is left.

use rusqlite::{Connection, OptionalExtension as _, params};
use tollway_protocol::Network;

use super::super::Failure;
use super::super::lease::Lease as Process;
use super::read;
use crate::journal::{Lease, Record};

pub(in super::super) fn lease(
    connection: &Connection,
    process: &Process,
    network: &Network,
    signer: &str,
) -> Result<Option<Lease>, Failure> {
    let row: Option<(Option<Vec<u8>>, i64)> = connection
        .prepare_cached("SELECT holder, turn FROM leases WHERE network = ?1 AND signer = ?2")?
        .query_row([network.as_str(), signer], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let of = |turn| Some(Lease { network: network.clone(), signer: signer.to_owned(), turn });
    let last = match row {
        Some((Some(holder), turn)) if holder == process.instance => return Ok(of(turn)),
        Some((Some(holder), _)) if process.is_alive(connection, &holder)? => return Ok(None),
        Some((_, turn)) => turn,
        None => 0,
    };
    let turn = last.saturating_add(1);
    connection
        .prepare_cached(
            "INSERT INTO leases (network, signer, holder, turn) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (network, signer) DO UPDATE SET holder = ?3, turn = ?4",
        )?
        .execute(params![network.as_str(), signer, process.instance, turn])?;
    Ok(of(turn))
}

/// Whether the lease is still this process's.
pub(super) fn is_held(connection: &Connection, process: &Process, lease: &Lease) -> Result<bool, Failure> {
    let sql = "SELECT EXISTS (SELECT 1 FROM leases
               WHERE network = ?1 AND signer = ?2 AND holder = ?3 AND turn = ?4)";
    let of = params![lease.network.as_str(), lease.signer, process.instance, lease.turn];
    Ok(connection.prepare_cached(sql)?.query_row(of, |row| row.get(0))?)
}

pub(in super::super) fn give_back(
    connection: &Connection,
    process: &Process,
    lease: &Lease,
) -> Result<(), Failure> {
    let sql = "UPDATE leases SET holder = NULL
               WHERE network = ?1 AND signer = ?2 AND holder = ?3 AND turn = ?4";
    let of = params![lease.network.as_str(), lease.signer, process.instance, lease.turn];
    connection.prepare_cached(sql)?.execute(of)?;
    Ok(())
}

pub(in super::super) fn take_over(
    connection: &Connection,
    process: &Process,
    network: &Network,
    limit: u32,
) -> Result<Vec<Record>, Failure> {
    let sql = "SELECT s.id FROM settlements s LEFT JOIN transactions t ON t.id = s.latest
         WHERE s.network = ?1 AND s.state IN ('prepared', 'signed', 'broadcast')
         AND (s.holder IS NULL OR (
             s.holder <> ?2 AND NOT EXISTS (
                 SELECT 1 FROM instances i WHERE i.id = s.holder AND i.alive_until > ?3)))
         AND NOT EXISTS (
             SELECT 1 FROM leases l JOIN instances i ON i.id = l.holder
             WHERE l.network = s.network AND l.signer = t.signer AND l.holder <> ?2 AND i.alive_until > ?3)
         ORDER BY s.id LIMIT ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let ids = statement
        .query_map(params![network.as_str(), process.instance, process.now(), limit], |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?;
    let mut taken = Vec::with_capacity(ids.len());
    for id in ids {
        connection
            .prepare_cached("UPDATE settlements SET holder = ?2 WHERE id = ?1")?
            .execute(params![id, process.instance])?;
        taken.extend(read::numbered(connection, process, id)?);
    }
    Ok(taken)
}
