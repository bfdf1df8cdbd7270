//! A node that answers badly is passed over, and one that is behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::routing::post;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollway_protocol::Secret;
use tollway_rpc::{Ask, Dated, Given, Http, Rpc, RpcError, Transport, Unanswered};

use crate::node::{NAMES, Node, TIMEOUT, rpc};

fn refusing(code: i64, message: &str, data: &Value) -> Arc<Node> {
    Node::saying(
        &json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message, "data": data}}),
    )
}

async fn ask(rpc: &Rpc) -> Result<u64, RpcError> {
    rpc.request("height", ()).await
}

/// Refusals that speak of the node, and whether it wants to be left alone.
fn of_the_node() -> Vec<(i64, &'static str, Value, bool)> {
    vec![
        (429, "Too many requests for a specific RPC call", Value::Null, true),
        (-32429, "rate limited", Value::Null, true),
        (-32005, "Node is behind by 150 slots", json!({"numSlotsBehind": 150}), true),
        (-32005, "Node is unhealthy", json!({"numSlotsBehind": null}), true),
        (-32005, "limit exceeded", Value::Null, false),
        (-32007, "50/second request limit reached", Value::Null, true),
        (-32000, "rate limit exceeded", Value::Null, true),
        (-32004, "Block not available for slot 9", Value::Null, false),
        (-32014, "Block status not yet available for slot 9", Value::Null, false),
        (-32016, "Minimum context slot has not been reached", json!({"contextSlot": 9}), false),
        (-32016, "over rate limit", Value::Null, true),
        (-32011, "Transaction history is not available from this node", Value::Null, false),
        (-32603, "Internal error", Value::Null, false),
    ]
}

/// Refusals that speak of what was asked.
fn of_the_call() -> Vec<(i64, &'static str, Value)> {
    vec![
        (3, "execution reverted: too many requests", json!("0x08c379a0")),
        (-32000, "execution reverted: rate limit", Value::Null),
        (-32603, "VM Exception: reverted with custom error", Value::Null),
        (-32603, "internal error", json!({"data": "0x08c379a0"})),
        (-32000, "insufficient funds for gas * price + value", Value::Null),
        (-32000, "gas limit exceeded", Value::Null),
        (-32002, "Transaction simulation failed: Blockhash not found", json!({"err": "BlockhashNotFound"})),
        (-32602, "invalid transaction: index out of bounds", Value::Null),
        (-32003, "Transaction signature verification failure", Value::Null),
    ]
}

#[tokio::test(start_paused = true)]
async fn fa22_a_refusal_that_speaks_of_the_node_is_passed_over() {
    for (code, message, data, rests) in of_the_node() {
        let (first, second) = (refusing(code, message, &data), Node::giving(json!(2)));
        let rpc = rpc(&[&first, &second]);
        for _ in 0..2 {
            assert_eq!(ask(&rpc).await, Ok(2), "{code} {message}");
        }
        assert_eq!(first.asked().len(), if rests { 1 } else { 2 }, "{code} {message}");
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(ask(&rpc).await, Ok(2));
        assert_eq!(first.asked().len(), if rests { 2 } else { 3 }, "{code} {message}: asked again");
    }
}

#[tokio::test]
async fn fa22_a_verdict_on_what_was_asked_is_not_asked_for_again() {
    for (code, message, data) in of_the_call() {
        let (first, second) = (refusing(code, message, &data), Node::giving(json!(2)));
        let told = ask(&rpc(&[&first, &second])).await;
        assert!(matches!(&told, Err(RpcError::Refused { code: told, .. }) if *told == code), "{told:?}");
        assert!(second.asked().is_empty(), "{code} {message}");
    }
}

