//! The real binary, as people and scripts run it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers may")]

#[path = "../common/mod.rs"]
mod common;

mod demo;
mod dev;
mod facilitator;
mod help;
mod ledger;
mod ledger_solana;
mod pay;
mod pay_unpaid;
mod solana;
mod solana_lost;
mod wallet;
mod wallet_solana;
