//! The facilitator over HTTP.
//!
//! | endpoint | answers |
//! |---|---|
//! | `POST /verify` | a verdict |
//! | `POST /settle` | a settlement |
//! | `GET /settlements/{payment key}` | what became of a payment: settled, failed, pending or unknown |
//! | `GET /supported` | schemes, networks and signers |
//! | `GET /healthz` | 200 while the process lives |
//! | `GET /readyz` | 200 when payments can be settled, else 503 and why not |
//! | `GET /metrics` | Prometheus text, when a recorder's handle was given |
//! | `GET /openapi.json` | all of this as an OpenAPI 3.1 document |
//!
//! A refused payment is HTTP 200 with `isValid: false` or `success: false` and a reason. HTTP 400,
//! 408 and 413 mean that the body could not be read, 503 with `Retry-After` that it is not the
//! payment's fault; both still carry a protocol body. So do 401 and 429, where [`Keys`] or a [`Rate`] per client
//! are set: the first four endpoints but `/supported` need a key then.
//!
//! A caller of `/settle` that waits for less than this server's time says so with `Prefer: wait=SECONDS`: it is
//! answered before that, with `settlement_pending` and what is known of the transaction if there is no outcome yet.
//!
//! In `/settlements` the payment key is percent-encoded as one path segment. `unknown` says that this ledger has no
//! such payment, which is no proof that the money did not move.

mod answer;
mod body;
mod care;
mod client;
mod guard;
mod keys;
mod lookup;
mod observe;
mod openapi;
mod payments;
mod prefer;
mod rate;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use futures_util::future::{BoxFuture, FutureExt as _};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

pub use client::Proxies;
pub use keys::{Key, Keys};
pub use openapi::document as openapi;
pub use rate::Rate;

pub(crate) use rate::household;

use rate::Buckets;

use crate::Registry;

/// What one caller, and all of them together, may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest body, in bytes; 64 KiB unless set.
    pub body_bytes: usize,
    /// How long a body may take to arrive; 15 s unless set.
    pub body_read: Duration,
    /// Payments being answered at a time; what comes on top is told to come again later. 256 unless set.
    pub concurrency: usize,
}

impl Limits {
    const DEFAULT: Self =
        Self { body_bytes: 64 * 1024, body_read: Duration::from_secs(15), concurrency: 256 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

type LedgerCheck = dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync;

/// The HTTP API of a [`Registry`], being put together.
pub struct Api {
    registry: Arc<Registry>,
    limits: Limits,
    /// A permit for each payment that may be answered at a time.
    turns: Semaphore,
    /// A permit for each look-up in the ledger at a time.
    lookups: Semaphore,
    ledger: Option<Box<LedgerCheck>>,
    metrics: Option<PrometheusHandle>,
    keys: Option<Keys>,
    per_address: Option<Buckets>,
    proxies: Option<Proxies>,
}

impl Api {
    /// An API with the default limits.
    #[must_use]
    pub const fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            limits: Limits::DEFAULT,
            turns: Semaphore::const_new(Limits::DEFAULT.concurrency),
            lookups: Semaphore::const_new(LOOKUPS),
            ledger: None,
            metrics: None,
            keys: None,
            per_address: None,
            proxies: None,
        }
    }

    /// Other limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self.turns = Semaphore::new(limits.concurrency.min(Semaphore::MAX_PERMITS));
        self
    }

    /// What `/readyz` asks of the ledger; the error is shown to whoever asks.
    #[must_use]
    pub fn ledger<F>(mut self, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.ledger = Some(Box::new(move || check().boxed()));
        self
    }

    /// The recorder that `/metrics` shows.
    #[must_use]
    pub fn metrics(mut self, handle: PrometheusHandle) -> Self {
        self.metrics = Some(handle);
        self
    }

    /// The keys that callers need from now on.
    #[must_use]
    pub fn keys(mut self, keys: Keys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// What one client address may ask, at the four endpoints that cost something. Whoever has one IPv6 address
    /// has its /64. Needs [`Server`](crate::Server), which knows addresses.
    #[must_use]
    pub fn per_address(mut self, rate: Rate) -> Self {
        self.per_address = Some(Buckets::new(rate));
        self
    }

    /// Proxies whose word about the client's address is taken; none unless set.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// The router, to be served or nested.
    pub fn router(self) -> Router {
        // One layer for all: each costs a request boxes of its own.
        let around = ServiceBuilder::new()
            .layer(from_fn(observe::observe))
            .layer(CatchPanicLayer::custom(answer::panicked));
        Router::new()
            .route("/verify", post(payments::verify))
            .route("/settle", post(payments::settle))
            .route("/settlements/{*key}", get(lookup::settlement))
            .route("/supported", get(care::supported))
            .route("/", get(care::index))
            .route("/openapi.json", get(openapi::serve))
            .route("/healthz", get(care::healthz))
            .route("/readyz", get(care::readyz))
            .route("/metrics", get(care::metrics))
            .fallback(answer::no_such_path)
            .method_not_allowed_fallback(answer::wrong_method)
            .layer(around)
            .with_state(Arc::new(self))
    }
}

/// Look-ups in the ledger at a time; more wait.
const LOOKUPS: usize = 16;
