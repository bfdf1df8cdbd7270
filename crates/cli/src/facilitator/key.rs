//! `tollway facilitator key`: a new API key.

use clap::Args;
use tollway_facilitator::api::Key;
use tollway_protocol::Secret;

use crate::exit::{Exit, Failure};
use crate::screen;

/// Makes an API key: prints it once, and what goes into the configuration.
#[derive(Debug, Args)]
#[command(long_about = "\
Makes an API key from the system's random numbers. The key is printed once, for the one who calls, and kept nowhere;
the configuration gets its SHA-256.

Example:
  tollway facilitator key --name shop")]
pub(crate) struct KeyArgs {
    /// What it is called in the configuration, in logs and in rules.
    #[arg(long, default_value = "caller")]
    name: String,
}

/// What keys of ours begin with, so that a scanner for leaked secrets can tell them.
const PREFIX: &str = "twk_";

pub(super) fn run(args: &KeyArgs) -> Result<Exit, Failure> {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !(1..=64).contains(&args.name.len()) || !args.name.bytes().all(word) {
        return Err(Failure::new(Exit::Usage, "--name: expected 1 to 64 letters, digits, `-`, `_` and `.`"));
    }
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| Failure::general(format!("no random numbers: {error}")))?;
    let key = Secret::new(format!("{PREFIX}{}", hex::encode(bytes)));
    screen::line(&format!("key:  {}", key.expose()))?;
    let hash = hex::encode(Key::hash(key.expose()));
    screen::line(&format!("\n[[keys]]\nname = \"{}\"\nhash = \"{hash}\"", args.name))?;
    Ok(Exit::Ok)
}
