//! From a configuration to mechanisms.

use std::sync::Arc;

use alloy_primitives::Address;
use axum::Router;
use tollway_evm::facilitator::ChainConfig;
use tollway_evm::keys::Key;
use tollway_evm::{Chain, ExactFacilitator};
use tollway_facilitator::api::Keys;
use tollway_facilitator::config::{KeyConfig, NetworkConfig, ProxyConfig, Rpc, Signer};
use tollway_facilitator::{Api, Config, Registry};
use tollway_ledger::SqliteLedger;
use tollway_protocol::{Secret, door};

use super::lookup::Lookup;
use crate::exit::{Doing as _, Failure};
use crate::{secrets, stack};

const GWEI: u128 = 1_000_000_000;

/// Opens every key and prepares every network, without I/O to anyone. Returns the signers.
pub(super) fn check(config: &Config) -> Result<Vec<Address>, Failure> {
    let path = ledger_file(config)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Err(Failure::general(format!("ledger: there is no directory {}", directory.display()))
            .todo("create it, on a disk that is backed up"));
    }
    let signer = |network| -> Result<Address, Failure> {
        chain(network)?;
        key(network).map(|key| key.address())
    };
    config.networks.iter().map(signer).collect()
}

/// The mechanisms of every network, over one ledger.
pub(super) fn registry(config: &Config, ledger: &Arc<SqliteLedger>) -> Result<Registry, Failure> {
    let mut registry = config.limits.registry().ledger(Arc::new(Lookup(ledger.clone())));
    let lists = config.lists();
    if !lists.is_empty() {
        registry = registry.policy(Arc::new(lists));
    }
    for network in &config.networks {
        let mechanism = ExactFacilitator::new(chain(network)?, key(network)?, ledger.clone());
        registry = registry.mechanism(Arc::new(mechanism));
    }
    Ok(registry.build()?)
}

/// The configured ledger, opened.
pub(super) fn ledger(config: &Config) -> Result<Arc<SqliteLedger>, Failure> {
    stack::open_ledger(ledger_file(config)?)
}

fn ledger_file(config: &Config) -> Result<&std::path::Path, Failure> {
    config.ledger.path().ok_or_else(|| {
        Failure::general(format!("ledger: {}: this build has no Postgres", config.ledger))
            .todo("use a file, such as ledger = \"/var/lib/tollway/facilitator.db\"")
    })
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

fn chain(network: &NetworkConfig) -> Result<Chain, Failure> {
    let url = network
        .rpc
        .first()
        .and_then(Rpc::url)
        .ok_or_else(|| Failure::general(format!("{}: its rpc is not set", network.id)))?;
    let mut config = ChainConfig::new(network.id.clone(), Secret::new(url.to_string()));
    config.assets = network.extra_assets();
    config.confirmations = network.confirmations;
    config.poll = std::time::Duration::from_millis(network.poll_interval_ms);
    config.gas_cap = network.gas.per_settlement;
    config.max_fee_per_gas = u128::from(network.gas.max_fee_gwei).saturating_mul(GWEI);
    config.gas_budget_per_day = network.gas.per_day_wei.get();
    for factory in &network.eip6492_factories {
        let address =
            door::hex_array::<20>(factory).doing(|| format!("{}: eip6492_factories", network.id))?;
        config.factories.push(address.into());
    }
    Ok(Chain::new(config)?)
}

fn key(network: &NetworkConfig) -> Result<Key, Failure> {
    let set = |name: &str| {
        secrets::variable_or_file(name)?.ok_or_else(|| {
            Failure::general(format!("{}: the environment variable {name} is not set", network.id)).todo(
                format!("the configuration names it for this network's signer; {name}_FILE may name a file"),
            )
        })
    };
    let signer = network.signer.first();
    let signer = signer.ok_or_else(|| Failure::general(format!("{}: its signer is not set", network.id)))?;
    match signer {
        Signer::Env { key_env } => {
            Key::from_hex(&set(key_env)?).doing(|| format!("{}: {key_env}", network.id))
        }
        Signer::Keystore { path, passphrase_env } => Key::open(path, &set(passphrase_env)?)
            .doing(|| network.id.to_string())
            .map_err(|failure| failure.todo(format!("check the file and {passphrase_env}"))),
    }
}
