//! What a look at the chain found.

use std::collections::HashMap;

use tollway_protocol::Network;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;

use super::super::failure::{Failure, get};
use super::super::instance::Instance;
use super::super::session::{Session, Values};
use super::super::store::Done;
use super::super::{stored, text};
use super::take::{self, Head};
use super::{conflict, gas, texts};
use crate::LedgerError;
use crate::journal::{Ending, Mined};

pub(super) async fn finish(
    db: &Session,
    me: &Instance,
    network: &Network,
    mined: &[Mined],
    endings: &[(PaymentKey, Ending)],
    now: UnixTime,
) -> Result<Done<Vec<Result<(), LedgerError>>>, Failure> {
    let reverted = mined.iter().flat_map(|found| &found.reverted);
    let keys: Vec<_> = endings.iter().map(|(key, _)| key).chain(reverted).collect();
    let mut heads = take::lock(db, me, &keys).await?;
    let mut changes = gas::Changes::default();
    for found in mined {
        mine(db, network, found, &mut changes).await?;
    }
    changes.write(db, network.as_str()).await?;

    let mut ends = Ends::default();
    let mut answers = Vec::with_capacity(endings.len());
    for (key, ending) in endings {
        let head = heads.get_mut(key.as_str());
        answers.push(ends.decide(network, key, ending, head));
    }
    ends.write(db, now).await?;
    Ok(Done::Keep(answers))
}

/// An ending as a row keeps it.
struct End<'a> {
    state: &'static str,
    hash: Option<&'a str>,
    block: Option<i64>,
    reason: Option<&'a str>,
    message: Option<&'a str>,
}

impl<'a> From<&'a Ending> for End<'a> {
    fn from(ending: &'a Ending) -> Self {
        match ending {
            Ending::Settled { hash, block } => Self {
                state: "settled",
                hash: Some(hash),
                block: Some(stored(*block)),
                reason: None,
                message: None,
            },
            Ending::Failed { reason, message, hash } => Self {
                state: "failed",
                hash: hash.as_deref(),
                block: None,
                reason: Some(reason.as_str()),
                message: Some(message),
            },
        }
    }
}

/// What is to be written of the endings.
#[derive(Default)]
struct Ends<'a> {
    first: Vec<(i64, End<'a>)>,
    later: HashMap<i64, i64>,
}

impl<'a> Ends<'a> {
    fn decide(
        &mut self,
        network: &Network,
        key: &PaymentKey,
        ending: &'a Ending,
        head: Option<&mut Head>,
    ) -> Result<(), LedgerError> {
        let refuse =
            |found: String, expected| Err(LedgerError::Conflict { key: key.to_string(), found, expected });
        let expected = "unfinished, or ended the same way";
        let Some(head) = head else { return refuse("not there".into(), expected) };
        if head.network != network.as_str() {
            return refuse(format!("on {}", head.network), "on the network that was looked at");
        }
        let end = End::from(ending);
        if !head.is_finished() {
            end.state.clone_into(&mut head.state);
            (head.hash, head.reason) = (end.hash.map(text), end.reason.map(text));
            (head.block, head.is_final) = (end.block, end.state == "failed");
            self.first.push((head.id, end));
            return Ok(());
        }
        if head.state != end.state || head.hash != end.hash.map(text) || head.reason != end.reason.map(text) {
            let found = format!("{} in {}", head.state, head.hash.as_deref().unwrap_or("no transaction"));
            return refuse(found, expected);
        }
        if let Some(block) = end.block.filter(|block| Some(*block) > head.block && !head.is_final) {
            head.block = Some(block);
            self.later.insert(head.id, block);
        }
        Ok(())
    }

