//! From request headers to a payment that does what one of this request's offers asks for.

use std::sync::Arc;

use http::HeaderMap;
use tollway_protocol::bind::{Bound, Presented, accepts};
use tollway_protocol::header::{self, HeaderError, MAX_HEADER, PAYMENT_SIGNATURE, X_PAYMENT};
use tollway_protocol::json::Object;
use tollway_protocol::reason::{Dialect, Reason, Refusal};
use tollway_protocol::scheme::SellerScheme;
use tollway_protocol::{Offer, Payment, extensions, v1};

/// The member of an offer's `extra` that names the payment flow; absent means `authorization`.
const FLOW: &str = "paymentFlow";
const AUTHORIZATION: &str = "authorization";

/// An offer and the mechanism that made it.
#[derive(Clone)]
pub struct Offered {
    /// The offer, freshly made for this request.
    pub offer: Offer,
    /// Its mechanism.
    pub scheme: Arc<dyn SellerScheme>,
}

impl std::fmt::Debug for Offered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.offer.fmt(f)
    }
}

/// The payment that came with a request, in the version in which it came.
#[derive(Debug, Clone, PartialEq)]
pub enum Presentation {
    /// None.
    Nothing,
    /// In `PAYMENT-SIGNATURE`.
    V2(Box<Payment>),
    /// In `X-PAYMENT`.
    V1(Box<v1::Payment>),
}

impl Presentation {
    /// Reads a request's payment headers; without `serve_v1`, `X-PAYMENT` alone is no payment.
    ///
    /// # Errors
    /// [`Reason::InvalidPayload`] or [`Reason::InvalidVersion`]: more than one payment, or one that can't
    /// be read.
    pub fn read(headers: &HeaderMap, serve_v1: bool) -> Result<Self, Refusal> {
        let all = |name| headers.get_all(name).iter();
        let mut payments = all(PAYMENT_SIGNATURE).chain(all(X_PAYMENT));
        let Some(value) = payments.next() else { return Ok(Self::Nothing) };
        if payments.next().is_some() {
            let message = "more than one payment header: send PAYMENT-SIGNATURE or X-PAYMENT, once";
            return Err(Refusal::new(Reason::InvalidPayload, message));
        }
        if headers.contains_key(PAYMENT_SIGNATURE) {
            header::decode(value.as_bytes())
                .map(|payment| Self::V2(Box::new(payment)))
                .map_err(|error| unreadable("PAYMENT-SIGNATURE", &error, value.as_bytes(), 2))
        } else if serve_v1 {
            header::decode(value.as_bytes())
                .map(|payment| Self::V1(Box::new(payment)))
                .map_err(|error| unreadable("X-PAYMENT", &error, value.as_bytes(), 1))
        } else {
            Ok(Self::Nothing)
        }
    }

    /// The payment bound to the one of `offers` that it pays.
    ///
    /// # Errors
    /// Why it pays none of them.
    pub fn bind(&self, offers: &[Offered], advertised: &Object) -> Result<Bound, Refusal> {
        match self {
            Self::Nothing => Err(Refusal::new(Reason::PaymentRequired, "no payment came with the request")),
            Self::V2(payment) => bind_v2(payment, offers, advertised),
            Self::V1(payment) => bind_v1(payment, offers),
        }
    }

    /// Whether it came in version 1.
    #[must_use]
    pub fn is_v1(&self) -> bool {
        matches!(self, Self::V1(_))
    }
}

fn bind_v2(payment: &Payment, offers: &[Offered], advertised: &Object) -> Result<Bound, Refusal> {
    let Some(offered) = offers.iter().find(|offered| accepts(&offered.offer, &payment.accepted)) else {
        let message = match offers {
            [only] => {
                Presented::new(only.offer.clone(), payment.clone()).err().map(|refusal| refusal.message)
            }
            _ => None,
        };
        let message = message.unwrap_or_else(|| "none of this request's offers was accepted".to_owned());
        return Err(Refusal::new(Reason::OfferMismatch, message));
    };
    let flow = |offer: &Offer| offer.extra.str(FLOW).unwrap_or(AUTHORIZATION).to_owned();
    let stated = payment.accepted.extra.get(FLOW).is_none_or(serde_json::Value::is_string);
    if !stated || flow(&payment.accepted) != flow(&offered.offer) {
        return Err(Refusal::new(
            Reason::OfferMismatch,
            "the payment names a payment flow that was not offered",
        ));
    }
    let dialect = Dialect::of_offer(&offered.offer);
    extensions::check_echo(advertised, &payment.extensions, &[])
        .map_err(|refusal| refusal.dialect(dialect))?;
    bind_to(offered, payment.clone())
}

/// A v1 payment does not say which offer it pays: it is tried against each that it could be for.
fn bind_v1(payment: &v1::Payment, offers: &[Offered]) -> Result<Bound, Refusal> {
    let mut first = None;
    for offered in offers.iter().filter(|offered| payment.may_accept(&offered.offer)) {
        let translated = payment
            .to_v2(&offered.offer)
            .map_err(|error| Refusal::new(Reason::UnsupportedNetwork, error.to_string()))?;
        match bind_to(offered, translated) {
            Ok(bound) => return Ok(bound),
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    let none = || Refusal::new(Reason::OfferMismatch, "no offer of this request has that scheme and network");
    Err(first.unwrap_or_else(none))
}

pub(crate) fn bind_to(offered: &Offered, payment: Payment) -> Result<Bound, Refusal> {
    let presented = Presented::new(offered.offer.clone(), payment)?;
    let effects = offered.scheme.effects(&presented)?;
    presented.bind(effects)
}

/// Says what is wrong with a header's value without repeating it.
fn unreadable(name: &str, error: &HeaderError, value: &[u8], version: u64) -> Refusal {
    let (reason, what) = match error {
        HeaderError::TooLong(found) => {
            (Reason::InvalidPayload, format!("{found} bytes, at most {MAX_HEADER} are read"))
        }
        HeaderError::Base64(_) => (Reason::InvalidPayload, "not base64".to_owned()),
        HeaderError::Json(_) => match version_of(value) {
            Some(other) if other != version => {
                (Reason::InvalidVersion, format!("x402Version is {other}, this header carries {version}"))
            }
            _ => (Reason::InvalidPayload, format!("not the JSON of a version {version} payment")),
        },
    };
    Refusal::new(reason, format!("{name}: {what}"))
}

fn version_of(value: &[u8]) -> Option<u64> {
    let bytes = header::decode_base64(value).ok()?;
    let document: Object = tollway_protocol::json::decode(&bytes, MAX_HEADER).ok()?;
    document.get("x402Version")?.as_u64()
}
