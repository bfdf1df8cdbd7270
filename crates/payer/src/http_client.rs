//! Paying over HTTP.
//!
//! A payment is only ever sent by the payer's own client, which follows no redirect: that a payment
//! never goes to another origin does not depend on the caller's client.

use std::future::Future;

use http::{Method, StatusCode};
use reqwest::{Request, Response};
use tokio::time::{Instant, timeout_at};
use tollway_protocol::header::{PAYMENT_SIGNATURE, X_PAYMENT};
use url::Url;

use crate::answer::{Receipt, clock_hint};
use crate::asked::Asked;
use crate::choose::Plan;
use crate::deliver::bounded;
use crate::error::PayError;
use crate::flight::on_disk;
use crate::journal::Live;
use crate::origin::{Origin, Purchase};
use crate::payer::Payer;

const HOPS: u8 = 10;

/// An answer, and what it cost.
#[non_exhaustive]
pub struct Paid {
    /// The answer.
    pub response: Response,
    /// What was paid; none when the answer was free.
    pub payment: Option<Purchased>,
}

impl std::fmt::Debug for Paid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paid")
            .field("status", &self.response.status())
            .field("payment", &self.payment)
            .finish_non_exhaustive()
    }
}

/// What was paid for an answer. The middleware puts it into the response's extensions.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Purchased {
    /// The payment, as the journal has it.
    pub payment: Live,
    /// What the server said of the settlement.
    pub receipt: Receipt,
    /// Whether the payment was signed by an earlier call.
    pub resent: bool,
    /// How often it was sent in this call.
    pub sends: u32,
    /// Why the journal could not record the end, if so: the payment then counts as outstanding.
    pub unrecorded: Option<String>,
}

/// What a paying call would do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Preview {
    /// Nothing to pay: the status of the answer.
    Free(StatusCode),
    /// It would sign this.
    Pay(Box<Plan>),
    /// It would send a payment again that an earlier call signed.
    Resend(Box<Live>),
}

/// Sends a request with `client`, and pays with `payer` if that is asked for.
///
/// The unpaid request goes out as `client` sends requests, redirects included; the policy judges
/// the origin where it ended. The paid request goes out through the payer's own client
/// ([`crate::PayerBuilder::http`]), to that URL and nowhere else.
///
/// # Errors
/// [`PayError`]; a 402 is never returned as a success.
pub async fn pay(client: &reqwest::Client, payer: &Payer, request: Request) -> Result<Paid, PayError> {
    let attempt = Attempt::new(payer, &request)?;
    let response = attempt.send(client.execute(request)).await?;
    attempt.finish(response).await
}

impl Payer {
    /// Sends a request, and pays if that is asked for. Redirects of the unpaid request are followed
    /// within its origin; one to another origin is returned as it is.
    ///
    /// # Errors
    /// [`PayError`]; a 402 is never returned as a success.
    pub async fn pay(&self, request: Request) -> Result<Paid, PayError> {
        let (attempt, response) = self.ask(request).await?;
        attempt.finish(response).await
    }

    /// Sends the request unpaid and says what [`Self::pay`] would do. Signs and reserves nothing.
    ///
    /// # Errors
    /// [`PayError`], as [`Self::pay`] would give it.
    pub async fn dry_run(&self, request: Request) -> Result<Preview, PayError> {
        let (mut attempt, response) = self.ask(request).await?;
        if response.status() != StatusCode::PAYMENT_REQUIRED {
            return Ok(Preview::Free(response.status()));
        }
        let (asked, purchase) = attempt.read(response).await?;
        let (payer, request) = (self.clone(), purchase.clone());
        let left = on_disk(move || payer.left_behind(&request).map(|held| held.map(|held| held.summary())));
        if let Some(live) = left.await?? {
            return Ok(Preview::Resend(Box::new(live)));
        }
        let planned = self.plan(&asked, &purchase).await;
        planned.map(|plan| Preview::Pay(Box::new(plan))).map_err(|error| attempt.hinted(error))
    }

    async fn ask(&self, mut request: Request) -> Result<(Attempt, Response), PayError> {
        let started = Attempt::new(self, &request)?.deadline;
        for _ in 0..HOPS {
            let mut attempt = Attempt::new(self, &request)?;
            attempt.deadline = started;
            let response = attempt.send(self.inner.execute(request)).await?;
            match attempt.next_hop(&response) {
                Some(next) => request = next,
                None => return Ok((attempt, response)),
            }
        }
        let mut attempt = Attempt::new(self, &request)?;
        attempt.deadline = started;
        let response = attempt.send(self.inner.execute(request)).await?;
        Ok((attempt, response))
    }
}

/// One logical request: at most one payment.
pub(crate) struct Attempt {
    pub(crate) payer: Payer,
    method: Method,
    url: Url,
    /// None when the body is a stream.
    pub(crate) copy: Option<Request>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) hint: Option<String>,
}

