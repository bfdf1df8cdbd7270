//! Blocks that a node announces over WebSocket, and what happens without.

mod node;
mod secret;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tollway_devnet::evm::{Chain as DevChain, Mining, Server, serve};
use tollway_evm::{ExactFacilitator, ExactPayer};
use tollway_protocol::Secret;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome, PayerScheme as _};

use node::Played;

use crate::common::{Stack, bound, facilitator, key, now, payment};

const HOUR: Duration = Duration::from_secs(3600);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: never");
        tokio::task::yield_now().await;
    }
}

/// The gauge of subscriptions, as this thread's tasks set it.
struct Gauge {
    figures: PrometheusHandle,
    _recorder: metrics::LocalRecorderGuard<'static>,
}

impl Gauge {
    fn new() -> Self {
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        Self { figures: recorder.handle(), _recorder: metrics::set_default_local_recorder(recorder) }
    }

    async fn until(&self, subscribed: u8) {
        let line = format!("tollway_evm_subscribed{{network=\"eip155:84532\"}} {subscribed}\n");
        until(&line, || self.figures.render().contains(&line)).await;
    }
}

/// A chain on which blocks are made when the test says so, and how often its head was asked for.
struct Quiet {
    stack: Stack,
    heads: Arc<AtomicUsize>,
    client: reqwest::Client,
}

impl Quiet {
    async fn new() -> Self {
        let heads = Arc::<AtomicUsize>::default();
        let asked = heads.clone();
        let hook = move |method: &str, params: &Value| {
            if method == "eth_getBlockByNumber" && params[0] == "latest" {
                asked.fetch_add(1, Ordering::SeqCst);
            }
            None
        };
        let stack = Stack::with(Mining::Interval(HOUR), Box::new(hook), |_| {}).await;
        Self { stack, heads, client: reqwest::Client::new() }
    }

    /// Polls at `poll` and listens at `ws`; it has recovered.
    async fn facilitator(&self, poll: Duration, ws: &str) -> ExactFacilitator {
        let (ledger, signer) = (self.stack.ledger.clone(), self.stack.signer.clone());
        let f = facilitator(&self.stack.rpc, ledger, signer, |config| {
            config.poll = poll;
            config.ws = Some(Secret::new(ws.to_owned()));
        });
        f.recover().await;
        f
    }

    /// Starts a settlement, and waits until its transaction was sent.
    async fn sent(&self, f: &ExactFacilitator, seed: u8) -> JoinHandle<Outcome> {
        let payer = ExactPayer::new(key(7));
        let offer = self.stack.offer();
        let signed = payer.sign(&offer, now(), [seed; 32]).await.unwrap();
        let payment = bound(f, &offer, payment(&offer, signed.payload)).unwrap();
        let sends = self.stack.sends.load(Ordering::SeqCst);
        let f = f.clone();
        let settling = tokio::spawn(async move { f.settle(payment, PATIENCE).await });
        until("sent", || self.stack.sends.load(Ordering::SeqCst) > sends).await;
        settling
    }

    /// Looks at the head so far, once none has come while the same node was asked for something else.
    async fn rested(&self) -> usize {
        let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}).to_string();
        loop {
            let before = self.heads.load(Ordering::SeqCst);
            for _ in 0..20 {
                let request = self.client.post(&self.stack.rpc).header("content-type", "application/json");
                request.body(ask.clone()).send().await.unwrap().bytes().await.unwrap();
            }
            if self.heads.load(Ordering::SeqCst) == before {
                return before;
            }
        }
    }

    /// The time from the next look at the head to the one after it, while time stands still but for this.
    async fn between_looks(&self) -> Duration {
        let mut since = tokio::time::Instant::now();
        for _ in 0..2 {
            since = tokio::time::Instant::now();
            let before = self.rested().await;
            while self.rested().await == before {
                assert!(since.elapsed() < PATIENCE, "no look");
                tokio::time::advance(Duration::from_millis(100)).await;
            }
        }
        since.elapsed()
    }

    async fn settles(&self, f: &ExactFacilitator, seed: u8) {
        let settling = self.sent(f, seed).await;
        self.stack.chain.mine();
        is_settled(settling).await;
    }
}

async fn is_settled(settling: JoinHandle<Outcome>) {
    let outcome = settling.await.unwrap();
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
}

async fn served(chain: &DevChain, address: &str) -> Server {
    serve(chain.clone(), TcpListener::bind(address).await.unwrap()).unwrap()
}

fn ws(server: &Server) -> String {
    server.url().replace("http", "ws")
}

#[tokio::test]
async fn payments_settle_by_announced_blocks_alone() {
    let (quiet, gauge) = (Quiet::new().await, Gauge::new());
    let server = served(&quiet.stack.chain, "127.0.0.1:0").await;
    let f = quiet.facilitator(HOUR, &ws(&server)).await;
    gauge.until(1).await;
    for seed in 1..=3 {
        let settling = quiet.sent(&f, seed).await;
        quiet.rested().await;
        quiet.stack.chain.mine();
        is_settled(settling).await;
    }
    assert_eq!(quiet.stack.transfers().len(), 3);
}

#[tokio::test]
async fn fx_n1_polling_goes_on_while_the_socket_is_cut_and_the_subscription_comes_back() {
    let (quiet, gauge) = (Quiet::new().await, Gauge::new());
    let server = served(&quiet.stack.chain, "127.0.0.1:0").await;
    let (address, url) = (server.address().to_string(), ws(&server));
    let f = quiet.facilitator(Duration::from_millis(10), &url).await;
    gauge.until(1).await;
    server.shutdown().await.unwrap();
    gauge.until(0).await;
    quiet.settles(&f, 1).await;
    let server = served(&quiet.stack.chain, &address).await;
    gauge.until(1).await;
    quiet.settles(&f, 2).await;
    drop(server);
}

