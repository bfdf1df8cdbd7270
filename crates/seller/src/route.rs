//! A paid route: checked when it is built, priced for each request.

use http::Method;
use http::request::Parts;
use tollway_ledger::RequestId;
use tollway_protocol::json::Object;
use tollway_protocol::scheme::AskError;
use tollway_protocol::wire::{Kind, Version};
use tollway_protocol::{Challenge, Resource, Supported, header};

use crate::kinds;
use crate::present::Offered;
use crate::seller::{BuildError, Seller};
use crate::terms::{Paid, PricedBody, Pricing, Terms, TermsError};

/// The longest path of a paid request, in bytes: it comes back inside the challenge's header.
pub(crate) const MAX_PATH: usize = 2048;
/// Challenges above this are reported when the route is built: common proxies drop longer headers.
const WARN_HEADER: usize = 8 * 1024;

pub(crate) struct Route {
    pub(crate) seller: Seller,
    pub(crate) paid: Paid,
}

/// Why a request could not be priced.
#[derive(Debug)]
pub(crate) enum Unpriced {
    /// Nothing is known of the facilitator, or it serves none of the offers: 503.
    NotReady,
    /// The price function failed, or said something unusable: 500.
    Broken(String),
}

impl Route {
    pub(crate) fn new(seller: Seller, mut paid: Paid) -> Result<Self, BuildError> {
        check_description(&paid.resource, paid.path.as_deref())?;
        if let Pricing::Everywhere(price) = &paid.pricing {
            let terms = |(network, pay_to): &(String, String)| Terms::new(network, pay_to, price);
            paid.pricing = Pricing::Fixed(seller.shared.accounts.iter().map(terms).collect());
        }
        let route = Self { seller, paid };
        let mut offers = Vec::new();
        if let Pricing::Fixed(terms) = &route.paid.pricing {
            if terms.is_empty() {
                return Err(BuildError::NoTerms);
            }
            for (index, terms) in terms.iter().enumerate() {
                match route.offer(terms, None) {
                    Ok(offered) => offers.push(offered),
                    // Some mechanisms need what only the facilitator knows.
                    Err(TermsError::Ask(AskError::Incomplete(_))) => {}
                    Err(error) => return Err(BuildError::Terms { index, error }),
                }
            }
        }
        // As long as a path can be expected to be, when it isn't known yet.
        let sample = route.paid.path.clone().unwrap_or_else(|| format!("/{}", "x".repeat(128)));
        let challenge = route.challenge(&sample, &offers, Some("Payment required"));
        let found = header::encode(&challenge).len();
        if found > header::MAX_HEADER {
            return Err(BuildError::ChallengeTooLarge { found, limit: header::MAX_HEADER });
        }
        if found > WARN_HEADER {
            tracing::warn!(found, "PAYMENT-REQUIRED is over 8 KB: common proxies drop such headers");
        }
        Ok(route)
    }

    /// The offers for this request; never empty.
    pub(crate) async fn price(&self, parts: &Parts) -> Result<Vec<Offered>, Unpriced> {
        let shared = &self.seller.shared;
        let Some((supported, _)) = shared.kinds.known() else {
            shared.kinds.nudge();
            return Err(Unpriced::NotReady);
        };
        let asked;
        let terms = match &self.paid.pricing {
            Pricing::Fixed(terms) => terms,
            Pricing::Everywhere(_) => return Err(Unpriced::Broken("the price was not resolved".to_owned())),
            Pricing::Function(function) => {
                let priced = tokio::time::timeout(shared.limits.price, function(parts)).await;
                asked = priced
                    .map_err(|_| Unpriced::Broken("the price function took too long".to_owned()))?
                    .map_err(|error| Unpriced::Broken(format!("the price function failed: {error}")))?;
                &asked
            }
        };
        if terms.is_empty() {
            return Err(Unpriced::Broken("the price function gave no terms".to_owned()));
        }
        self.offers(terms, &supported)
    }

    fn offers(&self, terms: &[Terms], supported: &Supported) -> Result<Vec<Offered>, Unpriced> {
        let mut offers = Vec::with_capacity(terms.len());
        for terms in terms {
            match self.offer(terms, Some(supported)) {
                Ok(offered) => offers.push(offered),
                Err(TermsError::Ask(AskError::Incomplete(problem))) => {
                    tracing::warn!(problem, "an offer was left out");
                }
                Err(error) => return Err(Unpriced::Broken(error.to_string())),
            }
        }
        if offers.is_empty() { Err(Unpriced::NotReady) } else { Ok(offers) }
    }

