//! From a configuration to mechanisms.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::Address;
use axum::Router;
use tollway_evm::ExactFacilitator;
use tollway_evm::keys::Key;
use tollway_facilitator::api::Keys;
use tollway_facilitator::config::{KeyConfig, ProxyConfig};
use tollway_facilitator::{Api, Config, Registry};
use tollway_ledger::Ledger;

use super::lookup::Lookup;
use super::networks;
use crate::exit::Failure;

/// Opens every key and prepares every network, without I/O to anyone. Returns each network's signers.
pub(super) fn check(config: &Config) -> Result<Vec<Vec<Address>>, Failure> {
    let directory =
        config.ledger.path().and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Err(Failure::general(format!("ledger: there is no directory {}", directory.display()))
            .todo("create it, on a disk that is backed up"));
    }
    let signers = |network| -> Result<Vec<Address>, Failure> {
        networks::chain(network, config.limits.settlements)?;
        Ok(networks::keys(network)?.iter().map(Key::address).collect())
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
    for exact in mechanisms(config, ledger)? {
        exact.keep_auditing();
        registry = registry.mechanism(Arc::new(exact.upto())).mechanism(Arc::new(exact));
    }
    Ok(registry.build()?)
}

/// Each network's `exact`, over one ledger.
pub(super) fn mechanisms(
    config: &Config,
    ledger: &Arc<dyn Ledger>,
) -> Result<Vec<ExactFacilitator>, Failure> {
    let mechanism = |network| -> Result<ExactFacilitator, Failure> {
        let chain = networks::chain(network, config.limits.settlements)?;
        Ok(ExactFacilitator::with_keys(chain, networks::keys(network)?, ledger.clone()))
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
