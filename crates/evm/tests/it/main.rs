//! `exact` on a chain that executes, through the public traits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod abuse;
mod blame;
mod common;
mod delegation;
mod engine;
mod faults;
mod finality;
mod heads;
mod hostile;
mod pay;
mod paying;
mod permit2;
mod settle;
mod sponsor;
mod tokens;
mod upto;
mod verify;
mod wallets;
