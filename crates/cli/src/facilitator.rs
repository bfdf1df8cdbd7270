//! `tollway facilitator`.
use clap::Args;
use crate::exit::{Exit, Failure};

/// stub
#[derive(Debug, Args)]
pub(crate) struct FacilitatorArgs {}
pub(crate) async fn run(_: FacilitatorArgs) -> Result<Exit, Failure> { Ok(Exit::Ok) }
