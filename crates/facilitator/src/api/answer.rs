//! What is sent back.

use std::any::Any;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tollway_protocol::reason::{Reason, Refusal};
use tollway_protocol::v1::v1_code;
use tollway_protocol::wire::{Settlement, Verdict};
use tollway_protocol::{Code, v1};

use super::body::{Malformed, Wire};
use crate::meter::Operation;

/// Seconds after which a caller may ask again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

pub(super) fn verdict(wire: Wire, mut verdict: Verdict) -> Response {
    let status = status(verdict.invalid_reason.as_ref());
    if wire == Wire::V1 {
        verdict.invalid_reason = verdict.invalid_reason.as_ref().map(v1_code);
    }
    send(status, Json(verdict))
}

pub(super) fn settlement(wire: Wire, settlement: &Settlement) -> Response {
    let status = status(settlement.error_reason.as_ref());
    match wire {
        Wire::V1 => send(status, Json(v1::Settlement::of(settlement))),
        Wire::V2 => send(status, Json(settlement)),
    }
}

/// A refusal that names no offer of ours, as the operation's protocol body.
pub(super) fn refusal(
    operation: Operation,
    status: StatusCode,
    refusal: &Refusal,
    network: &str,
) -> Response {
    let (code, message) = (refusal.code(), &refusal.message);
    let body: Value = match operation {
        Operation::Verify => json!({ "isValid": false, "invalidReason": code, "invalidMessage": message }),
        Operation::Settle => json!({
            "success": false, "errorReason": code, "errorMessage": message,
            "transaction": "", "network": network,
        }),
    };
    send(status, Json(body))
}

pub(super) fn malformed(operation: Operation, malformed: &Malformed) -> Response {
    refusal(operation, malformed.status, &malformed.refusal, &malformed.network)
}

/// A request that is no payment, refused: `{error, message}`.
pub(super) fn error(status: StatusCode, error: &str, message: &str) -> Response {
    send(status, Json(json!({ "error": error, "message": message })))
}

pub(super) async fn no_such_path() -> Response {
    error(StatusCode::NOT_FOUND, "not_found", "no such endpoint; GET / lists them")
}

pub(super) async fn wrong_method() -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this endpoint takes another method; GET / lists them",
    )
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that the layer calls")]
pub(super) fn panicked(_payload: Box<dyn Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "the facilitator failed; for a settlement the outcome is not known: send the same payment again",
    )
}

/// A verdict about the payment is 200 whatever it says; trouble of ours is 503.
fn status(code: Option<&Code>) -> StatusCode {
    match code.map(Code::reason) {
        Some(Reason::ChainUnreachable | Reason::StoreUnavailable | Reason::FacilitatorUnavailable) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::OK,
    }
}

pub(super) fn send(status: StatusCode, body: impl IntoResponse) -> Response {
    let mut response = (status, body).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}
