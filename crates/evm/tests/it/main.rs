//! `exact` on a chain that executes, through the public traits.

mod common;
mod faults;
mod pay;
mod settle;
mod tokens;
mod verify;
mod wallets;
