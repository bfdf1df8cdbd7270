//! What payers are told, compared with the truth: S1, S2, S4, S5, S6, S9.

use std::sync::atomic::Ordering;

use tollway_ledger::JournalState;
use tollway_protocol::reason::Retry;
use tollway_protocol::scheme::Outcome;

use super::Oracle;
use crate::side::{Canon as _, Side};
use crate::wish::Wish;
use crate::world::World;

/// A call to settle that was answered.
pub struct Call<'a, S: Side> {
    /// By which replica.
    pub replica: usize,
    /// What for.
    pub wish: &'a Wish<S>,
    /// When it came, in milliseconds.
    pub began: u64,
    /// Whether the caller waited for the answer.
    pub is_heard: bool,
}

impl<S: Side> Oracle<S> {
    /// The replica answers.
    pub fn answered(&mut self, world: &World<S>, call: &Call<'_, S>, outcome: &Outcome) {
        self.canon.follow(&world.land);
        world.trace.note(&format!("r{} answers {}: {outcome:?}", call.replica, S::name(&call.wish.transfer)));
        *self.open.entry(call.wish.key.clone()).or_default() -= 1;
        if !call.is_heard {
            return;
        }
        self.names(world, call, outcome);
        match outcome {
            Outcome::Settled { transaction } => self.told_settled(world, call, transaction),
            Outcome::NotSettled { refusal, transaction } => {
                let row = world.tables.lock().rows.get(&call.wish.key).cloned();
                if S::is_no_failure(call, refusal, transaction.as_deref(), row.as_ref()) {
                    return;
                }
                let is_terminal = matches!(refusal.reason.row().retry, Retry::Never | Retry::Fresh);
                self.told_failed(world, call, is_terminal);
            }
            Outcome::Charged { .. } => self.breaks(world, "S5", "an exact payment was metered".into()),
            Outcome::Pending { .. } => {}
        }
    }

    /// The seller delivers: S1, S2, S4, S9.
    fn told_settled(&mut self, world: &World<S>, call: &Call<'_, S>, transaction: &str) {
        let key = &call.wish.key;
        if let Some((rule, text)) = S::success(self, call, transaction) {
            self.breaks(world, rule, text);
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
    fn told_failed(&mut self, world: &World<S>, call: &Call<'_, S>, is_terminal: bool) {
        let key = &call.wish.key;
        let state = world.tables.lock().rows.get(key).map(|row| row.state);
        let is_ours = |birth: &&super::Birth<S::Transfer>| birth.transfer == call.wish.transfer;
        let Some(birth) = self.births.get(key).filter(is_ours).cloned() else { return };
        let by_another = birth.millis >= call.began && birth.replica != call.replica;
        let by_this = birth.millis >= call.began && birth.replica == call.replica && birth.calls == 1;
        let is_wrong = if is_terminal { !by_another } else { by_this };
        if state.is_some_and(|state| state != JournalState::Failed) && is_wrong {
            self.breaks(world, "S5", format!("{key} is told to have failed, and is {state:?}"));
        }
    }

    /// S6: once a hash is named, every answer names it, or one that took its place.
    fn names(&mut self, world: &World<S>, call: &Call<'_, S>, outcome: &Outcome) {
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
        if !is_signed && !self.canon.is_about(&call.wish.transfer, hash) {
            self.breaks(world, "S6", format!("{key} is said to be in {hash}, which is not about it"));
        }
        if is_ours {
            self.named.entry(key.clone()).or_insert((world.millis(), call.replica));
        }
    }
}
