//! Which node is asked, and with how many texts.

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tollway_rpc::{Ask, RpcError};

use crate::node::{Node, rpc};

const AWAY: RpcError = RpcError::Unreachable("away");

async fn ask(rpc: &tollway_rpc::Rpc) -> Result<u64, RpcError> {
    rpc.request("height", [(); 0]).await
}

#[tokio::test]
async fn the_first_node_that_answers_is_believed_and_the_others_are_left_alone() {
    let (first, second, third) = (Node::away(), Node::giving(json!(2)), Node::giving(json!(3)));
    let rpc = rpc(&[&first, &second, &third]);
    assert_eq!(ask(&rpc).await, Ok(2));
    assert_eq!(second.asked(), [json!({"jsonrpc": "2.0", "id": 1, "method": "height", "params": []})]);
    assert_eq!((first.asked().len(), third.asked().len()), (1, 0));
    assert_eq!((rpc.trips(), rpc.nodes()), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn fx_n1_a_node_that_hung_is_asked_last_for_five_seconds() {
    let (first, second) = (Node::hanging(), Node::giving(json!(2)));
    let rpc = rpc(&[&first, &second]);
    for asked in [1, 1, 1] {
        assert_eq!(ask(&rpc).await, Ok(2));
        assert_eq!(first.asked().len(), asked);
    }
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    assert_eq!(ask(&rpc).await, Ok(2));
    assert_eq!(first.asked().len(), 2, "asked again");
}

#[tokio::test]
async fn a_node_that_rests_is_asked_all_the_same_when_no_other_answers() {
    let (first, second) = (Node::away(), Node::away());
    let rpc = rpc(&[&first, &second]);
    for asked in 1..=3 {
        assert_eq!(ask(&rpc).await, Err(AWAY));
        assert_eq!((first.asked().len(), second.asked().len()), (asked, asked));
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_no_other_node_is_asked() {
    let refusal = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "no"}});
    let (first, second) = (Node::saying(&refusal), Node::giving(json!(2)));
    let refused = RpcError::Refused { code: -32000, message: "no".to_owned(), data: Value::Null };
    assert_eq!(ask(&rpc(&[&first, &second])).await, Err(refused));
    assert!(second.asked().is_empty());
}

#[tokio::test]
async fn what_can_t_be_read_is_no_answer() {
    for answer in [json!("hello"), json!([]), json!({"result": "2"}), json!({"error": {"code": "x"}})] {
        let (first, second) = (Node::saying(&answer), Node::giving(json!(2)));
        assert_eq!(ask(&rpc(&[&first, &second])).await, Ok(2), "{answer}");
    }
    assert_eq!(ask(&rpc(&[])).await, Err(RpcError::Unreachable("no node is configured")));
}

#[tokio::test]
async fn one_node_alone_is_asked_by_its_place() {
    let (first, second) = (Node::giving(json!(1)), Node::giving(json!(2)));
    let rpc = rpc(&[&first, &second]);
    assert_eq!(rpc.request_of::<_, u64>(1, "height", ()).await, Ok(2));
    assert!(rpc.request_of::<_, u64>(2, "height", ()).await.is_err());
    assert!(first.asked().is_empty());
}

#[tokio::test]
async fn every_node_is_given_what_is_broadcast_and_one_that_took_it_is_enough() {
    let refusal = json!({"error": {"code": 1, "message": "already known"}});
    let nodes = [Node::away(), Node::saying(&refusal), Node::giving(json!(3)), Node::giving(json!(4))];
    let all = rpc(&[&nodes[0], &nodes[1], &nodes[2], &nodes[3]]);
    assert_eq!(all.request_all::<_, u64>("send", ["bytes"]).await, Ok(3));
    assert!(nodes.iter().all(|node| node.asked().len() == 1));
    let none = rpc(&[&nodes[0], &nodes[1]]);
    let error = none.request_all::<_, u64>("send", ["bytes"]).await.unwrap_err();
    assert!(matches!(error, RpcError::Refused { code: 1, .. }), "{error}");
}

fn asks() -> [Ask; 2] {
    [Ask::new("balance", &["a"]), Ask::new("balance", &["b"])]
}

async fn both(rpc: &tollway_rpc::Rpc) -> Result<Vec<Result<u64, RpcError>>, RpcError> {
    Ok(rpc.together(&asks()).await?.into_iter().map(tollway_rpc::Given::read).collect())
}

#[tokio::test]
async fn calls_made_together_are_one_text_and_answers_in_any_order_are_told_apart() {
    let node = Node::new(|_| {
        let last = json!({"id": 1, "error": {"code": 7, "message": "no"}});
        Some(Ok(json!([last, {"id": 0, "result": 10}]).to_string()))
    });
    let rpc = rpc(&[&node]);
    let refused = RpcError::Refused { code: 7, message: "no".to_owned(), data: Value::Null };
    assert_eq!(both(&rpc).await, Ok(vec![Ok(10), Err(refused)]));
    assert_eq!((node.asked().len(), rpc.trips()), (1, 1));
    assert_eq!(node.asked()[0][1], json!({"jsonrpc": "2.0", "id": 1, "method": "balance", "params": ["b"]}));
}

#[tokio::test]
async fn a_node_that_takes_one_call_at_a_time_is_asked_so_from_then_on() {
    let node = Node::new(|text| {
        Some(Ok(match text {
            Value::Array(_) => json!({"id": null, "error": {"code": -32600, "message": "no batches"}}),
            call => json!({"id": 1, "result": if call["params"][0] == "a" { 10 } else { 20 }}),
        }
        .to_string()))
    });
    let rpc = rpc(&[&node]);
    for texts in [3, 5] {
        assert_eq!(both(&rpc).await, Ok(vec![Ok(10), Ok(20)]));
        assert_eq!(node.asked().len(), texts);
    }
}

#[tokio::test]
async fn answers_that_are_missing_or_for_no_call_are_no_answers() {
    for answers in [
        json!([{"id": 0, "result": 1}]),
        json!([{"id": 0, "result": 1}, {"id": 0, "result": 1}]),
        json!([{"id": 0, "result": 1}, {"id": 2, "result": 1}]),
        json!([{"id": 0, "result": 1}, {"result": 1}]),
    ] {
        let (first, second) = (Node::saying(&answers), Node::giving(json!(2)));
        assert_eq!(both(&rpc(&[&first, &second])).await, Ok(vec![Ok(2), Ok(2)]), "{answers}");
        assert_eq!(first.asked().len(), 1, "its batches are senseless, not refused");
    }
}

#[tokio::test]
async fn all_answers_to_calls_made_together_are_one_node_s() {
    let first = Node::new(|text| {
        let answer = match text {
            Value::Array(_) => json!({"error": {"code": 1, "message": "no batches"}}),
            call if call["params"][0] == "a" => json!({"result": 1}),
            _ => return Some(Err(tollway_rpc::Unanswered("away"))),
        };
        Some(Ok(answer.to_string()))
    });
    let second = Node::giving(json!(2));
    assert_eq!(both(&rpc(&[&first, &second])).await, Ok(vec![Ok(2), Ok(2)]));
}

#[tokio::test]
async fn calls_and_errors_are_counted_by_method_under_the_caller_s_names() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let rpc = rpc(&[&Node::away(), &Node::giving(json!(2))]);
    ask(&rpc).await.unwrap();
    both(&rpc).await.unwrap().into_iter().for_each(|balance| assert_eq!(balance, Ok(2)));
    rpc.request_all::<_, u64>("send", ()).await.unwrap();
    let figures = figures.render();
    for line in [
        "test_calls_total{method=\"height\"} 2",
        "test_errors_total{method=\"height\"} 1",
        "test_calls_total{method=\"balance\"} 2",
        "test_calls_total{method=\"send\"} 1",
    ] {
        assert!(figures.contains(line), "{line}: {figures}");
    }
    assert_eq!(figures.matches("test_errors_total{").count(), 1, "{figures}");
}
