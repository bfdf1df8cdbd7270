//! Subscriptions over WebSocket.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use crate::client::{PRICE, Shop};

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(url: &str) -> Self {
        Self(tokio_tungstenite::connect_async(url).await.unwrap().0)
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.next().await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.0.send(Message::text(body.to_string())).await.unwrap();
        self.next().await
    }
}

#[tokio::test]
async fn a_signature_is_told_once_when_it_has_got_so_far() {
    let shop = Shop::open().await;
    let mut socket = Socket::open(&shop.server.websocket_url()).await;
    let payment = shop.payment(PRICE).await;
    let signature = payment.signatures[0].to_string();
    for (id, level) in [(1, "processed"), (2, "confirmed"), (3, "finalized")] {
        let params = json!([signature, { "commitment": level }]);
        assert_eq!(socket.ask("signatureSubscribe", params).await["result"], json!(id));
    }
    shop.send(&payment).await;
    let told = socket.next().await;
    assert_eq!(told["method"], json!("signatureNotification"));
    assert_eq!(told["params"]["subscription"], json!(1));
    assert_eq!(told["params"]["result"]["value"], json!({ "err": null }));
    assert_eq!(told["params"]["result"]["context"]["slot"], json!(shop.chain.slot()));
    shop.chain.advance(1);
    assert_eq!(socket.next().await["params"]["subscription"], json!(2));
    shop.chain.advance(31);
    assert_eq!(socket.next().await["params"]["subscription"], json!(3));
    let ended = socket.ask("signatureUnsubscribe", json!([3])).await;
    assert_eq!(ended["error"]["code"], json!(-32602));
}

#[tokio::test]
async fn a_signature_that_has_got_so_far_is_told_at_once_with_its_error() {
    let shop = Shop::open().await;
    let failing = shop.payment(u64::MAX).await;
    let signature = shop.send_blindly(&failing).await;
    let mut socket = Socket::open(&shop.server.websocket_url()).await;
    socket.ask("signatureSubscribe", json!([signature, { "commitment": "processed" }])).await;
    let told = socket.next().await;
    let error = json!({ "InstructionError": [0, { "Custom": 1 }] });
    assert_eq!(told["params"]["result"]["value"]["err"], error);
}

#[tokio::test]
async fn slots_are_told_until_nobody_wants_them() {
    let shop = Shop::open().await;
    let mut socket = Socket::open(&shop.server.url().replace("http", "ws")).await;
    let id = socket.ask("slotSubscribe", json!([])).await["result"].clone();
    let slot = shop.chain.slot();
    shop.chain.advance(1);
    let told = socket.next().await;
    assert_eq!(told["method"], json!("slotNotification"));
    let root = shop.ask("getSlot", json!([])).await;
    assert_eq!(told["params"]["result"], json!({ "slot": slot + 1, "parent": slot, "root": root }));
    shop.chain.fork(2).unwrap();
    let forked = socket.next().await;
    assert_eq!(forked["params"]["result"]["slot"], json!(slot + 2));
    assert_eq!(forked["params"]["result"]["parent"], json!(slot - 1));
    assert_eq!(socket.ask("slotUnsubscribe", json!([id])).await["result"], json!(true));
    shop.chain.advance(1);
    assert_eq!(socket.ask("getHealth", json!([])).await["result"], json!("ok"));
}

#[tokio::test]
async fn a_socket_answers_requests_and_errors_as_http_does() {
    let shop = Shop::open().await;
    let mut socket = Socket::open(&shop.server.websocket_url()).await;
    assert_eq!(socket.ask("getHealth", json!([])).await["result"], json!("ok"));
    assert_eq!(socket.ask("signatureSubscribe", json!(["short"])).await["error"]["code"], json!(-32602));
    assert_eq!(socket.ask("accountSubscribe", json!([])).await["error"]["code"], json!(-32601));
    for id in 1..=1_024 {
        assert_eq!(socket.ask("slotSubscribe", json!([])).await["result"], json!(id));
    }
    assert_eq!(socket.ask("slotSubscribe", json!([])).await["error"]["code"], json!(-32603));
}
