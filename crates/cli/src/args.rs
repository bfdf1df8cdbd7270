//! The command line.

use std::io;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::demo::{self, DemoArgs};
use crate::dev::{self, DevArgs};
use crate::exit::{Exit, Failure};
use crate::facilitator::{self, FacilitatorArgs};
use crate::ledger::{self, LedgerArgs};
use crate::pay::{self, PayArgs};
use crate::wallet::{self, WalletArgs};

/// Payments for HTTP 402: sell, pay and facilitate x402 from one binary.
#[derive(Debug, Parser)]
#[command(
    name = "tollway",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_long_help = Exit::table(),
    long_about = "\
Payments for HTTP 402: sell, pay and facilitate x402 from one binary.

Start with:
  tollway demo                      see a payment on Base and one on Solana, step by step, in this process
  tollway dev                       keep chains, facilitator and a paid API running, to build on
  tollway wallet new                make keys to pay with
  tollway pay --dry-run URL         see what a URL costs
  tollway pay URL                   buy it
  tollway facilitator --config F    verify and settle payments for sellers
  tollway ledger export --config F  list what was settled, for bookkeeping

Keys and passphrases come from the environment, a file or a prompt, never from the command line.
What must not be lost (journal, keystores) is under $TOLLWAY_HOME, by default
~/.local/state/tollway."
)]
pub(crate) struct Cli {
    /// What is logged to stderr: a level, or target=level pairs; otherwise RUST_LOG says.
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Dev(DevArgs),
    Facilitator(FacilitatorArgs),
    Ledger(LedgerArgs),
    Pay(Box<PayArgs>),
    Wallet(WalletArgs),
    Completions(CompletionsArgs),
}

/// Prints completions for a shell.
#[derive(Debug, Args)]
#[command(long_about = "\
Prints completions for a shell, to be put where it looks for them.

Examples:
  tollway completions bash > ~/.local/share/bash-completion/completions/tollway
  tollway completions zsh  > ~/.zfunc/_tollway
  tollway completions fish > ~/.config/fish/completions/tollway.fish")]
pub(crate) struct CompletionsArgs {
    /// Which shell.
    shell: Shell,
}

impl Command {
    /// What is logged when nobody says: a server tells of its life, a tool only of trouble.
    pub(crate) fn log_level(&self) -> &'static str {
        if matches!(self, Self::Facilitator(_)) { "info" } else { "warn" }
    }

    /// Whether it is a facilitator that serves: it sends spans where the environment asks for them, and shares the
    /// machine with its ledger and nodes.
    pub(crate) fn is_facilitator_server(&self) -> bool {
        matches!(self, Self::Facilitator(args) if args.serves())
    }

    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Demo(args) => demo::run(args).await,
            Self::Dev(args) => dev::run(args).await,
            Self::Facilitator(args) => facilitator::run(args).await,
            Self::Ledger(args) => ledger::run(args).await,
            Self::Pay(args) => pay::run(*args).await,
            Self::Wallet(args) => wallet::run(args).await,
            Self::Completions(args) => completions(args.shell),
        }
    }
}

fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tollway", &mut text);
    io::Write::write_all(&mut io::stdout().lock(), &text)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
