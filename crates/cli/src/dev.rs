//! `tollway dev`: chains, facilitator and a paid API that stay up.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, address};
use clap::Args;
use serde_json::{Map, Value, json};
use tollway_devnet::evm::Mining;
use tollway_facilitator::{Api, Registry};
use tollway_ledger::SqliteLedger;
use tollway_protocol::{Network, Secret};

use crate::exit::{Doing as _, Exit, Failure};
use crate::nearby::{self, Note};
use crate::screen::{self, Paint};
use crate::secrets;
use crate::signals::Stop;
use crate::stack::{self, Net, Service, Shop, ShopConfig, Solana};

/// Who is paid: the same in every run, since payers remember whom they paid where.
const SELLER: Address = address!("746f6c6c7761790000000000000073656c6c6572");
/// A hundred dollars for the payer.
const ALLOWANCE: u64 = 100_000_000;
/// The same on Solana. Nobody has its key; it is on the curve, as some SDKs want accounts to be.
const SOLANA_SELLER: solana_address::Address =
    solana_address::Address::new_from_array(*b"tollway-seller-on-solana-of-dev-");
/// The seller's port for people; the facilitator, the EVM chain and the Solana cluster have the next ones.
const PORT: u16 = 4021;
/// How often the embedded chain makes a block: its clock then follows the real one, under load too.
const BLOCK_TIME: Duration = Duration::from_secs(1);

/// Keeps two chains, a facilitator and a paid API running, to build against.
#[derive(Debug, Args)]
#[command(long_about = "\
Keeps two chains, a facilitator and a paid API running on loopback, with a funded payer on each
chain, until Ctrl-C.

The chains are inside this process and gone afterwards. One looks like Base Sepolia (eip155:84532,
with USDC, Permit2 and Multicall3 at their usual addresses), the other like Solana's devnet (with
USDC and PYUSD; a block each 400 ms). Unmodified x402 clients and servers work with them: point them
at the URLs printed.

Examples:
  tollway dev
  tollway dev --rpc eip155:84532=http://127.0.0.1:8545    on your anvil alone
  tollway dev --facilitator http://127.0.0.1:4000         the seller uses your facilitator
  tollway dev --json > dev.json &                         for scripts: a line when it is ready")]
