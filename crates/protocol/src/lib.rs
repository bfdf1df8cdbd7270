#![doc = include_str!("../README.md")]

pub mod assets;
pub mod bind;
pub mod charge;
pub mod door;
pub mod extensions;
pub mod header;
pub mod idempotency;
pub mod json;
pub mod money;
pub mod network;
pub mod reason;
pub mod scheme;
mod secret;
pub mod v1;
pub mod wire;

pub use idempotency::{IdempotencyKey, IdempotencyKeyError};
pub use network::{Network, NetworkPattern};
pub use reason::{Code, Dialect, Reason, Refusal, Retry};
pub use scheme::Facilitator;
pub use secret::Secret;
pub use wire::{Challenge, Offer, Payment, PaymentRequest, Resource, Settlement, Supported, Verdict};
