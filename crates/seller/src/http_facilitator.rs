//! A facilitator behind a URL.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use tollway_protocol::json::{self, Object};
use tollway_protocol::scheme::FacilitatorError;
use tollway_protocol::{
    Code, Facilitator, PaymentRequest, Secret, Settlement, Supported, Verdict, door, idempotency,
};
use url::Url;

/// The longest answer that is read.
const MAX_ANSWER: usize = 1024 * 1024;
/// How often a question is asked in all, where asking again is safe.
const ATTEMPTS: u32 = 3;
/// The longest pause that a `Retry-After` can ask for.
const MAX_PAUSE: Duration = Duration::from_secs(5);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(idempotency::HEADER);

/// Which call headers are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /verify`.
    Verify,
    /// `POST /settle`.
    Settle,
    /// `GET /supported`.
    Supported,
}

impl Endpoint {
    fn path(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Settle => "settle",
            Self::Supported => "supported",
        }
    }
}

/// Headers made for one call: names and values, or why there are none.
pub type MadeHeaders = Result<Vec<(String, Secret<String>)>, String>;
type HeaderFuture = Pin<Box<dyn Future<Output = MadeHeaders> + Send>>;
type HeaderFunction = dyn Fn(Endpoint) -> HeaderFuture + Send + Sync;

/// The URL of a facilitator can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not absolute http or https.
    #[error("a facilitator's URL is absolute http or https, without query and fragment")]
    Form,
    /// Credentials belong into a header.
    #[error("a facilitator's URL has no credentials: give them with .header(…)")]
    Credentials,
    /// A header's name or value can't be sent.
    #[error("a header's name or value can't be sent")]
    Header,
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be made: no usable TLS roots")]
    Client,
}

/// A [`Facilitator`] over HTTP: no redirects, bounded answers, a deadline on everything, no URL in errors.
///
/// What is asked again: `/supported` and `/verify` when the connection failed or on 429; `/settle` only
/// when the connection was never made. A settlement that was sent is [`FacilitatorError::Unknown`] unless its answer is
/// the protocol's, 401 or 429.
///
/// ```
/// # fn main() -> Result<(), tollway_seller::UrlError> {
/// use tollway_protocol::Secret;
/// use tollway_seller::HttpFacilitator;
/// let facilitator = HttpFacilitator::builder("https://facilitator.example/x402")
///     .header("authorization", Secret::new("Bearer token".to_owned()))
///     .build()?;
/// # Ok(()) }
/// ```
pub struct HttpFacilitator {
    client: reqwest::Client,
    base: Url,
    headers: HeaderMap,
    made: Option<Arc<HeaderFunction>>,
}

impl std::fmt::Debug for HttpFacilitator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpFacilitator").field("host", &self.base.host_str()).finish_non_exhaustive()
    }
}

/// Builds an [`HttpFacilitator`].
#[must_use = "call build()"]
pub struct HttpFacilitatorBuilder {
    base: String,
    headers: Vec<(String, Secret<String>)>,
    made: Option<Arc<HeaderFunction>>,
    connect: Duration,
    total: Duration,
}

impl std::fmt::Debug for HttpFacilitatorBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpFacilitatorBuilder").finish_non_exhaustive()
    }
}

impl HttpFacilitatorBuilder {
    /// Sends this header with every call.
    pub fn header(mut self, name: impl Into<String>, value: Secret<String>) -> Self {
        self.headers.push((name.into(), value));
        self
    }

    /// Makes headers for each call, such as short-lived tokens. When it fails, nothing is asked.
    pub fn headers<F, T>(mut self, make: F) -> Self
    where
        F: Fn(Endpoint) -> T + Send + Sync + 'static,
        T: Future<Output = MadeHeaders> + Send + 'static,
    {
        self.made = Some(Arc::new(move |endpoint| Box::pin(make(endpoint))));
        self
    }