pub(crate) struct DevArgs {
    /// Print one JSON line when everything is ready, and nothing else on stdout; free ports.
    #[arg(long)]
    json: bool,
    /// Use a development node such as anvil for this network, and no chain of our own. Contracts that it lacks are put
    /// there.
    #[arg(long, value_name = "CAIP2=URL", value_parser = rpc)]
    rpc: Vec<(Network, String)>,
    /// The facilitator that the seller uses, instead of the one started here.
    #[arg(long, value_name = "URL")]
    facilitator: Option<String>,
    /// The seller's port; the facilitator, the EVM chain and the Solana cluster get the next three, and the cluster's
    /// WebSocket the one after, if it is free. 0 takes free ones.
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Keep the ledger in this directory instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

fn rpc(text: &str) -> Result<(Network, String), String> {
    let (network, url) =
        text.split_once('=').ok_or("expected CAIP2=URL, such as eip155:84532=http://127.0.0.1:8545")?;
    let network = Network::any(network).map_err(|error| error.to_string())?;
    let good =
        url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if good { Ok((network, url.to_owned())) } else { Err("the URL must be http:// or https://".to_owned()) }
}

/// What runs.
struct Dev {
    nets: Vec<Net>,
    solana: Option<OnSolana>,
    service: Service,
    shop: Shop,
    facilitator: String,
    payer: (Address, Secret<String>),
}

/// The cluster, and who pays on it.
struct OnSolana {
    cluster: Solana,
    payer: String,
    secret: Secret<String>,
    /// By which payers on this computer find the cluster's node.
    note: Option<Note>,
}

pub(crate) async fn run(args: DevArgs) -> Result<Exit, Failure> {
    let stop = Stop::listen()?;
    let temporary = tempfile::tempdir()?;
    let state = args.state.as_deref().unwrap_or(temporary.path());
    let dev = tokio::select! {
        dev = start(&args, state) => dev?,
        () = stop.clone().asked() => return Ok(Exit::Ok),
    };
    let told = if args.json { screen::line(&dev.json().to_string()) } else { dev.tell() };
    if let Err(failure) = told {
        dev.stop().await;
        return Err(failure.into());
    }
    stop.asked().await;
    if !args.json {
        screen::note("\nStopping: requests in flight are finished");
    }
    dev.stop().await;
    Ok(Exit::Ok)
}

async fn start(args: &DevArgs, state: &Path) -> Result<Dev, Failure> {
    let port = args.port.unwrap_or(if args.json { 0 } else { PORT });
    let next = |more: u16| if port == 0 { 0 } else { port.saturating_add(more) };
    std::fs::create_dir_all(state).doing(|| format!("--state {}", state.display()))?;
    // Taken first, so that a port in use is reported before anything else is done.
    let (shop_server, server) = (stack::listen(port).await?, stack::listen(next(1)).await?);
    let nets = nets(args, next(2)).await?;
    let cluster = if args.rpc.is_empty() { Some(Solana::embedded(next(3)).await?) } else { None };
    let (payer, secret) = secrets::fresh_with_secret()?;
    let gas = secrets::fresh()?;
    let mut registry = stack::registry_limits().registry();
    let ledger = stack::open_ledger(&state.join("facilitator.db"))?;
    for net in &nets {
        net.fund(gas.address()).await?;
        if let Err(failure) = net.mint(payer.address(), ALLOWANCE).await {
            screen::note(&format!("tollway: {}; the payer shown can't pay: bring your own", failure.what));
        }
        let exact = stack::mechanism(net, gas.clone(), ledger.clone())?;
        registry = registry.mechanism(Arc::new(exact.upto())).mechanism(Arc::new(exact));
    }
    let mut accounts: Vec<_> = nets.iter().map(|net| (net.network.clone(), SELLER.to_string())).collect();
    let solana = match cluster {
        Some(cluster) => {
            let (on, exact, seller) = on_solana(cluster, ledger.clone())?;
            registry = registry.mechanism(Arc::new(exact));
            accounts.push((on.cluster.network.clone(), seller));
            Some(on)
        }
        None => None,
    };
    let service = service(server, registry.build()?, ledger).await?;
    let facilitator = args.facilitator.clone().unwrap_or_else(|| service.url.clone());
    let shop = Shop::open(ShopConfig {
        server: shop_server,
        facilitator: facilitator.clone(),
        ledger: stack::open_ledger(&state.join("seller.db"))?,
        accounts,
    })
    .await?;
    Ok(Dev { nets, solana, service, shop, facilitator, payer: (payer.address(), secret) })
}

/// Payer and fee payer with funds, the seller with a token account: the payer, the mechanism, and the seller.
fn on_solana(
    cluster: Solana,
    ledger: Arc<SqliteLedger>,
) -> Result<(OnSolana, tollway_svm::ExactFacilitator, String), Failure> {
    let ((payer, secret), (fee_payer, _)) = (secrets::fresh_solana()?, secrets::fresh_solana()?);
    cluster.fund(fee_payer.address())?;
    cluster.fund(payer.address())?;
    cluster.mint(payer.address(), ALLOWANCE)?;
    cluster.mint(SOLANA_SELLER, 0)?;
    let note = nearby::announce(&cluster.network, &fee_payer.address().to_string(), &cluster.url());
    let exact = cluster.mechanism(fee_payer, ledger)?;
    let payer = payer.address().to_string();
    Ok((OnSolana { cluster, payer, secret, note }, exact, SOLANA_SELLER.to_string()))
}

async fn nets(args: &DevArgs, port: u16) -> Result<Vec<Net>, Failure> {
    if args.rpc.is_empty() {
        return Ok(vec![Net::embedded(port, Mining::Interval(BLOCK_TIME)).await?]);
    }
    let mut nets: Vec<Net> = Vec::new();
    for (network, url) in &args.rpc {
        if nets.iter().any(|net| net.network == *network) {
            return Err(Failure::new(Exit::Usage, format!("--rpc {network} is given twice")));
        }
        nets.push(Net::outside(network.clone(), url).await?);
    }
    Ok(nets)
}

async fn service(
    server: tollway_facilitator::Server,
    registry: Registry,
    ledger: Arc<SqliteLedger>,
) -> Result<Service, Failure> {
    let service =
        Service::start(server, registry, ledger, &stack::registry_limits(), None, Api::router).await;
    match service.registry().problems().await.into_iter().next() {
        Some(problem) => Err(Failure::general(format!("the facilitator is not ready: {problem}"))),
        None => Ok(service),
    }
}

impl Dev {
    /// The line that scripts read.
    fn json(&self) -> Value {
        let each = |net: &dyn Fn(&Net) -> Value, on: &dyn Fn(&OnSolana) -> Value| -> Map<String, Value> {
            let nets = self.nets.iter().map(|one| (one.network.to_string(), net(one)));
            let solana = self.solana.iter().map(|one| (one.cluster.network.to_string(), on(one)));
            nets.chain(solana).collect()
        };
        let (address, secret) = &self.payer;
        let ws: Map<String, Value> = (self.solana.iter())
            .map(|on| (on.cluster.network.to_string(), json!(on.cluster.websocket_url())))
            .collect();
        json!({
            "facilitator": self.facilitator,
            "seller": self.shop.url,
            "paid": self.shop.paid().into_iter().map(|(url, _)| url).collect::<Vec<_>>(),
            "rpc": each(&|net| json!(net.rpc.url()), &|on| json!(on.cluster.url())),
            "ws": ws,
            "payer": each(
                &|_| json!({ "address": address, "secret": secret.expose() }),
                &|on| json!({ "address": on.payer, "secret": on.secret.expose() }),
            ),
            "asset": each(&|net| json!(net.usdc), &|_| json!(Solana::usdc().to_string())),
        })
    }

