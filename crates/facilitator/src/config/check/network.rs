//! What is wrong with a network.

use std::collections::BTreeSet;

use super::Found;
use crate::config::network::{Asset, ChainConfig, NOTHING, NetworkConfig};
use crate::config::{EvmConfig, Finality, Rpc, SolanaConfig};

pub(super) fn network(found: &mut Found, key: &str, network: &NetworkConfig) {
    let lists = [("rpc", network.rpc.len()), ("signer", network.signer.len())];
    for (member, _) in lists.iter().filter(|(_, count)| *count == 0) {
        found.add(format!("{key}.{member}"), "is empty");
    }
    for (index, rpc) in network.rpc.iter().enumerate() {
        let key = if network.rpc.len() == 1 { format!("{key}.rpc") } else { format!("{key}.rpc[{index}]") };
        if let Some(variable) = rpc.variable() {
            found.add(key, format!("the environment variable {variable} was not given"));
        } else if network.rpc.iter().take(index).any(|earlier| earlier == rpc) {
            found.add(key, "is listed twice");
        }
    }
    for variable in network.ws.iter().filter_map(Rpc::variable) {
        found.add(format!("{key}.ws"), format!("the environment variable {variable} was not given"));
    }
    for (index, signer) in network.signer.iter().enumerate() {
        if network.signer.iter().take(index).any(|earlier| earlier == signer) {
            found.add(format!("{key}.signer[{index}]"), "is listed twice");
        }
    }
    found.range(format!("{key}.poll_interval_ms"), network.poll_interval_ms, 20..=60_000);
    let kind = if network.solana().is_some() { "a Solana network" } else { "an EVM network" };
    for (member, instead) in &network.foreign {
        let hint = if *instead == NOTHING { String::new() } else { format!(": use {instead}") };
        found.add(format!("{key}.{member}"), format!("means nothing on {kind}{hint}"));
    }
    match &network.chain {
        ChainConfig::Evm(config) => evm(found, key, network, config),
        ChainConfig::Solana(config) => solana(found, key, network, config),
    }
    let mut seen = BTreeSet::new();
    for (index, asset) in network.assets.iter().enumerate() {
        let key = format!("{key}.assets[{index}]");
        found.address(format!("{key}.address"), &network.id, &asset.address, &mut seen);
        self::asset(found, &key, asset);
        for (member, _) in
            domain(asset).iter().filter(|(_, is_given)| *is_given && network.solana().is_some())
        {
            found.add(format!("{key}.{member}"), format!("means nothing on {kind}"));
        }
    }
}

fn domain(asset: &Asset) -> [(&'static str, bool); 2] {
    [("name", asset.name.is_some()), ("version", asset.version.is_some())]
}

fn agree_above(found: &mut Found, key: &str, network: &NetworkConfig, is_set: bool) {
    if is_set && network.rpc.len() < 2 {
        found.add(format!("{key}.agree_above"), "needs two nodes in rpc");
    }
}

fn evm(found: &mut Found, key: &str, network: &NetworkConfig, config: &EvmConfig) {
    agree_above(found, key, network, config.agree_above.is_some());
    if let Some(Finality::Blocks(blocks)) = config.finality {
        found.range(format!("{key}.finality"), blocks, 1..=100_000);
        if blocks < config.confirmations {
            found.add(format!("{key}.finality"), "is less than confirmations");
        }
    }
    found.range(format!("{key}.batch"), config.batch, 1..=500);
    found.range(format!("{key}.gas.max_bump"), config.gas.max_bump, 1..=50);
    found.range(format!("{key}.confirmations"), config.confirmations, 1..=1000);
    found.range(format!("{key}.gas.max_fee_gwei"), config.gas.max_fee_gwei, 1..=1_000_000);
    found.range(format!("{key}.gas.per_settlement"), config.gas.per_settlement, 50_000..=10_000_000);
    let mut seen = BTreeSet::new();
    for (index, factory) in config.eip6492_factories.iter().enumerate() {
        found.address(format!("{key}.eip6492_factories[{index}]"), &network.id, factory, &mut seen);
    }
    let mut seen = BTreeSet::new();
    for (index, manager) in config.delegation_managers.iter().enumerate() {
        found.address(format!("{key}.delegation_managers[{index}]"), &network.id, manager, &mut seen);
    }
}

/// More compute units no transaction may have.
const MOST_COMPUTE_UNITS: u64 = 1_400_000;
/// A thousand SOL, in lamports.
const THOUSAND_SOL: u64 = 1_000_000_000_000;

fn solana(found: &mut Found, key: &str, network: &NetworkConfig, config: &SolanaConfig) {
    agree_above(found, key, network, config.agree_above.is_some());
    let fees = config.fees;
    found.range(format!("{key}.fees.compute_units"), fees.compute_units, 10_000..=MOST_COMPUTE_UNITS);
    found.range(format!("{key}.fees.compute_price"), fees.compute_price, 0..=1_000_000_000);
    found.range(format!("{key}.fees.priority_lamports"), fees.priority_lamports, 0..=THOUSAND_SOL);
    // Two signatures are the least that a settlement costs.
    found.range(format!("{key}.fees.per_day_lamports"), fees.per_day_lamports, 10_000..=THOUSAND_SOL);
    found.range(format!("{key}.fees.low_lamports"), fees.low_lamports, 0..=THOUSAND_SOL);
}

fn asset(found: &mut Found, key: &str, asset: &Asset) {
    found.range(format!("{key}.decimals"), u64::from(asset.decimals), 0..=36);
    let plain = !asset.symbol.is_empty()
        && asset.symbol.len() <= 16
        && asset.symbol.bytes().all(|b| b.is_ascii_graphic());
    if !plain {
        found.add(format!("{key}.symbol"), "expected 1 to 16 printable ASCII characters");
    }
    if asset.name.is_some() != asset.version.is_some() {
        found.add(key, "name and version (of the token's EIP-712 domain) come together");
    }
}
