//! What a seed decides before its run begins: how the facilitators are configured, and what goes wrong.

use crate::chance::Chance;
use crate::side::Side;

/// What may happen besides payments. A run has some of these only, so that each can be seen alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Strangers submit payments.
    FrontRuns,
    /// Payers cancel, drain their balances, or sign one payment twice.
    Payers,
    /// Blocks are undone.
    Reorgs,
    /// Nodes drop transactions.
    Drops,
    /// The price of gas rises.
    Fees,
    /// No blocks come for a while.
    Stalls,
    /// Clocks jump.
    Clocks,
    /// Replicas die and come back.
    Crashes,
    /// Replicas stand still and go on.
    Pauses,
    /// The store is away, slow, or does not answer.
    Store,
    /// Nodes are away, slow, or lose what is sent.
    Network,
    /// Nodes are behind, and lie.
    Lies,
}

/// A run's plan.
#[derive(Debug, Clone)]
pub struct Plan<O> {
    /// What goes wrong.
    pub troubles: Vec<Trouble>,
    /// How many accounts send.
    pub keys: usize,
    /// How many nodes each replica has.
    pub nodes: usize,
    /// How many payers there are.
    pub payers: usize,
    /// Actions until the faults stop.
    pub steps: u64,
    /// Milliseconds between blocks.
    pub block: u64,
    /// What only this chain has.
    pub own: O,
}

impl<O> Plan<O> {
    /// The plan that the dice say.
    #[must_use]
    pub fn draw<S: Side<Own = O>>(chance: &Chance) -> Self {
        let share = *chance.pick(&[0, 150, 300, 600]);
        Self {
            troubles: S::TROUBLES.iter().copied().filter(|_| chance.permille(share)).collect(),
            keys: *chance.pick(&[1, 1, 2, 3]),
            nodes: *chance.pick(&[1, 1, 2]),
            payers: *chance.pick(&[2, 3, 5]),
            steps: chance.between(15, 50),
            block: *chance.pick(S::BLOCKS),
            own: S::own(chance),
        }
    }

    /// Whether this goes wrong in the run.
    #[must_use]
    pub fn has(&self, trouble: Trouble) -> bool {
        self.troubles.contains(&trouble)
    }
}
