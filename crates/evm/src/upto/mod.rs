//! Scheme `upto` by Permit2: the payer signs for at most the offer's amount, and the facilitator that it names settles
//! what was used (specification: schemes/upto, EVM).

mod offer;
#[cfg(feature = "payer")]
mod pay;

pub use offer::UptoSeller;
#[cfg(feature = "payer")]
pub use pay::UptoPayer;

/// The scheme's wire name.
pub const SCHEME: &str = tollway_protocol::charge::UPTO;

/// The member of an offer's `extra` that names who may settle: what the facilitator's `/supported` says.
pub const FACILITATOR: &str = "facilitatorAddress";
