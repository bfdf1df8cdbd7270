//! Overrides by environment variables.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr as _;

use tollway_protocol::door::{Amount, decimal_u64};

use super::limits::ROWS;
use super::network::{ChainConfig, NetworkConfig};
use super::rpc::Rpc;
use super::{
    AgreeAbove, Commitment, Config, ConfigError, EvmConfig, Finality, KeySource, Ledger, SolanaConfig,
};

const PREFIX: &str = "TOLLWAY_";

/// What a name meant.
enum Found {
    Set,
    /// Nothing here; perhaps something to someone else.
    Unknown,
}

pub(super) fn apply(
    config: &mut Config,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Vec<String>, ConfigError> {
    let variables: BTreeMap<String, String> = variables.collect();
    let mut unknown = Vec::new();
    for (name, value) in &variables {
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        match set(config, key, value) {
            Ok(Found::Set) => {}
            Ok(Found::Unknown) => unknown.push(name.clone()),
            Err(problem) => return Err(ConfigError::Environment { variable: name.clone(), problem }),
        }
    }
    for network in &mut config.networks {
        let id = network.id.clone();
        for rpc in &mut network.rpc {
            fill(rpc, &variables, &format!("an rpc of {id}"), Rpc::new, "http:// or https://")?;
        }
        if let Some(ws) = &mut network.ws {
            fill(ws, &variables, &format!("the ws of {id}"), Rpc::new_ws, "ws:// or wss://")?;
        }
    }
    for key in &mut config.keys {
        let KeySource::Env(variable) = key.source.clone() else { continue };
        let fail = |problem: &str| {
            let problem = format!("{problem} (it is the API key {})", key.name);
            ConfigError::Environment { variable: variable.clone(), problem }
        };
        let value = variables.get(&variable).ok_or_else(|| fail("is not set"))?;
        let mut filled = key.clone();
        filled.set_key(value).map_err(fail)?;
        *key = filled;
    }
    // A variable that the file names is known, whatever its name.
    unknown.retain(|name| !config.networks.iter().any(|network| network.names(name)));
    unknown.retain(|name| !config.keys.iter().any(|key| key.source == KeySource::Env(name.clone())));
    Ok(unknown)
}

fn fill(
    rpc: &mut Rpc,
    variables: &BTreeMap<String, String>,
    whose: &str,
    read: impl Fn(&str) -> Result<Rpc, &'static str>,
    schemes: &str,
) -> Result<(), ConfigError> {
    let Some(variable) = rpc.variable().map(str::to_owned) else { return Ok(()) };
    let fail = |problem: &str| {
        let problem = format!("{problem} (it is {whose})");
        ConfigError::Environment { variable: variable.clone(), problem }
    };
    let value = variables.get(&variable).ok_or_else(|| fail("is not set"))?;
    let found = read(value).ok().filter(|rpc| rpc.url().is_some());
    *rpc = found.ok_or_else(|| fail(&format!("expected a URL with {schemes}")))?;
    Ok(())
}

fn set(config: &mut Config, key: &str, value: &str) -> Result<Found, String> {
    match key {
        "LISTEN" => {
            config.listen = SocketAddr::from_str(value)
                .map_err(|_| "expected an address and port such as 127.0.0.1:4020")?;
        }
        // In the order of their names: the second one wins.
        "LEDGER" | "LEDGER_URL" => config.ledger = Ledger::new(value)?,
        "METRICS" => {
            config.metrics = match value {
                "true" => true,
                "false" => false,
                _ => return Err("expected true or false".to_owned()),
            }
        }
        _ => {
            if let Some(name) = key.strip_prefix("LIMITS_") {
                let row = ROWS.iter().find(|(row, ..)| row.to_ascii_uppercase() == name);
                let (_, place, _) = row.ok_or("no such limit")?;
                *place(&mut config.limits) = number(value)?;
            } else if let Some(rest) = key.strip_prefix("NETWORK_") {
                return network(config, rest, value);
            } else {
                return Ok(Found::Unknown);
            }
        }
    }
    Ok(Found::Set)
}

fn network(config: &mut Config, rest: &str, value: &str) -> Result<Found, String> {
    // The longest name first: one may begin with another.
    let found = config
        .networks
        .iter_mut()
        .flat_map(|network| {
            let short = network.id.v1_name().filter(|_| network.solana().is_some());
            let names = [Some(network.id.as_str()), short].into_iter().flatten().map(name_of);
            let key = |name: String| Some((name.len(), rest.strip_prefix(&name)?.strip_prefix('_')?));
            names.filter_map(key).max().map(|(length, key)| (length, network, key))
        })
        .max_by_key(|(length, ..)| *length);
    let (_, network, key) = found.ok_or("names no network that is configured")?;
    match key {
        "RPC" => network.rpc = value.split_whitespace().map(Rpc::new).collect::<Result<_, _>>()?,
        "WS" => network.ws = Some(Rpc::new_ws(value)?),
        "POLL_INTERVAL_MS" => network.poll_interval_ms = number(value)?,
        key => match &mut network.chain {
            ChainConfig::Evm(config) => evm(config, key, value)?,
            ChainConfig::Solana(config) => solana(config, key, value)?,
        },
    }
    Ok(Found::Set)
}

fn evm(config: &mut EvmConfig, key: &str, value: &str) -> Result<(), String> {
    match key {
        "AGREE_ABOVE" => config.agree_above = Some(AgreeAbove::new(value)?),
        "FINALITY" => config.finality = Some(Finality::new(value)?),
        "BATCH" => config.batch = number(value)?,
        "CONFIRMATIONS" => config.confirmations = number(value)?,
        "GAS_MAX_FEE_GWEI" => config.gas.max_fee_gwei = number(value)?,
        "GAS_PER_SETTLEMENT" => config.gas.per_settlement = number(value)?,
        "GAS_PER_DAY_WEI" => config.gas.per_day_wei = amount(value)?,
        "GAS_MAX_BUMP" => config.gas.max_bump = number(value)?,
        "GAS_LOW_WEI" => config.gas.low_wei = Some(amount(value)?),
        "GAS_APPROVAL_WEI" => config.gas.approval_wei = amount(value)?,
        "GAS_APPROVALS_PER_DAY_WEI" => config.gas.approvals_per_day_wei = amount(value)?,
        _ => return Err("an EVM network has no such setting".to_owned()),
    }
    Ok(())
}

fn solana(config: &mut SolanaConfig, key: &str, value: &str) -> Result<(), String> {
    match key {
        "AGREE_ABOVE" => config.agree_above = Some(AgreeAbove::new(value)?),
        "COMMITMENT" => config.commitment = Commitment::new(value)?,
        "FEES_COMPUTE_UNITS" => config.fees.compute_units = number(value)?,
        "FEES_COMPUTE_PRICE" => config.fees.compute_price = number(value)?,
        "FEES_PRIORITY_LAMPORTS" => config.fees.priority_lamports = number(value)?,
        "FEES_PER_DAY_LAMPORTS" => config.fees.per_day_lamports = number(value)?,
        "FEES_LOW_LAMPORTS" => config.fees.low_lamports = number(value)?,
        _ => return Err("a Solana network has no such setting".to_owned()),
    }
    Ok(())
}

fn number(value: &str) -> Result<u64, String> {
    decimal_u64(value).map_err(|error| error.to_string())
}

fn amount(value: &str) -> Result<Amount, String> {
    Amount::atomic(value).map_err(|error| error.to_string())
}

fn name_of(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

impl NetworkConfig {
    fn names(&self, variable: &str) -> bool {
        self.signer.iter().any(|signer| signer.variable() == variable)
    }
}
