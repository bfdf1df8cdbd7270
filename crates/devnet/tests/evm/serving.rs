//! JSON-RPC over HTTP.

use serde_json::{Value, json};
use tollway_devnet::evm::{Chain, serve};

use crate::{client::Client, nodes::Node};

#[tokio::test]
async fn a_batch_is_answered_in_order() {
    let node = Node::embedded().await;
    let request =
        |id: u64, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": [] });
    let notification = json!({ "jsonrpc": "2.0", "method": "eth_chainId" });
    let answers =
        node.client.post(&json!([request(1, "eth_chainId"), notification, request(2, "no_such")])).await;
    assert_eq!(answers.as_array().unwrap().len(), 2);
    assert_eq!(answers[0], json!({ "jsonrpc": "2.0", "id": 1, "result": "0x14a34" }));
    assert_eq!(answers[1]["error"]["code"], json!(-32601));
}

#[tokio::test]
async fn what_is_no_request_gets_an_error_of_json_rpc() {
    let node = Node::embedded().await;
    for (body, code) in
        [(json!([]), -32600), (json!({}), -32600), (json!(7), -32600), (json!(vec![0; 1001]), -32600)]
    {
        assert_eq!(node.client.post(&body).await["error"]["code"], json!(code));
    }
    let garbage = reqwest::Client::new().post(&node.client.url).body("{").send().await.unwrap();
    assert_eq!(garbage.json::<Value>().await.unwrap()["error"]["code"], json!(-32700));
    let named = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": {} });
    assert_eq!(node.client.post(&named).await["error"]["code"], json!(-32602));
    let huge =
        reqwest::Client::new().post(&node.client.url).body(vec![b' '; (8 << 20) + 1]).send().await.unwrap();
    assert_eq!(huge.status(), 413);
}

#[tokio::test]
async fn a_web_page_may_ask() {
    let node = Node::embedded().await;
    let preflight =
        reqwest::Client::new().request(reqwest::Method::OPTIONS, &node.client.url).send().await.unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    assert_eq!(preflight.headers()["access-control-allow-headers"], "*");
}

#[tokio::test]
async fn a_server_ends_with_its_handle() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = serve(Chain::builder().build().unwrap(), listener).unwrap();
    let client = Client::new(server.url());
    assert_eq!(client.number("eth_chainId", json!([])).await, 84532);
    let address = server.address();
    server.shutdown().await.unwrap();
    tokio::net::TcpStream::connect(address).await.unwrap_err();
}

#[tokio::test]
async fn the_small_questions_are_answered() {
    let node = Node::embedded().await;
    for (method, answer) in [
        ("net_version", json!("84532")),
        ("eth_syncing", json!(false)),
        ("eth_accounts", json!([])),
        ("eth_maxPriorityFeePerGas", json!("0xf4240")),
    ] {
        assert_eq!(node.client.ask::<Value>(method, json!([])).await, answer);
    }
    assert!(node.client.ask::<String>("web3_clientVersion", json!([])).await.starts_with("tollway-devnet/"));
}