    /// What people read.
    fn tell(&self) -> std::io::Result<()> {
        let paint = Paint::for_stdout();
        let paid = self.shop.paid();
        let first = paid.first().map_or("", |(url, _)| url.as_str());
        let row = |name: &str, value: &str| screen::line(&format!("  {name:<14}{value}"));
        screen::line(&paint.bold("Tollway dev stack, on loopback; nothing here is worth anything"))?;
        row("seller", &self.shop.url)?;
        for (url, price) in &paid {
            row("  sells", &format!("{url}  {}", paint.dim(price)))?;
        }
        row("facilitator", &self.facilitator)?;
        for net in &self.nets {
            row("chain", &format!("{}  {}", net.rpc.url(), paint.dim(net.network.as_str())))?;
            row("  USDC", &net.usdc.to_string())?;
        }
        row("payer", &self.payer.0.to_string())?;
        row("  key", self.payer.1.expose())?;
        if let Some(on) = &self.solana {
            row("chain", &format!("{}  {}", on.cluster.url(), paint.dim(on.cluster.network.as_str())))?;
            row("  subscribe", &on.cluster.websocket_url())?;
            row("  USDC", &Solana::usdc().to_string())?;
            row("payer", &on.payer)?;
            row("  key", on.secret.expose())?;
        }
        screen::line(&format!("\n{}", paint.bold("Try, in another terminal:")))?;
        screen::line(&format!("  curl -i {first}"))?;
        screen::line(&format!("  TOLLWAY_PRIVATE_KEY={} tollway pay {first}", self.payer.1.expose()))?;
        if let Some(on) = &self.solana {
            let is_found = on.note.is_some() && self.facilitator == self.service.url;
            let node =
                if is_found { String::new() } else { format!("--rpc solana-devnet={} ", on.cluster.url()) };
            screen::line(&format!("  TOLLWAY_SOLANA_KEY={} tollway pay {node}{first}", on.secret.expose()))?;
        }
        screen::line(&format!("\n{}", paint.dim("Ctrl-C stops it.")))
    }

    /// From the outside in: who takes requests stops first, who is asked by it last.
    async fn stop(self) {
        let shop = self.shop.stop().await;
        let service = self.service.stop().await;
        for net in self.nets {
            net.stop().await;
        }
        if let Some(on) = self.solana {
            on.cluster.stop().await;
        }
        tracing::info!(shop, service, "stopped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seller_on_solana_could_be_an_account_of_a_wallets() {
        assert!(SOLANA_SELLER.is_on_curve());
    }

    #[test]
    fn an_rpc_is_a_network_and_a_url() {
        let (network, url) = rpc("eip155:84532=http://127.0.0.1:8545/?a=b").unwrap();
        assert_eq!((network.as_str(), url.as_str()), ("eip155:84532", "http://127.0.0.1:8545/?a=b"));
        assert_eq!(rpc("base-sepolia=http://localhost").unwrap().0.as_str(), "eip155:84532");
        for wrong in ["http://127.0.0.1:8545", "eip155:84532=localhost:8545", "nowhere=http://localhost", "="]
        {
            rpc(wrong).unwrap_err();
        }
    }
}
