//! JSON-RPC over HTTP.

use serde_json::{Value, json};
use tollway_devnet::svm::{Chain, serve};

use crate::client::Shop;

#[tokio::test]
async fn a_batch_is_answered_in_order() {
    let shop = Shop::open().await;
    let request =
        |id: u64, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": [] });
    let notification = json!({ "jsonrpc": "2.0", "method": "getHealth" });
    let answers = shop.post(&json!([request(1, "getHealth"), notification, request(2, "getBlock")])).await;
    assert_eq!(answers.as_array().unwrap().len(), 2);
    assert_eq!(answers[0], json!({ "jsonrpc": "2.0", "id": 1, "result": "ok" }));
    assert_eq!(answers[1]["error"]["code"], json!(-32601));
}

#[tokio::test]
async fn what_is_no_request_gets_an_error_of_json_rpc() {
    let shop = Shop::open().await;
    for (body, code) in [(json!([]), -32600), (json!({}), -32600), (json!(7), -32600)] {
        assert_eq!(shop.post(&body).await["error"]["code"], json!(code));
    }
    let http = reqwest::Client::new();
    let garbage = http.post(shop.server.url()).body("{").send().await.unwrap();
    assert_eq!(garbage.json::<Value>().await.unwrap()["error"]["code"], json!(-32700));
    let huge = http.post(shop.server.url()).body(vec![b' '; (8 << 20) + 1]).send().await.unwrap();
    assert_eq!(huge.status(), 413);
}

#[tokio::test]
async fn what_is_missing_or_of_another_kind_is_an_invalid_parameter() {
    let shop = Shop::open().await;
    for (method, params) in [
        ("getBalance", json!([])),
        ("getBalance", json!([7])),
        ("getBalance", json!(["not an address"])),
        ("getSignatureStatuses", json!([["short"]])),
        ("getSignatureStatuses", json!([vec!["1"; 257]])),
        ("getTransaction", json!([""])),
        ("sendTransaction", json!([])),
        ("getFeeForMessage", json!(["AAAA"])),
        ("isBlockhashValid", json!(["0"])),
        ("getAccountInfo", json!([shop.seller.to_string(), { "encoding": "hex" }])),
    ] {
        let refusal = shop.refusal(method, params.clone()).await;
        assert_eq!(refusal.code, -32602, "{method} {params}");
    }
    assert_eq!(shop.refusal("signatureSubscribe", json!([])).await.code, -32601);
}

#[tokio::test]
async fn a_web_page_may_ask() {
    let shop = Shop::open().await;
    let http = reqwest::Client::new();
    let preflight = http.request(reqwest::Method::OPTIONS, shop.server.url()).send().await.unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn a_server_ends_with_its_handle_at_both_ports() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = serve(Chain::builder().build().unwrap(), listener).unwrap();
    let second = server.websocket_url().trim_start_matches("ws://").to_owned();
    let address = server.address();
    tokio::net::TcpStream::connect(&second).await.unwrap();
    server.shutdown().await.unwrap();
    tokio::net::TcpStream::connect(address).await.unwrap_err();
    tokio::net::TcpStream::connect(second).await.unwrap_err();
}

#[tokio::test]
async fn a_chain_answers_without_a_server() {
    let chain = Chain::builder().build().unwrap();
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"getHealth"}"#;
    assert_eq!(chain.answer(body), r#"{"id":1,"jsonrpc":"2.0","result":"ok"}"#);
    assert_eq!(chain.request("getHealth", &json!([])).unwrap(), json!("ok"));
}

#[tokio::test]
async fn the_same_requests_get_the_same_answers() {
    let told = async || {
        let shop = Shop::on(Chain::builder().clock(|| 1_700_000_000)).await;
        let mut told = Vec::new();
        let payment = shop.payment(1_234).await;
        told.push(json!(shop.send(&payment).await));
        told.push(shop.ask("requestAirdrop", json!([shop.seller.to_string(), 2_000_000])).await);
        shop.chain.advance(32);
        told.push(shop.ask("getTransaction", json!([told[0]])).await);
        told.push(shop.ask("getTransaction", json!([told[1]])).await);
        told.push(shop.ask("getLatestBlockhash", json!([])).await);
        told
    };
    let first = told().await;
    assert_eq!(first[2]["blockTime"], json!(1_700_000_000));
    assert_eq!(first, told().await);
}
