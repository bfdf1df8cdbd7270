#![doc = include_str!("../README.md")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "all of it is a test: what can't be must stop the run"
)]

pub mod chance;
mod deeds;
pub mod evm;
pub mod hunt;
pub mod life;
pub mod node;
pub mod oracle;
pub mod plan;
pub mod replica;
mod run;
pub mod side;
pub mod store;
pub mod svm;
pub mod trace;
pub mod weather;
pub mod wish;
pub mod world;

pub use oracle::Violation;
pub use run::{Report, Run, run};
