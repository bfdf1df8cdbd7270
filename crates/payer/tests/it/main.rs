//! The payer against a shop on a loopback port.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod answers;
mod budgets;
mod choice;
mod clocks;
mod common;
mod extensions;
mod faults;
mod journal;
mod redirects;
mod solana;
mod tree;