    /// One offer; without `supported`, as far as it can be told at build time.
    fn offer(&self, terms: &Terms, supported: Option<&Supported>) -> Result<Offered, TermsError> {
        let ask = terms.ask(self.paid.max_timeout_seconds)?;
        let scheme = self.seller.scheme(&terms.scheme, &ask.network).ok_or_else(|| TermsError::NoScheme {
            scheme: terms.scheme.clone(),
            network: ask.network.clone(),
        })?;
        let unsaid = || Kind {
            x402_version: 2,
            scheme: terms.scheme.clone(),
            network: ask.network.as_str().to_owned(),
            extra: Object::new(),
            unknown: Object::new(),
        };
        let kind = match supported {
            None => unsaid(),
            Some(supported) => {
                kinds::find(supported, &terms.scheme, &ask.network).cloned().ok_or_else(|| {
                    let (scheme, network) = (&terms.scheme, &ask.network);
                    AskError::Incomplete(format!("the facilitator does not serve {scheme} on {network}"))
                })?
            }
        };
        let offer = scheme.offer(&ask, &kind)?;
        if offer.amount == tollway_protocol::door::Amount::ZERO {
            return Err(TermsError::Free);
        }
        Ok(Offered { offer, scheme: scheme.clone() })
    }

    /// The path that the seller's own URLs and records have for this request.
    pub(crate) fn resource_path<'a>(&'a self, parts: &'a Parts) -> &'a str {
        self.paid.path.as_deref().unwrap_or(parts.uri.path())
    }

    /// The extensions of a challenge with these offers: the route's own, and those that the offers' mechanisms declare
    /// because the facilitator has them.
    pub(crate) fn extensions(&self, offers: &[Offered]) -> Object {
        let supported = self.seller.shared.kinds.known();
        let supported = supported.as_ref().map_or(&[][..], |(supported, _)| supported.extensions.as_slice());
        let mut extensions = self.paid.extensions.clone();
        for Offered { offer, scheme } in offers {
            for (key, entry) in scheme.extensions(offer, supported).0 {
                extensions.0.entry(key).or_insert(entry);
            }
        }
        extensions
    }

    pub(crate) fn challenge(&self, path: &str, offers: &[Offered], error: Option<&str>) -> Challenge {
        let base = self.seller.shared.base_url.as_str().trim_end_matches('/');
        let slash = if path.starts_with('/') { "" } else { "/" };
        let resource = Resource { url: format!("{base}{slash}{path}"), ..self.paid.resource.clone() };
        Challenge {
            x402_version: Version,
            error: error.map(str::to_owned),
            resource,
            accepts: offers.iter().map(|offered| offered.offer.clone()).collect(),
            extensions: self.extensions(offers),
            unknown: Object::new(),
        }
    }

    /// What a payment buys.
    pub(crate) fn request_id(&self, parts: &Parts) -> RequestId {
        use sha2::Digest as _;
        let digest = parts.extensions.get::<PricedBody>().map(|body| sha2::Sha256::digest(&body.0));
        RequestId::of(&[
            parts.method.as_str().as_bytes(),
            self.resource_path(parts).as_bytes(),
            parts.uri.path().as_bytes(),
            parts.uri.query().unwrap_or_default().as_bytes(),
            digest.as_deref().unwrap_or_default(),
        ])
    }
}

/// The request as a price function sees it: HEAD is priced as the GET that it asks about.
pub(crate) fn as_priced(parts: &Parts) -> Parts {
    let mut parts = parts.clone();
    if parts.method == Method::HEAD {
        parts.method = Method::GET;
    }
    parts
}

fn check_description(resource: &Resource, path: Option<&str>) -> Result<(), BuildError> {
    let label = |text: &String| {
        (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
    };
    if resource.service_name.as_ref().is_some_and(|name| !label(name)) {
        return Err(BuildError::Description("service_name: 1 to 32 printable ASCII characters"));
    }
    if resource.tags.as_ref().is_some_and(|tags| tags.len() > 5 || !tags.iter().all(label)) {
        return Err(BuildError::Description("tags: at most 5, each 1 to 32 printable ASCII characters"));
    }
    if resource.icon_url.as_ref().is_some_and(|url| url.chars().count() > 2048) {
        return Err(BuildError::Description("icon_url: at most 2048 characters"));
    }
    if path.is_some_and(|path| path.len() > MAX_PATH || !path.starts_with('/')) {
        return Err(BuildError::Description("path: starts with / and has at most 2048 bytes"));
    }
    Ok(())
}
