//! The embedded chain, its contracts and its JSON-RPC. What an anvil can do too runs on both (`on_both!`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of it is tests")]

mod abi;
mod client;
mod contracts;
mod history;
mod hostile;
mod inprocess;
mod installation;
mod mining;
mod nodes;
mod payments;
mod permit2;
mod pool;
mod proxies;
mod reorg;
mod serving;
mod subscriptions;
mod transactions;
mod viem;

/// A scenario, once on the embedded chain and once on anvil.
macro_rules! on_both {
    ($(async fn $name:ident($node:ident: Node) $body:block)*) => {
        $(async fn $name($node: crate::nodes::Node) $body)*

        mod embedded {
            $(#[tokio::test] async fn $name() { super::$name(crate::nodes::Node::embedded().await).await; })*
        }
        mod anvil {
            $(#[tokio::test] async fn $name() { super::$name(crate::nodes::Node::anvil().await).await; })*
        }
    };
}
pub(crate) use on_both;
