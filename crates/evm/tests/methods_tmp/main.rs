//! Temporary.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "tests")]
#[path = "../it/common.rs"]
mod common;
#[path = "../it/paying.rs"]
mod paying;
#[path = "../it/permit2.rs"]
mod permit2;
#[path = "../it/upto.rs"]
mod upto;
#[path = "../it/delegation.rs"]
mod delegation;
