//! Which refusals speak of the node and not of what it was asked: another node may answer that.

use serde_json::Value;

use crate::answer::RpcError;

/// What a refusal says of the node that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It can't answer this.
    Lacks,
    /// It can't answer anything just now: it is asked too often, or is behind.
    Unwell,
}

/// "JSON-RPC internal error". Some Ethereum nodes answer so to calls that revert.
const INTERNAL: i64 = -32603;
/// Codes of nodes that are asked too often.
const TOO_OFTEN: [i64; 3] = [429, 503, -32429];
/// No block of this slot yet; behind, or "limit exceeded" (EIP-1474); no history, or no backend; no status of this slot yet;
/// not at this slot yet, or asked too often; no old history.
const LACKING: [i64; 6] = [-32004, -32005, -32011, -32014, -32016, -32019];
/// The codes that servers give meanings to (JSON-RPC 2.0, section 5.1).
const SERVER: std::ops::RangeInclusive<i64> = -32099..=-32000;
/// What nodes say that are asked too often or are behind, whatever their code.
const WORDS: [&str; 6] = [
    "too many requests",
    "rate limit",
    "request limit",
    "over capacity",
    "node is behind",
    "node is unhealthy",
];

/// None when the error is the node's verdict on what it was asked.
pub(crate) fn of(error: &RpcError) -> Option<Fault> {
    match error {
        RpcError::Unreachable(_) => Some(Fault::Unwell),
        RpcError::Refused { code, message, data } => told(*code, &message.to_ascii_lowercase(), data),
    }
}

fn told(code: i64, message: &str, data: &Value) -> Option<Fault> {
    // What a contract says when it reverts is its own: it may say all of this.
    if message.contains("revert") {
        return None;
    }
    let says_so = || WORDS.iter().any(|words| message.contains(words));
    match code {
        _ if TOO_OFTEN.contains(&code) => Some(Fault::Unwell),
        _ if LACKING.contains(&code) => Some(if says_so() { Fault::Unwell } else { Fault::Lacks }),
        _ if !data.is_null() => None,
        INTERNAL => Some(Fault::Lacks),
        _ if SERVER.contains(&code) && says_so() => Some(Fault::Unwell),
        _ => None,
    }
}
