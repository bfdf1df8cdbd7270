//! `exact` on a cluster that executes, through the public traits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod announced;
mod audit;
mod common;
mod crafted;
mod draft;
mod faults;
mod history;
mod keys;
mod nodes;
mod oracle;
mod pay;
mod settle;
mod tried;
