//! `tollway demo`: a payment on each chain, from the first request to the money on chain, told step by step.

mod buy;
mod observed;
mod side;
mod tell;

use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;
use tollway_devnet::evm::Mining;
use tollway_facilitator::Api;
use tollway_ledger::SqliteLedger;
use tollway_protocol::door::Amount;

use crate::exit::{Exit, Failure};
use crate::screen;
use crate::secrets;
use crate::stack::{self, Net, PRICE, Service, Shop, ShopConfig, Solana};
use buy::Bought;
use observed::{Notes, Observed};
use side::{Balances, Side};
use tell::Teller;

/// A dollar.
const ALLOWANCE: u64 = 1_000_000;
/// USDC's.
const DECIMALS: u8 = 6;

/// Shows a payment from the request to the money on chain.
#[derive(Debug, Args)]
#[command(long_about = "\
Shows whole payments, here and now: starts an EVM chain and a Solana cluster in this process, a
facilitator, a paid API and a payer, buys the weather for $0.01 on each chain, and shows every header
decoded and the balances on chain.

Needs no network, no account and no money. Ends with 0 only if the seller has the price twice and
the payers paid exactly that.

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

/// What is told first, and before the second payment.
const OPENINGS: [&str; 2] = [
    "Tollway demo: one API call, paid for with x402, on a chain inside this process",
    "\nThe same call once more, paid for on Solana, on a cluster inside this process",
];

/// A chain, and what its mechanism was seen doing.
struct Stage {
    side: Side,
    notes: Notes,
}

pub(crate) async fn run(args: DemoArgs) -> Result<Exit, Failure> {
    let json = match args.format {
        Format::Auto => !screen::is_terminal(),
        Format::Text => false,
        Format::Json => true,
    };
    let directory = tempfile::tempdir()?;
    let ledger = stack::open_ledger(&directory.path().join("demo.db"))?;
    let limits = stack::registry_limits();
    let (on_evm, exact) = evm(ledger.clone()).await?;
    let registry = limits.registry().mechanism(Arc::new(exact));
    let (on_solana, exact) = solana(ledger.clone()).await?;
    let registry = registry.mechanism(Arc::new(exact)).build()?;
    let service =
        Service::start(stack::listen(0).await?, registry, ledger.clone(), &limits, None, Api::router).await;
    // Lets the facilitator learn the chains' facts now, so that the verifications shown are ones like all others.
    if let Some(problem) = service.registry().problems().await.into_iter().next() {
        return Err(Failure::general(format!("the facilitator is not ready: {problem}")));
    }
    let stages = [on_evm, on_solana];
    let shop = Shop::open(ShopConfig {
        server: stack::listen(0).await?,
        facilitator: service.url.clone(),
        ledger,
        accounts: stages.iter().map(|stage| (stage.side.network().clone(), stage.side.seller())).collect(),
    })
    .await?;

    let mut moved = true;
    for (stage, opening) in stages.iter().zip(OPENINGS) {
        let teller = Teller::new(json, stage.side.network().clone());
        teller.opening(opening)?;
        let before = stage.side.balances().await?;
        let bought = buy::weather(&teller, &stage.side, &shop, &stage.notes).await?;
        moved &= compare(&teller, &stage.side, before, &bought).await?;
    }
    let stopped = shop.stop().await & service.stop().await;
    let [first, second] = stages;
    let network = first.side.network().clone();
    first.side.stop().await;
    second.side.stop().await;
    tracing::debug!(stopped, "stopped");
    Teller::new(json, network).closing(
        moved,
        &format!("{PRICE} went from the payer to the seller, on each chain: once, and for that answer only"),
        "Next: `tollway dev` keeps all of this running, for your own client or `tollway pay`.",
    )?;
    if moved { Ok(Exit::Ok) } else { Err(Failure::general("the balances did not move by exactly the price")) }
}

async fn evm(ledger: Arc<SqliteLedger>) -> Result<(Stage, Observed<tollway_evm::ExactFacilitator>), Failure> {
    let net = Net::embedded(0, Mining::Auto).await?;
    let (gas, payer) = (secrets::fresh()?, secrets::fresh()?);
    let seller = secrets::fresh()?.address();
    net.fund(gas.address()).await?;
    net.mint(payer.address(), ALLOWANCE).await?;
    let notes = Notes::default();
    let mechanism = Observed::new(stack::mechanism(&net, gas, ledger)?, notes.clone());
    Ok((Stage { side: Side::Evm { net, payer, seller }, notes }, mechanism))
}

async fn solana(
    ledger: Arc<SqliteLedger>,
) -> Result<(Stage, Observed<tollway_svm::ExactFacilitator>), Failure> {
    let cluster = Solana::embedded(0).await?;
    let ((fee_payer, _), (payer, _)) = (secrets::fresh_solana()?, secrets::fresh_solana()?);
    let seller = secrets::fresh_solana()?.0.address();
    cluster.fund(fee_payer.address())?;
    cluster.mint(payer.address(), ALLOWANCE)?;
    cluster.mint(seller, 0)?;
    let notes = Notes::default();
    let mechanism = Observed::new(cluster.mechanism(fee_payer, ledger)?, notes.clone());
    Ok((Stage { side: Side::Solana { cluster, payer, seller }, notes }, mechanism))
}

/// Whether exactly the price went from the payer to the seller, as the chain has it.
async fn compare(teller: &Teller, side: &Side, before: Balances, bought: &Bought) -> Result<bool, Failure> {
    let after = side.balances().await?;
    let price = bought.price.get();
    let paid = before.payer.get().checked_sub(after.payer.get()) == Some(price);
    let earned = after.seller.get().checked_sub(before.seller.get()) == Some(price);
    let units = |amount: Amount| json!(amount.in_units(DECIMALS));
    teller.step(
        7,
        "balances",
        "The balances on chain, in USDC",
        &[
            ("price", units(bought.price)),
            ("payer", json!(side.payer())),
            ("payerBefore", units(before.payer)),
            ("payerAfter", units(after.payer)),
            ("seller", json!(side.seller())),
            ("sellerBefore", units(before.seller)),
            ("sellerAfter", units(after.seller)),
            ("movedExactlyThePrice", json!(paid && earned)),
        ],
    )?;
    Ok(paid && earned)
}
