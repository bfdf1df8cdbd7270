#![doc = include_str!("../README.md")]

mod answer;
mod pool;
mod rpc;
mod socket;
mod transport;

pub use answer::RpcError;
pub use rpc::{Ask, Given, Names, Rpc};
pub use socket::{Source, Subscription};
pub use transport::{Http, Transport, Unanswered};
