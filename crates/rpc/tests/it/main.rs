//! Nodes that answer, refuse, hang and lie, as a test plays them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod calls;
mod failover;
mod http;
mod line;
mod node;
mod refusals;
mod socket;
