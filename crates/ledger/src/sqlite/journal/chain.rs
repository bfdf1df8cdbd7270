//! What a look at the chain found.

use rusqlite::{Connection, OptionalExtension as _, params};
use tollway_protocol::Network;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;

use super::super::lease::Lease as Process;
use super::super::{Failure, seconds};
use super::{conflict, gas, signed_number, take};
use crate::LedgerError;
use crate::journal::{Ending, Mined};

pub(in super::super) fn finish(
    connection: &Connection,
    network: &Network,
    mined: &[Mined],
    endings: &[(PaymentKey, Ending)],
    now: UnixTime,
) -> Result<Vec<Result<(), LedgerError>>, Failure> {
    for found in mined {
        mine(connection, network, found)?;
    }
    let mut answers = Vec::with_capacity(endings.len());
    for (key, ending) in endings {
        answers.push(match end(connection, network, key, ending, now) {
            Ok(()) => Ok(()),
            // A conflict is found before anything is written.
            Err(Failure::Ledger(error)) => Err(error),
            Err(error) => return Err(error),
        });
    }
    Ok(answers)
}

fn end(
    connection: &Connection,
    network: &Network,
    key: &PaymentKey,
    ending: &Ending,
    now: UnixTime,
) -> Result<(), Failure> {
    let expected = "unfinished, or ended the same way";
    let Some(head) = take::head(connection, key)? else { return Err(conflict(key, "not there", expected)) };
    if head.network != network.as_str() {
        return Err(conflict(key, format!("on {}", head.network), "on the network that was looked at"));
    }
    let (state, hash, block, reason, message) = match ending {
        Ending::Settled { hash, block } => ("settled", Some(hash), Some(signed_number(*block)), None, None),
        Ending::Failed { reason, message, hash } => {
            ("failed", hash.as_ref(), None, Some(reason.as_str()), Some(message))
        }
    };
    if !head.is_finished() {
        connection
            .prepare_cached(
                "UPDATE settlements SET state = ?2, hash = ?3, block = ?4, reason = ?5, message = ?6,
                     is_final = (?2 = 'failed'), ended = ?7, holder = NULL
                 WHERE id = ?1",
            )?
            .execute(params![head.id, state, hash, block, reason, message, seconds(now)])?;
        return Ok(());
    }
    if head.state != state || head.hash.as_ref() != hash || head.reason.as_deref() != reason {
        let found = format!("{} in {}", head.state, head.hash.as_deref().unwrap_or("no transaction"));
        return Err(conflict(key, found, expected));
    }
    if block > head.block && !head.is_final {
        connection
            .prepare_cached("UPDATE settlements SET block = ?2 WHERE id = ?1")?
            .execute(params![head.id, block])?;
    }
    Ok(())
}

/// A transaction's row, as far as mining it matters.
struct Ours {
    id: i64,
    signer: String,
    nonce: i64,
    hour: i64,
    block: Option<i64>,
}

fn mine(connection: &Connection, network: &Network, found: &Mined) -> Result<(), Failure> {
    let ours: Option<Ours> = connection
        .prepare_cached(
            "SELECT id, signer, nonce, hour, block FROM transactions WHERE network = ?1 AND hash = ?2",
        )?
        .query_row([network.as_str(), &found.hash], |row| {
            Ok(Ours {
                id: row.get(0)?,
                signer: row.get(1)?,
                nonce: row.get(2)?,
                hour: row.get(3)?,
                block: row.get(4)?,
            })
        })
        .optional()?;
    let Some(ours) = ours else { return Ok(()) };
    let block = signed_number(found.block);
    if ours.block.is_some_and(|known| known > block) {
        return Ok(());
    }
    // Of a nonce only one transaction is mined: what it cost is all that counts for the nonce.
    for rival in under(connection, network, &ours)? {
        // Found again where it was, what reverted in it has reverted.
        let is_again = rival.id == ours.id && ours.block == Some(block);
        if rival.mined && !is_again {
            clear_reverts(connection, rival.id)?;
        }
        gas::add(connection, network.as_str(), rival.hour, rival.counted.saturating_neg())?;
        connection
            .prepare_cached("UPDATE transactions SET counted = 0, block = NULL, fee = NULL WHERE id = ?1")?
            .execute([rival.id])?;
    }
    let fee = gas::gwei(found.fee_gwei);
    connection
        .prepare_cached("UPDATE transactions SET counted = ?2, block = ?3, fee = ?2 WHERE id = ?1")?
        .execute(params![ours.id, fee, block])?;
    gas::add(connection, network.as_str(), ours.hour, fee)?;
    for key in &found.reverted {
        let settlement: Option<i64> = connection
            .prepare_cached(
                "UPDATE carried SET reverted = 1 WHERE carrier = ?1 AND reverted = 0
                 AND settlement = (SELECT id FROM settlements WHERE key = ?2) RETURNING settlement",
            )?
            .query_row(params![ours.id, key.as_str()], |row| row.get(0))
            .optional()?;
        if let Some(settlement) = settlement {
            connection
                .prepare_cached("UPDATE settlements SET reverts = reverts + 1 WHERE id = ?1")?
                .execute([settlement])?;
        }
    }
    Ok(())
}

/// A transaction under a nonce.
struct Rival {
    id: i64,
    hour: i64,
    counted: i64,
    mined: bool,
}

