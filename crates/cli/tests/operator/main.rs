//! `tollway facilitator` as operators run it: keys, lists, look-ups, logs, traces, and its API under a fuzzer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers may")]

#[path = "../common/mod.rs"]
mod common;

mod callers;
mod deploy;
mod fuzzed;
mod logs;
mod traces;
mod world;
