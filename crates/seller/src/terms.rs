//! What a route costs and how it describes itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::request::Parts;
use tollway_protocol::Network;
use tollway_protocol::door::Amount;
use tollway_protocol::json::Object;
use tollway_protocol::money::{Money, Price};
use tollway_protocol::scheme::{Ask, AskError};

/// How long a payment may take when a route doesn't say, in seconds.
pub const DEFAULT_TIMEOUT_SECONDS: u64 = 300;

/// One way to pay, as its seller writes it down. It is checked when the route is built, or, of a price
/// function, when the request is priced.
///
/// ```
/// use tollway_seller::Terms;
/// let terms = Terms::new("base", "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", "$0.01").scheme("exact");
/// ```
#[derive(Debug, Clone)]
pub struct Terms {
    pub(crate) scheme: String,
    network: String,
    pay_to: String,
    price: Asked,
    max_timeout_seconds: Option<u64>,
    extra: Object,
}

#[derive(Debug, Clone)]
enum Asked {
    Text(String),
    Atomic { asset: String, amount: Amount },
}

/// What is wrong with [`Terms`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// The network can't be read.
    #[error(transparent)]
    Network(#[from] tollway_protocol::network::NotANetwork),
    /// The price can't be read.
    #[error("price: {0}")]
    Price(#[from] tollway_protocol::money::MoneyError),
    /// A price of zero: a free route needs no gate.
    #[error("the price is zero: leave the route ungated instead")]
    Free,
    /// No payment can be made in no time.
    #[error("max_timeout_seconds is zero")]
    NoTime,
    /// No mechanism was given for it.
    #[error("no mechanism serves scheme `{scheme}` on {network}: give one to the builder with .scheme(…)")]
    NoScheme {
        /// The scheme.
        scheme: String,
        /// The network.
        network: Network,
    },
    /// The mechanism can't make an offer of it.
    #[error(transparent)]
    Ask(#[from] AskError),
}

impl Terms {
    /// The scheme `exact` on `network` (a CAIP-2 id or a v1 name): `price` is `$0.01` or `0.01 USDC`.
    #[must_use]
    pub fn new(network: impl Into<String>, pay_to: impl Into<String>, price: impl Into<String>) -> Self {
        Self::asking(network.into(), pay_to.into(), Asked::Text(price.into()))
    }

    /// The same, in atomic units of the asset at an address. For an asset that no table knows, `extra`
    /// must have its `name` and `version`.
    #[must_use]
    pub fn atomic(
        network: impl Into<String>,
        pay_to: impl Into<String>,
        asset: impl Into<String>,
        amount: Amount,
    ) -> Self {
        Self::asking(network.into(), pay_to.into(), Asked::Atomic { asset: asset.into(), amount })
    }

    fn asking(network: String, pay_to: String, price: Asked) -> Self {
        let scheme = "exact".to_owned();
        Self { scheme, network, pay_to, price, max_timeout_seconds: None, extra: Object::new() }
    }

    /// Another scheme than `exact`.
    #[must_use]
    pub fn scheme(mut self, scheme: impl Into<String>) -> Self {
        self.scheme = scheme.into();
        self
    }

    /// How long a payment may take, when it is not the route's default.
    #[must_use]
    pub fn max_timeout_seconds(mut self, seconds: u64) -> Self {
        self.max_timeout_seconds = Some(seconds);
        self
    }

    /// Adds to the offer's `extra`.
    #[must_use]
    pub fn extra(mut self, extra: Object) -> Self {
        self.extra = extra;
        self
    }

    pub(crate) fn ask(&self, default_timeout: u64) -> Result<Ask, TermsError> {
        let network = Network::any(&self.network)?;
        let price = match &self.price {
            Asked::Text(text) => Price::Money(Money::new(text)?),
            Asked::Atomic { asset, amount } => {
                Price::Atomic { asset: asset.clone(), amount: *amount, extra: self.extra.clone() }
            }
        };
        let max_timeout_seconds = self.max_timeout_seconds.unwrap_or(default_timeout);
        if max_timeout_seconds == 0 {
            return Err(TermsError::NoTime);
        }
        let (pay_to, extra) = (self.pay_to.clone(), self.extra.clone());
        Ok(Ask { network, price, pay_to, max_timeout_seconds, extra })
    }
}

/// A price function failed. The request gets a 500 and is not served.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PriceError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl PriceError {
    /// Wraps what went wrong; it is logged, and never shown to the payer.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// The request body of a route whose price depends on it, in the extensions of the [`Parts`] that the
/// price function gets.
#[derive(Debug, Clone)]
pub struct PricedBody(pub bytes::Bytes);

pub(crate) type PriceFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<Terms>, PriceError>> + Send + 'a>>;
type PriceFunction = dyn for<'a> Fn(&'a Parts) -> PriceFuture<'a> + Send + Sync;

#[derive(Clone)]
pub(crate) enum Pricing {
    /// A price for each of the seller's own accounts.
    Everywhere(String),
    Fixed(Vec<Terms>),
    Function(Arc<PriceFunction>),
}

/// A route that is paid for: its price and how it describes itself. [`crate::Seller::gate`] makes a layer of it.
///
/// ```
/// use tollway_seller::{Paid, Terms};
/// let simple = Paid::new("$0.01").description("Today's weather").mime_type("application/json");
/// let by_query = Paid::priced(|request| {
///     let pages = request.uri.query().map_or(1, str::len);
///     Box::pin(async move { Ok(vec![Terms::new("base", "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", format!("0.{pages:03}"))]) })
/// });
/// ```
#[derive(Clone)]
pub struct Paid {
    pub(crate) pricing: Pricing,
    pub(crate) resource: tollway_protocol::Resource,
    pub(crate) path: Option<String>,
    pub(crate) extensions: Object,
    pub(crate) max_timeout_seconds: u64,
    pub(crate) body_limit: Option<usize>,
    pub(crate) keep_validators: bool,
    pub(crate) pass_options: bool,
}

impl std::fmt::Debug for Paid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paid")
            .field("resource", &self.resource)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Paid {
    /// One price at each of the accounts given to [`crate::Builder::pay_to`].
    #[must_use]
    pub fn new(price: impl Into<String>) -> Self {
        Self::with(Pricing::Everywhere(price.into()))
    }

    /// These ways to pay.
    #[must_use]
    pub fn offers(terms: impl IntoIterator<Item = Terms>) -> Self {
        Self::with(Pricing::Fixed(terms.into_iter().collect()))
    }

    /// A function of the request. It is called for each request, paid or not, and a payment is held to
    /// what it says for the request that carries it: it must say the same for the same request. An error
    /// or an empty list is answered with 500, never served.
    #[must_use]
    pub fn priced<F>(function: F) -> Self
    where
        F: for<'a> Fn(&'a Parts) -> Pin<Box<dyn Future<Output = Result<Vec<Terms>, PriceError>> + Send + 'a>>
            + Send
            + Sync
            + 'static,
    {
        Self::with(Pricing::Function(Arc::new(function)))
    }

    fn with(pricing: Pricing) -> Self {
        Self {
            pricing,
            resource: tollway_protocol::Resource::default(),
            path: None,
            extensions: Object::new(),
            max_timeout_seconds: DEFAULT_TIMEOUT_SECONDS,
            body_limit: None,
            keep_validators: false,
            pass_options: false,
        }
    }

    /// The path under the seller's base URL, when it isn't the one that the layer sees: a route nested
    /// in another router sees its path without the prefix.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// What it is, for people.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.resource.description = Some(text.into());
        self
    }

    /// The answer's media type.
    #[must_use]
    pub fn mime_type(mut self, mime_type: impl Into<String>) -> Self {
        self.resource.mime_type = Some(mime_type.into());
        self
    }

    /// The seller's name: 1–32 printable ASCII characters.
    #[must_use]
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.resource.service_name = Some(name.into());
        self
    }

    /// At most 5 tags of 1–32 printable ASCII characters.
    #[must_use]
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.resource.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// A picture's URL, at most 2048 characters.
    #[must_use]
    pub fn icon_url(mut self, url: impl Into<String>) -> Self {
        self.resource.icon_url = Some(url.into());
        self
    }

    /// How long a payment may take from signature to settlement; 300 s by default.
    #[must_use]
    pub fn max_timeout_seconds(mut self, seconds: u64) -> Self {
        self.max_timeout_seconds = seconds;
        self
    }

    /// The challenge's extensions, by key. What a payer echoes of them must be unaltered.
    #[must_use]
    pub fn extensions(mut self, extensions: Object) -> Self {
        self.extensions = extensions;
        self
    }

    /// The price depends on the body: up to `limit` bytes of it are read before pricing (more is answered
    /// with 413), shown to the price function as [`PricedBody`], and part of what a payment buys.
    #[must_use]
    pub fn priced_by_body(mut self, limit: usize) -> Self {
        self.body_limit = Some(limit);
        self
    }

    /// Keeps `ETag` and `Last-Modified` on paid responses. Without it they are taken off: they let a cache
    /// or a later unpaid request ask about paid content.
    #[must_use]
    pub fn keep_validators(mut self) -> Self {
        self.keep_validators = true;
        self
    }

    /// Hands OPTIONS requests to the service under the gate, unpaid, and takes the body off its answers. Without it the
    /// gate answers them itself: what is sold must tell its OPTIONS from its GET before this is safe. Browsers'
    /// preflights need no such thing, but a CORS layer outside of the gate.
    #[must_use]
    pub fn pass_options(mut self) -> Self {
        self.pass_options = true;
        self
    }
}
