//! What has to hold on Solana.

use tollway_devnet::svm::Address;
use tollway_ledger::JournalState;
use tollway_protocol::{Reason, Refusal};

use super::Svm;
use super::canon::is_same;
use super::land::RICH;
use super::purse::{SELLERS, Transfer, token_account};
use crate::oracle::{Call, Oracle, Shadow};
use crate::side::{Broken, Canon as _};
use crate::store::{Row, Tables, Tx};
use crate::world::World;

/// Bits of a transaction's number that count; those above are a slot.
const COUNT_BITS: u32 = 24;
/// Hours back over which the budget runs, besides the one that it is now.
const HOURS: u64 = 24;

/// S1, S2, S4: success is told of what was confirmed, of this payment, and once.
pub(super) fn success(oracle: &mut Oracle<Svm>, call: &Call<'_, Svm>, transaction: &str) -> Option<Broken> {
    let (t, key) = (&call.wish.transfer, &call.wish.key);
    if !oracle.canon.ever.contains(&(transaction.to_owned(), false)) {
        return Some(("S1", format!("{key} is told to be settled in {transaction}, which paid nothing")));
    }
    if t.hash != transaction {
        return Some((
            "S4",
            format!("{key} is told to be settled in {transaction}, which pays something else"),
        ));
    }
    let (asker, was_told) = (&call.wish.asker, oracle.notes.contains_key(key));
    let first = oracle.notes.entry(key.clone()).or_insert_with(|| asker.clone());
    let is_again = was_told && (asker.is_none() || first != asker);
    is_again.then(|| ("S2", format!("{key} was told to be settled twice")))
}

/// Who comes second is told that it came second, unless it named the request as the first one did.
pub(super) fn is_no_failure(
    call: &Call<'_, Svm>,
    refusal: &Refusal,
    transaction: Option<&str>,
    row: Option<&Row>,
) -> bool {
    let is_told = |row: &Row| {
        let is_known = call.wish.asker.is_some() && row.asker == call.wish.asker;
        row.state == JournalState::Settled && row.hash.as_deref() == transaction && !is_known
    };
    refusal.reason == Reason::AlreadyUsed && row.is_some_and(is_told)
}

/// S5: what is recorded as failed has failed in a block, or can be in no block any more. V3: that comes of faults alone.
pub(super) fn end(world: &World<Svm>, oracle: &Oracle<Svm>, t: &Transfer, now: &Shadow) -> Option<Broken> {
    let has_failed = || oracle.canon.ever.contains(&(t.hash.clone(), true));
    if now.state != JournalState::Failed || has_failed() {
        return None;
    }
    let why = match world.land.landed(&t.hash) {
        Some(error) if error.is_null() => "is in a block",
        _ if world.land.is_alive(&t.blockhash) => "may still be in a block",
        _ if world.land.is_lasting(&t.blockhash) => {
            return Some(("V3", format!("{} was left to die in fair weather", t.hash)));
        }
        _ => return None,
    };
    Some(("S5", format!("{} has failed, and {why}", t.hash)))
}

/// S3, S8, S11: a transaction was recorded.
pub(super) fn signed(world: &World<Svm>, oracle: &Oracle<Svm>, tables: &Tables, at: usize) -> Vec<Broken> {
    let (before, tx) = (&tables.txs[..at], &tables.txs[at]);
    let mut wrong = Vec::new();
    let births = &oracle.births;
    for (key, birth) in tx.members.iter().filter_map(|key| births.get_key_value(key)) {
        if before.iter().any(|other| other.members.contains(key)) {
            wrong.push(("S3", format!("{key} is signed for twice")));
        }
        let rival = births.iter().find(|(other, theirs)| {
            let row = tables.rows.get(*other);
            *other != key
                && is_same(&theirs.transfer, &birth.transfer)
                && row.is_some_and(|row| row.state != JournalState::Failed)
        });
        if let Some((rival, _)) = rival {
            wrong.push(("S3", format!("{key} is signed for while {rival}, with its memo, may be paid")));
        }
        wrong.extend(numbered(world, before, tx, &birth.transfer));
    }
    let counts = |other: &&Tx| other.hour + HOURS >= tx.hour;
    let is_dead = |tx: &Tx| {
        let rows = tx.members.iter().filter_map(|key| tables.rows.get(key));
        tx.mined.is_none() && rows.into_iter().any(|row| row.state == JournalState::Failed)
    };
    let cost = |tx: &Tx| tx.mined.map_or(if is_dead(tx) { 0 } else { tx.bid }, |(_, fee)| fee);
    let fees = tables.txs.iter().filter(counts).map(cost);
    let (all, budget) = (fees.sum::<u64>(), oracle.limits.budget);
    if all > budget {
        let text = format!("{} was signed: {all} lamports of {budget} may be paid", tx.signed.hash);
        wrong.push(("S11", text));
    }
    wrong
}

