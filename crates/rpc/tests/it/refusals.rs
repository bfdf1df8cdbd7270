//! What is kept of a node's refusal.

use serde_json::{Value, json};
use tollway_rpc::RpcError;

use crate::node::{Node, rpc};

/// The message and the data of a refusal with these.
async fn refused(message: &str, data: &Value) -> (String, Value) {
    let node = Node::saying(&json!({"error": {"code": 3, "message": message, "data": data}}));
    match rpc(&[&node]).request::<_, u64>("call", ()).await {
        Err(RpcError::Refused { code: 3, message, data }) => (message, data),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refusal_s_text_is_short_and_of_one_line() {
    let (message, _) = refused(&format!("a\nb\u{1b}[31m{}", "é".repeat(300)), &Value::Null).await;
    assert_eq!(message, format!("ab[31m{}", "é".repeat(194)));
}

#[tokio::test]
async fn a_refusal_s_data_is_kept_as_it_is_while_it_is_short() {
    let failed =
        json!({"err": {"InstructionError": [1, {"Custom": 1}]}, "logs": ["a", "b"], "unitsConsumed": 7});
    for data in [json!("0x08c379a0"), failed, json!([null, true, 1.5]), Value::Null] {
        assert_eq!(refused("", &data).await.1, data);
    }
}

#[tokio::test]
async fn a_refusal_s_data_is_cut_at_its_ends() {
    let long = "é".repeat(100_000);
    let (_, text) = refused("", &json!(long)).await;
    assert!(long.starts_with(text.as_str().unwrap()));
    assert_eq!(text.as_str().unwrap().len(), 16_382);
    let (_, list) = refused("", &json!({"err": "first", "logs": vec!["x".repeat(1000); 100]})).await;
    assert_eq!(list["err"], "first");
    assert_eq!(list["logs"].as_array().unwrap().len(), 17);
    let (_, empties) = refused("", &json!(vec![json!([]); 100_000])).await;
    assert_eq!(empties.as_array().unwrap().len(), 16_383);
    let (_, named) = refused("", &json!({"a": 1, "x".repeat(20_000): 1})).await;
    assert_eq!(named, json!({"a": 1}));
}

#[tokio::test]
async fn data_that_is_too_long_or_too_deep_is_not_looked_into() {
    assert_eq!(refused("no", &json!("x".repeat(1_100_000))).await, ("no".to_owned(), Value::Null));
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    let answer = format!(r#"{{"error":{{"code":3,"message":"no","data":{deep}}}}}"#);
    let node = Node::new(move |_| Some(Ok(answer.clone())));
    let error = rpc(&[&node]).request::<_, u64>("call", ()).await.unwrap_err();
    assert_eq!(error, RpcError::Refused { code: 3, message: "no".to_owned(), data: Value::Null });
}
