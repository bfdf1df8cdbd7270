//! `tollway wallet balance`.

use alloy_primitives::Address;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use tollway_protocol::door::{self, Amount};
use tollway_protocol::{Network, assets, header};
use tollway_svm::programs::{self, TOKEN, TOKEN_2022};

use super::{Store, store};
use crate::exit::{Doing as _, Exit, Failure};
use crate::rpc::{PUBLIC_SOLANA, Rpc, RpcError};
use crate::{home, screen, secrets};

#[derive(Debug, Args)]
pub(super) struct BalanceArgs {
    #[command(flatten)]
    store: Store,
    /// The node to ask; on Solana a public one unless given.
    #[arg(long, value_name = "URL")]
    rpc: Option<String>,
    /// The network, such as base, eip155:8453 or solana-devnet.
    #[arg(long, value_name = "NETWORK", value_parser = Network::any)]
    network: Network,
}

/// What an account has: the coin's name first.
type Rows = Vec<(String, String)>;

pub(super) async fn run(args: BalanceArgs) -> Result<Exit, Failure> {
    let network = &args.network;
    let (address, rows) = match network.chain_id() {
        Some(chain_id) => on_evm(&args, chain_id).await?,
        None if tollway_svm::is_solana(network) => on_solana(&args).await?,
        None => {
            let what = format!("{network} is neither an EVM network nor Solana's");
            return Err(Failure::new(Exit::Usage, what));
        }
    };
    if args.store.json {
        let balances: serde_json::Map<_, _> =
            rows.into_iter().map(|(symbol, amount)| (symbol, json!(amount))).collect();
        let line = json!({ "address": address, "network": network.as_str(), "balances": balances });
        screen::line(&line.to_string())?;
    } else {
        screen::line(&format!("{address} on {network}"))?;
        rows.iter().try_for_each(|(symbol, amount)| screen::line(&format!("  {amount} {symbol}")))?;
    }
    Ok(Exit::Ok)
}

fn unreachable(error: &RpcError) -> Failure {
    Failure::new(Exit::Unreachable, error.to_string())
}

fn other_chain(found: &str, network: &Network, wanted: &str) -> Failure {
    Failure::general(format!("the node has chain {found}, {network} is chain {wanted}"))
        .todo("give the --rpc of that network")
}

async fn on_evm(args: &BalanceArgs, chain_id: u64) -> Result<(Value, Rows), Failure> {
    let address = match secrets::key_from_env()? {
        Some(key) if args.store.keystore.is_none() => key.address(),
        _ => store::address(&args.store.path()?)?,
    };
    let url =
        args.rpc.as_ref().ok_or_else(|| Failure::new(Exit::Usage, "--rpc is missing: the node to ask"))?;
    let rpc = Rpc::new(url)?;
    let found = rpc.chain_id().await.map_err(|error| unreachable(&error))?;
    if found != chain_id {
        return Err(other_chain(&found.to_string(), &args.network, &chain_id.to_string()));
    }
    Ok((json!(address), evm_rows(&rpc, &args.network, address).await?))
}

async fn evm_rows(rpc: &Rpc, network: &Network, address: Address) -> Result<Rows, Failure> {
    let coin = Amount::from(rpc.balance(address).await.map_err(|error| unreachable(&error))?).in_units(18);
    let mut rows = vec![("coin".to_owned(), coin)];
    for asset in assets::on(network, &[]) {
        let token = door::hex_array::<20>(&asset.address).doing(|| asset.symbol.clone())?;
        let units = rpc.token_balance(token.into(), address).await.map_err(|error| unreachable(&error))?;
        rows.push((asset.symbol, Amount::from(units).in_units(asset.decimals)));
    }
    Ok(rows)
}

#[derive(Deserialize)]
struct InContext<T> {
    value: T,
}

#[derive(Deserialize)]
struct Account {
    data: (String, String),
}

async fn on_solana(args: &BalanceArgs) -> Result<(Value, Rows), Failure> {
    let network = &args.network;
    let address = match secrets::solana_key_from_env()? {
        Some(key) if args.store.keystore.is_none() => key.address().to_string(),
        _ => store::solana_address(&home::solana_beside(&args.store.path()?))?,
    };
    let public = PUBLIC_SOLANA.iter().find(|(name, _)| Network::named(name).as_ref() == Some(network));
    let url = args.rpc.as_deref().or(public.map(|(_, url)| *url));
    let rpc = Rpc::new(url.ok_or_else(|| Failure::new(Exit::Usage, "--rpc is missing: the node to ask"))?)?;
    let genesis: String = rpc.ask("getGenesisHash", json!([])).await.map_err(|error| unreachable(&error))?;
    let found: String = genesis.chars().take(network.reference().len()).collect();
    if found != network.reference() {
        return Err(other_chain(&found, network, network.reference()));
    }
    let rows = solana_rows(&rpc, network, &address).await?;
    Ok((json!(address), rows))
}

/// SOL, and what is in the associated token accounts: payments are made from those alone.
async fn solana_rows(rpc: &Rpc, network: &Network, address: &str) -> Result<Rows, Failure> {
    let owner = programs::address(address).doing(|| "the account".to_owned())?;
    let confirmed = json!({ "commitment": "confirmed" });
    let coin = rpc.ask::<InContext<u64>>("getBalance", json!([address, confirmed])).await;
    let coin = Amount::from(coin.map_err(|error| unreachable(&error))?.value).in_units(9);
    let known: Vec<_> = assets::on(network, &[]).collect();
    let mut accounts = Vec::new();
    for asset in &known {
        let mint = programs::address(&asset.address).doing(|| asset.symbol.clone())?;
        accounts.extend(
            [TOKEN, TOKEN_2022]
                .map(|program| programs::associated_token_account(&owner, &mint, &program).to_string()),
        );
    }
    let config = json!({ "commitment": "confirmed", "encoding": "base64" });
    let held =
        rpc.ask::<InContext<Vec<Option<Account>>>>("getMultipleAccounts", json!([accounts, config])).await;
    let held = held.map_err(|error| unreachable(&error))?.value;
    let mut rows = vec![("coin".to_owned(), coin)];
    for (asset, held) in known.into_iter().zip(held.chunks(2)) {
        let units = held.iter().flatten().filter_map(amount).fold(0, u64::saturating_add);
        rows.push((asset.symbol, Amount::from(units).in_units(asset.decimals)));
    }
    Ok(rows)
}

/// A token account has its amount after its mint and its owner.
fn amount(account: &Account) -> Option<u64> {
    let data = header::decode_base64(account.data.0.as_bytes()).ok()?;
    data.get(64..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