impl Attempt {
    pub(crate) fn new(payer: &Payer, request: &Request) -> Result<Self, PayError> {
        let headers = request.headers();
        if headers.contains_key(PAYMENT_SIGNATURE) || headers.contains_key(X_PAYMENT) {
            return Err(PayError::AlreadyPaying);
        }
        Ok(Self {
            payer: payer.clone(),
            method: request.method().clone(),
            url: request.url().clone(),
            copy: request.try_clone(),
            deadline: Instant::now().checked_add(payer.inner.limits.total),
            hint: None,
        })
    }

    /// Waits for something until the deadline.
    pub(crate) async fn by_deadline<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self.deadline {
            Some(deadline) => timeout_at(deadline, work).await.ok(),
            None => Some(work.await),
        }
    }

    async fn send(
        &self,
        sending: impl Future<Output = reqwest::Result<Response>>,
    ) -> Result<Response, PayError> {
        self.by_deadline(sending).await.ok_or(PayError::TimedOut)?.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: reqwest::Error) -> PayError {
        if error.is_timeout() {
            return PayError::TimedOut;
        }
        PayError::Send { origin: Origin::of(&self.url).to_string(), error: error.without_url() }
    }

    /// The request that a redirect within the origin asks for.
    fn next_hop(&self, response: &Response) -> Option<Request> {
        let status = response.status().as_u16();
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let location = response.headers().get(http::header::LOCATION)?.to_str().ok()?;
        let mut target = self.url.join(location).ok()?;
        if Origin::of(&target) != Origin::of(&self.url) {
            return None;
        }
        if target.fragment().is_none() {
            target.set_fragment(self.url.fragment());
        }
        let mut request = self.copy.as_ref()?.try_clone()?;
        *request.url_mut() = target;
        let get = status == 303 && self.method != Method::HEAD
            || matches!(status, 301 | 302) && self.method == Method::POST;
        if get {
            *request.method_mut() = Method::GET;
            *request.body_mut() = None;
            for name in [http::header::CONTENT_TYPE, http::header::CONTENT_LENGTH] {
                request.headers_mut().remove(name);
            }
        }
        Some(request)
    }

    /// Answers a 402 with a payment; anything else is returned.
    pub(crate) async fn finish(mut self, response: Response) -> Result<Paid, PayError> {
        if response.status() != StatusCode::PAYMENT_REQUIRED {
            return Ok(Paid { response, payment: None });
        }
        let (asked, purchase) = self.read(response).await?;
        let prepared = self.payer.prepare_by(&asked, &purchase, self.deadline).await;
        let flight = prepared.map_err(|error| self.hinted(error))?;
        self.deliver(flight).await
    }

    /// Reads a 402: what it asks, and for which request.
    async fn read(&mut self, response: Response) -> Result<(Asked, Purchase), PayError> {
        self.hint = clock_hint(response.headers(), self.payer.now().0);
        self.follow(response.url())?;
        // With a v2 header the body is read only to be handed over when the header is no good.
        if Asked::in_headers(response.headers())
            && let Ok(asked) = Asked::read(response.headers(), b"")
        {
            return Ok((asked, self.purchase()?));
        }
        let answer = bounded(response, self.deadline).await;
        match Asked::read(&answer.headers, &answer.body) {
            Ok(asked) => Ok((asked, self.purchase()?)),
            Err(why) => Err(PayError::NotAsked { why, answer: Box::new(answer) }),
        }
    }

    /// Takes over the URL at which the unpaid request ended.
    fn follow(&mut self, ended: &Url) -> Result<(), PayError> {
        let plain = |url: &Url| Purchase::new("", url, b"").url().clone();
        if plain(ended) == plain(&self.url) {
            return Ok(());
        }
        // A redirect may have turned this method into GET; it can't be seen from here.
        if self.method != Method::GET && self.method != Method::HEAD {
            let to = Origin::of(ended).to_string();
            return Err(PayError::Redirected { to, method: self.method.to_string() });
        }
        let crossed = Origin::of(ended) != Origin::of(&self.url);
        if let Some(copy) = &mut self.copy {
            *copy.url_mut() = ended.clone();
            if crossed {
                for name in ["authorization", "cookie", "cookie2", "proxy-authorization", "www-authenticate"]
                {
                    copy.headers_mut().remove(name);
                }
            }
        }
        self.url = ended.clone();
        Ok(())
    }

    fn purchase(&self) -> Result<Purchase, PayError> {
        let copy = self.copy.as_ref().ok_or(PayError::StreamedBody)?;
        let body = match copy.body() {
            None => &b""[..],
            Some(body) => body.as_bytes().ok_or(PayError::StreamedBody)?,
        };
        Ok(Purchase::new(self.method.as_str(), &self.url, body))
    }

    fn hinted(&self, error: PayError) -> PayError {
        match error {
            PayError::Declined(mut declined) => {
                declined.hint.clone_from(&self.hint);
                PayError::Declined(declined)
            }
            other => other,
        }
    }
}
