//! `tollway pay`.
use clap::Args;
use crate::exit::{Exit, Failure};

/// stub
#[derive(Debug, Args)]
pub(crate) struct PayArgs {}
pub(crate) async fn run(_: PayArgs) -> Result<Exit, Failure> { Ok(Exit::Ok) }
