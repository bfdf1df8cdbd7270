//! Several facilitators on one Postgres, killed, cut off from it, put to sleep and replaced under load. After each the
//! chain, the payers and the ledger have to agree.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers may")]
#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly fails")]

#[path = "../common/mod.rs"]
mod common;

mod asleep;
mod away;
mod database;
mod drained;
mod killed;
mod load;
mod node;
mod oracle;
mod random;
mod replica;
mod taken_over;
mod world;
