#![doc = include_str!("../README.md")]

pub mod bug;
#[cfg(feature = "payer")]
mod build;
#[cfg(feature = "facilitator")]
pub mod facilitator;
#[cfg(feature = "payer")]
pub mod keys;
pub mod layout;
#[cfg(feature = "payer-rpc")]
pub mod node;
pub mod offer;
#[cfg(feature = "payer")]
pub mod pay;
pub mod payload;
pub mod programs;
pub mod transaction;

#[cfg(feature = "facilitator")]
pub use facilitator::ExactFacilitator;
pub use offer::ExactSeller;
#[cfg(feature = "payer")]
pub use pay::ExactPayer;
pub use payload::SvmPayment;

/// The scheme's wire name.
pub const SCHEME: &str = "exact";

/// Whether `network` is a Solana cluster.
#[must_use]
pub fn is_solana(network: &tollway_protocol::Network) -> bool {
    network.namespace() == "solana"
}
