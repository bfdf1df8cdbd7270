#![doc = include_str!("../README.md")]

mod answer;
mod fault;
mod line;
mod pool;
mod rpc;
mod socket;
mod transport;

pub use answer::RpcError;
pub use line::{Heard, Line};
pub use rpc::{Ask, Dated, Given, Names, Rpc};
pub use socket::{Source, Subscription};
pub use transport::{Http, Transport, Unanswered};
