//! The embedded Solana chain: its JSON-RPC, and that it refuses what a validator refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of it is tests")]

mod accounts;
mod client;
mod commitments;
mod faults;
mod fidelity;
mod history;
mod serving;
mod simulation;
mod subscriptions;
mod tokens;
