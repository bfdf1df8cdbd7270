#![doc = include_str!("../README.md")]

pub mod abi;
pub mod bug;
pub mod delegation;
pub mod exact;
#[cfg(feature = "facilitator")]
pub mod facilitator;
#[cfg(feature = "payer")]
pub mod keys;
pub mod permit2;
pub mod signature;
pub mod upto;

#[cfg(feature = "payer")]
pub use exact::ExactPayer;
pub use exact::ExactSeller;
#[cfg(feature = "facilitator")]
pub use facilitator::{Chain, ExactFacilitator};
#[cfg(feature = "payer")]
pub use upto::UptoPayer;
pub use upto::UptoSeller;
