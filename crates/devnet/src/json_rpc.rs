//! JSON-RPC 2.0: requests and answers, one or a batch of them, and the errors they may carry.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// More requests in a batch are refused.
const BATCH: usize = 1_000;

/// A JSON-RPC error, with the codes and texts of the chain's own nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct RpcError {
    /// -326xx for what isn't a good request; the others are the chain's. Ethereum: 3 for a revert, -32000 for what the
    /// chain refuses. Solana: -320xx, as -32002 for a transaction that its simulation refused.
    pub code: i64,
    /// For people.
    pub message: String,
    /// What a reverting contract returned, or the simulation that a transaction failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(crate) fn params(message: impl Into<String>) -> Self {
        Self::new(-32602, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(-32603, message)
    }
}

/// What to send back for a body, empty if it held notifications only. `ask` gets each request's method and its
/// parameters, an array, in order.
pub(crate) fn answer(body: &[u8], mut ask: impl FnMut(&str, &Value) -> Result<Value, RpcError>) -> String {
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
fn answer_one(
    request: &Value,
    ask: &mut impl FnMut(&str, &Value) -> Result<Value, RpcError>,
) -> Option<Value> {
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
