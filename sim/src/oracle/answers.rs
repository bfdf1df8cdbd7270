//! What payers are told, compared with the truth: S1, S2, S4, S5, S6, S9.

use std::sync::atomic::Ordering;

use tollway_ledger::JournalState;
use tollway_protocol::reason::Retry;
use tollway_protocol::scheme::Outcome;

use super::Oracle;
use crate::purse::Wish;
use crate::world::World;

/// A call to settle that was answered.
pub struct Call<'a> {
    /// By which replica.
    pub replica: usize,
    /// What for.
    pub wish: &'a Wish,
    /// When it came, in milliseconds.
    pub began: u64,
    /// Whether the caller waited for the answer.
    pub is_heard: bool,
}

impl Oracle {
    /// The replica answers.
    pub fn answered(&mut self, world: &World, call: &Call<'_>, outcome: &Outcome) {
        self.canon.follow(&world.land);
        world.trace.note(&format!("r{} answers {}: {outcome:?}", call.replica, call.wish.transfer.nonce));
        *self.open.entry(call.wish.key.clone()).or_default() -= 1;
        if !call.is_heard {
            return;
        }
        self.names(world, call, outcome);
        match outcome {
            Outcome::Settled { transaction } => self.told_settled(world, call, transaction),
            Outcome::NotSettled { refusal, .. } => {
                let is_terminal = matches!(refusal.reason.row().retry, Retry::Never | Retry::Fresh);
                self.told_failed(world, call, is_terminal);
            }
            Outcome::Charged { .. } => self.breaks(world, "S5", "an exact payment was metered".into()),
            Outcome::Pending { .. } => {}
        }
    }

    /// The seller delivers: S1, S2, S4, S9.
    fn told_settled(&mut self, world: &World, call: &Call<'_>, transaction: &str) {
        let (t, key) = (&call.wish.transfer, &call.wish.key);
        let all = self.canon.ever.get(&call.wish.id());
        let made = all.and_then(|all| all.iter().find(|paid| paid.hash.to_string() == transaction)).cloned();
        let Some(paid) = made else {
            self.breaks(
                world,
                "S1",
                format!("{key} is told to be settled in {transaction}, which does not pay it"),
            );
            return;
        };
        let place = (paid.id, paid.hash);
        let terms = (t.to, t.value);
        let first = *self.delivered.entry(place).or_insert(terms);
        if first != terms {
            self.breaks(
                world,
                "S2",
                format!("{transaction} was delivered for twice: {first:?} and {terms:?}"),
            );
        } else if (paid.to, paid.value) != terms {
            self.breaks(
                world,
                "S4",
                format!("{transaction} paid {} to {}, asked was {terms:?}", paid.value, paid.to),
            );
        } else if !self.settled.contains(&(key.clone(), transaction.to_owned())) {
            self.breaks(
                world,
                "S9",
                format!("{key} is told to be settled, which the store has no record of"),
            );
        }
    }

    /// S5: who is told that a payment failed may sign another. Who is told to ask again later is told that nothing
    /// happened: that replica did not take it then.
    fn told_failed(&mut self, world: &World, call: &Call<'_>, is_terminal: bool) {
        let key = &call.wish.key;
        let state = world.tables.lock().rows.get(key).map(|row| row.state);
        let is_ours = |birth: &super::Birth| birth.transfer == call.wish.transfer;
        let Some(birth) = self.births.get(key).filter(|birth| is_ours(birth)).cloned() else { return };
        let by_another = birth.millis >= call.began && birth.replica != call.replica;
        let by_this = birth.millis >= call.began && birth.replica == call.replica && birth.calls == 1;
        let is_wrong = if is_terminal { !by_another } else { by_this };
        if state.is_some_and(|state| state != JournalState::Failed) && is_wrong {
            self.breaks(world, "S5", format!("{key} is told to have failed, and is {state:?}"));
        }
    }

    /// S6: once a hash is named, every answer names it, or one that took its place.
    fn names(&mut self, world: &World, call: &Call<'_>, outcome: &Outcome) {
        let key = &call.wish.key;
        let is_ours = self.births.get(key).is_some_and(|birth| birth.transfer == call.wish.transfer);
        let (hash, may_be_silent) = match outcome {
            Outcome::Settled { transaction } => (Some(transaction), false),
            Outcome::Charged { transaction, .. } => (transaction.as_ref(), true),
            Outcome::NotSettled { transaction, refusal } => {
                let terminal = matches!(refusal.reason.row().retry, Retry::Never | Retry::Fresh);
                (transaction.as_ref(), !terminal)
            }
            Outcome::Pending { transaction, .. } => (transaction.as_ref(), false),
        };
        let Some(hash) = hash else {
            let is_fair = world.hurt[call.replica].load(Ordering::Relaxed) < call.began;
            // Who was asked before another replica took it may have answered before.
            let knows = |(millis, replica): &(u64, usize)| *millis < call.began || *replica == call.replica;
            if is_fair && is_ours && !may_be_silent && self.named.get(key).is_some_and(knows) {
                self.breaks(world, "S6", format!("{key} had a transaction, now it has none"));
            }
            return;
        };
        let tables = world.tables.lock();
        let is_signed = tables.carriers(key).any(|(_, tx)| {
            tables
                .under(&tx.network, &tx.signed.signer, tx.signed.nonce)
                .any(|at| tables.txs[at].signed.hash == *hash)
        });
        drop(tables);
        let ever = self.canon.ever.get(&call.wish.id()).into_iter().flatten();
        let is_paid = ever.map(|paid| paid.hash.to_string()).any(|paid| paid == *hash);
        let is_cancelled = self.canon.cancelled_in(call.wish.id()).any(|at| at.to_string() == *hash);
        if !is_signed && !is_paid && !is_cancelled {
            self.breaks(world, "S6", format!("{key} is said to be in {hash}, which is not about it"));
        }
        if is_ours {
            self.named.entry(key.clone()).or_insert((world.millis(), call.replica));
        }
    }
}
