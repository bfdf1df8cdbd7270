//! What a node announces over its WebSocket wakes the facilitator, which then asks. The chain makes its slots by hand.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tollway_devnet::svm::serve;
use tollway_ledger::JournalState;
use tollway_protocol::Secret;
use tollway_rpc::Transport;
use tollway_svm::ExactFacilitator;
use tollway_svm::facilitator::{Cluster, ClusterConfig};

use crate::common::{AMOUNT, World, bind, config, world};
use crate::nodes::{begin, heard, paid};

/// A facilitator that looks by itself once in ten minutes, and gives its node each transaction once.
fn patient(world: &World, nodes: Vec<Arc<dyn Transport>>, ws: String) -> ExactFacilitator {
    let rarely = Duration::from_secs(600);
    let config = ClusterConfig { ws: Some(Secret::new(ws)), poll: rarely, resend: rarely, ..config(nodes) };
    let keys = vec![world.fee_payer.clone()];
    ExactFacilitator::new(Cluster::new(config).unwrap(), keys, world.journal.clone()).unwrap()
}

/// A node's WebSocket as the test plays it.
struct Played(WebSocketStream<TcpStream>);

impl Played {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        Self(tokio_tungstenite::accept_async(stream).await.unwrap())
    }

    async fn asked(&mut self) -> Value {
        serde_json::from_str(self.0.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
    }

    async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// Refuses slots.
    async fn without_slots(listener: &TcpListener) -> Self {
        let mut node = Self::accept(listener).await;
        let call = node.asked().await;
        assert_eq!(call["method"], "slotSubscribe");
        node.say(&json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32601, "message": "no"}}))
            .await;
        node
    }

    /// Confirms a subscription to a signature; the signature.
    async fn signature(&mut self, id: u64) -> String {
        let call = self.asked().await;
        assert_eq!(
            (&call["method"], &call["params"][1]),
            (&json!("signatureSubscribe"), &json!({"commitment": "confirmed"}))
        );
        self.say(&json!({"jsonrpc": "2.0", "id": call["id"], "result": id})).await;
        call["params"][0].as_str().unwrap().to_owned()
    }

    async fn announce(&mut self, id: u64) {
        let result = json!({"context": {"slot": 1}, "value": {"err": null}});
        let params = json!({"subscription": id, "result": result});
        self.say(&json!({"jsonrpc": "2.0", "method": "signatureNotification", "params": params})).await;
    }
}

async fn listening() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test]
async fn a_settlement_ends_when_its_signature_is_announced_though_no_slot_is() {
    let world = world();
    world.node.runs.store(false, Ordering::SeqCst);
    let (listener, url) = listening().await;
    let (node, mut asked) = heard(&world);
    let facilitator = patient(&world, vec![node], url);
    let request = world.request(&world.draft());
    let settling = begin(&facilitator, &request);
    let mut played = Played::without_slots(&listener).await;
    let signature = played.signature(70).await;
    asked.until("sendTransaction").await;
    world.chain.advance(2);
    assert_eq!(world.earned(), AMOUNT);
    played.announce(70).await;
    assert_eq!(paid(&settling.await.unwrap()), signature);
}

#[tokio::test]
async fn fa22_what_is_announced_is_not_believed() {
    let world = world();
    world.node.runs.store(false, Ordering::SeqCst);
    let (listener, url) = listening().await;
    let (node, mut asked) = heard(&world);
    let facilitator = patient(&world, vec![node], url);
    let request = world.request(&world.draft());
    world.chain.hold();
    let settling = begin(&facilitator, &request);
    let mut played = Played::without_slots(&listener).await;
    played.signature(70).await;
    asked.until("sendTransaction").await;
    played.announce(70).await;
    asked.until("getSignatureStatuses").await;
    // Whatever comes is a reason to ask, and no more.
    played.announce(71).await;
    asked.until("getSignatureStatuses").await;
    let bound = bind(&facilitator, &request).unwrap();
    let record = world.journal.settlement(bound.key()).await.unwrap().unwrap();
    assert_eq!((record.state, world.earned()), (JournalState::Broadcast, 0));
    world.chain.release();
    world.chain.advance(2);
    played.announce(70).await;
    paid(&settling.await.unwrap());
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn what_is_under_way_is_subscribed_to_again_over_a_new_connection() {
    let world = world();
    world.node.runs.store(false, Ordering::SeqCst);
    let (listener, url) = listening().await;
    let (node, mut asked) = heard(&world);
    let facilitator = patient(&world, vec![node], url);
    let settling = begin(&facilitator, &world.request(&world.draft()));
    let mut played = Played::without_slots(&listener).await;
    let signature = played.signature(70).await;
    asked.until("sendTransaction").await;
    drop(played);
    let mut played = Played::without_slots(&listener).await;
    assert_eq!(played.signature(1).await, signature);
    world.chain.advance(2);
    played.announce(1).await;
    assert_eq!(paid(&settling.await.unwrap()), signature);
}

#[tokio::test]
async fn what_ended_without_being_announced_is_unsubscribed() {
    let world = world();
    world.node.runs.store(false, Ordering::SeqCst);
    let (listener, url) = listening().await;
    let (node, mut asked) = heard(&world);
    let facilitator = patient(&world, vec![node], url);
    let settling = begin(&facilitator, &world.request(&world.draft()));
    let mut played = Played::without_slots(&listener).await;
    played.signature(70).await;
    asked.until("sendTransaction").await;
    world.chain.advance(2);
    // Another's notice, as when the node is slow.
    played.announce(99).await;
    paid(&settling.await.unwrap());
    let next = begin(&facilitator, &world.request(&world.draft_with(&"f".repeat(32))));
    let call = played.asked().await;
    assert_eq!((&call["method"], &call["params"]), (&json!("signatureUnsubscribe"), &json!([70])));
    played.signature(71).await;
    asked.until("sendTransaction").await;
    world.chain.advance(2);
    played.announce(71).await;
    paid(&next.await.unwrap());
}

#[tokio::test]
async fn a_node_s_own_websocket_announces_slots_and_signatures() {
    let world = world();
    world.node.runs.store(false, Ordering::SeqCst);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = serve(world.chain.clone(), listener).unwrap();
    let (node, mut asked) = heard(&world);
    let facilitator = patient(&world, vec![node], server.websocket_url());
    let settling = begin(&facilitator, &world.request(&world.draft()));
    asked.until("sendTransaction").await;
    // As many as it takes until the subscriptions are there: nothing is looked at without them.
    while !settling.is_finished() {
        world.chain.advance(1);
        tokio::task::yield_now().await;
    }
    paid(&settling.await.unwrap());
    assert_eq!(world.earned(), AMOUNT);
}
