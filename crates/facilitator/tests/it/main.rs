//! The facilitator from outside: registry, HTTP API, server, configuration.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod abuse;
mod common;
mod config;
mod config_operator;
mod config_solana;
mod http_api;
mod keys;
mod lookup;
mod observe;
mod registry;
mod screen;
mod serve;
