//! From a configuration to mechanisms.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use tollway_evm::ExactFacilitator;
use tollway_facilitator::api::Keys;
use tollway_facilitator::config::{ChainConfig, KeyConfig, NetworkConfig, ProxyConfig};
use tollway_facilitator::{Api, Config, Registry};
use tollway_ledger::Ledger;

use super::lookup::Lookup;
use super::{networks, solana};
use crate::exit::{Doing as _, Failure};

/// `exact` on one network, of whichever kind.
pub(crate) enum Mechanism {
    /// On an EVM network.
    Evm(Box<ExactFacilitator>),
    /// On a Solana cluster.
    Solana(tollway_svm::ExactFacilitator),
}

/// Opens every key and prepares every network, without I/O to anyone. Returns each network's signers.
pub(super) fn check(config: &Config) -> Result<Vec<Vec<String>>, Failure> {
    let directory =
        config.ledger.path().and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Err(Failure::general(format!("ledger: there is no directory {}", directory.display()))
            .todo("create it, on a disk that is backed up"));
    }
    let signers = |network: &NetworkConfig| -> Result<Vec<String>, Failure> {
        match &network.chain {
            ChainConfig::Evm(told) => {
                networks::chain(network, told, config.limits.settlements)?;
                Ok(networks::keys(network)?.iter().map(|key| key.address().to_string()).collect())
            }
            ChainConfig::Solana(told) => {
                solana::cluster(network, told, config.limits.settlements)?;
                Ok(solana::keys(network)?.iter().map(|key| key.address().to_string()).collect())
            }
        }
    };
    config.networks.iter().map(signers).collect()
}

/// The mechanisms of every network, over one ledger.
pub(super) fn registry(config: &Config, ledger: &Arc<dyn Ledger>) -> Result<Registry, Failure> {
    let mut registry = config.limits.registry().ledger(Arc::new(Lookup(ledger.clone())));
    let lists = config.lists();
    if !lists.is_empty() {
        registry = registry.policy(Arc::new(lists));
    }
    for mechanism in mechanisms(config, ledger)? {
        registry = match mechanism {
            Mechanism::Evm(exact) => {
                exact.keep_auditing();
                registry.mechanism(Arc::new(exact.upto())).mechanism(Arc::new(*exact))
            }
            Mechanism::Solana(exact) => {
                exact.keep_auditing();
                registry.mechanism(Arc::new(exact))
            }
        };
    }
    Ok(registry.build()?)
}

/// Each network's `exact`, over one ledger.
pub(super) fn mechanisms(config: &Config, ledger: &Arc<dyn Ledger>) -> Result<Vec<Mechanism>, Failure> {
    let mechanism = |network: &NetworkConfig| -> Result<Mechanism, Failure> {
        match &network.chain {
            ChainConfig::Evm(told) => {
                let chain = networks::chain(network, told, config.limits.settlements)?;
                let keys = networks::keys(network)?;
                Ok(Mechanism::Evm(Box::new(ExactFacilitator::with_keys(chain, keys, ledger.clone()))))
            }
            ChainConfig::Solana(told) => {
                let cluster = solana::cluster(network, told, config.limits.settlements)?;
                let exact =
                    tollway_svm::ExactFacilitator::new(cluster, solana::keys(network)?, ledger.clone());
                exact.map(Mechanism::Solana).doing(|| network.id.to_string())
            }
        }
    };
    config.networks.iter().map(mechanism).collect()
}

/// The HTTP API with what the operator set: keys, limits, proxies.
pub(super) fn dress(config: &Config, mut api: Api) -> Router {
    if !config.keys.is_empty() {
        api = api.keys(Keys::new(config.keys.iter().filter_map(KeyConfig::api)));
    }
    if let Some(rate) = config.limits.per_address() {
        api = api.per_address(rate);
    }
    if let Some(proxies) = config.proxy.as_ref().and_then(ProxyConfig::api) {
        api = api.proxies(proxies);
    }
    api.router()
}
