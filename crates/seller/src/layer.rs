//! The tower layer: attach it per route.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use tollway_protocol::charge::Charge;
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::answer::{self, Own, Problem, Voice};
use crate::charge;
use crate::drive::{Driver, Stop};
use crate::gate::{Answer, Gate, Refused};
use crate::hygiene;
use crate::present::{Offered, Presentation};
use crate::recall::{self, Recall};
use crate::route::{MAX_PATH, Route, Unpriced, as_priced};
use crate::terms::PricedBody;

/// The response's body: the handler's own, or one of the gate's.
pub type GateBody<B> = Either<B, Full<Bytes>>;

/// Sells the service under it. Made by [`crate::Seller::gate`].
///
/// OPTIONS requests are answered here, with nothing, unless [`crate::Paid::pass_options`] says otherwise. HEAD is answered as GET would be without a payment, and never takes
/// one. What answers `101 Switching Protocols` can't be sold. The handler gets the request without its
/// payment headers.
#[derive(Clone)]
pub struct PaidLayer {
    route: Arc<Route>,
}

impl std::fmt::Debug for PaidLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.route.paid.fmt(f)
    }
}

impl PaidLayer {
    pub(crate) fn new(route: Arc<Route>) -> Self {
        Self { route }
    }
}

impl<S> Layer<S> for PaidLayer {
    type Service = PaidService<S>;
    fn layer(&self, inner: S) -> PaidService<S> {
        PaidService { inner, route: self.route.clone() }
    }
}

/// A service behind a [`PaidLayer`].
#[derive(Clone)]
pub struct PaidService<S> {
    inner: S,
    route: Arc<Route>,
}

impl<S> std::fmt::Debug for PaidService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.route.paid.fmt(f)
    }
}

impl<S, In, Out> Service<Request<In>> for PaidService<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    In: Body + From<Bytes> + Send + 'static,
    In::Data: Send,
    In::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    Out: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<GateBody<Out>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        // The clone may not be ready; what was polled is used, and the clone takes its place.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let route = self.route.clone();
        let id = correlation_id();
        let span =
            tracing::info_span!("payment", id, method = %request.method(), payment = tracing::field::Empty);
        Box::pin(async move { gated(inner, &route, id, request).await }.instrument(span))
    }
}

async fn gated<S, In, Out>(
    mut inner: S,
    route: &Arc<Route>,
    id: String,
    request: Request<In>,
) -> Result<Response<GateBody<Out>>, S::Error>
where
    S: Service<Request<In>, Response = Response<Out>> + Send,
    S::Future: Send,
    S::Error: Send,
    In: Body + From<Bytes> + Send,
    In::Data: Send,
    In::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    Out: Body<Data = Bytes> + Send,
{
    if request.method() == Method::OPTIONS {
        if !route.paid.pass_options {
            return Ok(respond(answer::options()));
        }
        let (mut parts, _) = inner.call(stripped(request)).await?.into_parts();
        hygiene::strip_response(&mut parts.headers);
        hygiene::private(&mut parts.headers, route.paid.keep_validators);
        parts.headers.remove(http::header::CONTENT_LENGTH);
        return Ok(Response::from_parts(parts, Either::Right(Full::default())));
    }
    let shared = &route.seller.shared;
    let retry_after = shared.limits.retry_after.as_secs().max(1);
    let mut voice = Voice::of(id, request.method(), shared.serve_v1, retry_after);
    let admitted = match admit(route, &mut voice, request).await {
        Ok(admitted) => admitted,
        Err(own) => return Ok(respond(own)),
    };
    let Admitted { request, path, offers, mut driver } = admitted;
    let (mut request, mut response) = (Some(request), None);
    loop {
        let answer = match driver.go().await {
            Stop::Lost => return Ok(respond(voice.problem(answer::FAILED))),
            Stop::Answer(answer) => answer,
            Stop::Run(waiting) => {
                let Some(request) = request.take() else {
                    return Ok(respond(voice.problem(answer::FAILED)));
                };
                let call = AssertUnwindSafe(async { inner.call(request).await });
                let handled = match call.catch_unwind().await {
                    Ok(Ok(handled)) => charged(handled, &voice, route),
                    Ok(Err(error)) => {
                        // Waits until the payment is given back.
                        let _ = waiting.ran(false, None).go().await;
                        return Err(error);
                    }
                    Err(_) => {
                        tracing::error!(id = voice.id, "the handler panicked");
                        Err(answer::FAILED)
                    }
                };
                let handled = match handled {
                    Ok((handled, _)) if handled.status().is_informational() => Err(answer::NO_UPGRADE),
                    handled => handled,
                };
                let success = handled.as_ref().is_ok_and(|(handled, _)| handled.status().is_success());
                let charge = handled.as_ref().ok().and_then(|(_, charge)| charge.clone());
                driver = waiting.ran(success, charge);
                response = Some(handled.map(|(handled, _)| handled));
                continue;
            }
        };
        return Ok(finish(&voice, route, answer, response.take(), &path, &offers));
    }
}

