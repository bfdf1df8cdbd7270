//! What changed in the store, compared with what may change: S3, S5, S7, S8, S10, S11.

use alloy_primitives::Address;
use tollway_evm::exact::Authorization;
use tollway_ledger::JournalState;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;
use tollway_protocol::wire::PaymentRequest;

use super::{Birth, Oracle, Shadow};
use crate::store::{Row, Tables, Tx};
use crate::world::{World, network};

const DAY_SECONDS: u64 = 24 * 60 * 60;

impl Oracle {
    /// A call of `replica`'s was executed.
    pub fn stored(&mut self, world: &World, replica: usize, call: &'static str) {
        if !matches!(call, "prepare" | "sign" | "sent" | "finish" | "reopen" | "finalize" | "abandon") {
            return;
        }
        self.canon.follow(&world.land);
        let tables = world.tables.lock();
        self.count_reverts(world, &tables);
        let gone: Vec<_> = self.rows.keys().filter(|key| !tables.rows.contains_key(*key)).cloned().collect();
        for key in gone {
            let was = self.rows.remove(&key);
            self.births.remove(&key);
            if was.is_some_and(|was| was.state != JournalState::Prepared) {
                self.breaks(world, "S10", format!("{key} was forgotten though it was signed for"));
            }
        }
        for (key, row) in &tables.rows {
            let now = Shadow { state: row.state, hash: row.hash.clone(), is_final: row.is_final };
            match self.rows.get(key) {
                Some(was) if *was == now => continue,
                Some(was) => {
                    let was = was.clone();
                    self.moved(world, key, &was, &now);
                }
                None => self.born(world, &tables, replica, key, row),
            }
            world.trace.note(&format!("   {key} {:?} {:?} final {}", now.state, now.hash, now.is_final));
            self.ended(world, key, &now);
            self.rows.insert(key.clone(), now);
        }
        for at in self.txs..tables.txs.len() {
            self.signed(world, &tables, at);
        }
        self.txs = tables.txs.len();
    }

    fn born(&mut self, world: &World, tables: &Tables, replica: usize, key: &PaymentKey, row: &Row) {
        let request: PaymentRequest = serde_json::from_str(&row.request).unwrap();
        let transfer = Authorization::decode(&request.payment_payload.payload).unwrap().transfer;
        let calls = self.open.get(key).copied().unwrap_or(0);
        self.births.insert(key.clone(), Birth { millis: world.millis(), replica, calls, transfer });
        if self.only_verified.contains(key) {
            self.breaks(world, "S7", format!("{key} was taken though it was only verified"));
        }
        let (asked, _) = self.asked.get(key).copied().unwrap_or_default();
        let before = self.reverts.get(&row.payer).map_or(0, |at| at.iter().filter(|at| **at < asked).count());
        // A process with a wrong clock counts the reverts of another day.
        let since = UnixTime(row.created.0.saturating_sub(DAY_SECONDS));
        let counted = tables.reverts(&network(), &row.payer, since);
        if (before as u64).min(counted) >= self.limits.reverts {
            self.breaks(world, "S11", format!("{key} was taken after {before} reverts of its payer"));
        }
    }

    fn count_reverts(&mut self, world: &World, tables: &Tables) {
        let payers: std::collections::BTreeSet<_> =
            tables.rows.values().map(|row| row.payer.clone()).collect();
        for payer in payers {
            let count = tables.reverts(&network(), &payer, UnixTime(0));
            let times = self.reverts.entry(payer).or_default();
            times.resize(usize::try_from(count).unwrap(), world.millis());
        }
    }

    /// S10: states move as they may.
    fn moved(&mut self, world: &World, key: &PaymentKey, was: &Shadow, now: &Shadow) {
        use JournalState::{Broadcast, Failed, Prepared, Settled, Signed};
        let may = match (was.state, now.state) {
            (Prepared, Prepared | Signed | Settled | Failed)
            | (Signed | Broadcast, Signed | Broadcast | Settled | Failed) => true,
            (Settled, Settled) => was.hash == now.hash && (now.is_final || !was.is_final),
            (Settled, Broadcast) => !was.is_final && self.was_undone(key, was),
            _ => false,
        };
        if !may {
            self.breaks(world, "S10", format!("{key} went from {was:?} to {now:?}"));
        }
    }

    /// Whether a reorg took the settlement's transaction out of the chain at any time.
    fn was_undone(&self, key: &PaymentKey, was: &Shadow) -> bool {
        let is_lost = |hash: &String| self.canon.lost.iter().any(|lost| lost.to_string() == *hash);
        let id = self.births.get(key).map(|birth| (birth.transfer.from, birth.transfer.nonce));
        let is_there = id.and_then(|id| self.canon.paid.get(&id)).map(|paid| paid.hash.to_string());
        was.hash.as_ref().is_some_and(is_lost) || is_there != was.hash
    }

