//! What has to hold on an EVM chain.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use tollway_evm::abi::TransferWithAuthorization;
use tollway_ledger::JournalState;

use super::canon::Paid;
use super::purse::SELLERS;
use super::{Evm, network};
use crate::oracle::{Birth, Call, Oracle};
use crate::side::Broken;
use crate::store::{Tables, Tx};
use crate::world::World;

/// Whether it is just this payment.
pub(super) fn is_it(paid: &Paid, t: &TransferWithAuthorization) -> bool {
    paid.to == t.to && paid.value == t.value
}

/// S1, S2, S4.
pub(super) fn success(oracle: &mut Oracle<Evm>, call: &Call<'_, Evm>, transaction: &str) -> Option<Broken> {
    let (t, key) = (&call.wish.transfer, &call.wish.key);
    let all = oracle.canon.ever.get(&(t.from, t.nonce));
    let made = all.and_then(|all| all.iter().find(|paid| paid.hash.to_string() == transaction)).cloned();
    let Some(paid) = made else {
        let text = format!("{key} is told to be settled in {transaction}, which does not pay it");
        return Some(("S1", text));
    };
    let terms = (t.to, t.value);
    let first = *oracle.notes.entry((paid.id, paid.hash)).or_insert(terms);
    if first != terms {
        return Some(("S2", format!("{transaction} was delivered for twice: {first:?} and {terms:?}")));
    }
    let is_other = (paid.to, paid.value) != terms;
    is_other.then(|| ("S4", format!("{transaction} paid {} to {}, asked was {terms:?}", paid.value, paid.to)))
}

/// S11: what our accounts paid out for gas is what the store knows of.
pub(super) fn conserves(oracle: &Oracle<Evm>, tables: &Tables) -> Option<Broken> {
    let mut unknown = None;
    for signer in &oracle.limits.signers {
        for sent in oracle.canon.of(*signer) {
            let hash = sent.hash.to_string();
            let Some(tx) = tables.txs.iter().find(|tx| tx.signed.hash == hash) else {
                unknown = Some(format!("{signer} sent {hash}, which no row tells of"));
                continue;
            };
            if sent.fee > U256::from(tx.bid) * U256::from(1_000_000_000u64) {
                unknown = Some(format!("{hash} cost {} wei, {} gwei were bid", sent.fee, tx.bid));
            }
        }
    }
    unknown.map(|text| ("S11", text))
}

/// V3: nonces that were given out are spent.
pub(super) fn idle(world: &World<Evm>, oracle: &Oracle<Evm>, tables: &Tables) -> Vec<String> {
    let mut idle = Vec::new();
    for signer in &oracle.limits.signers {
        let given = tables.next_nonce(&network(), &signer.to_string()).unwrap_or(0);
        let mined = world.land.nonce(*signer);
        if mined < given {
            idle.push(format!("{signer} has {mined} of {given} transactions mined"));
        }
    }
    idle
}

/// S5, S11: the store and the chain say the same.
pub(super) fn balances(world: &World<Evm>, oracle: &Oracle<Evm>, tables: &Tables) -> Vec<Broken> {
    let canon = &oracle.canon;
    let mut wrong = Vec::new();
    let mut sums = [U256::ZERO; SELLERS.len()];
    let place = |to: Address| SELLERS.iter().position(|(seller, _)| *seller == to).unwrap();
    for (key, row) in &tables.rows {
        let Some(birth) = oracle.births.get(key) else { continue };
        let t = &birth.transfer;
        let id = (t.from, t.nonce);
        let paid = canon.paid.get(&id).filter(|paid| is_it(paid, t));
        match (row.state, paid) {
            (JournalState::Settled, Some(paid)) if row.hash == Some(paid.hash.to_string()) => {
                sums[place(t.to)] += paid.value;
            }
            (JournalState::Settled, paid) => {
                wrong.push(("S11", format!("{key} is settled in {:?}, on chain in {paid:?}", row.hash)));
            }
            (JournalState::Failed, Some(paid)) if !canon.shaken.contains(&id) => {
                wrong.push(("S5", format!("{key} has failed, and is paid in {}", paid.hash)));
            }
            _ => {}
        }
    }
    for paid in canon.paid.values() {
        // A payer may sign two payments with one nonce; the row tells of one of them only.
        let known = oracle.births.iter().any(|(key, Birth { transfer: t, .. })| {
            (t.from, t.nonce) == paid.id && is_it(paid, t) && tables.rows.contains_key(key)
        });
        if known {
            continue;
        }
        if oracle.limits.signers.contains(&paid.sender) {
            wrong.push(("S11", format!("{} paid {:?}, which no row tells of", paid.hash, paid.id)));
        } else {
            // A stranger submitted what the facilitator never took.
            sums[place(paid.to)] += paid.value;
        }
    }
    for ((seller, _), sum) in SELLERS.iter().zip(sums) {
        let has = world.land.tokens(*seller);
        if has != sum && wrong.is_empty() && canon.shaken.is_empty() {
            wrong.push(("S11", format!("{seller} has {has}, the ledger says {sum}")));
        }
    }
    for signer in &oracle.limits.signers {
        if world.land.tokens(*signer) != U256::ZERO {
            wrong.push(("S11", format!("{signer} holds tokens")));
        }
    }
    wrong
}

