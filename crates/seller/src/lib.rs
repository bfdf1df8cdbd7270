#![doc = include_str!("../README.md")]

/// The repository's front page, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct FrontPage;

mod answer;
mod charge;
mod drive;
pub mod gate;
#[cfg(feature = "http-facilitator")]
mod http_facilitator;
mod hygiene;
mod kinds;
mod layer;
pub mod present;
mod recall;
mod route;
mod seller;
mod terms;

pub use charge::{SETTLEMENT_OVERRIDES, charge};
#[cfg(feature = "http-facilitator")]
pub use http_facilitator::{Endpoint, HttpFacilitator, HttpFacilitatorBuilder, MadeHeaders, UrlError};
pub use layer::{GateBody, PaidLayer, PaidService};
pub use seller::{BuildError, Builder, Limits, Seller};
pub use terms::{DEFAULT_TIMEOUT_SECONDS, Paid, PriceError, PricedBody, Terms, TermsError};
