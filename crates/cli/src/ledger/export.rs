//! `tollway ledger export`: one row for each payment, for bookkeeping.

use std::io::Write as _;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tollway_ledger::{JournalState, Record};
use tollway_protocol::{PaymentRequest, assets};

use super::{Place, Which};
use crate::exit::{Doing as _, Exit, Failure};
use crate::facilitator;

/// How many records are read at a time.
const PAGE: u32 = 500;

/// One row for each payment: who paid, for what, when, in which transaction, at what cost.
#[derive(Debug, Args)]
#[command(long_about = "\
One row for each payment: who paid whom, for what, when, in which transaction, what the gas cost, and
what it was worth at the offer's price (known stablecoins count as the dollar that they stand for).

Amounts are exact decimals. Gas is in billionths of the network's coin: gwei, and lamports on
Solana. Times are seconds since 1970, and the same in RFC 3339.")]
pub(super) struct ExportArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    which: Which,
    /// Only in this state.
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// What is written to stdout.
    #[arg(long, value_name = "FORMAT", default_value = "csv")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// The money moved.
    Settled,
    /// It did not, and can't.
    Failed,
    /// Taken, nothing signed.
    Prepared,
    /// Signed, perhaps sent.
    Signed,
    /// Sent.
    Broadcast,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Comma-separated, with a header.
    Csv,
    /// One JSON array.
    Json,
}

/// A payment, as it is exported.
#[derive(Debug, Serialize)]
struct Row {
    payment: String,
    network: String,
    scheme: String,
    state: &'static str,
    r#final: bool,
    taken: u64,
    taken_at: String,
    ended: Option<u64>,
    ended_at: Option<String>,
    payer: String,
    pay_to: String,
    asset: String,
    symbol: Option<String>,
    amount_atomic: String,
    amount: Option<String>,
    usd: Option<String>,
    resource: Option<String>,
    description: Option<String>,
    transaction: Option<String>,
    block: Option<u64>,
    gas_gwei: Option<u64>,
    reason: Option<String>,
    message: Option<String>,
}

pub(super) async fn run(args: ExportArgs) -> Result<Exit, Failure> {
    let state = args.state.map(|state| match state {
        State::Settled => JournalState::Settled,
        State::Failed => JournalState::Failed,
        State::Prepared => JournalState::Prepared,
        State::Signed => JournalState::Signed,
        State::Broadcast => JournalState::Broadcast,
    });
    let filter = args.which.filter(state)?;
    let ledger = facilitator::ledger_of(args.place.config.as_deref(), args.place.ledger.as_deref()).await?;
    let mut sheet = Sheet::new(args.format)?;
    let mut after = 0;
    loop {
        let page = ledger.page(&filter, after, PAGE).await.doing(|| "the ledger".to_owned())?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for record in &page {
            sheet.write(&row(record))?;
        }
    }
    sheet.end()?;
    Ok(Exit::Ok)
}

fn row(record: &Record) -> Row {
    let request: Option<PaymentRequest> = serde_json::from_str(&record.request).ok();
    let offer = request.as_ref().map(|request| &request.payment_requirements);
    let asset = offer.and_then(|offer| assets::at(&offer.network, &offer.asset, &[]));
    let amount = offer.zip(asset.as_ref()).map(|(offer, asset)| offer.amount.in_units(asset.decimals));
    let resource = request.as_ref().and_then(|request| request.payment_payload.resource.as_ref());
    Row {
        payment: record.key.to_string(),
        network: record.network.to_string(),
        scheme: offer.map(|offer| offer.scheme.clone()).unwrap_or_default(),
        state: name(record.state),
        r#final: record.is_final,
        taken: record.created.0,
        taken_at: at(record.created.0),
        ended: record.ended.map(|time| time.0),
        ended_at: record.ended.map(|time| at(time.0)),
        payer: record.payer.clone(),
        pay_to: offer.map(|offer| offer.pay_to.clone()).unwrap_or_default(),
        asset: offer.map(|offer| offer.asset.clone()).unwrap_or_default(),
        symbol: asset.map(|asset| asset.symbol),
        amount_atomic: offer.map(|offer| offer.amount.to_string()).unwrap_or_default(),
        // Every asset of the built-in table stands for a dollar.
        usd: amount.clone(),
        amount,
        resource: resource.map(|resource| resource.url.clone()),
        description: resource.and_then(|resource| resource.description.clone()),
        transaction: record.hash.clone(),
        block: record.block,
        gas_gwei: record.fee_gwei,
        reason: record.reason.as_ref().map(|code| code.as_str().to_owned()),
        message: record.message.clone(),
    }
}

const fn name(state: JournalState) -> &'static str {
    match state {
        JournalState::Prepared => "prepared",
        JournalState::Signed => "signed",
        JournalState::Broadcast => "broadcast",
        JournalState::Settled => "settled",
        JournalState::Failed => "failed",
    }
}

/// A time in RFC 3339.
fn at(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

/// Rows on their way to stdout.
enum Sheet {
    Csv(Box<csv::Writer<std::io::Stdout>>),
    Json { first: bool },
}

impl Sheet {
    fn new(format: Format) -> Result<Self, Failure> {
        match format {
            Format::Csv => Ok(Self::Csv(Box::new(csv::Writer::from_writer(std::io::stdout())))),
            Format::Json => {
                std::io::stdout().write_all(b"[")?;
                Ok(Self::Json { first: true })
            }
        }
    }

    fn write(&mut self, row: &Row) -> Result<(), Failure> {
        match self {
            Self::Csv(writer) => writer.serialize(guarded(row)).doing(|| "stdout".to_owned()),
            Self::Json { first } => {
                let text = serde_json::to_string(row).doing(|| "a row".to_owned())?;
                let lead = if std::mem::replace(first, false) { "\n" } else { ",\n" };
                Ok(write!(std::io::stdout(), "{lead}{text}")?)
            }
        }
    }

    fn end(self) -> Result<(), Failure> {
        match self {
            Self::Csv(mut writer) => Ok(writer.flush()?),
            Self::Json { .. } => Ok(std::io::stdout().write_all(b"\n]\n")?),
        }
    }
}

/// A row for a spreadsheet: what a stranger chose must not be taken for a formula.
fn guarded(row: &Row) -> Row {
    let guard = |text: &Option<String>| {
        text.as_ref().map(|text| {
            let dangerous = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
            if dangerous { format!("'{text}") } else { text.clone() }
        })
    };
    Row {
        payment: row.payment.clone(),
        network: row.network.clone(),
        scheme: guard(&Some(row.scheme.clone())).unwrap_or_default(),
        state: row.state,
        r#final: row.r#final,
        taken: row.taken,
        taken_at: row.taken_at.clone(),
        ended: row.ended,
        ended_at: row.ended_at.clone(),
        payer: row.payer.clone(),
        pay_to: guard(&Some(row.pay_to.clone())).unwrap_or_default(),
        asset: guard(&Some(row.asset.clone())).unwrap_or_default(),
        symbol: row.symbol.clone(),
        amount_atomic: row.amount_atomic.clone(),
        amount: row.amount.clone(),
        usd: row.usd.clone(),
        resource: guard(&row.resource),
        description: guard(&row.description),
        transaction: row.transaction.clone(),
        block: row.block,
        gas_gwei: row.gas_gwei,
        reason: row.reason.clone(),
        message: guard(&row.message),
    }
}
