//! What a seed decides before its run begins: how the facilitators are configured, and what goes wrong.

use std::time::Duration;

use alloy_primitives::U256;
use tollway_evm::facilitator::ChainConfig;

use crate::chance::Chance;
use crate::world::network;

/// What may happen besides payments. A run has some of these only, so that each can be seen alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Strangers submit authorizations.
    FrontRuns,
    /// Payers cancel, drain their balances, or sign two payments with one nonce.
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

const ALL: [Trouble; 12] = [
    Trouble::FrontRuns,
    Trouble::Payers,
    Trouble::Reorgs,
    Trouble::Drops,
    Trouble::Fees,
    Trouble::Stalls,
    Trouble::Clocks,
    Trouble::Crashes,
    Trouble::Pauses,
    Trouble::Store,
    Trouble::Network,
    Trouble::Lies,
];

/// A run's plan.
#[derive(Debug, Clone)]
pub struct Plan {
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
    /// See [`ChainConfig::confirmations`].
    pub confirmations: u64,
    /// See [`ChainConfig::finality`].
    pub finality: u64,
    /// See [`ChainConfig::batch`].
    pub batch: usize,
    /// See [`ChainConfig::window`].
    pub window: usize,
    /// See [`ChainConfig::bump_after`].
    pub bump_after: Duration,
    /// See [`ChainConfig::gas_budget_per_day`], in gwei.
    pub gas_gwei: u64,
    /// Whether dear payments need a second node.
    pub agrees: bool,
}

impl Plan {
    /// The plan that the dice say.
    #[must_use]
    pub fn draw(chance: &Chance) -> Self {
        let share = *chance.pick(&[0, 150, 300, 600]);
        Self {
            troubles: ALL.into_iter().filter(|_| chance.permille(share)).collect(),
            keys: *chance.pick(&[1, 1, 2, 3]),
            nodes: *chance.pick(&[1, 1, 2]),
            payers: *chance.pick(&[2, 3, 5]),
            steps: chance.between(15, 50),
            block: *chance.pick(&[1_000, 2_000]),
            confirmations: *chance.pick(&[1, 1, 2, 4]),
            finality: chance.between(6, 10),
            batch: *chance.pick(&[1, 4, 64]),
            window: *chance.pick(&[1, 2, 16]),
            bump_after: Duration::from_secs(*chance.pick(&[4, 10])),
            gas_gwei: *chance.pick(&[1_000_000_000, 1_000_000_000, 4_000_000]),
            agrees: chance.permille(300),
        }
    }

    /// Whether this goes wrong in the run.
    #[must_use]
    pub fn has(&self, trouble: Trouble) -> bool {
        self.troubles.contains(&trouble)
    }

    /// A replica's configuration, without its nodes and clock.
    #[must_use]
    pub fn config(&self) -> ChainConfig {
        ChainConfig {
            confirmations: self.confirmations,
            finality: tollway_evm::facilitator::Finality::Blocks(self.finality),
            batch: self.batch,
            window: self.window,
            bump_after: self.bump_after,
            gas_budget_per_day: U256::from(self.gas_gwei) * U256::from(1_000_000_000u64),
            agree_above: self.agrees.then(|| U256::from(20_000)),
            rpc_timeout: Duration::from_secs(3),
            ..ChainConfig::without_node(network())
        }
    }
}
