//! The exporter, and the request's span.

use std::time::Duration;

use async_trait::async_trait;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::{Instrument as _, Metadata};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;

use crate::exit::{Doing as _, Failure};

const SERVICE: &str = "tollway-facilitator";
/// How long the last spans may take when the process ends.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// What sends spans.
pub(crate) struct Sink(SdkTracerProvider);

impl Sink {
    /// Sends what is left; what can't be sent in time is lost.
    pub(crate) fn flush(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_WITHIN) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// What collects spans, and what sends them; nothing unless the environment asks for it.
///
/// The exporter's own thread calls the HTTP client, which runs on `runtime`.
pub(crate) fn layer<S>(runtime: &Handle) -> Result<Option<(Sink, impl Layer<S> + use<S>)>, Failure>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    if !super::wanted() {
        return Ok(None);
    }
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(10))
        .build()
        .map_err(|_| Failure::general("traces: the HTTP client could not be made"))?;
    let client = Client { inner: client, runtime: runtime.clone() };
    let exporter =
        SpanExporter::builder().with_http().with_http_client(client).build().doing(|| "traces".to_owned());
    let exporter = exporter.map_err(|failure| failure.todo("check OTEL_EXPORTER_OTLP_ENDPOINT"))?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(SERVICE);
    }
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.with_attribute(version).build())
        .build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    // Ours alone: the exporter's own HTTP client has spans too.
    let ours = |of: &Metadata<'_>| *of.level() <= tracing::Level::INFO && of.target().starts_with("tollway");
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SERVICE))
        .with_location(false)
        .with_threads(false)
        .with_filter(FilterFn::new(ours));
    Ok(Some((Sink(provider), layer)))
}

/// The paths that spans are named after; others are one.
const PATHS: [&str; 7] =
    ["/verify", "/settle", "/supported", "/healthz", "/readyz", "/metrics", "/openapi.json"];

/// Runs a request in a span of the trace that `traceparent` names.
pub(super) async fn follow(request: Request, next: Next) -> Response {
    let asked = request.uri().path();
    let settlements = || asked.starts_with("/settlements/").then_some("/settlements");
    let path = PATHS.iter().copied().find(|path| *path == asked).or_else(settlements).unwrap_or("other");
    let span = tracing::info_span!(
        "request",
        "otel.name" = path,
        "otel.kind" = "server",
        "http.route" = path,
        "http.response.status_code" = tracing::field::Empty,
    );
    let parent = global::get_text_map_propagator(|known| known.extract(&HeaderExtractor(request.headers())));
    let _ = span.set_parent(parent);
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

/// The exporter's thread is outside the runtime: requests are made in a task of it.
#[derive(Debug)]
struct Client {
    inner: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let client = self.inner.clone();
        let sent = self.runtime.spawn(async move { HttpClient::send_bytes(&client, request).await });
        sent.await?
    }
}
