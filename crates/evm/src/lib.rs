#![doc = include_str!("../README.md")]

pub mod abi;
pub mod exact;
#[cfg(feature = "facilitator")]
pub mod facilitator;
#[cfg(feature = "payer")]
pub mod keys;
pub mod signature;

#[cfg(feature = "payer")]
pub use exact::ExactPayer;
pub use exact::ExactSeller;
#[cfg(feature = "facilitator")]
pub use facilitator::{Chain, ExactFacilitator};
