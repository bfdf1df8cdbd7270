//! `tollway wallet`: the encrypted keys that pay.

mod balance;
mod make;
mod phrase;
mod store;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use self::balance::BalanceArgs;
use self::make::NewArgs;
use crate::exit::{Exit, Failure};
use crate::{home, screen};

/// Makes and shows the keys that pay.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    long_about = "\
Makes and shows the keys that pay: one for EVM networks and one for Solana, each in an encrypted
keystore in the format of geth and Foundry, with one passphrase; by default $TOLLWAY_HOME/keystore
and $TOLLWAY_HOME/keystore-solana. Whoever has a file and its passphrase has the money: keep on it
what you would carry in a purse.

Examples:
  tollway wallet new
  tollway wallet new --mnemonic
  tollway wallet address
  tollway wallet balance --rpc https://mainnet.base.org --network base
  tollway wallet balance --network solana-devnet
  tollway wallet import < key.hex"
)]
pub(crate) struct WalletArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes new keys.
    #[command(long_about = "\
Makes new keys from the system's random numbers, one for EVM networks and one for Solana, and writes
them encrypted. The passphrase is asked for twice, or taken from TOLLWAY_PASSPHRASE. A keystore that
exists is never overwritten.

With --mnemonic both are derived from one recovery phrase (BIP-39), at the paths that other wallets
use: m/44'/60'/0'/0/0 and m/44'/501'/0'/0'. It is shown once, on stderr, and kept nowhere: write it
down. `tollway wallet import` takes it back.

Examples:
  tollway wallet new
  tollway wallet new --mnemonic 24
  tollway wallet new --solana        the second key, beside a keystore that has only the first one")]
    New(NewArgs),
    /// Prints the keys' addresses.
    #[command(long_about = "\
Prints the address on EVM networks, for those who send you money, and on stderr the one on Solana.
Asks for the passphrase only when a keystore was made by a program that leaves the address out.

Examples:
  tollway wallet address
  tollway wallet address --solana    that one alone, on stdout")]
    Address(AddressArgs),
    /// Shows what the address has on a network.
    #[command(long_about = "\
Shows what the address has on a network: its coin, and every asset that payments can be made in.
Payments need no coin: the facilitator pays for gas.

Examples:
  tollway wallet balance --rpc https://mainnet.base.org --network base
  tollway wallet balance --network solana-devnet")]
    Balance(BalanceArgs),
    /// Takes over keys from the environment or stdin.
    #[command(long_about = "\
Encrypts private keys that you have: those in TOLLWAY_PRIVATE_KEY (64 hex digits) and
TOLLWAY_SOLANA_KEY (base58, or the JSON array of a key file), or else one of these, or a recovery
phrase for both, from stdin or typed at a prompt; never from the command line, where others can
read it.

Examples:
  tollway wallet import
  tollway wallet import < key.hex
  tollway wallet import < ~/.config/solana/id.json")]
    Import(Store),
}

#[derive(Debug, Args)]
struct Store {
    /// The keystore's file; otherwise $TOLLWAY_HOME/keystore. Solana's is beside it, with -solana after its name.
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// Print a JSON line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct AddressArgs {
    #[command(flatten)]
    store: Store,
    /// Print the address on Solana instead.
    #[arg(long)]
    solana: bool,
}

/// Addresses as they are written, of the accounts that there are.
#[derive(Debug, Default)]
struct Addresses {
    evm: Option<String>,
    solana: Option<String>,
}

impl Store {
    fn path(&self) -> Result<PathBuf, Failure> {
        self.keystore.clone().map_or_else(home::keystore, Ok)
    }

    /// An address goes to stdout, one alone: scripts read it. The second one is told on stderr.
    fn show(&self, addresses: &Addresses, path: &Path) -> Result<Exit, Failure> {
        if self.json {
            let mut line = serde_json::Map::new();
            if let Some(address) = &addresses.evm {
                line.insert("address".to_owned(), json!(address));
                line.insert("keystore".to_owned(), json!(path));
            }
            if let Some(address) = &addresses.solana {
                let solana = json!({ "address": address, "keystore": home::solana_beside(path) });
                line.insert("solana".to_owned(), solana);
            }
            screen::line(&serde_json::Value::Object(line).to_string())?;
            return Ok(Exit::Ok);
        }
        match (&addresses.evm, &addresses.solana) {
            (Some(evm), solana) => {
                screen::line(evm)?;
                if let Some(solana) = solana {
                    screen::note(&format!("tollway: on Solana {solana}"));
                }
            }
            (None, Some(solana)) => screen::line(solana)?,
            (None, None) => {}
        }
        Ok(Exit::Ok)
    }
}

pub(crate) async fn run(args: WalletArgs) -> Result<Exit, Failure> {
    match args.command {
        Command::New(args) => make::new(&args),
        Command::Import(store) => make::import(&store),
        Command::Address(args) => address(&args),
        Command::Balance(args) => balance::run(args).await,
    }
}

fn address(args: &AddressArgs) -> Result<Exit, Failure> {
    let path = args.store.path()?;
    let beside = home::solana_beside(&path);
    // Of a wallet that has Solana's key alone, that one is shown.
    let has_evm = path.exists() || !beside.exists();
    let wants_evm = has_evm && !args.solana;
    let evm = wants_evm.then(|| store::address(&path)).transpose()?.map(|address| address.to_string());
    let wants_solana = args.solana || beside.exists();
    let solana = wants_solana.then(|| store::solana_address(&beside)).transpose()?;
    args.store.show(&Addresses { evm, solana }, &path)
}
