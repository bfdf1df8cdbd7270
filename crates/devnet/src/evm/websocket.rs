//! One WebSocket connection: requests as over HTTP, and subscriptions to new blocks.

use std::{collections::BTreeSet, future::pending, sync::Arc};

use alloy_primitives::U64;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use serde_json::{Value, json};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    task::spawn_blocking,
};

use super::{Chain, RpcError, block::Block, rpc};

/// More subscriptions of one connection are refused.
const SUBSCRIPTIONS: usize = 64;

/// Ends with the connection. A client that reads too slowly loses it.
pub(crate) async fn converse(mut socket: WebSocket, chain: Chain) {
    let mut session = Session { chain, subscriptions: BTreeSet::new(), last: 0, heads: None };
    loop {
        let sent = tokio::select! {
            message = socket.recv() => {
                let body = match message {
                    Some(Ok(Message::Text(text))) => text.into(),
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                };
                // Contracts may run long: not on a thread that others wait for.
                let answered = spawn_blocking(move || {
                    let answer = session.answer(&body);
                    (session, answer)
                });
                let Ok((back, answer)) = answered.await else { return };
                session = back;
                send(&mut socket, answer).await
            }
            head = next(&mut session.heads) => match head {
                Ok(block) => session.announce(&mut socket, &block).await,
                Err(RecvError::Lagged(_) | RecvError::Closed) => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn send(socket: &mut WebSocket, text: String) -> Result<(), axum::Error> {
    if text.is_empty() {
        return Ok(());
    }
    socket.send(Message::Text(Utf8Bytes::from(text))).await
}

async fn next(heads: &mut Option<Receiver<Arc<Block>>>) -> Result<Arc<Block>, RecvError> {
    match heads {
        Some(heads) => heads.recv().await,
        None => pending().await,
    }
}

struct Session {
    chain: Chain,
    subscriptions: BTreeSet<u64>,
    last: u64,
    /// While there are subscriptions.
    heads: Option<Receiver<Arc<Block>>>,
}

impl Session {
    fn answer(&mut self, body: &[u8]) -> String {
        let chain = self.chain.clone();
        rpc::answer(body, |method, params| match method {
            "eth_subscribe" => self.subscribe(params),
            "eth_unsubscribe" => self.unsubscribe(params),
            _ => chain.request(method, params),
        })
    }

    fn subscribe(&mut self, params: &Value) -> Result<Value, RpcError> {
        let kind = params.get(0).and_then(Value::as_str).unwrap_or_default();
        if kind != "newHeads" {
            return Err(RpcError::params(format!("no \"{kind}\" subscription in eth namespace")));
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS {
            return Err(RpcError::server(format!("at most {SUBSCRIPTIONS} subscriptions of one connection")));
        }
        self.last += 1;
        self.subscriptions.insert(self.last);
        self.heads.get_or_insert_with(|| self.chain.heads());
        Ok(json!(U64::from(self.last)))
    }

    fn unsubscribe(&mut self, params: &Value) -> Result<Value, RpcError> {
        let id: U64 = serde_json::from_value(params.get(0).cloned().unwrap_or_default())
            .map_err(|error| RpcError::params(format!("invalid subscription: {error}")))?;
        let known = self.subscriptions.remove(&id.to());
        if self.subscriptions.is_empty() {
            self.heads = None;
        }
        Ok(json!(known))
    }

    async fn announce(&self, socket: &mut WebSocket, block: &Block) -> Result<(), axum::Error> {
        let header = rpc::head(block);
        for id in &self.subscriptions {
            let params = json!({ "subscription": U64::from(*id), "result": &header });
            let notice = json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": params });
            send(socket, notice.to_string()).await?;
        }
        Ok(())
    }
}
