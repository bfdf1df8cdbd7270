//! The log, on stderr: text on a terminal, JSON lines otherwise. And traces, where they are asked for.

use std::io::{self, IsTerminal as _};

use tokio::runtime::Handle;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::exit::{Exit, Failure};
use crate::traces::Sink;

type Layers = Vec<Box<dyn Layer<Registry> + Send + Sync>>;

/// Starts the log by `--log`, or else `RUST_LOG`, or else at `default`; and traces, if a runtime is given for them
/// and the environment asks for them.
///
/// A log that can't be written (a full disk, a reader that has gone) is lost and nothing more: the library would
/// report it on stderr by a macro that panics when that fails too.
pub(crate) fn start(
    filter: Option<&str>,
    default: &str,
    traced: Option<&Handle>,
) -> Result<Option<Sink>, Failure> {
    let from_env = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let text = filter.map(str::to_owned).or(from_env).unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::builder().parse(&text).map_err(|error| {
        Failure::new(Exit::Usage, format!("the log filter can't be read: {error}"))
            .todo("write --log info, or --log warn,tollway_seller=debug")
    })?;
    let log = tracing_subscriber::fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let mut layers: Layers = Vec::new();
    if io::stderr().is_terminal() {
        layers.push(log.compact().with_filter(filter).boxed());
    } else {
        layers.push(log.json().flatten_event(true).with_filter(filter).boxed());
    }
    let sink = traces(traced, &mut layers)?;
    let started = tracing_subscriber::registry().with(layers).try_init();
    started.map_err(|error| Failure::general(format!("the log can't be started: {error}")))?;
    Ok(sink)
}

#[cfg(feature = "otlp")]
fn traces(runtime: Option<&Handle>, layers: &mut Layers) -> Result<Option<Sink>, Failure> {
    let Some(runtime) = runtime else { return Ok(None) };
    let Some((sink, layer)) = crate::traces::layer(runtime)? else { return Ok(None) };
    layers.push(layer.boxed());
    Ok(Some(sink))
}

#[cfg(not(feature = "otlp"))]
#[allow(clippy::unnecessary_wraps, reason = "as it is with traces")]
fn traces(_: Option<&Handle>, _: &mut Layers) -> Result<Option<Sink>, Failure> {
    Ok(None)
}
