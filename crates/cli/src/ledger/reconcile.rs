//! `tollway ledger reconcile`: the ledger beside the chain.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;

use super::time;
use crate::exit::{Exit, Failure};
use crate::facilitator::Mechanism;
use crate::{facilitator, screen};

/// Compares the ledger with the chain; ends with code 1 unless they agree.
#[derive(Debug, Args)]
#[command(long_about = "\
Compares the ledger with the chain: every settled payment must be in the transaction that the ledger
names, and every transaction that the chain has of our accounts must be in the ledger. On EVM networks the
chain's logs and our accounts' nonces say so, on Solana what the transactions changed of their
recipients' balances and what the fee payers signed. Prints one JSON object for each network and ends
with code 1 when something differs, or when a node can't tell, which is listed apart. Changes nothing.")]
pub(super) struct ReconcileArgs {
    /// The facilitator's configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only payments taken on or after this day (UTC, YYYY-MM-DD) or second since 1970.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

pub(super) async fn run(args: ReconcileArgs) -> Result<Exit, Failure> {
    let since = args.since.as_deref().map(|text| time(text, "--since")).transpose()?.unwrap_or(UnixTime(0));
    let (_ledger, mechanisms) = facilitator::opened(&args.config).await?;
    let mut agrees = true;
    for mechanism in mechanisms {
        let (line, same) = match mechanism {
            Mechanism::Evm(exact) => on_evm(&exact.audit(since).await.map_err(uncompared)?),
            Mechanism::Solana(exact) => on_solana(&exact.audit(since).await.map_err(uncompared)?),
        };
        agrees &= same;
        screen::line(&line.to_string())?;
    }
    Ok(if agrees { Exit::Ok } else { Exit::General })
}

fn uncompared(error: impl Error) -> Failure {
    Failure::general(error.to_string()).todo("try again when chain and ledger can be reached")
}

fn on_evm(audit: &tollway_evm::facilitator::Audit) -> (Value, bool) {
    let differences = audit.differences.iter();
    let differences: Vec<_> = differences
        .map(|found| found_json(found.kind.name(), found.payment.as_ref(), &found.transaction, &found.detail))
        .collect();
    let line = json!({
        "network": audit.network.to_string(), "settled": audit.settled, "transactions": audit.transactions,
        "open": audit.open, "oldestOpen": audit.oldest_open.map(|time| time.0), "differences": differences,
    });
    (line, audit.differences.is_empty())
}

fn on_solana(audit: &tollway_svm::facilitator::Audit) -> (Value, bool) {
    let differences: Vec<_> = (audit.differences.iter())
        .map(|found| found_json(found.kind.name(), found.payment.as_ref(), &found.transaction, &found.detail))
        .collect();
    let unknowns: Vec<_> = (audit.unknowns.iter())
        .map(|found| found_json("unknown", found.payment.as_ref(), &found.transaction, &found.detail))
        .collect();
    let sums: Vec<_> = (audit.sums.iter())
        .map(|sum| {
            json!({"payTo": sum.pay_to, "asset": sum.asset, "ledger": sum.ledger.to_string(),
            "chain": sum.chain.to_string(), "unknown": sum.unknown.to_string()})
        })
        .collect();
    let line = json!({
        "network": audit.network.to_string(), "settled": audit.settled, "transactions": audit.transactions,
        "open": audit.open, "oldestOpen": audit.oldest_open.map(|time| time.0), "differences": differences,
        "unknown": audit.unknown, "unknowns": unknowns, "sums": sums,
    });
    // Whatever makes sums differ is a difference of its own; they are added up apart from these all the same.
    let same = (audit.sums.iter()).all(|sum| sum.ledger == sum.chain.saturating_add(sum.unknown));
    (line, same && audit.differences.is_empty() && audit.unknown == 0)
}

fn found_json(kind: &str, payment: Option<&PaymentKey>, transaction: &Option<String>, detail: &str) -> Value {
    json!({"kind": kind, "payment": payment.map(ToString::to_string), "transaction": transaction, "detail": detail})
}