#[tokio::test]
async fn when_no_node_can_the_first_refusal_is_told() {
    let busy = refusing(-32005, "Node is unhealthy", &Value::Null);
    let failed = refusing(-32603, "Internal error", &Value::Null);
    for nodes in [[&Node::away(), &busy, &failed], [&busy, &Node::away(), &failed]] {
        let told = ask(&rpc(&nodes)).await;
        assert!(matches!(told, Err(RpcError::Refused { code: -32005, .. })), "{told:?}");
    }
    let told = ask(&rpc(&[&busy])).await;
    assert!(matches!(told, Err(RpcError::Refused { code: -32005, .. })), "one alone: {told:?}");
}

#[tokio::test]
async fn what_is_broadcast_is_refused_by_each_node_for_itself() {
    let (busy, dead) =
        (refusing(-32005, "Node is unhealthy", &Value::Null), refusing(-32002, "no", &Value::Null));
    let rpc = rpc(&[&busy, &dead]);
    let of_first = rpc.request_of::<_, String>(0, "sendTransaction", ["bytes"]).await;
    assert!(matches!(of_first, Err(RpcError::Refused { code: -32005, .. })), "{of_first:?}");
    assert!(dead.asked().is_empty());
    let of_all = rpc.request_all::<_, String>("sendTransaction", ["bytes"]).await;
    assert!(matches!(of_all, Err(RpcError::Refused { code: -32002, .. })), "{of_all:?}");
    let told = ask(&rpc).await;
    assert_eq!((busy.asked().len(), dead.asked().len()), (3, 2), "neither made it rest: {told:?}");
}

/// A node that answers each call of a batch: the second with this error.
fn half(code: i64, message: &'static str) -> Arc<Node> {
    Node::new(move |text| {
        let answer = |call: &Value| match call["params"][0].as_str() {
            Some("b") => json!({"id": call["id"], "error": {"code": code, "message": message}}),
            _ => json!({"id": call["id"], "result": 1}),
        };
        Some(Ok(match text {
            Value::Array(calls) => calls.iter().map(answer).collect::<Value>(),
            call => answer(call),
        }
        .to_string()))
    })
}

async fn both(rpc: &Rpc) -> Vec<Result<u64, i64>> {
    let asks = [Ask::new("balance", &["a"]), Ask::new("balance", &["b"])];
    let read = |given: Given| match given.read() {
        Ok(balance) => Ok(balance),
        Err(RpcError::Refused { code, .. }) => Err(code),
        Err(error) => panic!("{error}"),
    };
    rpc.together(&asks).await.unwrap().into_iter().map(read).collect()
}

#[tokio::test]
async fn calls_made_together_are_passed_over_together() {
    let good = Node::giving(json!(2));
    assert_eq!(both(&rpc(&[&half(-32005, "Node is unhealthy"), &good])).await, [Ok(2), Ok(2)]);
    assert_eq!(both(&rpc(&[&half(-32602, "no such thing"), &good])).await, [Ok(1), Err(-32602)]);
    // Nobody knows better.
    let halves = [half(-32011, "no history"), half(-32603, "Internal error")];
    assert_eq!(both(&rpc(&[&halves[0], &halves[1]])).await, [Ok(1), Err(-32011)]);
    assert_eq!(both(&rpc(&[&halves[0], &Node::away()])).await, [Ok(1), Err(-32011)]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_asked_too_often_is_not_one_that_takes_no_batches() {
    let limited = Arc::new(AtomicU64::new(1));
    let left = limited.clone();
    let good = Node::giving(json!(1));
    let giving = good.clone();
    let first = Node::new(move |text| {
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            let error = json!({"code": 429, "message": "Too many requests"});
            return Some(Ok(json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string()));
        }
        giving.answer(text)
    });
    let rpc = rpc(&[&first, &Node::giving(json!(2))]);
    assert_eq!(both(&rpc).await, [Ok(2), Ok(2)]);
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(both(&rpc).await, [Ok(1), Ok(1)]);
    assert_eq!(first.asked().len(), 2, "one text each time");
}

/// A way over HTTP to a node that says this.
async fn served(status: StatusCode, retry_after: Option<&'static str>) -> Http {
    let answer = move || async move {
        let mut response = axum::response::Response::new(json!({"id": 1, "result": 1}).to_string());
        *response.status_mut() = status;
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, axum::Router::new().route("/", post(answer))).into_future());
    Http::new(&Secret::new(url), TIMEOUT * 30).unwrap()
}

