//! Who is let in: the client's rate first, then its key.

use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use tollway_protocol::reason::{Reason, Refusal};

use super::keys::{Refused, Shown};
use super::{Api, answer, client};
use crate::meter::{self, Operation};
use crate::screen::Caller;

/// Who was let in, and by which key, where there are any.
pub(super) struct Entrant {
    pub(super) caller: Caller,
    pub(super) shown: Option<Shown>,
}

/// Bounds a client's requests; tells who it is.
pub(super) fn client(api: &Api, request: &Request) -> Result<Caller, Box<Response>> {
    let address = client::address(request, api.proxies.as_ref());
    if let (Some(buckets), Some(address)) = (&api.per_address, address)
        && let Err(wait) = buckets.take(address)
    {
        meter::turned_away("address");
        return Err(too_many(request.uri().path(), "too many requests from this address", wait).into());
    }
    Ok(Caller { key: None, address })
}

/// [`client`], and a key, where there are any.
pub(super) fn enter(api: &Api, request: &Request) -> Result<Entrant, Box<Response>> {
    let caller = client(api, request)?;
    let Some(keys) = &api.keys else { return Ok(Entrant { caller, shown: None }) };
    match keys.admit(request.headers()) {
        Ok(shown) => {
            Ok(Entrant { caller: Caller { key: Some(shown.name.clone()), ..caller }, shown: Some(shown) })
        }
        Err(refused) => Err(turn_away(request.uri().path(), refused).into()),
    }
}

/// Counts a payment of the key that was shown.
pub(super) fn spend(api: &Api, shown: Option<&Shown>, operation: Operation) -> Result<(), Refused> {
    match (&api.keys, shown) {
        (Some(keys), Some(shown)) => keys.spend(shown, operation, api.registry.now()),
        (Some(_), None) => Err(Refused::Unknown),
        (None, _) => Ok(()),
    }
}

pub(super) fn turn_away(path: &str, refused: Refused) -> Response {
    match refused {
        Refused::Unknown => {
            meter::turned_away("key");
            let what = "an API key is needed, as `Authorization: Bearer KEY` or `X-API-Key: KEY`";
            let mut response = refusal(path, StatusCode::UNAUTHORIZED, "unauthorized", what);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        Refused::TooOften(wait) => {
            meter::turned_away("rate");
            too_many(path, "too many requests with this API key", wait)
        }
        Refused::UsedUp(wait) => {
            meter::turned_away("quota");
            too_many(path, "this API key's payments of today are used up", wait)
        }
    }
}

fn too_many(path: &str, what: &str, wait: Duration) -> Response {
    let message = format!("{what}: send the same again after Retry-After");
    let mut response = refusal(path, StatusCode::TOO_MANY_REQUESTS, "too_many_requests", &message);
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// In the body that the endpoint's callers read.
fn refusal(path: &str, status: StatusCode, code: &str, message: &str) -> Response {
    let refusal = |operation| {
        let refusal = Refusal::new(Reason::FacilitatorUnavailable, message);
        answer::refusal(operation, status, &refusal, "")
    };
    match path {
        "/verify" => refusal(Operation::Verify),
        "/settle" => refusal(Operation::Settle),
        _ => answer::error(status, code, message),
    }
}
