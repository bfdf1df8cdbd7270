//! `tollway demo`: one payment from the first request to the money on chain, told step by step.

mod buy;
mod observed;
mod tell;

use std::sync::Arc;

use alloy_primitives::{Address, U256};
use clap::{Args, ValueEnum};
use serde_json::json;
use tollway_devnet::evm::Mining;
use tollway_facilitator::Api;
use tollway_protocol::door::Amount;

use crate::exit::{Exit, Failure};
use crate::screen;
use crate::secrets;
use crate::stack::{self, Net, PRICE, Service, Shop, ShopConfig};
use buy::Bought;
use observed::{Notes, Observed};
use tell::Teller;

/// A dollar.
const ALLOWANCE: u64 = 1_000_000;
/// USDC's.
const DECIMALS: u8 = 6;

/// Shows a payment from the request to the money on chain.
#[derive(Debug, Args)]
#[command(long_about = "\
Shows a whole payment, here and now: starts a chain in this process, a facilitator, a paid API and
a payer, buys the weather for $0.01, and shows every header decoded and the balances on chain.

Needs no network, no account and no money. Ends with 0 only if the seller has the price and the
payer paid exactly that.

Examples:
  tollway demo
  tollway demo --format json | jq .step")]
pub(crate) struct DemoArgs {
    /// How it is told; by default text on a terminal, and JSON lines elsewhere.
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Auto,
    Text,
    Json,
}

/// What both sides have, in atomic units.
#[derive(Debug, Clone, Copy)]
struct Balances {
    payer: U256,
    seller: U256,
}

pub(crate) async fn run(args: DemoArgs) -> Result<Exit, Failure> {
    let json = match args.format {
        Format::Auto => !screen::is_terminal(),
        Format::Text => false,
        Format::Json => true,
    };
    let teller = Teller::new(json);
    teller.opening("Tollway demo: one API call, paid for with x402, on a chain inside this process")?;

    let directory = tempfile::tempdir()?;
    let ledger = stack::open_ledger(&directory.path().join("demo.db"))?;
    let net = Net::embedded(0, Mining::Auto).await?;
    let (gas, payer) = (secrets::fresh()?, secrets::fresh()?);
    let seller = secrets::fresh()?.address();
    net.fund(gas.address()).await?;
    net.mint(payer.address(), ALLOWANCE).await?;

    let notes = Notes::default();
    let mechanism = Observed::new(stack::mechanism(&net, gas, ledger.clone())?, notes.clone());
    let limits = stack::registry_limits();
    let registry = limits.registry().mechanism(Arc::new(mechanism)).build()?;
    let service =
        Service::start(stack::listen(0).await?, registry, ledger.clone(), &limits, None, Api::router).await;
    // Lets the facilitator learn the chain's facts now, so that the verification shown is one like all others.
    if let Some(problem) = service.registry().problems().await.into_iter().next() {
        return Err(Failure::general(format!("the facilitator is not ready: {problem}")));
    }
    let shop = Shop::open(ShopConfig {
        server: stack::listen(0).await?,
        facilitator: service.url.clone(),
        ledger,
        accounts: vec![(net.network.clone(), seller.to_string())],
    })
    .await?;

    let before = balances(&net, payer.address(), seller).await?;
    let bought = buy::weather(&teller, &net, &shop, &notes, payer.clone()).await?;
    let moved = compare(&teller, &net, payer.address(), seller, before, &bought).await?;
    let stopped = shop.stop().await & service.stop().await;
    net.stop().await;
    tracing::debug!(stopped, "stopped");
    if moved { Ok(Exit::Ok) } else { Err(Failure::general("the balances did not move by exactly the price")) }
}

async fn balances(net: &Net, payer: Address, seller: Address) -> Result<Balances, Failure> {
    Ok(Balances {
        payer: net.rpc.token_balance(net.usdc, payer).await?,
        seller: net.rpc.token_balance(net.usdc, seller).await?,
    })
}

/// Whether exactly the price went from the payer to the seller, as the chain has it.
async fn compare(
    teller: &Teller,
    net: &Net,
    payer: Address,
    seller: Address,
    before: Balances,
    bought: &Bought,
) -> Result<bool, Failure> {
    let after = balances(net, payer, seller).await?;
    let price = bought.price.get();
    let paid = before.payer.checked_sub(after.payer) == Some(price);
    let earned = after.seller.checked_sub(before.seller) == Some(price);
    teller.step(
        7,
        "balances",
        "The balances on chain, in USDC",
        &[
            ("price", json!(bought.price.in_units(DECIMALS))),
            ("payer", json!(payer)),
            ("payerBefore", json!(units(before.payer))),
            ("payerAfter", json!(units(after.payer))),
            ("seller", json!(seller)),
            ("sellerBefore", json!(units(before.seller))),
            ("sellerAfter", json!(units(after.seller))),
            ("movedExactlyThePrice", json!(paid && earned)),
        ],
    )?;
    teller.closing(
        paid && earned,
        &format!("{PRICE} went from the payer to the seller: once, on chain, and for this answer only"),
        "Next: `tollway dev` keeps all of this running, for your own client or `tollway pay`.",
    )?;
    Ok(paid && earned)
}

fn units(amount: U256) -> String {
    Amount::from(amount).in_units(DECIMALS)
}