    async fn write(self, db: &Session, now: UnixTime) -> Result<(), Failure> {
        if !self.first.is_empty() {
            let sql =
                "UPDATE settlements s SET state = e.state, hash = e.hash, block = e.block, reason = e.reason,
                           message = e.message, is_final = (e.state = 'failed'), ended = $7, holder = NULL
                       FROM unnest($1::int8[], $2::text[], $3::text[], $4::int8[], $5::text[], $6::text[])
                           AS e (id, state, hash, block, reason, message)
                       WHERE s.id = e.id";
            let ids: Vec<_> = self.first.iter().map(|(id, _)| *id).collect();
            let column = |of: fn(&End<'a>) -> Option<&'a str>| {
                self.first.iter().map(|(_, end)| of(end).map(text)).collect::<Vec<_>>()
            };
            let states: Vec<_> = self.first.iter().map(|(_, end)| end.state).collect();
            let blocks: Vec<_> = self.first.iter().map(|(_, end)| end.block).collect();
            let (hashes, reasons) = (column(|end| end.hash), column(|end| end.reason));
            let messages = column(|end| end.message);
            let values: Values<'_> = &[&ids, &states, &hashes, &blocks, &reasons, &messages, &stored(now.0)];
            db.execute(sql, values).await?;
        }
        if !self.later.is_empty() {
            let (ids, blocks): (Vec<_>, Vec<_>) = self.later.into_iter().unzip();
            let sql = "UPDATE settlements s SET block = e.block FROM unnest($1::int8[], $2::int8[]) AS e (id, block)
                       WHERE s.id = e.id";
            db.execute(sql, &[&ids, &blocks]).await?;
        }
        Ok(())
    }
}

async fn mine(
    db: &Session,
    network: &Network,
    found: &Mined,
    changes: &mut gas::Changes,
) -> Result<(), Failure> {
    let sql = "SELECT t.id, t.hash = $2 AS is_it, t.hour, t.counted, t.block
               FROM transactions o JOIN transactions t
                   ON t.network = o.network AND lower(t.signer) = lower(o.signer) AND t.nonce = o.nonce
               WHERE o.network = $1 AND o.hash = $2 ORDER BY t.id FOR UPDATE OF t";
    let rows = db.query(sql, &[&network.as_str(), &found.hash]).await?;
    let (block, fee) = (stored(found.block), gas::gwei(found.fee_gwei));
    let (mut ours, mut mined, mut counting) = (None, Vec::new(), Vec::new());
    for row in &rows {
        let (id, hour, counted): (i64, i64, i64) = (get(row, "id")?, get(row, "hour")?, get(row, "counted")?);
        let known: Option<i64> = get(row, "block")?;
        let is_it: bool = get(row, "is_it")?;
        if is_it {
            if known.is_some_and(|known| known > block) {
                return Ok(());
            }
            ours = Some((id, hour));
        }
        // Found again where it was, what reverted in it has reverted.
        let is_again = is_it && known == Some(block);
        if known.is_some() && !is_again {
            mined.push(id);
        }
        counting.push((hour, counted));
    }
    let Some((id, hour)) = ours else { return Ok(()) };
    // Of a nonce only one transaction is mined: what it cost is all that counts for the nonce.
    for (hour, counted) in counting {
        changes.add(hour, counted.saturating_neg());
    }
    changes.add(hour, fee);
    clear_reverts(db, &mined).await?;
    let ids = rows.iter().map(|row| get(row, "id")).collect::<Result<Vec<i64>, _>>()?;
    let sql = "UPDATE transactions SET counted = CASE id WHEN $2 THEN $3::int8 ELSE 0 END,
                   block = CASE id WHEN $2 THEN $4::int8 END, fee = CASE id WHEN $2 THEN $3::int8 END
               WHERE id = ANY ($1)";
    db.execute(sql, &[&ids, &id, &fee, &block]).await?;
    if !found.reverted.is_empty() {
        let sql = "WITH marked AS (
                       UPDATE carried SET reverted = true WHERE carrier = $1 AND NOT reverted
                       AND settlement IN (SELECT id FROM settlements WHERE key = ANY ($2)) RETURNING settlement
                   )
                   UPDATE settlements SET reverts = reverts + 1 WHERE id IN (SELECT settlement FROM marked)";
        db.execute(sql, &[&id, &texts(&found.reverted)]).await?;
    }
    Ok(())
}

/// Takes back what reverted in transactions.
async fn clear_reverts(db: &Session, transactions: &[i64]) -> Result<(), Failure> {
    if transactions.is_empty() {
        return Ok(());
    }
    let sql = "WITH cleared AS (
                   UPDATE carried SET reverted = false WHERE carrier = ANY ($1) AND reverted RETURNING settlement
               )
               UPDATE settlements s SET reverts = s.reverts - c.times
               FROM (SELECT settlement, count(*) AS times FROM cleared GROUP BY settlement) c
               WHERE s.id = c.settlement";
    db.execute(sql, &[&transactions]).await?;
    Ok(())
}

pub(super) async fn never_mined(
    db: &Session,
    network: &Network,
    hashes: &[String],
) -> Result<Done<()>, Failure> {
    let sql = "WITH dead AS (
                   SELECT id, hour, counted FROM transactions
                   WHERE network = $1 AND hash = ANY ($2) AND block IS NULL ORDER BY id FOR UPDATE
               )
               UPDATE transactions t SET counted = 0 FROM dead d WHERE t.id = d.id
               RETURNING d.hour, d.counted AS bid";
    let mut changes = gas::Changes::default();
    for row in db.query(sql, &[&network.as_str(), &hashes]).await? {
        changes.add(get(&row, "hour")?, get::<i64>(&row, "bid")?.saturating_neg());
    }
    changes.write(db, network.as_str()).await?;
    Ok(Done::Keep(()))
}

