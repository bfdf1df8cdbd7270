//! Settlements on Solana by processes that are killed: at random moments under load, at every point of a settlement, and
//! one of two replicas. After each the chain, the payers and the ledger have to agree.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers may")]
#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly fails")]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "what replicas on EVM chains need besides")]
#[path = "../replicas/database.rs"]
mod database;
#[allow(dead_code, reason = "what the fault matrix needs besides")]
#[path = "../faults/patience.rs"]
mod patience;
#[path = "../replicas/random.rs"]
mod random;
#[allow(dead_code, reason = "what replicas on EVM chains need besides")]
#[path = "../replicas/replica.rs"]
mod replica;

mod load;
mod node;
mod oracle;
mod points;
mod restarted;
mod two;
mod world;
