//! What a plan decides for an EVM chain alone.

use std::time::Duration;

use alloy_primitives::U256;
use tollway_evm::facilitator::{ChainConfig, Finality};

use super::network;
use crate::chance::Chance;

/// How the facilitators are configured.
#[derive(Debug, Clone)]
pub struct Own {
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

impl Own {
    /// What the dice say.
    #[must_use]
    pub fn draw(chance: &Chance) -> Self {
        Self {
            confirmations: *chance.pick(&[1, 1, 2, 4]),
            finality: chance.between(6, 10),
            batch: *chance.pick(&[1, 4, 64]),
            window: *chance.pick(&[1, 2, 16]),
            bump_after: Duration::from_secs(*chance.pick(&[4, 10])),
            gas_gwei: *chance.pick(&[1_000_000_000, 1_000_000_000, 4_000_000]),
            agrees: chance.permille(300),
        }
    }

    /// A replica's configuration, without its nodes and clock.
    #[must_use]
    pub fn config(&self) -> ChainConfig {
        ChainConfig {
            confirmations: self.confirmations,
            finality: Finality::Blocks(self.finality),
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
