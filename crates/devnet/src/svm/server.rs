//! The chain behind HTTP and WebSocket.

use std::{io, net::SocketAddr};

use axum::extract::ws::WebSocket;
use tokio::net::TcpListener;

use super::{Chain, websocket};
use crate::server::{self, Node, Server};

/// Serves a chain until the handle is dropped: JSON-RPC over HTTP, and subscriptions over WebSocket at the same address
/// and, where that is free, at the port after it, as Solana's nodes have it ([`Server::websocket_url`] tells). Any web
/// page may ask: this is a development chain. Slots are made from now on, if they are to be made by time.
///
/// # Errors
/// The listener's address can't be read.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn serve(chain: Chain, listener: TcpListener) -> io::Result<Server> {
    chain.start_slots();
    let next = next_port(listener.local_addr()?);
    server::serve(chain, listener, next)
}

/// Listens at the port after an address; clients that know of it may have to do with the address itself.
fn next_port(address: SocketAddr) -> Option<TcpListener> {
    let port = address.port().checked_add(1)?;
    let listener = std::net::TcpListener::bind((address.ip(), port)).ok()?;
    listener.set_nonblocking(true).ok()?;
    TcpListener::from_std(listener).ok()
}

impl Node for Chain {
    fn answer_now(&self, body: &[u8]) -> String {
        self.answer(body)
    }

    async fn converse(self, socket: WebSocket) {
        websocket::converse(socket, self).await;
    }
}
