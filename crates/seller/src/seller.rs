//! The configuration that all of a seller's paid routes share.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tollway_ledger::Claims;
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::SellerScheme;
use tollway_protocol::{Facilitator, Network};
use url::Url;

use crate::kinds::{self, Kinds};
use crate::route::Route;
use crate::terms::TermsError;
use crate::{Paid, PaidLayer};

/// Who sells: built once, cheap to clone, shared by every paid route.
#[derive(Clone)]
pub struct Seller {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Seller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seller").field("base_url", &self.shared.base_url.as_str()).finish_non_exhaustive()
    }
}

/// How often what is not needed any more is forgotten.
const FORGET: Duration = Duration::from_hours(1);

pub(crate) type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) base_url: Url,
    pub(crate) facilitator: Arc<dyn Facilitator>,
    pub(crate) ledger: Arc<dyn Claims>,
    pub(crate) schemes: Vec<Arc<dyn SellerScheme>>,
    pub(crate) accounts: Vec<(String, String)>,
    pub(crate) limits: Limits,
    pub(crate) serve_v1: bool,
    pub(crate) clock: Clock,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) tasks: TaskTracker,
    pub(crate) runtime: Handle,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a price function. 5 s.
    pub price: Duration,
    /// For the body of a route that is priced by it. 10 s.
    pub body: Duration,
    /// For the facilitator's verdict. 10 s.
    pub verify: Duration,
    /// For the facilitator's settlement: longer than the facilitator takes itself. 30 s.
    pub settle: Duration,
    /// How long a payment's record is kept after it can't settle any more. One day.
    pub keep: Duration,
    /// What `Retry-After` says. 2 s.
    pub retry_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            price: Duration::from_secs(5),
            body: Duration::from_secs(10),
            verify: Duration::from_secs(10),
            settle: Duration::from_secs(30),
            keep: Duration::from_hours(24),
            retry_after: Duration::from_secs(2),
        }
    }
}

/// What keeps a seller or a route from being built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The base URL is no absolute http or https URL without credentials, query and fragment.
    #[error("base URL `{0}`: give the public URL, such as https://api.example.com")]
    BaseUrl(String),
    /// No facilitator was given.
    #[error("no facilitator: give one with .facilitator(…)")]
    NoFacilitator,
    /// No ledger was given.
    #[error("no ledger: give one with .ledger(…); tests can use SqliteLedger::memory()")]
    NoLedger,
    /// No mechanism was given.
    #[error("no mechanism: give one with .scheme(…), such as tollway_evm's ExactSeller")]
    NoScheme,
    /// Built outside a tokio runtime.
    #[error(
        "build the seller inside a tokio runtime: it keeps the facilitator's kinds fresh in the background"
    )]
    NoRuntime,
    /// The route has nothing to pay with: no terms, or a bare price and no account of the seller's.
    #[error("the route has no way to pay: give terms, or accounts with Builder::pay_to")]
    NoTerms,
    /// One of the route's terms is wrong.
    #[error("terms {index}: {error}")]
    Terms {
        /// Which, from 0.
        index: usize,
        /// What is wrong.
        error: TermsError,
    },
    /// Something that the route says of itself is out of bounds.
    #[error("{0}")]
    Description(&'static str),
    /// The challenge would not fit into a header.
    #[error(
        "PAYMENT-REQUIRED would be {found} bytes, at most {limit} can be paid: offer less, describe shorter"
    )]
    ChallengeTooLarge {
        /// Its size.
        found: usize,
        /// The limit.
        limit: usize,
    },
}

impl Seller {
    /// Starts a seller whose routes are reached under `base_url`. Resource URLs are made of it and of
    /// nothing that a request says.
    pub fn builder(base_url: impl Into<String>) -> Builder {
        Builder {
            base_url: base_url.into(),
            facilitator: None,
            ledger: None,
            schemes: Vec::new(),
            accounts: Vec::new(),
            limits: Limits::default(),
            serve_v1: true,
            clock: Arc::new(system_clock),
        }
    }

    /// A layer that sells what is under it: attach it to the route (`route_layer` in axum), so that the
    /// router's matcher is the only one.
    ///
    /// # Errors
    /// [`BuildError`]: what is wrong with the route.
    pub fn gate(&self, paid: Paid) -> Result<PaidLayer, BuildError> {
        Ok(PaidLayer::new(Arc::new(Route::new(self.clone(), paid)?)))
    }

