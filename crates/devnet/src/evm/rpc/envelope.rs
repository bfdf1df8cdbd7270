//! Requests and answers as JSON-RPC has them: one, or a batch of them.

use serde_json::{Value, json};

use super::{Answer, RpcError};

/// More requests in a batch are refused.
const BATCH: usize = 1_000;

/// What to send back for a body, empty if it held notifications only. `ask` gets each request's method and its
/// parameters, an array, in order.
pub(crate) fn answer(body: &[u8], mut ask: impl FnMut(&str, &Value) -> Answer) -> String {
    let answer = match serde_json::from_slice(body) {
        Err(_) => Some(failure(&Value::Null, &RpcError::new(-32700, "parse error"))),
        Ok(Value::Array(batch)) if batch.is_empty() => Some(invalid("empty batch")),
        Ok(Value::Array(batch)) if batch.len() > BATCH => Some(invalid("batch too large")),
        Ok(Value::Array(batch)) => {
            let answers: Vec<Value> =
                batch.iter().filter_map(|request| answer_one(request, &mut ask)).collect();
            (!answers.is_empty()).then_some(Value::Array(answers))
        }
        Ok(request) => answer_one(&request, &mut ask),
    };
    answer.map(|answer| answer.to_string()).unwrap_or_default()
}

/// Nothing for a notification: a request without id.
fn answer_one(request: &Value, ask: &mut impl FnMut(&str, &Value) -> Answer) -> Option<Value> {
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        return Some(invalid("invalid request"));
    };
    let none = Value::Array(Vec::new());
    let params = match request.get("params") {
        None | Some(Value::Null) => &none,
        Some(params) => params,
    };
    let result = match params {
        Value::Array(_) => ask(method, params),
        _ => Err(RpcError::params("non-array args")),
    };
    let id = request.get("id")?;
    Some(match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(error) => failure(id, &error),
    })
}

fn invalid(message: &str) -> Value {
    failure(&Value::Null, &RpcError::new(-32600, message))
}

fn failure(id: &Value, error: &RpcError) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}
