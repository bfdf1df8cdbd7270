//! Request ids, spans and the answer's common headers.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, header};
use tracing::Instrument as _;

use crate::meter;

/// Names a request in logs; taken from the caller where it is plain, and sent back.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PATHS: &[&str] =
    &["/verify", "/settle", "/supported", "/healthz", "/readyz", "/metrics", "/openapi.json", "/"];
const SETTLEMENTS: &str = "/settlements";

pub(super) async fn observe(mut request: Request, next: Next) -> Response {
    let id = given(&request).unwrap_or_else(fresh);
    let path = request.uri().path();
    let path = known(path);
    let span = tracing::debug_span!("http", path, request_id = id.to_str().unwrap_or_default());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let started = Instant::now();
    let mut response = async {
        let response = next.run(request).await;
        let milliseconds = started.elapsed().as_millis();
        tracing::debug!(status = response.status().as_u16(), milliseconds, "answered");
        response
    }
    .instrument(span)
    .await;
    meter::response(path, response.status().as_u16());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The path as a label: few values.
fn known(path: &str) -> &'static str {
    let settlements = || path.starts_with("/settlements/").then_some(SETTLEMENTS);
    PATHS.iter().find(|known| **known == path).copied().or_else(settlements).unwrap_or("other")
}

/// The caller's own id, when it is short and can't disturb a log.
fn given(request: &Request) -> Option<HeaderValue> {
    let value = request.headers().get(REQUEST_ID)?;
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let bytes = value.as_bytes();
    ((1..=64).contains(&bytes.len()) && bytes.iter().all(plain)).then(|| value.clone())
}

/// Random in the process, counted within it.
fn fresh() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| getrandom::u64().unwrap_or_default());
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    HeaderValue::from_str(&format!("{:016x}{count:08x}", *PROCESS))
        .unwrap_or(HeaderValue::from_static("none"))
}
