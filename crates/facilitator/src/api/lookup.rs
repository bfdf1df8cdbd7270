//! `GET /settlements/{payment key}`: what became of a payment, for reconciliation.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Code, Network, Reason};

use super::{Api, answer, guard};
use crate::redact;
use crate::settlements::{Found, State as Progress};

/// The longest key, decoded.
const LONGEST: usize = 512;
/// How long the ledger may take.
const WITHIN: Duration = Duration::from_secs(5);

/// The answer. Absent is `unknown`, never `failed`: that this ledger has no record says nothing of the money.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    payment_key: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_reason: Option<Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<UnixTime>,
}

impl<'a> Answer<'a> {
    fn unknown(key: &'a str, reason: Option<Reason>, message: &str) -> Self {
        Self {
            payment_key: key,
            state: "unknown",
            transaction: None,
            network: None,
            error_reason: reason.map(|reason| reason.code(tollway_protocol::Dialect::Core)),
            error_message: Some(message.to_owned()),
            created_at: None,
        }
    }

    fn found(key: &'a str, found: Found) -> Self {
        let state = match found.state {
            Progress::Settled => "settled",
            Progress::Failed => "failed",
            Progress::Pending => "pending",
        };
        // What went wrong on the way is no answer of a settlement that is not failed.
        let failed = found.state == Progress::Failed;
        Self {
            payment_key: key,
            state,
            transaction: found.transaction,
            network: Some(found.network),
            error_reason: found.reason.filter(|_| failed),
            error_message: found.message.filter(|_| failed).map(|message| redact::urls(&message)),
            created_at: Some(found.created),
        }
    }
}

pub(super) async fn settlement(State(api): State<Arc<Api>>, request: Request) -> Response {
    if let Err(refused) = guard::enter(&api, &request) {
        return *refused;
    }
    // It is never closed.
    let _turn = api.lookups.acquire().await;
    let Some(settlements) = api.registry.settlements() else {
        return answer::error(
            StatusCode::NOT_IMPLEMENTED,
            "not_implemented",
            "settlements can't be looked up",
        );
    };
    // Not axum's extractor: only one segment is taken, and only what decodes in one way.
    let segment = request.uri().path().strip_prefix("/settlements/").unwrap_or_default();
    let Some(key) = key(segment) else {
        let message = "expected a payment key, percent-encoded as one path segment: \
                       eip155%3A84532%2F<asset>%2F<payer>%2F<nonce>";
        return answer::error(StatusCode::BAD_REQUEST, "invalid_payment_key", message);
    };
    let payment = PaymentKey::stored(key.clone());
    match tokio::time::timeout(WITHIN, settlements.find(&payment)).await {
        Ok(Ok(Some(found))) => Json(Answer::found(&key, found)).into_response(),
        Ok(Ok(None)) => {
            let message = "this ledger has no such payment; that is no proof that it was not settled elsewhere, \
                           or is not being settled: never pay again because of it";
            Json(Answer::unknown(&key, None, message)).into_response()
        }
        Ok(Err(problem)) => {
            tracing::error!(problem = redact::urls(&problem), "the ledger can't be asked");
            unavailable(&key)
        }
        Err(_elapsed) => unavailable(&key),
    }
}

fn unavailable(key: &str) -> Response {
    let message = "the ledger can't be asked: nothing is known; ask again later";
    let body = Answer::unknown(key, Some(Reason::StoreUnavailable), message);
    answer::send(StatusCode::SERVICE_UNAVAILABLE, Json(body))
}

/// A key as [`PaymentKey::new`] makes them: a network's id, then parts in printable ASCII.
fn key(segment: &str) -> Option<String> {
    if segment.len() > LONGEST.saturating_mul(3) || segment.contains('/') {
        return None;
    }
    let well_formed = segment
        .split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)));
    let key = percent_decode_str(segment).decode_utf8().ok().filter(|_| well_formed)?;
    let (network, rest) = key.split_once('/')?;
    let plain = key.len() <= LONGEST && key.bytes().all(|b| b.is_ascii_graphic());
    (plain && !rest.is_empty() && Network::new(network).is_ok()).then(|| key.into_owned())
}