/// Those that count in the budget, or are mined.
fn under(connection: &Connection, network: &Network, ours: &Ours) -> Result<Vec<Rival>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT id, hour, counted, block IS NOT NULL FROM transactions
         WHERE network = ?1 AND signer = ?2 AND nonce = ?3 AND (counted > 0 OR block IS NOT NULL)",
    )?;
    let rivals = statement.query_map(params![network.as_str(), ours.signer, ours.nonce], |row| {
        Ok(Rival { id: row.get(0)?, hour: row.get(1)?, counted: row.get(2)?, mined: row.get(3)? })
    })?;
    Ok(rivals.collect::<Result<_, _>>()?)
}

/// Takes back what reverted in a transaction.
fn clear_reverts(connection: &Connection, transaction: i64) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "UPDATE settlements SET reverts = reverts - 1
             WHERE id IN (SELECT settlement FROM carried WHERE carrier = ?1 AND reverted = 1)",
        )?
        .execute([transaction])?;
    connection
        .prepare_cached("UPDATE carried SET reverted = 0 WHERE carrier = ?1 AND reverted = 1")?
        .execute([transaction])?;
    Ok(())
}

pub(in super::super) fn never_mined(
    connection: &Connection,
    network: &Network,
    hashes: &[String],
) -> Result<(), Failure> {
    let sql = "SELECT id, hour, counted FROM transactions WHERE network = ?1 AND hash = ?2 AND block IS NULL";
    for hash in hashes {
        let dead: Option<(i64, i64, i64)> = connection
            .prepare_cached(sql)?
            .query_row([network.as_str(), hash], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((id, hour, counted)) = dead else { continue };
        connection.prepare_cached("UPDATE transactions SET counted = 0 WHERE id = ?1")?.execute([id])?;
        gas::add(connection, network.as_str(), hour, counted.saturating_neg())?;
    }
    Ok(())
}

pub(in super::super) fn tell(
    connection: &Connection,
    key: &PaymentKey,
    asker: Option<[u8; 32]>,
) -> Result<bool, Failure> {
    let told = connection
        .prepare_cached(
            "UPDATE settlements SET told = 1, asker = coalesce(asker, ?2)
             WHERE key = ?1 AND state = 'settled' AND (asker = ?2 OR (asker IS NULL AND told = 0))",
        )?
        .execute(params![key.as_str(), asker])?;
    if told == 1 {
        return Ok(true);
    }
    match take::head(connection, key)? {
        Some(head) if head.state == "settled" => Ok(false),
        Some(head) => Err(conflict(key, head.state, "settled")),
        None => Err(conflict(key, "not there", "settled")),
    }
}

pub(in super::super) fn reopen(
    connection: &Connection,
    process: &Process,
    keys: &[PaymentKey],
) -> Result<(), Failure> {
    for key in keys {
        let expected = "settled and not final";
        let Some(head) = take::head(connection, key)? else {
            return Err(conflict(key, "not there", expected));
        };
        if head.state != "settled" || head.is_final {
            let found = if head.is_final { format!("{} for good", head.state) } else { head.state };
            return Err(conflict(key, found, expected));
        }
    }
    for key in keys {
        // It may be in the list twice.
        let Some(head) = take::head(connection, key)?.filter(take::Head::is_finished) else { continue };
        connection
            .prepare_cached(
                "UPDATE settlements SET state = 'broadcast', block = NULL, ended = NULL, holder = ?2
                 WHERE id = ?1",
            )?
            .execute(params![head.id, process.instance])?;
        let gone: Vec<i64> = connection
            .prepare_cached(
                "SELECT t.id FROM carried c JOIN transactions t ON t.id = c.carrier
                 WHERE c.settlement = ?1 AND t.block >= ?2",
            )?
            .query_map(params![head.id, head.block], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for transaction in gone {
            unmine(connection, transaction)?;
        }
    }
    Ok(())
}

/// Makes a transaction one that may be mined: the highest bid under its nonce counts again.
fn unmine(connection: &Connection, id: i64) -> Result<(), Failure> {
    clear_reverts(connection, id)?;
    let (network, hour, counted, bid): (String, i64, i64, i64) = connection
        .prepare_cached(
            "SELECT t.network, t.hour, t.counted, max(o.bid) FROM transactions t
             JOIN transactions o ON o.network = t.network AND o.signer = t.signer AND o.nonce = t.nonce
             WHERE t.id = ?1",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    connection
        .prepare_cached("UPDATE transactions SET counted = ?2, block = NULL, fee = NULL WHERE id = ?1")?
        .execute([id, bid])?;
    gas::add(connection, &network, hour, bid.saturating_sub(counted))
}

pub(in super::super) fn finalize(
    connection: &Connection,
    network: &Network,
    block: u64,
    keys: &[PaymentKey],
) -> Result<u64, Failure> {
    let mut statement = connection.prepare_cached(
        "UPDATE settlements SET is_final = 1
         WHERE key = ?3 AND network = ?1 AND state = 'settled' AND is_final = 0 AND block <= ?2",
    )?;
    let mut finalized = 0_u64;
    for key in keys {
        let changed = statement.execute(params![network.as_str(), signed_number(block), key.as_str()])?;
        finalized = finalized.saturating_add(u64::try_from(changed).unwrap_or(u64::MAX));
    }
    Ok(finalized)
}