#[tokio::test]
async fn http_429_and_503_are_no_answers_and_say_how_long_the_node_wants_to_be_left_alone() {
    let too_often = (StatusCode::TOO_MANY_REQUESTS, "it is asked too often (HTTP 429)");
    let away = (StatusCode::SERVICE_UNAVAILABLE, "it is out of service (HTTP 503)");
    for ((status, why), retry_after, wants) in [
        (too_often, None, None),
        (away, None, None),
        (too_often, Some("20"), Some(20)),
        (away, Some("0"), Some(0)),
        (too_often, Some("86400"), Some(86_400)),
        (too_often, Some("Wed, 21 Oct 2015 07:28:00 GMT"), None),
        (too_often, Some("-1"), None),
    ] {
        let way = served(status, retry_after).await;
        assert_eq!(way.ask(Vec::new()).await, Err(Unanswered(why)));
        assert_eq!(way.wants_rest(), wants.map(Duration::from_secs), "{retry_after:?}");
        let rpc = Rpc::new(vec![Arc::new(way), Node::giving(json!(2))], TIMEOUT * 30, NAMES);
        assert_eq!(ask(&rpc).await, Ok(2));
    }
    // Nodes answer with other statuses, too.
    let way = served(StatusCode::BAD_REQUEST, None).await;
    assert!(way.ask(Vec::new()).await.is_ok());
}

/// A node that is asked too often, and says for how long.
struct Limited {
    node: Arc<Node>,
    wants: Option<Duration>,
}

#[async_trait::async_trait]
impl Transport for Limited {
    async fn ask(&self, body: Vec<u8>) -> Result<Vec<u8>, Unanswered> {
        self.node.ask(body).await
    }

