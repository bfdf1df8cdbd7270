//! What changed in the store, compared with what may change: S3, S5, S7, S8, S10, S11.

use tollway_ledger::{JournalState, SignedTransaction};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;
use tollway_protocol::wire::PaymentRequest;

use super::{Birth, Oracle, Shadow};
use crate::side::{Canon as _, Side};
use crate::store::{Row, Tables};
use crate::world::World;

const DAY_SECONDS: u64 = 24 * 60 * 60;

impl<S: Side> Oracle<S> {
    /// A call of `replica`'s was executed.
    pub fn stored(&mut self, world: &World<S>, replica: usize, call: &'static str) {
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

    fn born(&mut self, world: &World<S>, tables: &Tables, replica: usize, key: &PaymentKey, row: &Row) {
        let request: PaymentRequest = serde_json::from_str(&row.request).unwrap();
        let transfer = S::decode(&request);
        let calls = self.open.get(key).copied().unwrap_or(0);
        self.births.insert(key.clone(), Birth { millis: world.millis(), replica, calls, transfer });
        if self.only_verified.contains(key) {
            self.breaks(world, "S7", format!("{key} was taken though it was only verified"));
        }
        let (asked, _) = self.asked.get(key).copied().unwrap_or_default();
        let before = self.reverts.get(&row.payer).map_or(0, |at| at.iter().filter(|at| **at < asked).count());
        // A process with a wrong clock counts the reverts of another day.
        let since = UnixTime(row.created.0.saturating_sub(DAY_SECONDS));
        let counted = tables.reverts(&S::network(), &row.payer, since);
        if (before as u64).min(counted) >= self.limits.reverts {
            self.breaks(world, "S11", format!("{key} was taken after {before} reverts of its payer"));
        }
    }

    fn count_reverts(&mut self, world: &World<S>, tables: &Tables) {
        let payers: std::collections::BTreeSet<_> =
            tables.rows.values().map(|row| row.payer.clone()).collect();
        for payer in payers {
            let count = tables.reverts(&S::network(), &payer, UnixTime(0));
            let times = self.reverts.entry(payer).or_default();
            times.resize(usize::try_from(count).unwrap(), world.millis());
        }
    }

    /// S10: states move as they may.
    fn moved(&mut self, world: &World<S>, key: &PaymentKey, was: &Shadow, now: &Shadow) {
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
        let transfer = self.births.get(key).map(|birth| &birth.transfer);
        let is_there = transfer.and_then(|transfer| self.canon.paid_in(transfer));
        was.hash.as_ref().is_some_and(|hash| self.canon.is_lost(hash)) || is_there != was.hash
    }

    /// S5: an end that is recorded is the chain's.
    fn ended(&mut self, world: &World<S>, key: &PaymentKey, now: &Shadow) {
        let Some(Birth { transfer, .. }) = self.births.get(key).cloned() else { return };
        if now.state == JournalState::Settled {
            let hash = now.hash.clone().unwrap_or_default();
            self.settled.insert((key.clone(), hash.clone()));
            if !self.canon.had(&transfer, &hash) {
                self.breaks(world, "S5", format!("{key} is settled in {hash}, which does not pay it"));
            }
        }
        if now.state == JournalState::Failed && self.canon.has(&transfer) {
            self.breaks(world, "S5", format!("{key} has failed, though it is paid"));
        }
        if let Some((rule, text)) = S::end(world, self, &transfer, now) {
            self.breaks(world, rule, text);
        }
    }

    /// S3, S8, S11: a transaction was recorded.
    fn signed(&mut self, world: &World<S>, tables: &Tables, at: usize) {
        let SignedTransaction { signer, nonce, hash, .. } = &tables.txs[at].signed;
        world.trace.note(&format!("   {hash} is nonce {nonce} of {signer}"));
        for (rule, text) in S::signed(world, self, tables, at) {
            self.breaks(world, rule, text);
        }
    }
}
