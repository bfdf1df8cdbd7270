//! The payer against a shop on a loopback port.

mod answers;
mod budgets;
mod choice;
mod common;
mod faults;
mod journal;
mod redirects;
mod tree;