    /// S5: an end that is recorded is the chain's.
    fn ended(&mut self, world: &World, key: &PaymentKey, now: &Shadow) {
        let Some(Birth { transfer: t, .. }) = self.births.get(key).cloned() else { return };
        let id = (t.from, t.nonce);
        let is_it = |paid: &crate::canon::Paid| paid.to == t.to && paid.value == t.value;
        if now.state == JournalState::Settled {
            let hash = now.hash.clone().unwrap_or_default();
            let was_paid = self
                .canon
                .ever
                .get(&id)
                .is_some_and(|all| all.iter().any(|paid| is_it(paid) && paid.hash.to_string() == hash));
            self.settled.insert((key.clone(), hash.clone()));
            if !was_paid {
                self.breaks(world, "S5", format!("{key} is settled in {hash}, which does not pay it"));
            }
        }
        if now.state == JournalState::Failed && self.canon.paid.get(&id).is_some_and(is_it) {
            self.breaks(world, "S5", format!("{key} has failed, though it is paid"));
        }
    }

    /// A transaction was recorded.
    fn signed(&mut self, world: &World, tables: &Tables, at: usize) {
        let (before, tx) = (&tables.txs[..at], &tables.txs[at]);
        let (signer, nonce) = (tx.signed.signer.clone(), tx.signed.nonce);
        world.trace.note(&format!("   {} is nonce {nonce} of {signer}", tx.signed.hash));
        self.in_order(world, before, tx);
        for key in &tx.members {
            let alive = before.iter().find(|other| {
                let account: Address = serde_json::from_value(other.signed.signer.clone().into()).unwrap();
                let is_other = other.signed.nonce != nonce || other.signed.signer != signer;
                let spent = self.canon.nonces.get(&account).copied().unwrap_or(0) > other.signed.nonce;
                other.members.contains(key) && is_other && !spent
            });
            if let Some(other) = alive {
                let text = format!(
                    "{key} is signed for under nonce {nonce}, while {:?} may be mined",
                    other.signed.nonce
                );
                self.breaks(world, "S3", text);
            }
        }
        self.within_budget(world, tables, tx);
    }

    /// S8: nonces come in order, and belong to one intent.
    fn in_order(&mut self, world: &World, before: &[Tx], tx: &Tx) {
        let theirs = || before.iter().filter(|other| other.signed.signer == tx.signed.signer);
        let next = theirs().map(|other| other.signed.nonce + 1).max();
        let account: Address = serde_json::from_value(tx.signed.signer.clone().into()).unwrap();
        let next = next.unwrap_or_else(|| world.land.nonce(account));
        if tx.signed.nonce > next {
            let text = format!("nonce {} of {account} was given out, {next} was the next", tx.signed.nonce);
            self.breaks(world, "S8", text);
        }
        let first = theirs().find(|other| other.signed.nonce == tx.signed.nonce);
        if first.is_some_and(|first| tx.members.iter().any(|key| !first.members.contains(key))) {
            let text = format!("nonce {} of {account} has two intents", tx.signed.nonce);
            self.breaks(world, "S8", text);
        }
    }

    /// S11: all that is bid together is within the day's budget.
    fn within_budget(&mut self, world: &World, tables: &Tables, tx: &Tx) {
        let mut nonces: std::collections::BTreeMap<(&str, u64), (u64, Option<u64>)> =
            std::collections::BTreeMap::new();
        for other in &tables.txs {
            let place = nonces.entry((&other.signed.signer, other.signed.nonce)).or_default();
            place.0 = place.0.max(other.bid);
            place.1 = place.1.or(other.mined.map(|(_, fee)| fee));
        }
        let same =
            |other: &&Tx| other.signed.signer == tx.signed.signer && other.signed.nonce == tx.signed.nonce;
        let before = tables.txs.iter().take_while(|other| other.signed.hash != tx.signed.hash);
        if before.filter(same).any(|other| other.bid >= tx.bid) {
            // It takes another's place and can't cost more; a reorg may have brought back more bids than the day has.
            return;
        }
        let all: u64 = nonces.values().map(|(bid, fee)| fee.unwrap_or(*bid)).sum();
        if all.saturating_sub(tx.bid) >= self.limits.gas_gwei {
            let text =
                format!("{} was signed when {all} gwei of {} were bid", tx.signed.hash, self.limits.gas_gwei);
            self.breaks(world, "S11", text);
        }
    }
}
