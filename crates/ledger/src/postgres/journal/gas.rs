//! What was spent on gas, by the hour.

use std::collections::BTreeMap;

use tollway_protocol::door::UnixTime;

use super::super::failure::{Failure, get};
use super::super::session::Session;
use super::super::{stored, unsigned};

/// Hours back over which the budget runs, besides the one that it is now.
const HOURS: i64 = 24;
/// More gwei than any transaction costs: sums of such stay within what a row can hold.
const MOST: i64 = 1 << 53;

/// An amount as a row keeps it.
pub(super) fn gwei(amount: u64) -> i64 {
    stored(amount).min(MOST)
}

/// The hour of a time.
pub(super) fn hour(time: UnixTime) -> i64 {
    stored(time.0) / 3_600
}

pub(super) async fn spent(db: &Session, network: &str, now: UnixTime) -> Result<u64, Failure> {
    let hour = hour(now);
    let sql = "SELECT gwei FROM gas WHERE network = $1 AND hour BETWEEN $2 AND $3";
    let mut sum = 0_u64;
    for row in db.query(sql, &[&network, &hour.saturating_sub(HOURS), &hour]).await? {
        sum = sum.saturating_add(unsigned(get(&row, "gwei")?));
    }
    Ok(sum)
}

/// Until the transaction ends nobody else may add to what a network costs on the strength of a look at it.
pub(super) async fn lock(db: &Session, network: &str) -> Result<(), Failure> {
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' gas ' || $1::text, 0))";
    db.query(sql, &[&network]).await?;
    Ok(())
}

/// What is to be added to hours, or taken from them.
#[derive(Default)]
pub(super) struct Changes(BTreeMap<i64, i64>);

impl Changes {
    pub(super) fn add(&mut self, hour: i64, gwei: i64) {
        let sum = self.0.entry(hour).or_default();
        *sum = sum.saturating_add(gwei);
    }

    /// Writes them, hour by hour in their order.
    pub(super) async fn write(self, db: &Session, network: &str) -> Result<(), Failure> {
        let (hours, gwei): (Vec<i64>, Vec<i64>) = self.0.into_iter().filter(|(_, gwei)| *gwei != 0).unzip();
        if hours.is_empty() {
            return Ok(());
        }
        // Nothing is taken from an hour that nothing was added to.
        let sql = "INSERT INTO gas (network, hour, gwei)
                   SELECT $1::text, c.hour, c.gwei FROM unnest($2::int8[], $3::int8[]) AS c (hour, gwei) ORDER BY c.hour
                   ON CONFLICT (network, hour) DO UPDATE SET gwei = greatest(gas.gwei + excluded.gwei, 0)";
        db.execute(sql, &[&network, &hours, &gwei]).await?;
        Ok(())
    }
}
