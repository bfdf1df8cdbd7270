#![doc = include_str!("../README.md")]

pub mod api;
pub mod config;
pub mod meter;
mod redact;
pub mod registry;
pub mod screen;
pub mod serve;
pub mod settlements;

pub use api::Api;
pub use config::Config;
pub use registry::Registry;
pub use serve::Server;