#[tokio::test]
async fn fx_n1_what_was_mined_while_the_socket_was_cut_is_found_when_the_subscription_is_back() {
    let (quiet, gauge) = (Quiet::new().await, Gauge::new());
    let server = served(&quiet.stack.chain, "127.0.0.1:0").await;
    let (address, url) = (server.address().to_string(), ws(&server));
    let f = quiet.facilitator(HOUR, &url).await;
    gauge.until(1).await;
    let settling = quiet.sent(&f, 1).await;
    let looks = quiet.rested().await;
    server.shutdown().await.unwrap();
    gauge.until(0).await;
    until("a look for the loss", || quiet.heads.load(Ordering::SeqCst) > looks).await;
    quiet.stack.chain.mine();
    let server = served(&quiet.stack.chain, &address).await;
    is_settled(settling).await;
    gauge.until(1).await;
    drop(server);
}

#[tokio::test]
async fn while_blocks_are_announced_the_chain_is_looked_at_less_often() {
    let (quiet, gauge) = (Quiet::new().await, Gauge::new());
    let mut node = Played::new().await;
    let second = Duration::from_secs(1);
    let f = quiet.facilitator(second, &node.url).await;
    let socket = node.subscribed().await;
    gauge.until(1).await;
    let _settling = quiet.sent(&f, 1).await;
    // With something to do all the time, time goes on only as the test says.
    let spinning = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    tokio::time::pause();
    assert!(quiet.between_looks().await > second * 3, "announced");
    drop((socket, node));
    gauge.until(0).await;
    assert!(quiet.between_looks().await < second * 3, "polled");
    spinning.abort();
}

#[tokio::test]
async fn a_node_that_can_t_subscribe_is_polled() {
    let quiet = Quiet::new().await;
    let poll = Duration::from_millis(10);
    // Plain HTTP, and nobody at all.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (seed, url) in [(1, quiet.stack.rpc.replace("http", "ws")), (2, format!("ws://{nobody}"))] {
        let f = quiet.facilitator(poll, &url).await;
        quiet.settles(&f, seed).await;
        f.drain().await;
    }
    let refusal = json!({"code": -32601, "message": "the method eth_subscribe does not exist"});
    for (seed, answer) in [
        (3, json!({"jsonrpc": "2.0", "id": 1, "error": refusal})),
        (4, json!({"jsonrpc": "2.0", "id": 1, "result": null})),
        (5, json!({"jsonrpc": "2.0", "id": 1, "result": {"ok": true}})),
        (6, json!({"jsonrpc": "2.0", "id": 2, "result": "0xcafe"})),
        (7, json!("hello")),
    ] {
        let (gauge, mut node) = (Gauge::new(), Played::new().await);
        let f = quiet.facilitator(poll, &node.url).await;
        let mut socket = node.asked().await;
        socket.say(&answer).await;
        assert!(socket.next().await.is_none(), "{answer}: nothing more is asked");
        gauge.until(0).await;
        quiet.settles(&f, seed).await;
        let mut again = node.asked().await;
        again.0.close(None).await.unwrap();
        f.drain().await;
    }
}

#[tokio::test]
async fn pings_are_answered_and_there_is_one_subscription() {
    let (quiet, gauge) = (Quiet::new().await, Gauge::new());
    let mut node = Played::new().await;
    let f = quiet.facilitator(HOUR, &node.url).await;
    let mut socket = node.subscribed().await;
    gauge.until(1).await;
    let settling = quiet.sent(&f, 1).await;
    let looks = quiet.rested().await;
    quiet.stack.chain.mine();
    // Another subscription's head.
    socket.announce("0xbeef", 1).await;
    socket.0.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap(), Message::Pong("are you there".into()));
    assert_eq!(quiet.rested().await, looks, "only the subscription's own heads wake anyone");
    socket.announce("0xcafe", 2).await;
    is_settled(settling).await;
    assert!(node.is_alone(), "one connection");
}

#[tokio::test]
async fn a_message_that_is_too_long_or_senseless_ends_the_connection() {
    let (quiet, gauge) = (Quiet::new().await, Gauge::new());
    for message in [
        json!({"method": "eth_subscription", "params": "x".repeat(70_000)}),
        json!({"method": "eth_subscription", "params": {"subscription": "0xcafe", "result": {"hash": "0x1"}}}),
        json!(["a batch"]),
    ] {
        let mut node = Played::new().await;
        let f = quiet.facilitator(HOUR, &node.url).await;
        let mut socket = node.subscribed().await;
        gauge.until(1).await;
        socket.say(&message).await;
        gauge.until(0).await;
        assert!(socket.next().await.is_none());
        drop(f);
    }
}

#[tokio::test]
async fn a_connection_without_heads_is_given_up_and_made_again() {
    let (quiet, gauge) = (Quiet::new().await, Gauge::new());
    let mut node = Played::new().await;
    let _f = quiet.facilitator(HOUR, &node.url).await;
    let mut socket = node.subscribed().await;
    gauge.until(1).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    gauge.until(0).await;
    assert!(socket.next().await.is_none());
    let _socket = node.subscribed().await;
    gauge.until(1).await;
}

#[tokio::test]
async fn the_connection_ends_with_the_facilitator() {
    let (quiet, gauge) = (Quiet::new().await, Gauge::new());
    let mut node = Played::new().await;
    let f = quiet.facilitator(HOUR, &node.url).await;
    let mut socket = node.subscribed().await;
    gauge.until(1).await;
    drop(f);
    assert!(socket.next().await.is_none());
    gauge.until(0).await;
}
