//! The seller through its public face: an axum router behind a gate.

mod build;
mod common;
mod crash;
mod failures;
mod gate;
#[cfg(feature = "http-facilitator")]
mod http_facilitator;
mod malformed;
mod paid;
mod unpaid;
mod versions;
