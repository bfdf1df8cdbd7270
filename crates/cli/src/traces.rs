//! Traces by OTLP (HTTP, protobuf): off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
//!
//! The other variables of OpenTelemetry's specification count too: headers, time-out, sampler, service name. What
//! spans hold is what the log holds: networks, schemes, outcomes, digests of payments; no signature, body or URL of a
//! node.

#[cfg(feature = "otlp")]
mod otlp;

use axum::Router;

/// Variables any one of which asks for traces.
const ASKS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// Whether traces are asked for.
fn wanted() -> bool {
    let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
    let disabled = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    ASKS.iter().any(|name| set(name)) && !disabled
}

#[cfg(feature = "otlp")]
pub(crate) use otlp::{Sink, layer};

/// What sends spans; without OTLP in this build there is none.
#[cfg(not(feature = "otlp"))]
pub(crate) struct Sink(std::convert::Infallible);

#[cfg(not(feature = "otlp"))]
impl Sink {
    /// Sends what is left.
    pub(crate) fn flush(self) {
        match self.0 {}
    }
}

/// Puts every request into the trace that its caller began, or a new one.
pub(crate) fn follow(router: Router) -> Router {
    #[cfg(feature = "otlp")]
    if wanted() {
        return router.layer(axum::middleware::from_fn(otlp::follow));
    }
    #[cfg(not(feature = "otlp"))]
    if wanted() {
        tracing::warn!("traces are asked for by OTEL_EXPORTER_OTLP_ENDPOINT, and this build has none");
    }
    router
}