struct Admitted<In> {
    request: Request<In>,
    path: String,
    offers: Vec<Offered>,
    driver: Box<Driver>,
}

/// Up to the claim: read the payment, price the request, bind the one to the other.
async fn admit<In>(route: &Arc<Route>, voice: &mut Voice, request: Request<In>) -> Result<Admitted<In>, Own>
where
    In: Body + From<Bytes> + Send,
    In::Data: Send,
    In::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let shared = &route.seller.shared;
    if request.uri().path().len() > MAX_PATH {
        return Err(refuse(voice, answer::LONG_PATH));
    }
    // Unreadable payments are turned away before anything is spent on them.
    let presented = match Presentation::read(request.headers(), shared.serve_v1) {
        Ok(presented) => presented,
        Err(refusal) => return Err(voice.refuse(refusal.into(), |_| route.challenge("/", &[], None))),
    };
    voice.v1 = presented.is_v1();
    let request = buffered(route, voice, request).await?;
    let (parts, body) = request.into_parts();
    let priced = if parts.method == Method::HEAD {
        route.price(&as_priced(&parts)).await
    } else {
        route.price(&parts).await
    };
    let offers = priced.map_err(|problem| match problem {
        Unpriced::NotReady => refuse(voice, answer::NOT_READY),
        Unpriced::Broken(problem) => {
            tracing::error!(problem, id = voice.id, "the request could not be priced");
            refuse(voice, answer::UNPRICED)
        }
    })?;
    let path = route.resource_path(&parts).to_owned();
    let refuse = |refused: Refused| voice.refuse(refused, |error| challenge(route, &path, &offers, error));
    let unpaid = matches!(presented, Presentation::Nothing) || parts.method == Method::HEAD;
    if unpaid {
        count(StatusCode::PAYMENT_REQUIRED, "unpaid");
        return Err(refuse(answer::unpaid()));
    }
    let (id, now, keep) = (route.request_id(&parts), (shared.clock)(), shared.limits.keep.as_secs());
    let (key, opened) = match presented.bind(&offers, &route.extensions(&offers)) {
        Ok(bound) => (bound.key().clone(), Gate::open(bound, id, now, keep)),
        Err(refusal) => match recall::recall(&route.seller, &presented, &offers).await {
            Recall::Nothing => {
                count(StatusCode::PAYMENT_REQUIRED, "unbound");
                return Err(refuse(refusal.into()));
            }
            Recall::Bound(bound) => (bound.key().clone(), Gate::reopen(*bound, id, now, keep)),
            Recall::Refused(refused) => return Err(refuse(*refused)),
        },
    };
    tracing::Span::current().record("payment", digest(key.as_str()));
    let driver = Driver::new(shared, opened);
    let request = stripped(Request::from_parts(parts, body));
    Ok(Admitted { request, path, offers, driver })
}

