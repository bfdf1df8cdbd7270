//! The real binary, as people and scripts run it.

#[path = "../common/mod.rs"]
mod common;

mod demo;
mod dev;
mod facilitator;
mod help;
mod pay;
mod pay_unpaid;
mod wallet;
