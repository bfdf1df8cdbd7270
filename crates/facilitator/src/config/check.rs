//! What the types can't check.

mod network;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use tollway_protocol::Network;
use tollway_protocol::door::Address;

use super::limits::ROWS;
use super::network::NetworkConfig;
use super::{Config, ConfigError, KeyConfig, KeySource, RuleConfig};

pub(super) fn problems(config: &Config) -> Vec<ConfigError> {
    let mut found = Found(Vec::new());
    if config.ledger.is_nowhere() {
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
        network::network(&mut found, &key, network);
    }
    let mut names = BTreeSet::new();
    for (index, key) in config.keys.iter().enumerate() {
        self::key(&mut found, &format!("keys[{index}]"), key, &mut names);
    }
    for (list, rules) in [("allow", &config.allow), ("deny", &config.deny)] {
        for (index, rule) in rules.iter().enumerate() {
            self::rule(&mut found, &format!("{list}[{index}]"), rule, config);
        }
    }
    if let Some(proxy) = &config.proxy {
        if proxy.api().is_none() {
            found.add("proxy.header", "expected a header's name");
        }
        if proxy.trusted.is_empty() {
            found.add("proxy.trusted", "is empty: name the proxies' addresses, or leave [proxy] out");
        }
    }
    found.0
}

fn key<'a>(found: &mut Found, key: &str, config: &'a KeyConfig, names: &mut BTreeSet<&'a str>) {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !(1..=64).contains(&config.name.len()) || !config.name.bytes().all(word) {
        found.add(format!("{key}.name"), "expected 1 to 64 letters, digits, `-`, `_` and `.`");
    }
    if !names.insert(&config.name) {
        found.add(format!("{key}.name"), "is another key's too");
    }
    match &config.source {
        _ if config.hash.is_some() => {}
        KeySource::File(path) => {
            found.add(format!("{key}.hash_file"), format!("{} was not read", path.display()));
        }
        KeySource::Env(variable) => {
            found.add(format!("{key}.key_env"), format!("the environment variable {variable} was not given"));
        }
        KeySource::Hash => found.add(format!("{key}.hash"), "is missing"),
    }
    if config.burst.is_some() && config.per_second.is_none() {
        found.add(format!("{key}.burst"), "means nothing without per_second");
    }
}

fn rule(found: &mut Found, key: &str, rule: &RuleConfig, config: &Config) {
    // An empty list would mean every payment: what an operator wants with it can't be guessed.
    for (member, _) in rule.members().filter(|(_, count)| *count == 0) {
        found.add(format!("{key}.{member}"), "is empty: name something, or leave it out");
    }
    if rule.members().next().is_none() {
        found.add(key, "means every payment: say which are meant");
    }
    for (member, list) in rule.addresses() {
        for (index, text) in list.iter().enumerate() {
            let fits = |network: &NetworkConfig| Address::on(&network.id, text).is_ok();
            if !config.networks.iter().any(fits) {
                found
                    .add(format!("{key}.{member}[{index}]"), "is no address on a network that is configured");
            }
        }
    }
    for (index, name) in rule.key.iter().flatten().enumerate() {
        if !config.keys.iter().any(|key| key.name == *name) {
            found.add(format!("{key}.key[{index}]"), "there is no such API key");
        }
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
            Ok(address) if is_zero(address.as_str()) => {
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

/// Nothing but zeros, in hex, or in base58, where they are ones.
fn is_zero(address: &str) -> bool {
    match address.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|b| b == b'0'),
        None => address.bytes().all(|b| b == b'1'),
    }
}
