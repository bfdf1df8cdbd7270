//! Payments by Permit2 and by delegation on the wire: what the published client makes is read, and what ours makes is
//! what the published one makes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod chain;
mod delegations;
mod offers;
mod payloads;
mod samples;
mod sponsored;
mod vectors;
