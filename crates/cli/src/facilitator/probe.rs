//! `tollway facilitator probe`: a health check for images that have no shell.

use std::time::Duration;

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::screen;

/// Asks a facilitator whether it is ready.
#[derive(Debug, Args)]
#[command(long_about = "\
Asks a facilitator whether it is ready: ends with 0 when it is and with 1 when it is not, for the health checks of
containers that have no shell.

Example:
  tollway facilitator probe --url http://127.0.0.1:4020")]
pub(crate) struct ProbeArgs {
    /// Where it is.
    #[arg(long, default_value = "http://127.0.0.1:4020")]
    url: String,
    /// Ask only whether the process lives.
    #[arg(long)]
    alive: bool,
}

const WITHIN: Duration = Duration::from_secs(8);

pub(super) async fn run(args: &ProbeArgs) -> Result<Exit, Failure> {
    let path = if args.alive { "healthz" } else { "readyz" };
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(WITHIN).build()?;
    let asked = client.get(format!("{}/{path}", args.url.trim_end_matches('/'))).send().await;
    let answer = asked.map_err(|_| Failure::general("the facilitator does not answer"))?;
    let status = answer.status();
    let text: String = answer.text().await.unwrap_or_default().chars().take(2000).collect();
    screen::line(&text)?;
    if status.is_success() { Ok(Exit::Ok) } else { Err(Failure::said(Exit::General)) }
}
