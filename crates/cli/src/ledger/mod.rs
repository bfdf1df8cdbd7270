//! `tollway ledger`: what a facilitator's ledger holds, and whether the chain agrees.

mod export;
mod reconcile;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tollway_ledger::{Filter, JournalState};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Network, door};

use crate::exit::{Exit, Failure};

/// Reads a facilitator's ledger: exports it, or compares it with the chain.
#[derive(Debug, Args)]
#[command(long_about = "\
Reads a facilitator's ledger: exports it, or compares it with the chain. Neither changes anything, and
both may run beside the facilitator.

Examples:
  tollway ledger export --config facilitator.toml --format csv > payments.csv
  tollway ledger export --ledger facilitator.db --since 2026-11-01 --state settled
  tollway ledger reconcile --config facilitator.toml")]
pub(crate) struct LedgerArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Export(export::ExportArgs),
    Reconcile(reconcile::ReconcileArgs),
}

pub(crate) async fn run(args: LedgerArgs) -> Result<Exit, Failure> {
    match args.command {
        Command::Export(args) => export::run(args).await,
        Command::Reconcile(args) => reconcile::run(args).await,
    }
}

/// Where the ledger is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// The facilitator's configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The ledger itself: a file, or a postgres:// URL without its password (PGPASSWORD holds it).
    #[arg(long, value_name = "LEDGER")]
    ledger: Option<String>,
}

/// Which payments.
#[derive(Debug, Args)]
struct Which {
    /// Only on this network, a CAIP-2 id.
    #[arg(long, value_name = "ID")]
    network: Option<String>,
    /// Only those taken on or after this day (UTC, YYYY-MM-DD) or second since 1970.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those taken before this day or second.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Which {
    fn filter(&self, state: Option<JournalState>) -> Result<Filter, Failure> {
        let network = self.network.as_deref().map(Network::new).transpose();
        let network = network.map_err(|error| Failure::general(format!("--network: {error}")))?;
        let mut filter = Filter { network, state, ..Filter::default() };
        if let Some(text) = &self.since {
            filter.since = time(text, "--since")?;
        }
        if let Some(text) = &self.until {
            filter.until = time(text, "--until")?;
        }
        Ok(filter)
    }
}

/// A day in UTC, or a second.
fn time(text: &str, what: &str) -> Result<UnixTime, Failure> {
    if let Ok(seconds) = door::decimal_u64(text) {
        return Ok(UnixTime(seconds));
    }
    let day = jiff::civil::Date::strptime("%Y-%m-%d", text).ok();
    let start = day.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
    let seconds = start.and_then(|start| u64::try_from(start.timestamp().as_second()).ok());
    seconds.map(UnixTime).ok_or_else(|| {
        Failure::general(format!("{what}: {text:?} is neither a day (YYYY-MM-DD) nor a second since 1970"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_or_seconds() {
        assert_eq!(time("1970-01-01", "x").unwrap(), UnixTime(0));
        assert_eq!(time("2026-11-21", "x").unwrap(), UnixTime(1_795_219_200));
        assert_eq!(time("2024-02-29", "x").unwrap(), UnixTime(1_709_164_800));
        assert_eq!(time("1795219200", "x").unwrap(), UnixTime(1_795_219_200));
        for wrong in ["2023-02-29", "2026-13-01", "yesterday", "", "-1", "1e9", "2026-11-00", "1960-01-01"] {
            assert!(time(wrong, "x").is_err(), "{wrong}");
        }
    }
}
