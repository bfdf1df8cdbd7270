//! A store in memory that several simulated processes share: what its calls do ([`Tables`]), and how each process
//! reaches it ([`Disk`]).

mod disk;
mod journal;
mod leases;
mod look;
mod sign;
mod tables;

pub use disk::Disk;
pub use journal::Process;
pub use tables::{Me, Row, Tables, Tx};
