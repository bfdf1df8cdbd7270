//! Many payments in a row, after which every number must agree: what was answered, what the chain has, what the
//! receiver holds, and what our ledger says.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use rusqlite::{Connection, OpenFlags};

use crate::blocks::Blocks;
use crate::chain::Chain;
use crate::flood::{Flood, Load, flood};
use crate::payments::PRICE;
use crate::peer::Peer;

/// What came of it.
pub struct Many {
    pub flood: Flood,
    /// What the receiver has more than before.
    pub earned: u64,
    /// Settlements that the ledger has more than before, by state; or why it could not be read.
    pub rows: Result<BTreeMap<String, i64>, String>,
}

impl Many {
    pub fn conserved(&self) -> bool {
        let payments = self.flood.settled as i64;
        let rows = self.rows.as_ref().is_ok_and(|rows| rows.iter().eq([(&"settled".to_owned(), &payments)]));
        rows && self.earned == PRICE * self.flood.settled as u64 && self.flood.settled == self.flood.told
    }
}

pub async fn many(chain: &mut Chain, blocks: &Blocks, peer: &Peer, load: Load) -> Result<Many> {
    let to = load.to;
    let before = rows(&peer.ledger);
    // What `flood` gives the receiver, so that its first payment costs what all others do.
    chain.give(&[to], 1).await?;
    let had = chain.balance(to).await?;
    let flood = flood(chain, blocks, peer, load).await?;
    let earned = chain.balance(to).await?.saturating_sub(had);
    let rows = before.and_then(|before| {
        let mut rows = rows(&peer.ledger)?;
        for (state, count) in before {
            *rows.entry(state).or_default() -= count;
        }
        rows.retain(|_, count| *count != 0);
        Ok(rows)
    });
    Ok(Many { flood, earned, rows: rows.map_err(|error| format!("{error:#}")) })
}

/// The ledger's settlements by their state.
fn rows(ledger: &Path) -> Result<BTreeMap<String, i64>> {
    let ledger = Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut query = ledger
        .prepare("SELECT state, count(*) FROM settlements GROUP BY state")
        .context("the ledger's tables are others than expected")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
