//! What a plan decides for a cluster alone.

use std::time::Duration;

use tollway_protocol::Secret;
use tollway_svm::facilitator::{ClusterConfig, Commitment};

use super::network;
use crate::chance::Chance;

/// How the cluster and its facilitators are.
#[derive(Debug, Clone)]
pub struct Own {
    /// By how many slots finality is behind.
    pub finality: u64,
    /// See [`ClusterConfig::commitment`].
    pub commitment: Commitment,
    /// See [`ClusterConfig::lamports_per_day`].
    pub lamports: u64,
    /// Whether dear payments need a second node.
    pub agrees: bool,
}

impl Own {
    /// What the dice say.
    #[must_use]
    pub fn draw(chance: &Chance) -> Self {
        Self {
            finality: *chance.pick(&[6, 8, 12, 32]),
            commitment: *chance.pick(&[Commitment::Confirmed, Commitment::Confirmed, Commitment::Finalized]),
            lamports: *chance.pick(&[1_000_000_000, 1_000_000_000, 400_000]),
            agrees: chance.permille(500),
        }
    }

    /// A replica's configuration, without its nodes, clock and process.
    #[must_use]
    pub fn config(&self) -> ClusterConfig {
        ClusterConfig {
            rpc: Vec::new(),
            commitment: self.commitment,
            lamports_per_day: self.lamports,
            rpc_timeout: Duration::from_secs(3),
            ..ClusterConfig::new(network(), Secret::new(String::new()))
        }
    }
}
