//! When the faults are over: V1, V3, and what only the end can tell of S5, S10 and S11.

use super::Oracle;
use crate::side::Side;
use crate::world::World;

/// Whether everything came to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did.
    Rests,
    /// Something is still on its way.
    Moves,
}

impl<S: Side> Oracle<S> {
    /// Whether every settlement has ended for good and every nonce is spent.
    #[must_use]
    pub fn rests(&self, world: &World<S>) -> Verdict {
        let tables = world.tables.lock();
        let rows = tables.rows.values().all(|row| row.is_final);
        let spent = S::idle(world, self, &tables).is_empty();
        if rows && spent { Verdict::Rests } else { Verdict::Moves }
    }

    /// V1, V3: not all came to rest in the time that it had; `calls` are not answered.
    pub fn is_stuck(&mut self, world: &World<S>, calls: usize) {
        let open: Vec<_> = {
            let tables = world.tables.lock();
            let open = tables.rows.iter().filter(|(_, row)| !row.is_finished());
            open.map(|(key, row)| format!("{key} is {:?}, held by {:?}", row.state, row.holder)).collect()
        };
        let idle = S::idle(world, self, &world.tables.lock());
        if !idle.is_empty() {
            self.breaks(world, "V3", idle.join("; "));
        } else if !open.is_empty() {
            self.breaks(world, "V1", open.join("; "));
        } else if calls > 0 {
            self.breaks(world, "V1", format!("{calls} calls are not answered"));
        } else {
            self.breaks(world, "V1", "what is settled does not become final".into());
        }
    }

    /// S5, S11: the store and the chain say the same.
    pub fn balances(&mut self, world: &World<S>) {
        self.looks(world);
        let wrong = S::balances(world, self, &world.tables.lock());
        for (rule, text) in wrong {
            self.breaks(world, rule, text);
        }
    }
}
