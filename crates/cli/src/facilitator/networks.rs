//! From an EVM network's configuration to its chain and its accounts.

use std::collections::BTreeSet;
use std::time::Duration;

use tollway_evm::Chain;
use tollway_evm::facilitator::{ChainConfig, Finality};
use tollway_evm::keys::Key;
use tollway_facilitator::config::{self, AgreeAbove, EvmConfig, NetworkConfig, Rpc, Signer};
use tollway_protocol::{Secret, door};

use crate::exit::{Doing as _, Failure};
use crate::secrets;

const GWEI: u128 = 1_000_000_000;

/// The chain that `network` describes; no I/O yet. `in_flight` settlements may be on their way at a time.
pub(super) fn chain(network: &NetworkConfig, told: &EvmConfig, in_flight: u64) -> Result<Chain, Failure> {
    let mut config = ChainConfig::without_node(network.id.clone());
    config.rpc = nodes(network)?;
    config.ws = network.ws.as_ref().and_then(Rpc::url).map(|url| Secret::new(url.to_string()));
    config.assets = network.extra_assets();
    config.confirmations = told.confirmations;
    config.finality = match told.finality {
        None => config.finality,
        Some(config::Finality::Blocks(blocks)) => Finality::Blocks(blocks),
        Some(config::Finality::Safe) => Finality::Tag("safe"),
        Some(config::Finality::Finalized) => Finality::Tag("finalized"),
    };
    config.agree_above = told.agree_above.map(|above| match above {
        AgreeAbove::Usd(amount) | AgreeAbove::Atomic(amount) => amount.get(),
    });
    config.batch = usize::try_from(told.batch).unwrap_or(usize::MAX);
    config.in_flight = usize::try_from(in_flight).unwrap_or(usize::MAX);
    config.poll = Duration::from_millis(network.poll_interval_ms);
    config.gas_cap = told.gas.per_settlement;
    config.max_fee_per_gas = u128::from(told.gas.max_fee_gwei).saturating_mul(GWEI);
    config.gas_budget_per_day = told.gas.per_day_wei.get();
    config.max_bumps = u32::try_from(told.gas.max_bump).unwrap_or(u32::MAX);
    if let Some(low) = told.gas.low_wei {
        config.low_gas = low.get();
    }
    for factory in &told.eip6492_factories {
        let address =
            door::hex_array::<20>(factory).doing(|| format!("{}: eip6492_factories", network.id))?;
        config.factories.push(address.into());
    }
    for manager in &told.delegation_managers {
        let address =
            door::hex_array::<20>(manager).doing(|| format!("{}: delegation_managers", network.id))?;
        config.delegation_managers.push(address.into());
    }
    config.approval_funding = told.gas.approval_wei.get();
    config.approval_funding_per_day = told.gas.approvals_per_day_wei.get();
    Ok(Chain::new(config)?)
}

/// The URLs of a network's nodes.
pub(super) fn nodes(network: &NetworkConfig) -> Result<Vec<Secret<String>>, Failure> {
    let missing = || Failure::general(format!("{}: its rpc is not set", network.id));
    let url = |rpc: &Rpc| rpc.url().map(|url| Secret::new(url.to_string())).ok_or_else(missing);
    network.rpc.iter().map(url).collect()
}

/// The accounts that send on `network`.
pub(super) fn keys(network: &NetworkConfig) -> Result<Vec<Key>, Failure> {
    let keys = opened(network, |signer| key(network, signer))?;
    let addresses = keys.iter().map(|key| key.address().to_string());
    different(network, addresses).map(|()| keys)
}

/// A key for each signer.
pub(super) fn opened<K>(
    network: &NetworkConfig,
    key: impl Fn(&Signer) -> Result<K, Failure>,
) -> Result<Vec<K>, Failure> {
    if network.signer.is_empty() {
        return Err(Failure::general(format!("{}: its signer is not set", network.id)));
    }
    network.signer.iter().map(key).collect()
}

/// Refuses an account that is there twice: two names may hold one key.
pub(super) fn different(
    network: &NetworkConfig,
    addresses: impl Iterator<Item = String>,
) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for address in addresses {
        if !seen.insert(address.clone()) {
            return Err(Failure::general(format!("{}: the signer {address} is there twice", network.id)));
        }
    }
    Ok(())
}

/// What a signer's variable holds, or the file that its `_FILE` names.
pub(super) fn held(network: &NetworkConfig, name: &str) -> Result<Secret<String>, Failure> {
    let missing = || {
        Failure::general(format!("{}: the environment variable {name} is not set", network.id))
            .todo(format!("this network's signer is taken from it; {name}_FILE may name a file"))
    };
    secrets::variable_or_file(name)?.ok_or_else(missing)
}

/// A keystore that can't be opened.
pub(super) fn unopened(passphrase_env: &str, failure: Failure) -> Failure {
    failure.todo(format!("check the file and {passphrase_env}"))
}

fn key(network: &NetworkConfig, signer: &Signer) -> Result<Key, Failure> {
    match signer {
        Signer::Env { key_env } => {
            Key::from_hex(&held(network, key_env)?).doing(|| format!("{}: {key_env}", network.id))
        }
        Signer::Keystore { path, passphrase_env } => Key::open(path, &held(network, passphrase_env)?)
            .doing(|| network.id.to_string())
            .map_err(|failure| unopened(passphrase_env, failure)),
    }
}
