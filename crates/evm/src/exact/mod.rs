//! Scheme `exact` by EIP-3009: the payer signs a `TransferWithAuthorization` for exactly the offer's
//! amount, and anyone may submit it (specification: schemes/exact, EVM).

mod authorization;
mod offer;
#[cfg(feature = "payer")]
mod pay;

pub use authorization::{Authorization, Domain};
pub use offer::{ExactSeller, offer_asset};
#[cfg(feature = "payer")]
pub use pay::ExactPayer;

/// The scheme's wire name.
pub const SCHEME: &str = "exact";

/// Seconds by which a payment opens before it is signed, for clocks that differ.
pub const CLOCK_SKEW_SECONDS: u64 = 600;
