//! Settlements on Solana under faults: processes that are killed, stores and nodes that fail, a cluster that does what
//! clusters do. After each fault the chain, the payers and the ledger have to agree.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers may")]
#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly fails")]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "what replicas on EVM chains need besides")]
#[path = "../replicas/database.rs"]
mod database;
#[allow(dead_code, reason = "what the faults of EVM chains need besides")]
#[path = "../faults/gate.rs"]
mod gate;
#[allow(dead_code, reason = "what the faults of EVM chains need besides")]
#[path = "../faults/lies.rs"]
mod lies;
#[path = "../faults/look.rs"]
mod look;
#[path = "../faults/matrix.rs"]
mod matrix;
#[allow(dead_code, reason = "what the faults of EVM chains need besides")]
#[path = "../faults/patience.rs"]
mod patience;
#[allow(dead_code, reason = "what the faults of EVM chains need besides")]
#[path = "../faults/process.rs"]
mod process;
#[path = "../replicas/random.rs"]
mod random;
#[allow(dead_code, reason = "what replicas on EVM chains need besides")]
#[path = "../replicas/replica.rs"]
mod replica;
#[allow(dead_code, reason = "what the faults of EVM chains need besides")]
#[path = "../faults/store.rs"]
mod store;
#[path = "../faults/strace.rs"]
mod strace;

mod chain;
mod clock;
mod disk;
mod load;
mod node;
mod nodes;
mod oracle;
mod payers;
mod payment;
mod points;
mod postgres;
mod replicas;
mod restarted;
mod two;
mod untrue;
mod world;