    /// Waits until the facilitator has said what it supports. Until then paid routes answer 503.
    pub async fn ready(&self) {
        self.shared.kinds.ready().await;
    }

    /// How old the facilitator's last usable `/supported` answer is; `None` when there was none.
    #[must_use]
    pub fn supported_age(&self) -> Option<Duration> {
        self.shared.kinds.known().map(|(_, age)| age)
    }

    /// Waits until no settlement or other work on a payment is under way: for an orderly shutdown, after the
    /// server has stopped taking requests.
    pub async fn idle(&self) {
        self.shared.tasks.wait().await;
    }

    pub(crate) fn scheme(&self, scheme: &str, network: &Network) -> Option<&Arc<dyn SellerScheme>> {
        self.shared.schemes.iter().find(|known| known.scheme() == scheme && known.supports(network))
    }
}

/// Builds a [`Seller`].
#[must_use = "call build()"]
pub struct Builder {
    base_url: String,
    facilitator: Option<Arc<dyn Facilitator>>,
    ledger: Option<Arc<dyn Claims>>,
    schemes: Vec<Arc<dyn SellerScheme>>,
    accounts: Vec<(String, String)>,
    limits: Limits,
    serve_v1: bool,
    clock: Clock,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

impl Builder {
    /// Who verifies and settles: in this process or over HTTP.
    pub fn facilitator(mut self, facilitator: Arc<dyn Facilitator>) -> Self {
        self.facilitator = Some(facilitator);
        self
    }

    /// Where payments are recorded. Replicas that sell the same thing share one.
    pub fn ledger(mut self, ledger: Arc<dyn Claims>) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// Adds a mechanism. The first one that serves an offer's scheme and network is used.
    pub fn scheme(mut self, scheme: Arc<dyn SellerScheme>) -> Self {
        self.schemes.push(scheme);
        self
    }

    /// Adds an account, where routes with a bare price ([`Paid::new`]) are paid.
    pub fn pay_to(mut self, network: impl Into<String>, address: impl Into<String>) -> Self {
        self.accounts.push((network.into(), address.into()));
        self
    }

    /// How long things may take.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether version 1 clients are served too; they are by default.
    pub fn serve_v1(mut self, serve: bool) -> Self {
        self.serve_v1 = serve;
        self
    }

    /// Another clock than the system's.
    pub fn clock(mut self, clock: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The seller; starts asking the facilitator what it supports.
    ///
    /// # Errors
    /// [`BuildError`]: what is missing or wrong.
    pub fn build(self) -> Result<Seller, BuildError> {
        let base_url = base_url(&self.base_url)?;
        let facilitator = self.facilitator.ok_or(BuildError::NoFacilitator)?;
        let ledger = self.ledger.ok_or(BuildError::NoLedger)?;
        if self.schemes.is_empty() {
            return Err(BuildError::NoScheme);
        }
        let runtime = Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let kinds = Kinds::new();
        runtime.spawn(kinds::refresh(Arc::downgrade(&kinds), facilitator.clone(), self.limits.verify));
        let tasks = TaskTracker::new();
        // Only lets `wait` return when it is empty; tasks can still be added.
        tasks.close();
        let shared = Shared {
            base_url,
            facilitator,
            ledger,
            schemes: self.schemes,
            accounts: self.accounts,
            limits: self.limits,
            serve_v1: self.serve_v1,
            clock: self.clock,
            kinds,
            tasks,
            runtime,
        };
        let shared = Arc::new(shared);
        shared.runtime.spawn(forget(Arc::downgrade(&shared)));
        Ok(Seller { shared })
    }
}

/// Has the ledger forget what it may, now and then, until nobody holds the seller any more.
async fn forget(shared: Weak<Shared>) {
    loop {
        let Some(seller) = shared.upgrade() else { return };
        match seller.ledger.forget((seller.clock)()).await {
            Ok(forgotten) => metrics::counter!("tollway_seller_forgotten_total").increment(forgotten),
            Err(error) => tracing::warn!(%error, "the ledger could not forget old payments"),
        }
        drop(seller);
        tokio::time::sleep(FORGET).await;
    }
}

fn base_url(text: &str) -> Result<Url, BuildError> {
    let wrong = || BuildError::BaseUrl(text.chars().take(200).collect());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let good = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if good { Ok(url) } else { Err(wrong()) }
}

fn system_clock() -> UnixTime {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixTime(now.map_or(0, |since| since.as_secs()))
}
