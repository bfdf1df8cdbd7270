//! From a network's configuration to its chain and its accounts.

use std::time::Duration;

use tollway_evm::Chain;
use tollway_evm::facilitator::{ChainConfig, Finality};
use tollway_evm::keys::Key;
use tollway_facilitator::config::{self, AgreeAbove, NetworkConfig, Rpc, Signer};
use tollway_protocol::{Secret, door};

use crate::exit::{Doing as _, Failure};
use crate::secrets;

const GWEI: u128 = 1_000_000_000;

/// The chain that `network` describes; no I/O yet. `in_flight` settlements may be on their way at a time.
pub(super) fn chain(network: &NetworkConfig, in_flight: u64) -> Result<Chain, Failure> {
    let mut config = ChainConfig::without_node(network.id.clone());
    for rpc in &network.rpc {
        let url = rpc.url().ok_or_else(|| Failure::general(format!("{}: its rpc is not set", network.id)))?;
        config.rpc.push(Secret::new(url.to_string()));
    }
    config.ws = network.ws.as_ref().and_then(Rpc::url).map(|url| Secret::new(url.to_string()));
    config.assets = network.extra_assets();
    config.confirmations = network.confirmations;
    config.finality = match network.finality {
        None => config.finality,
        Some(config::Finality::Blocks(blocks)) => Finality::Blocks(blocks),
        Some(config::Finality::Safe) => Finality::Tag("safe"),
        Some(config::Finality::Finalized) => Finality::Tag("finalized"),
    };
    config.agree_above = network.agree_above.map(|above| match above {
        AgreeAbove::Usd(amount) | AgreeAbove::Atomic(amount) => amount.get(),
    });
    config.batch = usize::try_from(network.batch).unwrap_or(usize::MAX);
    config.in_flight = usize::try_from(in_flight).unwrap_or(usize::MAX);
    config.poll = Duration::from_millis(network.poll_interval_ms);
    config.gas_cap = network.gas.per_settlement;
    config.max_fee_per_gas = u128::from(network.gas.max_fee_gwei).saturating_mul(GWEI);
    config.gas_budget_per_day = network.gas.per_day_wei.get();
    config.max_bumps = u32::try_from(network.gas.max_bump).unwrap_or(u32::MAX);
    if let Some(low) = network.gas.low_wei {
        config.low_gas = low.get();
    }
    for factory in &network.eip6492_factories {
        let address =
            door::hex_array::<20>(factory).doing(|| format!("{}: eip6492_factories", network.id))?;
        config.factories.push(address.into());
    }
    for manager in &network.delegation_managers {
        let address =
            door::hex_array::<20>(manager).doing(|| format!("{}: delegation_managers", network.id))?;
        config.delegation_managers.push(address.into());
    }
    config.approval_funding = network.gas.approval_wei.get();
    config.approval_funding_per_day = network.gas.approvals_per_day_wei.get();
    Ok(Chain::new(config)?)
}

/// The accounts that send on `network`.
pub(super) fn keys(network: &NetworkConfig) -> Result<Vec<Key>, Failure> {
    if network.signer.is_empty() {
        return Err(Failure::general(format!("{}: its signer is not set", network.id)));
    }
    let keys = network.signer.iter().map(|signer| key(network, signer)).collect::<Result<Vec<_>, _>>()?;
    for (place, key) in keys.iter().enumerate() {
        if keys.iter().take(place).any(|other| other.address() == key.address()) {
            return Err(Failure::general(format!(
                "{}: the signer {} is there twice",
                network.id,
                key.address()
            )));
        }
    }
    Ok(keys)
}

fn key(network: &NetworkConfig, signer: &Signer) -> Result<Key, Failure> {
    let set = |name: &str| {
        secrets::variable_or_file(name)?.ok_or_else(|| {
            Failure::general(format!("{}: the environment variable {name} is not set", network.id)).todo(
                format!("the configuration names it for this network's signer; {name}_FILE may name a file"),
            )
        })
    };
    match signer {
        Signer::Env { key_env } => {
            Key::from_hex(&set(key_env)?).doing(|| format!("{}: {key_env}", network.id))
        }
        Signer::Keystore { path, passphrase_env } => Key::open(path, &set(passphrase_env)?)
            .doing(|| network.id.to_string())
            .map_err(|failure| failure.todo(format!("check the file and {passphrase_env}"))),
    }
}