/// Reads the body of a route whose price depends on it.
async fn buffered<In>(route: &Route, voice: &Voice, request: Request<In>) -> Result<Request<In>, Own>
where
    In: Body + From<Bytes> + Send,
    In::Data: Send,
    In::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(limit) = route.paid.body_limit else { return Ok(request) };
    let (mut parts, body) = request.into_parts();
    let read =
        tokio::time::timeout(route.seller.shared.limits.body, Limited::new(body, limit).collect()).await;
    let bytes = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(refuse(voice, answer::TOO_LARGE));
        }
        Ok(Err(_)) | Err(_) => return Err(refuse(voice, answer::BAD_BODY)),
    };
    parts.extensions.insert(PricedBody(bytes.clone()));
    Ok(Request::from_parts(parts, In::from(bytes)))
}

fn finish<Out>(
    voice: &Voice,
    route: &Route,
    answer: Answer,
    response: Option<Result<Response<GateBody<Out>>, Problem>>,
    path: &str,
    offers: &[Offered],
) -> Response<GateBody<Out>> {
    match (answer, response) {
        (Answer::Deliver(delivery), Some(Ok(mut response))) => {
            count(response.status(), "delivered");
            voice.receipt(response.headers_mut(), delivery.settlement());
            response
        }
        (Answer::Failed(receipt), Some(handled)) => {
            let mut response = handled.unwrap_or_else(|problem| respond(voice.problem(problem)));
            count(response.status(), "handler_failed");
            if let Some(receipt) = receipt {
                voice.receipt(response.headers_mut(), &receipt);
            }
            response
        }
        (Answer::Refuse(refused), _) => {
            let reason = &refused.refusal.reason;
            let status = StatusCode::from_u16(reason.row().http).unwrap_or(StatusCode::PAYMENT_REQUIRED);
            count(status, reason.row().core);
            tracing::info!(id = voice.id, code = refused.refusal.code().as_str(), "refused");
            respond(voice.refuse(*refused, |error| challenge(route, path, offers, error)))
        }
        // The gate answers so only after the handler has run.
        (Answer::Deliver(_) | Answer::Failed(_), _) => respond(voice.problem(answer::FAILED)),
    }
}

fn challenge(route: &Route, path: &str, offers: &[Offered], error: &str) -> tollway_protocol::Challenge {
    route.challenge(path, offers, Some(error))
}

fn refuse(voice: &Voice, problem: Problem) -> Own {
    count(problem.status, problem.code);
    voice.problem(problem)
}

fn respond<Out>(own: Own) -> Response<GateBody<Out>> {
    let mut response = Response::new(Either::Right(Full::new(own.body)));
    *response.status_mut() = own.status;
    *response.headers_mut() = own.headers;
    response
}

/// The handler's response as it may leave, and what the handler charges.
fn charged<Out>(
    response: Response<Out>,
    voice: &Voice,
    route: &Route,
) -> Result<(Response<GateBody<Out>>, Option<Charge>), Problem> {
    match charge::read(response.headers()) {
        Ok(charge) => Ok((respond_with(response, route), charge)),
        Err(error) => {
            tracing::error!(id = voice.id, %error, "the handler's charge can't be read");
            Err(answer::FAILED)
        }
    }
}

fn respond_with<Out>(response: Response<Out>, route: &Route) -> Response<GateBody<Out>> {
    let mut response = response.map(Either::Left);
    hygiene::strip_response(response.headers_mut());
    hygiene::private(response.headers_mut(), route.paid.keep_validators);
    response
}

fn stripped<B>(mut request: Request<B>) -> Request<B> {
    hygiene::strip_request(request.headers_mut());
    request
}

fn count(status: StatusCode, outcome: &'static str) {
    let status = status.as_u16().to_string();
    metrics::counter!("tollway_seller_answers_total", "status" => status, "outcome" => outcome).increment(1);
}

/// A payment as logs show it.
fn digest(key: &str) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(key).get(..8).unwrap_or_default())
}

fn correlation_id() -> String {
    let mut bytes = [0u8; 8];
    // Without randomness the id is zeros; nothing but logs depends on it.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}
