//! JSON-RPC over WebSocket, and the announcement of blocks.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};
use tollway_devnet::evm::{Chain, Mining, serve};

use crate::{nodes::Node, on_both};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn new(url: &str) -> Self {
        Self(connect_async(url.replace("http", "ws")).await.unwrap().0)
    }

    async fn send(&mut self, body: &Value) {
        self.0.send(Message::text(body.to_string())).await.unwrap();
    }

    /// Nothing at the connection's end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.unwrap()? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })).await;
        self.next().await.unwrap()
    }
}

on_both! {
    async fn a_subscriber_is_told_of_each_new_block_until_it_has_enough(node: Node) {
        let mut socket = Socket::new(&node.client.url).await;
        let id = socket.ask("eth_subscribe", json!(["newHeads"])).await["result"].clone();
        assert!(id.is_string(), "{id}");
        let mut parent = None;
        for _ in 0..3 {
            node.client.ask::<Value>("evm_mine", json!([])).await;
            let notice = socket.next().await.unwrap();
            assert_eq!(notice["method"], json!("eth_subscription"));
            assert_eq!(notice["params"]["subscription"], id);
            let head = &notice["params"]["result"];
            let block = node.client.block("latest").await;
            assert_eq!(head["hash"], json!(block.header.hash));
            assert_eq!(head["number"], json!(alloy_primitives::U64::from(block.header.number)));
            assert!(parent.is_none_or(|parent: Value| parent == head["parentHash"]));
            parent = Some(head["hash"].clone());
        }
        assert_eq!(socket.ask("eth_unsubscribe", json!([id])).await["result"], json!(true));
        node.client.ask::<Value>("evm_mine", json!([])).await;
        let answer = socket.ask("eth_chainId", json!([])).await;
        assert_eq!(answer["result"], json!("0x14a34"), "no notice came before the answer");
    }
}

#[tokio::test]
async fn requests_and_batches_are_answered_as_over_http() {
    let node = Node::embedded().await;
    let mut socket = Socket::new(&node.client.url).await;
    let notification = json!({ "jsonrpc": "2.0", "method": "eth_chainId" });
    let request = |id: u64| json!({ "jsonrpc": "2.0", "id": id, "method": "net_version", "params": [] });
    socket.send(&notification).await;
    socket.send(&json!([request(1), notification, request(2)])).await;
    let answers = socket.next().await.unwrap();
    assert_eq!(answers, node.client.post(&json!([request(1), notification, request(2)])).await);
    socket.send(&json!([])).await;
    assert_eq!(socket.next().await.unwrap()["error"]["code"], json!(-32600));
    let over_http = node.client.refusal("eth_subscribe", json!(["newHeads"])).await;
    assert_eq!(over_http.code, -32601);
}

#[tokio::test]
async fn subscriptions_are_bounded_and_known_by_name() {
    let node = Node::embedded().await;
    let mut socket = Socket::new(&node.client.url).await;
    let unknown = socket.ask("eth_subscribe", json!(["logs", {}])).await;
    assert_eq!(unknown["error"]["message"], json!("no \"logs\" subscription in eth namespace"));
    for _ in 0..64 {
        assert!(socket.ask("eth_subscribe", json!(["newHeads"])).await["result"].is_string());
    }
    let refused = socket.ask("eth_subscribe", json!(["newHeads"])).await;
    assert_eq!(refused["error"]["message"], json!("at most 64 subscriptions of one connection"));
    assert_eq!(socket.ask("eth_unsubscribe", json!(["0x99"])).await["result"], json!(false));
}

#[tokio::test]
async fn a_reorganisation_announces_the_new_branch_from_its_root() {
    let chain = Chain::builder().mining(Mining::Manual).build().unwrap();
    chain.mine();
    let node = serve(chain.clone(), TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let mut socket = Socket::new(&node.url()).await;
    socket.ask("eth_subscribe", json!(["newHeads"])).await;
    chain.reorg(1, false).unwrap();
    for number in ["0x1", "0x2"] {
        let head = socket.next().await.unwrap()["params"]["result"].clone();
        let block = chain.request("eth_getBlockByNumber", &json!([number, false])).unwrap();
        assert_eq!(head["hash"], block["hash"]);
    }
}

#[tokio::test]
async fn a_subscriber_that_missed_blocks_loses_its_connection() {
    let chain = Chain::builder().mining(Mining::Manual).build().unwrap();
    let node = serve(chain.clone(), TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let mut socket = Socket::new(&node.url()).await;
    socket.ask("eth_subscribe", json!(["newHeads"])).await;
    chain.request("anvil_mine", &json!([5_000])).unwrap();
    let mut told = 0;
    while socket.next().await.is_some() {
        told += 1;
    }
    assert!(told < 5_000);
}

#[tokio::test]
async fn connections_end_with_the_server() {
    let chain = Chain::builder().build().unwrap();
    let server = serve(chain, TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let mut socket = Socket::new(&server.url()).await;
    socket.ask("eth_subscribe", json!(["newHeads"])).await;
    server.shutdown().await.unwrap();
    assert_eq!(socket.next().await, None);
}

#[tokio::test]
async fn more_connections_than_the_server_holds_are_refused_until_one_ends() {
    let node = Node::embedded().await;
    let mut sockets = Vec::new();
    for _ in 0..256 {
        let mut socket = Socket::new(&node.client.url).await;
        socket.ask("eth_chainId", json!([])).await;
        sockets.push(socket);
    }
    let url = node.client.url.replace("http", "ws");
    let refused = connect_async(&url).await.unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused}");
    drop(sockets.pop());
    tokio::time::timeout(PATIENCE, async { while connect_async(&url).await.is_err() {} }).await.unwrap();
}

#[tokio::test]
async fn a_plain_get_is_told_that_it_is_no_websocket() {
    let node = Node::embedded().await;
    let answer = reqwest::get(&node.client.url).await.unwrap();
    assert!(answer.status().is_client_error());
}
