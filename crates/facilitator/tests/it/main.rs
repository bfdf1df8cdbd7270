//! The facilitator from outside: registry, HTTP API, server, configuration.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod config;
mod http_api;
mod observe;
mod registry;
mod serve;
