//! What `tollway pay` is told.

use std::path::PathBuf;

use clap::Args;
use tollway_protocol::money::Money;
use tollway_protocol::{Network, NetworkPattern};
use url::Url;

/// Requests a URL, and pays if that is asked for.
#[derive(Debug, Args)]
#[command(long_about = "\
Requests a URL like curl, and pays if the answer is 402 and the policy allows it.

The body goes to stdout, what was paid to stderr. What is not x402 passes through. The keys are in
TOLLWAY_PRIVATE_KEY (EVM networks) and TOLLWAY_SOLANA_KEY, or else in keystores (see `tollway
wallet`). At most $1 is paid unless --max says
otherwise, once per call, to the account that this site was first paid at, with https only.

Every payment is in the journal before it is sent. If a call ends with 5, run the same command
again: it sends the same payment, never a second one.

Examples:
  tollway pay https://api.example.com/weather
  tollway pay --dry-run https://api.example.com/weather            the price; signs nothing
  tollway pay --max 0.05 -X POST -H 'content-type: application/json' -d @ask.json https://…
  tollway pay --json https://… 2> receipt.json > answer.json")]
pub(crate) struct PayArgs {
    /// What to request; https:// unless it says otherwise.
    pub(super) url: String,
    /// The method; GET, or POST with --data.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    pub(super) method: Option<String>,
    /// A header, as 'Name: value'.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub(super) headers: Vec<String>,
    /// The body: text, @FILE, or @- for stdin; several are joined with &.
    #[arg(short = 'd', long = "data", value_name = "DATA")]
    pub(super) data: Vec<String>,
    /// The most that may be paid, in dollars.
    #[arg(long, value_name = "AMOUNT", default_value = "$1", value_parser = Money::new)]
    pub(super) max: Money,
    /// The most that may be paid in 24 hours, with all that the journal has.
    #[arg(long, value_name = "AMOUNT", value_parser = Money::new)]
    pub(super) budget: Option<Money>,
    /// Pay only on this network, such as base, eip155:8453 or solana:*; may be given again.
    #[arg(long, value_name = "NETWORK", value_parser = NetworkPattern::new)]
    pub(super) network: Vec<NetworkPattern>,
    /// Pay this account, though the site was paid at another before.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) pay_to: Option<String>,
    /// A node of a network, as base=https://…; may be given again. With it Permit2 is permitted what a payment needs, and
    /// no more, where the seller's facilitator sponsors that. On Solana a node is asked for a recent blockhash: the one
    /// given here, else `tollway dev`'s on this computer for offers on its cluster, else a public one.
    #[arg(long, value_name = "NETWORK=URL", value_parser = node)]
    pub(super) rpc: Vec<(Network, Url)>,
    /// Approve Permit2 for all of a token and for good, where the token takes no permits and the seller's facilitator
    /// sends the approval; its gas may cost this account so much of the network's coin, such as 0.0005.
    #[arg(long, value_name = "FEE", requires = "rpc", value_parser = Money::new)]
    pub(super) allow_unlimited_approval: Option<Money>,
    /// Pay over plain http, where others on the way could take the payment.
    #[arg(long)]
    pub(super) allow_http: bool,
    /// Show what would be paid, and why; nothing is signed.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Report as a JSON line.
    #[arg(long)]
    pub(super) json: bool,
    /// The encrypted key, and beside it FILE-solana; otherwise TOLLWAY_PRIVATE_KEY and TOLLWAY_SOLANA_KEY, or
    /// $TOLLWAY_HOME/keystore.
    #[arg(long, value_name = "FILE")]
    pub(super) keystore: Option<PathBuf>,
    /// Where payments are remembered; otherwise $TOLLWAY_HOME/journal.
    #[arg(long, value_name = "DIR")]
    pub(super) journal: Option<PathBuf>,
    /// Write the body to this file.
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Write the answer's status and headers before its body.
    #[arg(short, long)]
    pub(super) include: bool,
    /// End with 6 when the answer's status is 400 or above.
    #[arg(short, long)]
    pub(super) fail: bool,
    /// Seconds until the answer has to have begun.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) timeout: u64,
}

/// Reads `base=https://…`. The URL may carry a key: it is not repeated.
fn node(text: &str) -> Result<(Network, Url), String> {
    let (network, url) = text.split_once('=').ok_or("expected NETWORK=URL")?;
    let network = Network::any(network).map_err(|error| error.to_string())?;
    if network.chain_id().is_none() && !tollway_svm::is_solana(&network) {
        return Err(format!("{network} is neither an EVM network nor Solana's"));
    }
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    Ok((network, url.ok_or("expected an http or https URL after the network")?))
}
