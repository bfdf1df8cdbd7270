//! What the types can't check.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use tollway_protocol::Network;
use tollway_protocol::door::Address;

use super::limits::ROWS;
use super::network::{Asset, NetworkConfig};
use super::{Config, ConfigError};

pub(super) fn problems(config: &Config) -> Vec<ConfigError> {
    let mut found = Found(Vec::new());
    if config.ledger.as_os_str().is_empty() {
        found.add("ledger", "is empty");
    }
    let mut limits = config.limits;
    for (name, place, range) in ROWS {
        found.range(format!("limits.{name}"), *place(&mut limits), range.clone());
    }
    if config.networks.is_empty() {
        found.add("network", "no network is configured: add a [[network]] table");
    }
    let mut seen = BTreeSet::new();
    for (index, network) in config.networks.iter().enumerate() {
        let key = format!("network[{index}]");
        if !seen.insert(&network.id) {
            found.add(format!("{key}.id"), format!("{} is configured twice", network.id));
        }
        self::network(&mut found, &key, network);
    }
    found.0
}

fn network(found: &mut Found, key: &str, network: &NetworkConfig) {
    if let Some(variable) = network.rpc.variable() {
        found.add(format!("{key}.rpc"), format!("the environment variable {variable} was not given"));
    }
    found.range(format!("{key}.confirmations"), network.confirmations, 1..=1000);
    found.range(format!("{key}.poll_interval_ms"), network.poll_interval_ms, 20..=60_000);
    found.range(format!("{key}.gas.max_fee_gwei"), network.gas.max_fee_gwei, 1..=1_000_000);
    found.range(format!("{key}.gas.per_settlement"), network.gas.per_settlement, 50_000..=10_000_000);
    let mut seen = BTreeSet::new();
    for (index, asset) in network.assets.iter().enumerate() {
        let key = format!("{key}.assets[{index}]");
        found.address(format!("{key}.address"), &network.id, &asset.address, &mut seen);
        self::asset(found, &key, asset);
    }
    let mut seen = BTreeSet::new();
    for (index, factory) in network.eip6492_factories.iter().enumerate() {
        found.address(format!("{key}.eip6492_factories[{index}]"), &network.id, factory, &mut seen);
    }
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

struct Found(Vec<ConfigError>);

impl Found {
    fn add(&mut self, key: impl Into<String>, problem: impl Into<String>) {
        self.0.push(ConfigError::Value { key: key.into(), problem: problem.into() });
    }

    fn range(&mut self, key: String, value: u64, range: RangeInclusive<u64>) {
        if !range.contains(&value) {
            self.add(key, format!("{value} is out of range: {} to {}", range.start(), range.end()));
        }
    }

    fn address(&mut self, key: String, network: &Network, text: &str, seen: &mut BTreeSet<Address>) {
        match Address::on(network, text) {
            Err(error) => self.add(key, error.to_string()),
            Ok(address) if address.as_str().trim_start_matches("0x").bytes().all(|b| b == b'0') => {
                self.add(key, "is the zero address");
            }
            Ok(address) => {
                if !seen.insert(address) {
                    self.add(key, "is listed twice");
                }
            }
        }
    }
}
