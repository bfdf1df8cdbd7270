#![doc = include_str!("../README.md")]

mod answer;
mod asked;
mod budget;
mod choose;
mod deliver;
mod echo;
mod error;
mod flight;
mod http_client;
pub mod journal;
mod middleware;
mod origin;
mod payer;
mod policy;
mod text;
mod value;
mod wallet;

pub use answer::{Receipt, Told};
pub use asked::{Asked, MAX_BODY, NotAsked, Speaks};
pub use budget::{Budget, Overdrawn};
pub use choose::{Plan, Rejected, Unfit};
pub use error::{Answer, Declined, Kept, PayError, Withheld};
pub use flight::InFlight;
pub use http_client::{Paid, Preview, Purchased, pay};
pub use journal::{Journal, JournalError};
pub use origin::{Origin, Purchase, ResourceRule};
pub use payer::{Limits, Payer, PayerBuilder};
pub use policy::{Pinning, Policy, PolicyError, Worth};
pub use value::Value;
pub use wallet::Wallet;
