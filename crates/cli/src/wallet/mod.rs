//! `tollway wallet`: the encrypted key that pays.

mod store;

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use alloy_primitives::Address;
use clap::{Args, Subcommand};
use serde_json::json;
use tollway_evm::keys::Key;
use tollway_protocol::door::{self, Amount};
use tollway_protocol::{Network, Secret, assets};

use crate::exit::{Doing as _, Exit, Failure};
use crate::rpc::Rpc;
use crate::{home, screen, secrets};

/// Longer input is no key.
const LONGEST_KEY: u64 = 1024;

/// Makes and shows the key that pays.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    long_about = "\
Makes and shows the key that pays: an encrypted keystore in the format of geth and Foundry, by
default $TOLLWAY_HOME/keystore. Whoever has the file and its passphrase has the money: keep on it
what you would carry in a purse.

Examples:
  tollway wallet new
  tollway wallet address
  tollway wallet balance --rpc https://mainnet.base.org --network base
  tollway wallet import < key.hex"
)]
pub(crate) struct WalletArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a new key.
    #[command(long_about = "\
Makes a new key from the system's random numbers and writes it encrypted. The passphrase is asked
for twice, or taken from TOLLWAY_PASSPHRASE. A keystore that exists is never overwritten.

Example:
  tollway wallet new")]
    New(Store),
    /// Prints the key's address.
    #[command(long_about = "\
Prints the key's address, for those who send you money. Asks for the passphrase only when the
keystore was made by a program that leaves the address out.

Example:
  tollway wallet address")]
    Address(Store),
    /// Shows what the address has on a network.
    #[command(long_about = "\
Shows what the address has on a network: its coin, and every asset that payments can be made in.
Payments need no coin: the facilitator pays for gas.

Example:
  tollway wallet balance --rpc https://mainnet.base.org --network base")]
    Balance(BalanceArgs),
    /// Takes over a key from TOLLWAY_PRIVATE_KEY or stdin.
    #[command(long_about = "\
Encrypts a private key that you have: 64 hex digits from TOLLWAY_PRIVATE_KEY, from stdin, or typed
at a prompt; never from the command line, where others can read it.

Examples:
  tollway wallet import
  tollway wallet import < key.hex")]
    Import(Store),
}

#[derive(Debug, Args)]
struct Store {
    /// The keystore's file; otherwise $TOLLWAY_HOME/keystore.
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// Print a JSON line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct BalanceArgs {
    #[command(flatten)]
    store: Store,
    /// The node to ask.
    #[arg(long, value_name = "URL")]
    rpc: String,
    /// The network, such as base or eip155:8453.
    #[arg(long, value_name = "NETWORK", value_parser = Network::any)]
    network: Network,
}

impl Store {
    fn path(&self) -> Result<PathBuf, Failure> {
        self.keystore.clone().map_or_else(home::keystore, Ok)
    }

    fn show(&self, address: Address, path: &std::path::Path) -> Result<Exit, Failure> {
        if self.json {
            screen::line(&json!({ "address": address, "keystore": path }).to_string())?;
        } else {
            screen::line(&address.to_string())?;
        }
        Ok(Exit::Ok)
    }

    fn save(&self, key: &Key) -> Result<Exit, Failure> {
        let path = self.path()?;
        store::refuse_existing(&path)?;
        store::save(key, &path, &secrets::new_passphrase()?)?;
        if !self.json {
            screen::note(&format!("tollway: written to {}; back it up, and its passphrase", path.display()));
        }
        self.show(key.address(), &path)
    }
}

pub(crate) async fn run(args: WalletArgs) -> Result<Exit, Failure> {
    match args.command {
        Command::New(store) => store.save(&secrets::fresh()?),
        Command::Import(store) => {
            store::refuse_existing(&store.path()?)?;
            let key = imported()?;
            store.save(&key)
        }
        Command::Address(store) => {
            let path = store.path()?;
            store.show(store::address(&path)?, &path)
        }
        Command::Balance(args) => balance(args).await,
    }
}

/// From the environment, a pipe, or a prompt.
fn imported() -> Result<Key, Failure> {
    if let Some(key) = secrets::key_from_env()? {
        return Ok(key);
    }
    let text = if std::io::stdin().is_terminal() {
        secrets::ask("Private key (64 hex digits): ")?
    } else {
        let mut text = String::new();
        std::io::stdin().lock().take(LONGEST_KEY).read_to_string(&mut text).doing(|| "stdin".to_owned())?;
        Secret::new(text)
    };
    Key::from_hex(&text).map_err(|error| {
        Failure::general(error.to_string())
            .todo(format!("give it in {} or on stdin: 0x and 64 hex digits", secrets::PRIVATE_KEY))
    })
}

async fn balance(args: BalanceArgs) -> Result<Exit, Failure> {
    let address = match secrets::key_from_env()? {
        Some(key) if args.store.keystore.is_none() => key.address(),
        _ => store::address(&args.store.path()?)?,
    };
    let network = &args.network;
    let Some(chain_id) = network.chain_id() else {
        return Err(Failure::new(Exit::Usage, format!("{network} is not an EVM network")));
    };
    let rpc = Rpc::new(&args.rpc)?;
    let unreachable = |error: crate::rpc::RpcError| Failure::new(Exit::Unreachable, error.to_string());
    let found = rpc.chain_id().await.map_err(unreachable)?;
    if found != chain_id {
        return Err(Failure::general(format!("the node has chain {found}, {network} is chain {chain_id}"))
            .todo("give the --rpc of that network"));
    }
    let coin = Amount::from(rpc.balance(address).await.map_err(unreachable)?).in_units(18);
    let mut rows = vec![("coin".to_owned(), coin)];
    for asset in assets::on(network, &[]) {
        let token = door::hex_array::<20>(&asset.address).doing(|| asset.symbol.clone())?;
        let units = rpc.token_balance(token.into(), address).await.map_err(unreachable)?;
        rows.push((asset.symbol, Amount::from(units).in_units(asset.decimals)));
    }
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