pub(super) async fn tell(db: &Session, key: &PaymentKey, asker: Option<[u8; 32]>) -> Result<bool, Failure> {
    let asker = asker.as_ref().map(<[u8; 32]>::as_slice);
    let sql = "UPDATE settlements SET told = true, asker = coalesce(asker, $2::bytea)
               WHERE key = $1 AND state = 'settled' AND (asker = $2 OR (asker IS NULL AND NOT told))";
    if db.execute(sql, &[&key.as_str(), &asker]).await? == 1 {
        return Ok(true);
    }
    let sql = "SELECT state, coalesce(asker = $2::bytea, asker IS NULL AND NOT told) AS tellable
               FROM settlements WHERE key = $1";
    let Some(row) = db.row(sql, &[&key.as_str(), &asker]).await? else {
        return Err(conflict(key, "not there", "settled"));
    };
    let (state, tellable): (String, bool) = (get(&row, "state")?, get(&row, "tellable")?);
    match (state.as_str(), tellable) {
        ("settled", false) => Ok(false),
        // It settled between the two looks.
        ("settled", true) => Err(Failure::Crossed),
        _ => Err(conflict(key, state, "settled")),
    }
}

pub(super) async fn reopen(db: &Session, me: &Instance, keys: &[PaymentKey]) -> Result<Done<()>, Failure> {
    let heads = take::lock(db, me, &keys.iter().collect::<Vec<_>>()).await?;
    for key in keys {
        let expected = "settled and not final";
        let Some(head) = heads.get(key.as_str()) else { return Err(conflict(key, "not there", expected)) };
        if head.state != "settled" || head.is_final {
            let found = if head.is_final { format!("{} for good", head.state) } else { head.state.clone() };
            return Err(conflict(key, found, expected));
        }
    }
    let (ids, blocks): (Vec<_>, Vec<_>) = heads.values().map(|head| (head.id, head.block)).unzip();
    if ids.is_empty() {
        return Ok(Done::Undo(()));
    }
    let sql = "UPDATE settlements SET state = 'broadcast', block = NULL, ended = NULL, holder = $2
               WHERE id = ANY ($1)";
    db.execute(sql, &[&ids, &me.id()]).await?;
    let sql = "SELECT t.id, t.network, t.hour, t.counted, (
                   SELECT max(o.bid) FROM transactions o
                   WHERE o.network = t.network AND lower(o.signer) = lower(t.signer) AND o.nonce = t.nonce
               ) AS bid
               FROM transactions t WHERE EXISTS (
                   SELECT 1 FROM carried c JOIN unnest($1::int8[], $2::int8[]) AS e (id, block) ON e.id = c.settlement
                   WHERE c.carrier = t.id AND t.block >= e.block)
               ORDER BY t.id FOR UPDATE OF t";
    let rows = db.query(sql, &[&ids, &blocks]).await?;
    let mut changes: HashMap<String, gas::Changes> = HashMap::new();
    let (mut gone, mut bids) = (Vec::new(), Vec::new());
    for row in &rows {
        let (counted, bid): (i64, i64) = (get(row, "counted")?, get(row, "bid")?);
        changes.entry(get(row, "network")?).or_default().add(get(row, "hour")?, bid.saturating_sub(counted));
        gone.push(get::<i64>(row, "id")?);
        bids.push(bid);
    }
    clear_reverts(db, &gone).await?;
    // They may be mined again: the highest bid under each nonce counts.
    let sql = "UPDATE transactions t SET counted = e.bid, block = NULL, fee = NULL
               FROM unnest($1::int8[], $2::int8[]) AS e (id, bid) WHERE t.id = e.id";
    db.execute(sql, &[&gone, &bids]).await?;
    for (network, changes) in changes {
        changes.write(db, &network).await?;
    }
    Ok(Done::Keep(()))
}

pub(super) async fn finalize(
    db: &Session,
    network: &Network,
    block: u64,
    keys: &[PaymentKey],
) -> Result<u64, Failure> {
    let sql = "UPDATE settlements SET is_final = true WHERE id IN (
                   SELECT id FROM settlements
                   WHERE key = ANY ($3) AND network = $1 AND state = 'settled' AND NOT is_final AND block <= $2
                   ORDER BY key FOR UPDATE)";
    let keys: Vec<&str> = keys.iter().map(PaymentKey::as_str).collect();
    db.execute(sql, &[&network.as_str(), &stored(block), &keys]).await
}