    fn wants_rest(&self) -> Option<Duration> {
        self.wants
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_left_alone_for_as_long_as_it_says_up_to_a_minute() {
    for (wants, rests) in [(None, 5), (Some(20), 20), (Some(0), 1), (Some(86_400), 60)] {
        let node = Node::away();
        let wants = wants.map(Duration::from_secs);
        let limited = Arc::new(Limited { node: node.clone(), wants });
        let rpc = Rpc::new(vec![limited, Node::giving(json!(2))], TIMEOUT, NAMES);
        assert_eq!(ask(&rpc).await, Ok(2));
        tokio::time::advance(Duration::from_millis(rests * 1_000 - 10)).await;
        assert_eq!(ask(&rpc).await, Ok(2));
        assert_eq!(node.asked().len(), 1, "{wants:?}");
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(ask(&rpc).await, Ok(2));
        assert_eq!(node.asked().len(), 2, "{wants:?}: asked again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_asked_to_be_left_alone_is_so_though_it_takes_what_is_broadcast() {
    let busy = Node::new(|text| {
        let answer = match text["method"].as_str() {
            Some("send") => json!({"id": 1, "result": 1}),
            _ => json!({"id": 1, "error": {"code": 429, "message": "Too many requests"}}),
        };
        Some(Ok(answer.to_string()))
    });
    let rpc = rpc(&[&busy, &Node::giving(json!(2))]);
    assert_eq!(ask(&rpc).await, Ok(2));
    assert_eq!(rpc.request_of::<_, u64>(0, "send", ()).await, Ok(1));
    assert_eq!(ask(&rpc).await, Ok(2));
    assert_eq!(busy.asked().len(), 2);
}

/// An answer of a slot.
#[derive(Debug, PartialEq, Deserialize)]
struct At {
    slot: u64,
    by: u64,
}

impl Dated for At {
    fn height(&self) -> u64 {
        self.slot
    }
}

/// A node whose slot the test sets.
fn at(by: u64) -> (Arc<Node>, Arc<AtomicU64>) {
    let slot = Arc::new(AtomicU64::new(0));
    let told = slot.clone();
    let node = Node::new(move |_| {
        let slot = told.load(Ordering::SeqCst);
        Some(Ok(json!({"id": 1, "result": {"slot": slot, "by": by}}).to_string()))
    });
    (node, slot)
}

async fn who(rpc: &Rpc) -> u64 {
    rpc.request_dated::<_, At>("statuses", ()).await.unwrap().by
}

#[tokio::test(start_paused = true)]
async fn fa22_a_node_that_is_behind_is_passed_over_while_another_is_ahead() {
    let ((first, slot), (second, other)) = (at(1), at(2));
    let rpc = rpc(&[&first, &second]).with_lag(50);
    slot.store(1_000, Ordering::SeqCst);
    other.store(1_050, Ordering::SeqCst);
    rpc.saw(1, 1_050);
    assert_eq!(who(&rpc).await, 1, "50 are not too many");
    other.store(1_051, Ordering::SeqCst);
    rpc.saw(1, 1_051);
    assert_eq!(who(&rpc).await, 2);
    let asked = first.asked().len();
    assert_eq!(who(&rpc).await, 2);
    assert_eq!(first.asked().len(), asked, "it is asked last");
    slot.store(1_060, Ordering::SeqCst);
    rpc.saw(0, 1_060);
    assert_eq!(who(&rpc).await, 1, "it has caught up");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_behind_is_believed_when_no_other_answers() {
    let (first, slot) = at(1);
    let away = rpc(&[&first, &Node::away()]).with_lag(50);
    slot.store(1_000, Ordering::SeqCst);
    away.saw(1, 5_000);
    assert_eq!(who(&away).await, 1);
    // A node alone goes back as it likes, as do all when a cluster does.
    let alone = rpc(&[&first]).with_lag(50);
    for height in [5_000, 10, 2_000, 1] {
        slot.store(height, Ordering::SeqCst);
        assert_eq!(who(&alone).await, 1);
    }
    assert_eq!(alone.trips(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_height_that_nobody_tells_any_more_is_forgotten() {
    let ((first, slot), (second, other)) = (at(1), at(2));
    let rpc = rpc(&[&first, &second]).with_lag(50);
    slot.store(1_000, Ordering::SeqCst);
    other.store(1_000, Ordering::SeqCst);
    rpc.saw(1, u64::MAX);
    assert_eq!(who(&rpc).await, 1, "both are behind: the first of the latest");
    assert_eq!(second.asked().len(), 1);
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(who(&rpc).await, 1);
    assert_eq!(second.asked().len(), 1, "neither is");
}

#[tokio::test]
async fn nodes_passed_over_are_counted_by_their_places_and_why() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let busy = refusing(-32005, "Node is unhealthy", &Value::Null);
    let failed = refusing(-32603, "Internal error", &Value::Null);
    let ((slow, _), (last, slot)) = (at(4), at(5));
    slot.store(100, Ordering::SeqCst);
    let rpc_ = rpc(&[&Node::away(), &busy, &failed, &slow, &last]).with_lag(50);
    rpc_.saw(4, 100);
    assert_eq!(who(&rpc_).await, 5);
    assert!(ask(&rpc(&[&busy])).await.is_err());
    let figures = figures.render();
    for (node, why) in [(0, "no_answer"), (1, "unwell"), (2, "lacks"), (3, "behind")] {
        let line = format!("test_passed_over_total{{node=\"{node}\",why=\"{why}\"}} 1");
        assert!(figures.contains(&line), "{line}: {figures}");
    }
    assert_eq!(figures.matches("test_passed_over_total{").count(), 4, "one alone is passed over for none");
}
