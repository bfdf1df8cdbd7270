//! `/verify` and `/settle`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;
use tollway_protocol::reason::{Reason, Refusal};
use tollway_protocol::wire::PaymentRequest;
use tollway_protocol::{IdempotencyKey, IdempotencyKeyError, idempotency};

use super::body::{self, Asked, Malformed, Wire};
use super::guard::Entrant;
use super::prefer::{self, Wait};
use super::{Api, answer, guard};
use crate::meter::Operation;
use crate::registry::V1_SCHEME;
use crate::screen::Caller;

/// What is left for a settlement whose body took all the time.
const LEAST: Duration = Duration::from_secs(1);

pub(super) async fn verify(State(api): State<Arc<Api>>, request: Request) -> Response {
    match asked(&api, Operation::Verify, request).await {
        Err(refused) => refused,
        Ok(Taken { wire, request, caller, _turn }) => {
            answer::verdict(wire, api.registry.verify_for(request, &caller).await)
        }
    }
}

pub(super) async fn settle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let arrived = Instant::now();
    let within = api.registry.settle_within();
    let wait = prefer::wait(request.headers(), within);
    match asked(&api, Operation::Settle, request).await {
        Err(refused) => refused,
        Ok(Taken { wire, request, caller, _turn }) => {
            let within = wait.map_or(within, Wait::time);
            let left = within.saturating_sub(arrived.elapsed());
            // A caller's own deadline is kept even when its body took all the time.
            let left = if wait.is_some() { left } else { left.max(LEAST) };
            let settlement = api.registry.settle_for(request, left, &caller).await;
            let mut response = answer::settlement(wire, &settlement);
            if let Some(wait) = wait {
                response.headers_mut().insert(prefer::APPLIED, wait.applied());
            }
            response
        }
    }
}

/// A payment that may be answered now.
struct Taken<'a> {
    wire: Wire,
    request: PaymentRequest,
    caller: Caller,
    _turn: SemaphorePermit<'a>,
}

/// The payment in a request, counted for the caller's key; or the answer that refuses it.
async fn asked(api: &Api, operation: Operation, request: Request) -> Result<Taken<'_>, Response> {
    let Entrant { caller, shown } = guard::enter(api, &request).map_err(|refused| *refused)?;
    let turn = api.turns.try_acquire().map_err(|_| shed(operation))?;
    let key = idempotency_key(request.headers());
    let asked = understood(api, request).await.map_err(|bad| answer::malformed(operation, &bad))?;
    let Asked { wire, mut request } = asked;
    let network = &request.payment_requirements.network;
    if operation == Operation::Settle && idempotency::is_used_on(network) {
        request.idempotency_key = key.map_err(|error| {
            let refusal = Refusal::new(Reason::InvalidPayload, error.to_string());
            answer::refusal(operation, StatusCode::BAD_REQUEST, &refusal, network.as_str())
        })?;
    }
    guard::spend(api, shown.as_ref(), operation).map_err(|refused| {
        let path = if operation == Operation::Verify { "/verify" } else { "/settle" };
        guard::turn_away(path, refused)
    })?;
    Ok(Taken { wire, request, caller, _turn: turn })
}

/// What the caller names its request to settle by.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, IdempotencyKeyError> {
    let mut values = headers.get_all(idempotency::HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map_err(|_| IdempotencyKeyError).and_then(IdempotencyKey::read).map(Some)
        }
        (Some(_), Some(_)) => Err(IdempotencyKeyError),
    }
}

async fn understood(api: &Api, request: Request) -> Result<Asked, Malformed> {
    let limits = api.limits;
    let bytes = body::read(request, limits.body_bytes, limits.body_read).await?;
    let asked = body::decode(&bytes, limits.body_bytes)?;
    let offer = &asked.request.payment_requirements;
    if asked.wire == Wire::V1 && offer.scheme != V1_SCHEME {
        return Err(Malformed {
            status: StatusCode::OK,
            refusal: Refusal::new(
                Reason::UnsupportedScheme,
                "version 1 has the scheme exact only; see /supported",
            ),
            network: offer.network.v1_name().unwrap_or(offer.network.as_str()).to_owned(),
        });
    }
    Ok(asked)
}

/// More than is served at a time.
fn shed(operation: Operation) -> Response {
    let message = "too many payments are being answered: send the same payment again later";
    let refusal = Refusal::new(Reason::FacilitatorUnavailable, message);
    answer::refusal(operation, StatusCode::SERVICE_UNAVAILABLE, &refusal, "")
}
