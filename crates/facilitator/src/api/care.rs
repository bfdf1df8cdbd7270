//! The endpoints that operators and sellers read.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use serde_json::json;

use super::{Api, answer, guard};
use crate::redact;

/// How long the ledger may take to say whether it is healthy.
const LEDGER_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn index() -> Response {
    Json(json!({
        "name": "tollway-facilitator",
        "version": env!("CARGO_PKG_VERSION"),
        "x402Versions": [1, 2],
        "endpoints": {
            "POST /verify": "would this payment settle now?",
            "POST /settle": "settle it",
            "GET /settlements/{payment key}": "what became of a payment: settled, failed, pending or unknown",
            "GET /supported": "schemes, networks and signers",
            "GET /healthz": "200 while the process lives",
            "GET /readyz": "200 when payments can be settled, else why not",
            "GET /metrics": "Prometheus text",
            "GET /openapi.json": "all of this as an OpenAPI document",
        },
    }))
    .into_response()
}

pub(super) async fn supported(State(api): State<Arc<Api>>, request: Request) -> Response {
    if let Err(refused) = guard::client(&api, &request) {
        return *refused;
    }
    Json(api.registry.kinds()).into_response()
}

pub(super) async fn healthz() -> Response {
    Json(json!({ "status": "alive" })).into_response()
}

pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Response {
    let mut problems: Vec<_> = api
        .registry
        .problems()
        .await
        .into_iter()
        .map(|found| json!({ "network": found.network, "problem": found.problem }))
        .collect();
    if let Some(check) = &api.ledger {
        let problem = match tokio::time::timeout(LEDGER_WITHIN, check()).await {
            Ok(Ok(())) => None,
            Ok(Err(problem)) => Some(redact::urls(&problem)),
            Err(_elapsed) => Some(format!("no answer in {} s", LEDGER_WITHIN.as_secs())),
        };
        problems.extend(problem.map(|problem| json!({ "ledger": true, "problem": problem })));
    }
    if api.registry.draining() {
        problems.push(json!({ "problem": "shutting down" }));
    }
    if problems.is_empty() {
        Json(json!({ "status": "ready" })).into_response()
    } else {
        let body = Json(json!({ "status": "not ready", "problems": problems }));
        answer::send(StatusCode::SERVICE_UNAVAILABLE, body)
    }
}

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    match &api.metrics {
        Some(handle) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render())
                .into_response()
        }
        None => answer::error(StatusCode::NOT_FOUND, "not_found", "metrics are switched off"),
    }
}
