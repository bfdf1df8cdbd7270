//! How an EVM node answers.

use alloy_primitives::U64;
use serde_json::{Value, json};

use super::Evm;
use crate::node::Node;
use crate::weather::Mood;

/// The truth, or what the node makes of it.
pub(super) fn told(node: &Node<Evm>, method: &str, params: &Value) -> Result<Value, (i64, String)> {
    let (world, mood) = (&node.world, node.mood());
    let ask = |params: &Value| {
        let answer = world.land.chain.request(method, params);
        answer.map_err(|error| (error.code, error.message))
    };
    let head = world.land.chain.block_number();
    let behind = json!(U64::from(head.saturating_sub(mood.lag)));
    let old = |at: usize| {
        let mut params = params.clone();
        if mood.lag > 0 && params.get(at) == Some(&json!("latest")) {
            params[at] = behind.clone();
        }
        params
    };
    match method {
        "eth_chainId" if mood.is_elsewhere => Ok(json!("0x1")),
        "eth_sendRawTransaction" if node.lies(mood.bad_sends) => bad_send(node, params),
        "eth_getTransactionReceipt" => receipt(node, ask(params)?, &mood),
        "eth_getTransactionByHash" if node.lies(mood.denies) => Ok(Value::Null),
        "eth_getTransactionCount" => {
            let count: U64 = serde_json::from_value(ask(&old(1))?).unwrap();
            let less = if node.lies(mood.low_nonces) { world.chance.between(1, 3) } else { 0 };
            Ok(json!(count.saturating_sub(U64::from(less))))
        }
        "eth_getBlockByNumber" => ask(&old(0)),
        "eth_call" | "eth_getBalance" | "eth_getCode" => ask(&old(1)),
        "eth_getLogs" if mood.lag > 0 => {
            let mut params = params.clone();
            params[0]["toBlock"] = behind;
            ask(&params)
        }
        _ => ask(params),
    }
}

fn receipt(node: &Node<Evm>, truth: Value, mood: &Mood) -> Result<Value, (i64, String)> {
    if truth.is_null() {
        return Ok(truth);
    }
    let block: U64 = serde_json::from_value(truth["blockNumber"].clone()).unwrap();
    let head = node.world.land.chain.block_number();
    if block.to::<u64>() + mood.lag > head || node.lies(mood.denies) {
        return Ok(Value::Null);
    }
    if node.lies(mood.garbles) {
        let mut lie = truth;
        if node.world.chance.permille(500) {
            lie["logs"] = json!([]);
        } else {
            lie["transactionHash"] = json!(alloy_primitives::B256::repeat_byte(0xee));
        }
        return Ok(lie);
    }
    Ok(truth)
}

fn bad_send(node: &Node<Evm>, params: &Value) -> Result<Value, (i64, String)> {
    let send = || node.world.land.chain.request("eth_sendRawTransaction", params);
    let refuse = |message: &str| Err((-32000, message.to_owned()));
    match node.world.chance.below(6) {
        0 => {
            let _ = send();
            refuse("already known")
        }
        1 => {
            let _ = send();
            refuse("nonce too low")
        }
        2 => {
            let _ = send();
            refuse("replacement transaction underpriced")
        }
        3 => refuse("already known"),
        4 => refuse("internal error"),
        _ => {
            let raw: alloy_primitives::Bytes = serde_json::from_value(params[0].clone()).unwrap();
            Ok(json!(alloy_primitives::keccak256(&raw)))
        }
    }
}
