//! `tollway facilitator`: verifies and settles payments for sellers.

mod build;
mod key;
mod lookup;
mod networks;
mod place;
mod probe;
mod solana;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use tollway_facilitator::config::{self, ConfigError, KeyHash, KeySource};
use tollway_facilitator::{Config, Registry, Server, meter};
use tollway_ledger::Ledger;

pub(crate) use self::build::Mechanism;
use self::key::KeyArgs;
use self::probe::ProbeArgs;
use crate::exit::{Doing as _, Exit, Failure};
use crate::screen;
use crate::signals::Stop;
use crate::stack::{self, Service};
use crate::{secrets, traces};

/// Variables that are other parts' of this program.
const OTHERS: [&str; 7] = [
    "TOLLWAY_HOME",
    "TOLLWAY_PRIVATE_KEY",
    "TOLLWAY_SOLANA_KEY",
    "TOLLWAY_SOLANA_KEY_FILE",
    "TOLLWAY_PASSPHRASE",
    "TOLLWAY_CRASH",
    "TOLLWAY_BIN",
];

/// Verifies and settles payments for sellers.
#[derive(Debug, Args)]
#[command(long_about = "\
Verifies and settles payments for sellers, over HTTP: POST /verify, POST /settle, GET /supported,
/healthz, /readyz and /metrics.

Every signed transaction is in the ledger before it is sent. A start finishes what an earlier
process left; SIGTERM or Ctrl-C finishes what is in flight. Any single value can be overridden by an
environment variable, such as TOLLWAY_LISTEN or TOLLWAY_NETWORK_EIP155_8453_RPC.

A small configuration:
  ledger = \"/var/lib/tollway/facilitator.db\"
  [[network]]
  id = \"eip155:84532\"
  rpc = \"$BASE_SEPOLIA_RPC\"
  signer = { key_env = \"FACILITATOR_KEY\" }
  [[network]]
  id = \"solana-devnet\"
  rpc = \"https://api.devnet.solana.com\"          # the fee payer's key is in TOLLWAY_SOLANA_KEY

Examples:
  tollway facilitator --config facilitator.toml --check
  tollway facilitator --config facilitator.toml
  tollway facilitator key --name shop")]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct FacilitatorArgs {
    /// The configuration, in TOML.
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Check the configuration, the keys included, and serve nothing.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Key(KeyArgs),
    Probe(ProbeArgs),
}

impl FacilitatorArgs {
    /// Whether it will serve, and not only say something.
    pub(crate) fn serves(&self) -> bool {
        !self.check && self.command.is_none()
    }
}

pub(crate) async fn run(args: FacilitatorArgs) -> Result<Exit, Failure> {
    match &args.command {
        Some(Command::Key(args)) => return key::run(args),
        Some(Command::Probe(args)) => return probe::run(args).await,
        None => {}
    }
    let Some(path) = &args.config else {
        return Err(Failure::new(Exit::Usage, "--config is missing"));
    };
    let config = read(path)?;
    if args.check {
        return check(path, &config);
    }
    let stop = Stop::listen()?;
    serve(&config, stop).await
}

fn check(path: &Path, config: &Config) -> Result<Exit, Failure> {
    let signers = build::check(config)?;
    let networks = config.networks.iter().zip(signers);
    screen::line(&format!("{}: good", path.display()))?;
    for (network, signers) in networks {
        let nodes: Vec<String> = network.rpc.iter().map(ToString::to_string).collect();
        let (nodes, signers) = (nodes.join(", "), signers.join(", "));
        screen::line(&format!("  {} through {nodes}, gas paid by {signers}", network.id))?;
    }
    let (keys, rules) = (config.keys.len(), config.allow.len().saturating_add(config.deny.len()));
    if keys > 0 || rules > 0 {
        screen::line(&format!("  {keys} API keys, {rules} rules of who is served"))?;
    }
    Ok(Exit::Ok)
}

async fn serve(config: &Config, stop: Stop) -> Result<Exit, Failure> {
    let metrics = if config.metrics { Some(recorder()?) } else { None };
    let server = Server::bind(config.listen).await.doing(|| format!("listen: {}", config.listen)).map_err(
        |failure| {
            failure.todo("is another one running? choose another address with `listen` or TOLLWAY_LISTEN")
        },
    )?;
    let ledger = stack::open(&config.ledger).await?;
    let registry = build::registry(config, &ledger)?;
    let dress = |api| traces::follow(build::dress(config, api));
    let service = Service::start(server, registry, ledger, &config.limits, metrics, dress).await;
    if let Err(error) = announce(config, &service) {
        service.stop().await;
        return Err(error.into());
    }
    tokio::select! {
        () = warn_unready(service.registry()) => stop.asked().await,
        () = stop.clone().asked() => {}
    }
    if service.stop().await {
        return Ok(Exit::Ok);
    }
    Err(Failure::general("stopped with requests or settlements in progress")
        .todo("nothing is lost: the ledger has them, and the next start finishes them"))
}

