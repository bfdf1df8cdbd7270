//! A connection with several subscriptions, while the test plays the node.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tollway_protocol::Secret;
use tollway_rpc::{Heard, Line, Source, Unanswered};

use crate::node::TIMEOUT;

async fn connected() -> (Line, WebSocketStream<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Secret::new(format!("ws://{}", listener.local_addr().unwrap()));
    let source = Source::new(&url, TIMEOUT * 30).unwrap();
    let playing = async {
        let (stream, _) = listener.accept().await.unwrap();
        tokio_tungstenite::accept_async(stream).await.unwrap()
    };
    let (line, node) = tokio::join!(source.line(), playing);
    (line.unwrap(), node)
}

async fn said(node: &mut WebSocketStream<TcpStream>) -> Value {
    serde_json::from_str(node.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
}

async fn say(node: &mut WebSocketStream<TcpStream>, message: &Value) {
    node.send(Message::text(message.to_string())).await.unwrap();
}

#[tokio::test]
async fn answers_and_notices_are_told_apart_by_their_numbers() {
    let (mut line, mut node) = connected().await;
    assert_eq!(line.call("slotSubscribe", [(); 0]).await, Ok(1));
    assert_eq!(line.call("signatureSubscribe", ["a"]).await, Ok(2));
    assert_eq!(line.call("signatureUnsubscribe", [7]).await, Ok(3));
    assert_eq!(said(&mut node).await["method"], "slotSubscribe");
    let second = said(&mut node).await;
    assert_eq!(second, json!({"jsonrpc": "2.0", "id": 2, "method": "signatureSubscribe", "params": ["a"]}));
    for message in [
        json!({"id": 2, "result": 7}),
        json!({"id": 1, "error": {"code": -32601, "message": "no"}}),
        json!({"method": "signatureNotification", "params": {"subscription": 7, "result": {"value": {}}}}),
        json!({"id": null, "error": {"code": -32700, "message": "what?"}}),
        json!({"id": 3, "result": true}),
    ] {
        say(&mut node, &message).await;
    }
    assert_eq!(line.hear().await, Ok(Heard::Answer { call: 2, subscription: Some(7) }));
    assert_eq!(line.hear().await, Ok(Heard::Answer { call: 1, subscription: None }));
    assert_eq!(line.hear().await, Ok(Heard::Notice { subscription: 7 }));
    assert_eq!(line.hear().await, Ok(Heard::Answer { call: 3, subscription: None }));
}

#[tokio::test]
async fn what_is_no_notice_or_too_long_ends_it() {
    for (message, why) in [
        (json!("hello"), "a message can't be read"),
        (json!({"method": "signatureNotification"}), "a message can't be read"),
        (json!({"method": "m", "params": {"subscription": "seven", "result": 1}}), "a message can't be read"),
        (json!({"id": 1, "result": "x".repeat(70_000)}), "the connection failed"),
    ] {
        let (mut line, mut node) = connected().await;
        say(&mut node, &message).await;
        assert_eq!(line.hear().await, Err(Unanswered(why)));
    }
    let (mut line, mut node) = connected().await;
    node.close(None).await.unwrap();
    assert_eq!(line.hear().await, Err(Unanswered("the node closed the connection")));
}

#[tokio::test]
async fn a_node_that_doesn_t_connect_in_time_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Secret::new(format!("ws://{}", listener.local_addr().unwrap()));
    let source = Source::new(&url, std::time::Duration::from_millis(20)).unwrap();
    assert_eq!(source.line().await.err(), Some(Unanswered("no answer came in time")));
}
