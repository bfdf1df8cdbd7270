//! What was spent on gas, by the hour.

use rusqlite::{Connection, OptionalExtension as _, params};
use tollway_protocol::Network;
use tollway_protocol::door::UnixTime;

use super::super::{Failure, seconds};
use super::unsigned;

/// Hours back over which the budget runs, besides the one that it is now.
const HOURS: i64 = 24;
/// More gwei than any transaction costs: sums of such stay within what a row can hold.
const MOST: i64 = 1 << 53;

/// An amount as a row keeps it.
pub(super) fn gwei(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(MOST).min(MOST)
}

/// The hour of a time.
pub(super) fn hour(time: UnixTime) -> i64 {
    seconds(time) / 3_600
}

pub(in super::super) fn spent(
    connection: &Connection,
    network: &Network,
    now: UnixTime,
) -> Result<u64, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT gwei FROM gas WHERE network = ?1 AND hour >= ?2")?;
    let since = hour(now).saturating_sub(HOURS);
    let rows = statement.query_map(params![network.as_str(), since], |row| row.get::<_, i64>(0))?;
    let mut sum = 0_u64;
    for gwei in rows {
        sum = sum.saturating_add(unsigned(gwei?));
    }
    Ok(sum)
}

/// Adds to an hour, or takes from it.
pub(super) fn add(connection: &Connection, network: &str, hour: i64, gwei: i64) -> Result<(), Failure> {
    if gwei == 0 {
        return Ok(());
    }
    let before: Option<i64> = connection
        .prepare_cached("SELECT gwei FROM gas WHERE network = ?1 AND hour = ?2")?
        .query_row(params![network, hour], |row| row.get(0))
        .optional()?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO gas (network, hour, gwei) VALUES (?1, ?2, ?3)")?
        .execute(params![network, hour, before.unwrap_or(0).saturating_add(gwei).max(0)])?;
    Ok(())
}
