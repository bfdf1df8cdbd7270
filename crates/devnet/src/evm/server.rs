//! The chain behind HTTP and WebSocket.

use std::io;

use axum::extract::ws::WebSocket;
use tokio::net::TcpListener;

use super::{Chain, websocket};
use crate::server::{self, Node, Server};

/// Serves a chain until the handle is dropped: JSON-RPC over HTTP, and over WebSocket at the same address. Any web page may ask: this is a development chain.
///
/// # Errors
/// The listener's address can't be read.
pub fn serve(chain: Chain, listener: TcpListener) -> io::Result<Server> {
    server::serve(chain, listener, None)
}

impl Node for Chain {
    fn answer_now(&self, body: &[u8]) -> String {
        self.answer_at_once(body)
    }

    async fn converse(self, socket: WebSocket) {
        websocket::converse(socket, self).await;
    }
}
