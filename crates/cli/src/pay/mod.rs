//! `tollway pay`: curl that pays.

mod accounts;
mod args;
mod body;
mod report;
mod request;
mod solana;
mod verdict;

pub(crate) use args::PayArgs;

use std::path::PathBuf;
use std::time::Duration;

use tollway_payer::{Budget, Journal, Limits, Payer, Policy, ResourceRule};
use url::Url;

use self::accounts::Accounts;
use crate::exit::{Doing as _, Exit, Failure};
use crate::home;

pub(crate) async fn run(args: PayArgs) -> Result<Exit, Failure> {
    let url = request::url(&args.url)?;
    let accounts = Accounts::open(&args)?;
    let payer = payer(&args, &url, &accounts)?;
    let request = request::build(&args, url)?;
    if args.dry_run {
        let preview = payer.dry_run(request).await;
        return match preview {
            Ok(preview) => report::preview(&preview, &accounts, args.json),
            Err(error) => verdict::failed(&error, &args, &accounts),
        };
    }
    match payer.pay(request).await {
        Ok(paid) => {
            report::paid(paid.payment.as_ref(), paid.response.status(), args.json);
            body::write(paid.response, &args).await
        }
        Err(error) => verdict::failed(&error, &args, &accounts),
    }
}

fn payer(args: &PayArgs, url: &Url, accounts: &Accounts) -> Result<Payer, Failure> {
    let wallet = accounts.wallet(args)?;
    let directory = args.journal.clone().map_or_else(home::journal, Ok::<PathBuf, Failure>)?;
    let journal = Journal::open(&directory).doing(|| format!("the journal {}", directory.display()))?;
    let mut limits = Limits::default();
    limits.total = Duration::from_secs(args.timeout);
    let http = || reqwest::Client::builder().user_agent(concat!("tollway/", env!("CARGO_PKG_VERSION")));
    Ok(Payer::builder(wallet, journal).policy(policy(args, url)?).limits(limits).http(http).build()?)
}

fn policy(args: &PayArgs, url: &Url) -> Result<Policy, Failure> {
    let mut policy = Policy::default().cap(&args.max)?.resource(ResourceRule::SameBehindProxy);
    if !args.network.is_empty() {
        policy = policy.networks(args.network.clone());
    }
    if let Some(most) = &args.budget {
        policy = policy.budget(Budget::daily(most)?);
    }
    if args.allow_http {
        policy = policy.allow_insecure(url.host_str().unwrap_or_default());
    }
    if let Some(account) = &args.pay_to {
        policy = policy.allow_recipient(&url.origin().ascii_serialization(), account);
    }
    Ok(policy)
}