/// S8: no number of a lane is used twice, and each tells a slot at which the blockhash was known.
fn numbered(world: &World<Svm>, before: &[Tx], tx: &Tx, t: &Transfer) -> Vec<Broken> {
    let (lane, number) = (&tx.signed.signer, tx.signed.nonce);
    let mut wrong = Vec::new();
    if before.iter().any(|other| other.signed.signer == *lane && other.signed.nonce == number) {
        wrong.push(("S8", format!("number {number} of {lane} is used twice")));
    }
    let (known, now) = (number >> COUNT_BITS, world.land.chain.slot());
    let first = world.land.life(&t.blockhash).map_or(0, |life| life.slot);
    if !(first..=now).contains(&known) {
        let text = format!("{number} of {lane} says slot {known}, its blockhash is of {first}, now is {now}");
        wrong.push(("S8", text));
    }
    wrong
}

/// S11: what our accounts paid for is what the store knows of.
pub(super) fn conserves(oracle: &Oracle<Svm>, tables: &Tables) -> Option<Broken> {
    let is_known = |hash: &&String| tables.txs.iter().any(|tx| tx.signed.hash == **hash);
    let unknown = oracle.canon.now.keys().find(|hash| !is_known(hash))?;
    Some(("S11", format!("we paid for {unknown}, which no row tells of")))
}

/// S5, S11: the store and the chain say the same.
pub(super) fn balances(world: &World<Svm>, oracle: &Oracle<Svm>, tables: &Tables) -> Vec<Broken> {
    let canon = &oracle.canon;
    let mut wrong = Vec::new();
    let mut sums = [0; SELLERS.len()];
    let place = |to: Address| SELLERS.iter().position(|(seller, _)| token_account(seller) == to).unwrap();
    for (key, row) in &tables.rows {
        let Some(t) = oracle.births.get(key).map(|birth| &birth.transfer) else { continue };
        match (row.state, canon.has(t)) {
            (JournalState::Settled, true) if row.hash.as_ref() == Some(&t.hash) => {}
            (JournalState::Settled, _) => {
                wrong.push(("S11", format!("{key} is settled in {:?}, which the chain has not", row.hash)));
            }
            (JournalState::Failed, true) if !canon.is_shaken(t) => {
                wrong.push(("S5", format!("{key} has failed, and is paid in {}", t.hash)));
            }
            _ => {}
        }
        if canon.has(t) {
            sums[place(t.to)] += t.value;
        }
    }
    for ((seller, _), sum) in SELLERS.iter().zip(sums) {
        let has = world.land.tokens(*seller);
        if has != sum {
            wrong.push(("S11", format!("{seller} has {has}, the ledger says {sum}")));
        }
    }
    for signer in &oracle.limits.signers {
        let lane = format!("{signer}/");
        let landed = tables.txs.iter().filter(|tx| canon.now.contains_key(&tx.signed.hash));
        let cost: u64 = landed.filter(|tx| tx.signed.signer.starts_with(&lane)).map(|tx| tx.bid).sum();
        let (spent, tokens) = (RICH - world.land.chain.balance(*signer), world.land.tokens(*signer));
        if (spent, tokens) != (cost, 0) {
            let text = format!("{signer} paid {spent}, the store says {cost}; it holds {tokens} tokens");
            wrong.push(("S11", text));
        }
    }
    wrong
}