/// S3, S8, S11: a transaction was recorded.
pub(super) fn signed(world: &World<Evm>, oracle: &Oracle<Evm>, tables: &Tables, at: usize) -> Vec<Broken> {
    let (before, tx) = (&tables.txs[..at], &tables.txs[at]);
    let (signer, nonce) = (tx.signed.signer.clone(), tx.signed.nonce);
    let mut wrong = in_order(world, before, tx);
    for key in &tx.members {
        let alive = before.iter().find(|other| {
            let account = account(other);
            let is_other = other.signed.nonce != nonce || other.signed.signer != signer;
            let spent = oracle.canon.nonces.get(&account).copied().unwrap_or(0) > other.signed.nonce;
            other.members.contains(key) && is_other && !spent
        });
        if let Some(other) = alive {
            let text = format!(
                "{key} is signed for under nonce {nonce}, while {:?} may be mined",
                other.signed.nonce
            );
            wrong.push(("S3", text));
        }
    }
    wrong.extend(within_budget(oracle.limits.budget, tables, tx));
    wrong
}

fn account(tx: &Tx) -> Address {
    serde_json::from_value(tx.signed.signer.clone().into()).unwrap()
}

/// S8: nonces come in order, and belong to one intent.
fn in_order(world: &World<Evm>, before: &[Tx], tx: &Tx) -> Vec<Broken> {
    let theirs = || before.iter().filter(|other| other.signed.signer == tx.signed.signer);
    let (account, nonce) = (account(tx), tx.signed.nonce);
    let next = theirs().map(|other| other.signed.nonce + 1).max();
    let next = next.unwrap_or_else(|| world.land.nonce(account));
    let mut wrong = Vec::new();
    if nonce > next {
        wrong.push(("S8", format!("nonce {nonce} of {account} was given out, {next} was the next")));
    }
    let first = theirs().find(|other| other.signed.nonce == nonce);
    if first.is_some_and(|first| tx.members.iter().any(|key| !first.members.contains(key))) {
        wrong.push(("S8", format!("nonce {nonce} of {account} has two intents")));
    }
    wrong
}

/// S11: all that is bid together is within the day's budget.
fn within_budget(budget: u64, tables: &Tables, tx: &Tx) -> Option<Broken> {
    let mut nonces: BTreeMap<(&str, u64), (u64, Option<u64>)> = BTreeMap::new();
    for other in &tables.txs {
        let place = nonces.entry((&other.signed.signer, other.signed.nonce)).or_default();
        place.0 = place.0.max(other.bid);
        place.1 = place.1.or(other.mined.map(|(_, fee)| fee));
    }
    let same = |other: &&Tx| other.signed.signer == tx.signed.signer && other.signed.nonce == tx.signed.nonce;
    let before = tables.txs.iter().take_while(|other| other.signed.hash != tx.signed.hash);
    if before.filter(same).any(|other| other.bid >= tx.bid) {
        // It takes another's place and can't cost more; a reorg may have brought back more bids than the day has.
        return None;
    }
    let all: u64 = nonces.values().map(|(bid, fee)| fee.unwrap_or(*bid)).sum();
    let is_over = all.saturating_sub(tx.bid) >= budget;
    is_over.then(|| ("S11", format!("{} was signed when {all} gwei of {budget} were bid", tx.signed.hash)))
}
