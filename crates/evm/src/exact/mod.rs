//! Scheme `exact`: the payer signs for exactly the offer's amount, and anyone may submit it (specification:
//! schemes/exact, EVM). By EIP-3009 the payer signs the token's `TransferWithAuthorization`; by Permit2, and by a
//! delegation, see [`crate::permit2`] and [`crate::delegation`].

mod authorization;
mod offer;
#[cfg(feature = "payer")]
mod pay;
mod payload;

pub use authorization::{Authorization, Domain};
pub(crate) use offer::offered;
pub use offer::{ExactSeller, offer_asset};
#[cfg(feature = "payer")]
pub use pay::ExactPayer;
#[cfg(feature = "payer")]
pub(crate) use pay::payer_on;
pub(crate) use payload::same_method;
pub use payload::{ExactPayload, Method};

/// The scheme's wire name.
pub const SCHEME: &str = "exact";

/// Seconds by which a payment opens before it is signed, for clocks that differ.
pub const CLOCK_SKEW_SECONDS: u64 = 600;

/// A number of seconds from a contract's 256 bits; never so late that it is taken for no end.
pub(crate) fn seconds(number: alloy_primitives::U256) -> tollway_protocol::door::UnixTime {
    let latest = tollway_protocol::bind::Window::ALWAYS.closes.minus(1);
    u64::try_from(number).map_or(latest, |n| tollway_protocol::door::UnixTime(n).min(latest))
}
