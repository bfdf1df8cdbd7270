//! The seller through its public face: an axum router behind a gate.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "all of this is tests, their helpers too"
)]

mod build;
mod common;
mod crash;
mod failures;
mod gate;
#[cfg(feature = "http-facilitator")]
mod http_facilitator;
mod keeping;
mod ledger;
mod malformed;
mod metered;
mod paid;
mod recall;
mod unpaid;
mod versions;
