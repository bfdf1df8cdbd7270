//! `/verify` and `/settle`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use tollway_protocol::Facilitator as _;
use tollway_protocol::reason::{Reason, Refusal};
use tower::BoxError;

use super::body::{self, Asked, Malformed, Wire};
use super::{Api, answer};
use crate::meter::Operation;
use crate::registry::V1_SCHEME;

/// What is left for a settlement whose body took all the time.
const LEAST: Duration = Duration::from_secs(1);

pub(super) async fn verify(State(api): State<Arc<Api>>, request: Request) -> Response {
    match asked(&api, request).await {
        Err(malformed) => answer::malformed(Operation::Verify, &malformed),
        Ok(Asked { wire, request }) => match api.registry.verify(&request).await {
            Ok(verdict) => answer::verdict(wire, verdict),
            Err(error) => {
                let refusal = Refusal::new(Reason::ChainUnreachable, error.to_string());
                answer::refusal(Operation::Verify, StatusCode::SERVICE_UNAVAILABLE, &refusal, "")
            }
        },
    }
}

pub(super) async fn settle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let arrived = Instant::now();
    match asked(&api, request).await {
        Err(malformed) => answer::malformed(Operation::Settle, &malformed),
        Ok(Asked { wire, request }) => {
            let left = api.registry.settle_within().saturating_sub(arrived.elapsed()).max(LEAST);
            answer::settlement(wire, &api.registry.settle_by(&request, left).await)
        }
    }
}

async fn asked(api: &Api, request: Request) -> Result<Asked, Malformed> {
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

/// More than is served at a time, or longer than anything may take.
pub(super) async fn overrun(uri: Uri, error: BoxError) -> Response {
    let operation = if uri.path().ends_with("/verify") { Operation::Verify } else { Operation::Settle };
    let shed = error.is::<tower::load_shed::error::Overloaded>();
    let refusal = match operation {
        _ if shed => {
            let message = "too many payments are being answered: send the same payment again later";
            Refusal::new(Reason::FacilitatorUnavailable, message)
        }
        Operation::Verify => {
            Refusal::new(Reason::ChainUnreachable, "no verdict in time: send it again later")
        }
        Operation::Settle => {
            let message = "no outcome in time; the work goes on: send the same payment again";
            Refusal::new(Reason::SettlementPending, message)
        }
    };
    answer::refusal(operation, StatusCode::SERVICE_UNAVAILABLE, &refusal, "")
}
