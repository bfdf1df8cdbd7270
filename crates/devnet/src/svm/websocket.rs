//! One WebSocket connection: requests as over HTTP, and subscriptions to slots and signatures.

use std::collections::BTreeMap;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use serde_json::{Value, json};
use solana_signature::Signature;
use tokio::{sync::broadcast::error::RecvError, task::spawn_blocking};

use super::{
    Chain, RpcError,
    node::News,
    rpc::{Commitment, SignatureNotice},
};
use crate::json_rpc;

/// More subscriptions of one connection are refused.
const SUBSCRIPTIONS: usize = 1_024;

/// Ends with the connection. A client that reads too slowly loses it.
pub(crate) async fn converse(mut socket: WebSocket, chain: Chain) {
    let mut news = chain.news();
    let mut session = Session { chain, subscriptions: BTreeMap::new(), last: 0 };
    loop {
        let texts = tokio::select! {
            message = socket.recv() => {
                let body = match message {
                    Some(Ok(Message::Text(text))) => text.into(),
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                };
                // Programs may run long: not on a thread that others wait for.
                let answered = spawn_blocking(move || {
                    let mut texts = vec![session.answer(&body)];
                    texts.extend(session.signatures());
                    (session, texts)
                });
                let Ok((back, texts)) = answered.await else { return };
                session = back;
                texts
            }
            heard = news.recv() => match heard {
                Ok(news) => session.hear(news),
                Err(RecvError::Lagged(_) | RecvError::Closed) => return,
            },
        };
        if send(&mut socket, texts).await.is_err() {
            return;
        }
    }
}

async fn send(socket: &mut WebSocket, texts: Vec<String>) -> Result<(), axum::Error> {
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        socket.send(Message::Text(Utf8Bytes::from(text))).await?;
    }
    Ok(())
}

enum Subscription {
    Slots,
    Signature(Signature, Commitment),
}

struct Session {
    chain: Chain,
    subscriptions: BTreeMap<u64, Subscription>,
    last: u64,
}

impl Session {
    fn answer(&mut self, body: &[u8]) -> String {
        let chain = self.chain.clone();
        json_rpc::answer(body, |method, params| match method {
            "slotSubscribe" => self.subscribe(Subscription::Slots),
            "signatureSubscribe" => {
                let SignatureNotice { signature, commitment } = SignatureNotice::read(params)?;
                self.subscribe(Subscription::Signature(signature, commitment))
            }
            "slotUnsubscribe" | "signatureUnsubscribe" => self.unsubscribe(params),
            _ => chain.request(method, params),
        })
    }

    fn subscribe(&mut self, to: Subscription) -> Result<Value, RpcError> {
        if self.subscriptions.len() >= SUBSCRIPTIONS {
            let text = format!("at most {SUBSCRIPTIONS} subscriptions of one connection");
            return Err(RpcError::internal(text));
        }
        self.last += 1;
        self.subscriptions.insert(self.last, to);
        Ok(json!(self.last))
    }

    fn unsubscribe(&mut self, params: &Value) -> Result<Value, RpcError> {
        let id = params.get(0).and_then(Value::as_u64);
        match id.and_then(|id| self.subscriptions.remove(&id)) {
            Some(_) => Ok(json!(true)),
            None => Err(RpcError::params("Invalid subscription id.")),
        }
    }

    fn hear(&mut self, news: News) -> Vec<String> {
        let mut texts = self.signatures();
        if let News::Slot { slot, parent, root } = news {
            let result = json!({ "slot": slot, "parent": parent, "root": root });
            let slots = self.subscriptions.iter().filter(|(_, to)| matches!(to, Subscription::Slots));
            texts.extend(slots.map(|(id, _)| notice("slotNotification", *id, &result)));
        }
        texts
    }

    /// Notices of the signatures that have got where their subscribers wait for them. Each ends its subscription.
    fn signatures(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        let chain = self.chain.clone();
        self.subscriptions.retain(|id, to| {
            let Subscription::Signature(signature, commitment) = to else { return true };
            let Some(result) = chain.node(|node| commitment.notice(node, signature)) else { return true };
            texts.push(notice("signatureNotification", *id, &result));
            false
        });
        texts
    }
}

fn notice(method: &str, id: u64, result: &Value) -> String {
    json!({ "jsonrpc": "2.0", "method": method, "params": { "subscription": id, "result": result } })
        .to_string()
}
