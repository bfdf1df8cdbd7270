//! The facilitator under faults: killed, lied to, cut off and filled up, under load. After each fault the chain, the
//! payers and the ledger have to agree.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers may")]
#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly fails")]

#[path = "../common/mod.rs"]
mod common;

mod chain;
mod disk;
mod gate;
mod hostile;
mod kill;
mod lies;
mod load;
mod look;
mod matrix;
mod node;
mod oracle;
mod patience;
mod postgres;
mod process;
mod proven;
mod replicas;
mod rpc;
mod store;
mod strace;
mod whole;
mod world;
