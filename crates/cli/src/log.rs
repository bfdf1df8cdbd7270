//! The log, on stderr: text on a terminal, JSON lines otherwise.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::exit::{Exit, Failure};

/// Starts the log by `--log`, or else `RUST_LOG`, or else at `default`.
pub(crate) fn start(filter: Option<&str>, default: &str) -> Result<(), Failure> {
    let from_env = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let text = filter.map(str::to_owned).or(from_env).unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::builder().parse(&text).map_err(|error| {
        Failure::new(Exit::Usage, format!("the log filter can't be read: {error}"))
            .todo("write --log info, or --log warn,tollway_seller=debug")
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if io::stderr().is_terminal() {
        log.compact().try_init()
    } else {
        log.json().flatten_event(true).try_init()
    };
    started.map_err(|error| Failure::general(format!("the log can't be started: {error}")))
}