fn announce(config: &Config, service: &Service) -> std::io::Result<()> {
    let url = &service.url;
    if screen::is_terminal() {
        let networks: Vec<&str> = config.networks.iter().map(|network| network.id.as_str()).collect();
        return screen::line(&format!("Facilitator at {url} for {}; Ctrl-C stops it", networks.join(", ")));
    }
    let supported = service.registry().kinds();
    let line = json!({ "ready": true, "url": url, "kinds": supported.kinds, "signers": supported.signers });
    screen::line(&line.to_string())
}

async fn warn_unready(registry: &Registry) {
    for found in registry.problems().await {
        tracing::warn!(network = %found.network, problem = found.problem, "not ready");
    }
}

fn recorder() -> Result<metrics_exporter_prometheus::PrometheusHandle, Failure> {
    let handle = meter::prometheus()?.install_recorder()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// The ledger of the facilitator with this configuration, or the one at `place`.
pub(crate) async fn ledger_of(
    config: Option<&Path>,
    place: Option<&str>,
) -> Result<Arc<dyn Ledger>, Failure> {
    match (config, place) {
        (Some(path), _) => stack::open_existing(&read(path)?.ledger).await,
        (None, Some(text)) => {
            let place = config::Ledger::new(text)
                .map_err(|expected| Failure::general(format!("--ledger: {expected}")))?;
            stack::open_existing(&place).await
        }
        (None, None) => Err(Failure::new(Exit::Usage, "--config or --ledger is missing")),
    }
}

/// The ledger and the mechanisms of the facilitator with this configuration.
pub(crate) async fn opened(path: &Path) -> Result<(Arc<dyn Ledger>, Vec<Mechanism>), Failure> {
    let config = read(path)?;
    let ledger = stack::open_existing(&config.ledger).await?;
    let mechanisms = build::mechanisms(&config, &ledger)?;
    Ok((ledger, mechanisms))
}

/// Reads and checks a configuration; every problem is told with its place.
fn read(path: &Path) -> Result<Config, Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .doing(|| name.to_string())
        .map_err(|failure| failure.todo("`tollway facilitator --help` shows a small configuration"))?;
    let wrong = |problem: &ConfigError| match problem {
        ConfigError::Value { key, .. } => match place::line(&text, key) {
            Some(line) => format!("{name}: line {line}: {problem}"),
            None => format!("{name}: {problem}"),
        },
        ConfigError::File { .. } => format!("{name}: {problem}"),
        ConfigError::Environment { .. } => problem.to_string(),
    };
    let mut config = Config::from_toml(&text).map_err(|error| Failure::general(wrong(&error)))?;
    let mut variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    for variable in config.secret_variables() {
        let named = variables.remove(&format!("{variable}{}", secrets::FILE));
        if let (Some(path), false) = (named, variables.contains_key(&variable)) {
            variables.insert(variable.clone(), secrets::in_file(&variable, Path::new(&path))?);
        }
    }
    let unknown = config.apply_env(variables).map_err(|error| Failure::general(wrong(&error)))?;
    files(&mut config).map_err(|failure| Failure { what: format!("{name}: {}", failure.what), ..failure })?;
    for variable in unknown.iter().filter(|name| !OTHERS.contains(&name.as_str())) {
        tracing::warn!(variable, "the facilitator has no such setting");
    }
    config
        .check()
        .map_err(|problems| Failure::general(problems.0.iter().map(wrong).collect::<Vec<_>>().join("\n")))?;
    Ok(config)
}

/// Reads the files that a configuration names for its keys and lists.
fn files(config: &mut Config) -> Result<(), Failure> {
    for (index, key) in config.keys.iter_mut().enumerate() {
        let KeySource::File(path) = &key.source else { continue };
        let doing = || format!("keys[{index}].hash_file: {}", path.display());
        let text = bounded(path).doing(doing)?;
        let hash = KeyHash::new(&text).map_err(|problem| Failure::general(format!("{}: {problem}", doing())));
        key.hash = Some(hash?);
    }
    for (list, rules) in [("allow", &mut config.allow), ("deny", &mut config.deny)] {
        for (index, rule) in rules.iter_mut().enumerate() {
            let Some(path) = rule.payer_file.clone() else { continue };
            let doing = || format!("{list}[{index}].payer_file: {}", path.display());
            rule.add_payers(&bounded(&path).doing(doing)?);
        }
    }
    Ok(())
}

/// The longest list of accounts, in bytes: some hundred thousand of them.
const LIST_BYTES: u64 = 16 << 20;

fn bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut std::io::Read::take(std::fs::File::open(path)?, LIST_BYTES + 1),
        &mut text,
    )?;
    if text.len() as u64 > LIST_BYTES {
        return Err(std::io::Error::other("the file is too long"));
    }
    Ok(text)
}
