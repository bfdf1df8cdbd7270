//! A subscription, while the test plays the node.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tollway_protocol::Secret;
use tollway_rpc::{Source, Subscription, Unanswered};

use crate::node::TIMEOUT;

struct Node(WebSocketStream<TcpStream>);

impl Node {
    async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn announce(&mut self, method: &str, subscription: &Value, slot: u64) {
        let params = json!({"subscription": subscription, "result": slot});
        self.say(&json!({"jsonrpc": "2.0", "method": method, "params": params})).await;
    }
}

/// Both ends, once the request was checked and answered with this.
async fn subscribed(answer: Value) -> (Result<Subscription, Unanswered>, Node) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Secret::new(format!("ws://{}", listener.local_addr().unwrap()));
    let source = Source::new(&url, TIMEOUT * 30).unwrap();
    let playing = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut node = Node(tokio_tungstenite::accept_async(stream).await.unwrap());
        let asked: Value =
            serde_json::from_str(node.0.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
        assert_eq!(asked, json!({"jsonrpc": "2.0", "id": 1, "method": "slotSubscribe", "params": []}));
        // A notice may be faster than the answer.
        node.announce("slotNotification", &json!(9), 1).await;
        node.say(&answer).await;
        node
    };
    tokio::join!(source.subscribe("slotSubscribe", [(); 0], "slotNotification"), playing)
}

#[tokio::test]
async fn notices_of_the_subscription_come_whether_its_id_is_a_number_or_a_text() {
    for (id, other) in [(json!(7), json!("7")), (json!("0x7"), json!("0x8"))] {
        let (subscription, mut node) = subscribed(json!({"id": 1, "result": id})).await;
        let mut subscription = subscription.unwrap();
        node.announce("slotNotification", &other, 2).await;
        node.announce("rootNotification", &id, 3).await;
        node.0.send(Message::Ping("there?".into())).await.unwrap();
        node.announce("slotNotification", &id, 4).await;
        assert_eq!(subscription.next().await, Ok(4));
        assert_eq!(node.0.next().await.unwrap().unwrap(), Message::Pong("there?".into()));
    }
}

#[tokio::test]
async fn an_answer_that_confirms_nothing_is_no_subscription() {
    for (answer, why) in [
        (json!({"id": 1, "error": {"code": -32601, "message": "no"}}), "it refuses to subscribe"),
        (json!({"id": 1, "result": null}), "it refuses to subscribe"),
        (json!({"id": 2, "result": 7}), "it refuses to subscribe"),
        (json!({"id": 1, "result": [7]}), "a message can't be read"),
        (json!("hello"), "a message can't be read"),
    ] {
        let (subscription, _node) = subscribed(answer.clone()).await;
        assert_eq!(subscription.err(), Some(Unanswered(why)), "{answer}");
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_or_senseless_ends_it() {
    let notice = |result: Value| json!({"method": "slotNotification", "params": {"subscription": 7, "result": result}});
    for (message, why) in [
        (notice(json!("x".repeat(70_000))), "the connection failed"),
        (notice(json!("not a number")), "a message can't be read"),
        (json!(["a batch"]), "a message can't be read"),
    ] {
        let (subscription, mut node) = subscribed(json!({"id": 1, "result": 7})).await;
        node.say(&message).await;
        assert_eq!(subscription.unwrap().next::<u64>().await, Err(Unanswered(why)));
    }
    let (subscription, mut node) = subscribed(json!({"id": 1, "result": 7})).await;
    node.0.close(None).await.unwrap();
    let told = subscription.unwrap().next::<u64>().await;
    assert_eq!(told, Err(Unanswered("the node closed the connection")));
}

#[tokio::test]
async fn a_node_that_doesn_t_confirm_in_time_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Secret::new(format!("ws://{}", listener.local_addr().unwrap()));
    let source = Source::new(&url, std::time::Duration::from_millis(20)).unwrap();
    let told = source.subscribe("slotSubscribe", (), "slotNotification").await.err();
    assert_eq!(told, Some(Unanswered("no answer came in time")));
}

#[test]
fn only_websocket_urls_are_taken_and_no_error_names_one() {
    let told = |url: &str| Source::new(&Secret::new(url.to_owned()), TIMEOUT).err();
    assert_eq!(told("http://user:hunter2@node"), Some("the WebSocket URL must begin with ws:// or wss://"));
    assert_eq!(told("hunter2"), Some("the WebSocket URL can't be read"));
    assert_eq!(told("wss://user:hunter2@node"), None);
}