    /// How long a connection may take to be made; 5 s by default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect = limit;
        self
    }

    /// How long a call may take; 30 s by default.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.total = limit;
        self
    }

    /// The facilitator.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn build(self) -> Result<HttpFacilitator, UrlError> {
        let mut base = Url::parse(&self.base).map_err(|_| UrlError::Form)?;
        let usable = matches!(base.scheme(), "http" | "https") && base.has_host();
        if !usable || base.query().is_some() || base.fragment().is_some() {
            return Err(UrlError::Form);
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(UrlError::Credentials);
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let headers = header_map(&self.headers).ok_or(UrlError::Header)?;
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.connect)
            .timeout(self.total)
            .build()
            .map_err(|_| UrlError::Client)?;
        Ok(HttpFacilitator { client, base, headers, made: self.made })
    }
}

fn header_map(headers: &[(String, Secret<String>)]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let mut value = HeaderValue::from_str(value.expose()).ok()?;
        value.set_sensitive(true);
        map.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    Some(map)
}

/// What is posted.
struct Question {
    /// What the request to settle is named by.
    key: Option<HeaderValue>,
    body: Vec<u8>,
}

/// An answer, before it is understood.
struct Raw {
    status: StatusCode,
    body: Vec<u8>,
}

/// Why there is none.
enum Failure {
    /// The connection was never made.
    Connect,
    /// The request may have arrived.
    Sent(&'static str),
    /// 429, with what `Retry-After` asks for.
    Busy(Option<Duration>),
    /// Nothing was sent.
    NotSent(&'static str),
}

impl From<Failure> for FacilitatorError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Connect => Self::NotAsked("no connection".to_owned()),
            Failure::Busy(_) => Self::NotAsked("it answered 429".to_owned()),
            Failure::NotSent(why) => Self::NotAsked(why.to_owned()),
            Failure::Sent(why) => Self::Unknown(why.to_owned()),
        }
    }
}

impl HttpFacilitator {
    /// Starts one whose endpoints are under `base`.
    pub fn builder(base: impl Into<String>) -> HttpFacilitatorBuilder {
        HttpFacilitatorBuilder {
            base: base.into(),
            headers: Vec::new(),
            made: None,
            connect: Duration::from_secs(5),
            total: Duration::from_secs(30),
        }
    }

    async fn ask(&self, endpoint: Endpoint, asked: Option<&Question>) -> Result<Raw, Failure> {
        let mut attempt = 1;
        loop {
            let failure = match self.once(endpoint, asked).await {
                Ok(raw) => return Ok(raw),
                Err(failure) => failure,
            };
            let pause = match failure {
                _ if attempt >= ATTEMPTS => return Err(failure),
                Failure::Connect => Duration::from_millis(100),
                Failure::Busy(Some(pause)) if endpoint != Endpoint::Settle && pause <= MAX_PAUSE => pause,
                _ => return Err(failure),
            };
            attempt += 1;
            tokio::time::sleep(pause).await;
        }
    }

