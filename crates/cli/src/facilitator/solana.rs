//! From a Solana network's configuration to its cluster and its fee payers.

use std::time::Duration;

use tollway_facilitator::config::{self, AgreeAbove, NetworkConfig, Rpc, Signer, SolanaConfig};
use tollway_protocol::Secret;
use tollway_svm::facilitator::{Cluster, ClusterConfig, Commitment};
use tollway_svm::keys::Key;
use tollway_svm::layout::Limits;

use super::networks;
use crate::exit::{Doing as _, Failure};
use crate::secrets;

/// The cluster that `network` describes; no I/O yet. `in_flight` settlements may be on their way at a time.
pub(super) fn cluster(
    network: &NetworkConfig,
    told: &SolanaConfig,
    in_flight: u64,
) -> Result<Cluster, Failure> {
    let mut nodes = networks::nodes(network)?.into_iter();
    let first = nodes.next().ok_or_else(|| Failure::general(format!("{}: no rpc", network.id)))?;
    let mut config = ClusterConfig::new(network.id.clone(), first);
    config.rpc.extend(nodes);
    config.ws = network.ws.as_ref().and_then(Rpc::url).map(|url| Secret::new(url.to_string()));
    config.assets = network.extra_assets();
    config.commitment = match told.commitment {
        config::Commitment::Confirmed => Commitment::Confirmed,
        config::Commitment::Finalized => Commitment::Finalized,
    };
    config.agree_above = told.agree_above.map(|above| match above {
        AgreeAbove::Usd(amount) | AgreeAbove::Atomic(amount) => {
            u64::try_from(amount.get()).unwrap_or(u64::MAX)
        }
    });
    config.poll = Duration::from_millis(network.poll_interval_ms);
    config.limits = Limits {
        compute_units: u32::try_from(told.fees.compute_units).unwrap_or(u32::MAX),
        compute_price: told.fees.compute_price,
        priority_lamports: told.fees.priority_lamports,
    };
    config.lamports_per_day = told.fees.per_day_lamports;
    config.low_lamports = told.fees.low_lamports;
    config.in_flight = usize::try_from(in_flight).unwrap_or(usize::MAX);
    Cluster::new(config).doing(|| network.id.to_string())
}

/// The fee payers on `network`.
pub(super) fn keys(network: &NetworkConfig) -> Result<Vec<Key>, Failure> {
    let keys = networks::opened(network, |signer| key(network, signer))?;
    let addresses = keys.iter().map(|key| key.address().to_string());
    networks::different(network, addresses).map(|()| keys)
}

fn key(network: &NetworkConfig, signer: &Signer) -> Result<Key, Failure> {
    match signer {
        Signer::Env { key_env } => {
            let text = networks::held(network, key_env)?;
            secrets::solana_key(&text).doing(|| format!("{}: {key_env}", network.id))
        }
        Signer::Keystore { path, passphrase_env } => {
            Key::open(path, &networks::held(network, passphrase_env)?)
                .doing(|| network.id.to_string())
                .map_err(|failure| networks::unopened(passphrase_env, failure))
        }
    }
}
