//! `tollway pay`: curl that pays.

mod args;
mod body;
mod report;
mod request;
mod verdict;

pub(crate) use args::PayArgs;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tollway_evm::keys::Key;
use tollway_evm::permit2::{RpcReader, Sponsoring};
use tollway_evm::{ExactPayer, UptoPayer};
use tollway_payer::{Budget, Journal, Limits, Payer, Policy, ResourceRule, Wallet};
use url::Url;

use crate::exit::{Doing as _, Exit, Failure};
use crate::{home, secrets};

pub(crate) async fn run(args: PayArgs) -> Result<Exit, Failure> {
    let url = request::url(&args.url)?;
    let key = key(&args)?;
    let payer = payer(&args, &url, key.as_ref())?;
    let request = request::build(&args, url)?;
    let account = key.map(|key| key.address());
    if args.dry_run {
        let preview = payer.dry_run(request).await;
        return match preview {
            Ok(preview) => report::preview(&preview, account, args.json),
            Err(error) => verdict::failed(&error, &args, account),
        };
    }
    match payer.pay(request).await {
        Ok(paid) => {
            report::paid(paid.payment.as_ref(), paid.response.status(), args.json);
            body::write(paid.response, &args).await
        }
        Err(error) => verdict::failed(&error, &args, account),
    }
}

/// The key to pay with. A dry run opens no keystore, and none at all is needed for what is free.
fn key(args: &PayArgs) -> Result<Option<Key>, Failure> {
    if let Some(path) = &args.keystore
        && !args.dry_run
    {
        return secrets::open(path).map(Some);
    }
    if let Some(key) = secrets::key_from_env()? {
        return Ok(Some(key));
    }
    let path = home::keystore().ok().filter(|path| path.is_file() && !args.dry_run);
    path.map(|path| secrets::open(&path)).transpose()
}

fn payer(args: &PayArgs, url: &Url, key: Option<&Key>) -> Result<Payer, Failure> {
    let wallet = match key {
        Some(key) => wallet(args, key.clone())?,
        // A dry run shows what somebody would pay; this key signs nothing and is forgotten.
        None if args.dry_run => wallet(args, secrets::fresh()?)?,
        None => Wallet::new(),
    };
    let directory = args.journal.clone().map_or_else(home::journal, Ok::<PathBuf, Failure>)?;
    let journal = Journal::open(&directory).doing(|| format!("the journal {}", directory.display()))?;
    let mut limits = Limits::default();
    limits.total = Duration::from_secs(args.timeout);
    let http = || reqwest::Client::builder().user_agent(concat!("tollway/", env!("CARGO_PKG_VERSION")));
    Ok(Payer::builder(wallet, journal).policy(policy(args, url)?).limits(limits).http(http).build()?)
}

fn wallet(args: &PayArgs, key: Key) -> Result<Wallet, Failure> {
    let (exact, upto) = (ExactPayer::new(key.clone()), UptoPayer::new(key));
    let Some(sponsoring) = sponsoring(args)? else { return Ok(Wallet::new().with(exact).with(upto)) };
    Ok(Wallet::new().with(exact.sponsored(sponsoring.clone())).with(upto.sponsored(sponsoring)))
}

/// Which of Permit2's allowances may be signed: none without a node to ask.
fn sponsoring(args: &PayArgs) -> Result<Option<Sponsoring>, Failure> {
    if args.rpc.is_empty() {
        return Ok(None);
    }
    let sponsoring = Sponsoring::new(Arc::new(RpcReader::new(args.rpc.iter().cloned())?));
    let Some(fee) = &args.allow_unlimited_approval else { return Ok(Some(sponsoring)) };
    let wei = u128::try_from(fee.atomic(18)?.get()).unwrap_or(u128::MAX);
    Ok(Some(sponsoring.allow_unlimited_approvals(wei)))
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