    async fn once(&self, endpoint: Endpoint, asked: Option<&Question>) -> Result<Raw, Failure> {
        let url = self.base.join(endpoint.path()).map_err(|_| Failure::NotSent("no URL"))?;
        let mut headers = self.headers.clone();
        if let Some(make) = &self.made {
            let made = make(endpoint).await.map_err(|_| Failure::NotSent("no headers for it"))?;
            headers.extend(header_map(&made).ok_or(Failure::NotSent("no headers for it"))?);
        }
        let request = match asked {
            None => self.client.get(url),
            Some(Question { key, body }) => {
                headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                if let Some(key) = key {
                    headers.insert(IDEMPOTENCY_KEY, key.clone());
                }
                self.client.post(url).body(body.clone())
            }
        };
        // The error's own text has the URL: only its kind is kept.
        let mut response = request.headers(headers).send().await.map_err(|error| match () {
            () if error.is_connect() => Failure::Connect,
            () if error.is_builder() => Failure::NotSent("no request"),
            () if error.is_timeout() => Failure::Sent("no answer in time"),
            () => Failure::Sent("the connection broke"),
        })?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Failure::Busy(retry_after(response.headers())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| Failure::Sent("the answer broke off"))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Failure::Sent("the answer is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Raw { status, body })
    }

    async fn post(&self, endpoint: Endpoint, request: &PaymentRequest) -> Result<Raw, FacilitatorError> {
        let unwritten = || FacilitatorError::NotAsked("the request can't be written".to_owned());
        let body = serde_json::to_vec(request).map_err(|_| unwritten())?;
        let network = &request.payment_requirements.network;
        let is_named = endpoint == Endpoint::Settle && idempotency::is_used_on(network);
        let key = request.idempotency_key.as_ref().filter(|_| is_named);
        let key = key.map(|key| HeaderValue::from_str(key.to_header().expose())).transpose();
        let mut key = key.map_err(|_| unwritten())?;
        if let Some(key) = &mut key {
            key.set_sensitive(true);
        }
        Ok(self.ask(endpoint, Some(&Question { key, body })).await?)
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    door::decimal_u64(text).ok().map(Duration::from_secs)
}

/// A status without a protocol answer. Only 401 is surely the door's: a redirect, a 403 or a 404 may come from a proxy
/// that has passed the request on before.
fn without_answer(status: StatusCode) -> FacilitatorError {
    let problem = format!("it answered {} and no protocol answer", status.as_u16());
    if status == StatusCode::UNAUTHORIZED {
        FacilitatorError::NotAsked(problem)
    } else {
        FacilitatorError::Unknown(problem)
    }
}

/// Whether a failure's reason fits a 5xx status: a server that broke down knows no final outcome.
fn fits(status: StatusCode, code: Option<&Code>) -> bool {
    !status.is_server_error() || code.is_some_and(|code| code.reason().row().http >= 500)
}

#[async_trait]
impl Facilitator for HttpFacilitator {
    async fn verify(&self, request: &PaymentRequest) -> Result<Verdict, FacilitatorError> {
        let Raw { status, body } = self.post(Endpoint::Verify, request).await?;
        let verdict: Option<Verdict> = json::decode(&body, MAX_ANSWER).ok();
        match verdict {
            Some(verdict) if verdict.is_valid && !status.is_success() => Err(without_answer(status)),
            Some(verdict) => Ok(verdict),
            None => Err(without_answer(status)),
        }
    }

    async fn settle(&self, request: &PaymentRequest) -> Result<Settlement, FacilitatorError> {
        let Raw { status, body } = self.post(Endpoint::Settle, request).await?;
        let settlement = json::decode::<Object>(&body, MAX_ANSWER)
            .ok()
            .map(|answer| with_network(answer, request))
            .and_then(|answer| answer.read::<Settlement>().ok());
        match settlement {
            Some(settlement) if settlement.success && !status.is_success() => {
                Err(FacilitatorError::Unknown(format!("it answered {} with a success", status.as_u16())))
            }
            Some(settlement) if !settlement.success && !fits(status, settlement.error_reason.as_ref()) => {
                Err(without_answer(status))
            }
            Some(settlement) => Ok(settlement),
            None => Err(without_answer(status)),
        }
    }

    async fn supported(&self) -> Result<Supported, FacilitatorError> {
        let Raw { status, body } = self.ask(Endpoint::Supported, None).await?;
        if !status.is_success() {
            return Err(without_answer(status));
        }
        json::decode(&body, MAX_ANSWER)
            .map_err(|_| FacilitatorError::Unknown("/supported can't be read".to_owned()))
    }
}

/// Some facilitators leave the network of a failure empty: it is the one that was asked about. A success must
/// name it.
fn with_network(answer: Object, request: &PaymentRequest) -> Object {
    let failed = answer.get("success") == Some(&Value::Bool(false));
    if failed && answer.str("network").unwrap_or_default().is_empty() {
        return answer.with("network", request.payment_requirements.network.as_str());
    }
    answer
}
