//! `tollway wallet`.
use clap::Args;
use crate::exit::{Exit, Failure};

/// stub
#[derive(Debug, Args)]
pub(crate) struct WalletArgs {}
pub(crate) async fn run(_: WalletArgs) -> Result<Exit, Failure> { Ok(Exit::Ok) }
