//! `tollway ledger reconcile`: the ledger beside the chain.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::FacilitatorScheme as _;

use super::time;
use crate::exit::{Exit, Failure};
use crate::facilitator::Mechanism;
use crate::{facilitator, screen};

/// Compares the ledger with the chain; ends with code 1 when they differ.
#[derive(Debug, Args)]
#[command(long_about = "\
Compares the ledger with the chain's own logs: every settled payment must be in the transaction that the
ledger names, every transfer in our transactions must be in the ledger, and every nonce that the
chain has spent of our accounts must have a transaction in it. Prints one JSON object for each network and
ends with code 1 when something differs. Changes nothing. Solana networks are not compared yet, which their
objects say.")]
pub(super) struct ReconcileArgs {
    /// The facilitator's configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only payments taken on or after this day (UTC, YYYY-MM-DD) or second since 1970.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// Why nothing is said of a Solana cluster.
const UNREAD: &str =
    "Solana is not compared yet: look the signatures that `tollway ledger export` lists up in an explorer";

pub(super) async fn run(args: ReconcileArgs) -> Result<Exit, Failure> {
    let since = args.since.as_deref().map(|text| time(text, "--since")).transpose()?.unwrap_or(UnixTime(0));
    let (_ledger, mechanisms) = facilitator::opened(&args.config).await?;
    let mut differs = false;
    for mechanism in mechanisms {
        let mechanism = match mechanism {
            Mechanism::Evm(exact) => exact,
            Mechanism::Solana(exact) => {
                let line = json!({ "network": exact.network().to_string(), "notCompared": UNREAD });
                screen::line(&line.to_string())?;
                continue;
            }
        };
        let audit = mechanism.audit(since).await.map_err(|error| {
            Failure::general(error.to_string()).todo("try again when chain and ledger can be reached")
        })?;
        differs |= !audit.differences.is_empty();
        let differences: Vec<_> = audit
            .differences
            .iter()
            .map(|found| {
                json!({"kind": found.kind.name(), "payment": found.payment.as_ref().map(ToString::to_string),
                "transaction": found.transaction, "detail": found.detail})
            })
            .collect();
        let line = json!({
            "network": audit.network.to_string(), "settled": audit.settled, "transactions": audit.transactions,
            "open": audit.open, "oldestOpen": audit.oldest_open.map(|time| time.0), "differences": differences,
        });
        screen::line(&line.to_string())?;
    }
    Ok(if differs { Exit::General } else { Exit::Ok })
}
