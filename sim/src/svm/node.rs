//! How a node of the cluster answers.
//!
//! A node that is behind, or on a branch of its own, knows less than others. What is finalized it does not deny once it
//! has it: the engine believes one node that says so of the last minutes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::land::View;
use super::{Svm, purse};
use crate::node::Node;
use crate::weather::Mood;

/// Another cluster's.
const ELSEWHERE: &str = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKH5FLdmwRXLR";

/// The truth, or what the node makes of it.
pub(super) fn told(node: &Node<Svm>, method: &str, params: &Value) -> Result<Value, (i64, String)> {
    let (land, mood) = (&node.world.land, node.mood());
    let ask = || land.chain.request(method, params).map_err(|error| (error.code, error.message));
    let lag = if mood.lag > 0 { node.world.chance.between(0, mood.lag) } else { 0 };
    if lag > 0 {
        // It counts as a fault that was on.
        let _ = node.lies(1000);
    }
    match method {
        "getGenesisHash" if mood.is_elsewhere => Ok(json!(ELSEWHERE)),
        "sendTransaction" if node.lies(mood.bad_sends) => bad_send(node, params),
        "getSignatureStatuses" => Ok(statuses(node, ask()?, &mood, lag)),
        "isBlockhashValid" if lag > 0 => {
            let view = land.view(lag);
            let life = params[0].as_str().and_then(|hash| land.life(hash));
            let is_valid = life.is_some_and(|life| life.slot <= view.finalized && view.height <= life.last);
            Ok(json!({"context": {"slot": view.finalized}, "value": is_valid}))
        }
        "simulateTransaction" if lag > 0 || node.lies(mood.low_nonces) => {
            let slot = land.view(lag + 1).slot;
            let value = json!({"err": "BlockhashNotFound", "logs": [], "accounts": null});
            Ok(json!({"context": {"slot": slot}, "value": value}))
        }
        "simulateTransaction" if node.lies(mood.garbles) => {
            let mut lie = ask()?;
            lie["value"]["accounts"] = Value::Null;
            Ok(lie)
        }
        _ => ask(),
    }
}

fn statuses(node: &Node<Svm>, mut answer: Value, mood: &Mood, lag: u64) -> Value {
    let view = node.world.land.view(lag);
    if lag > 0 {
        answer["context"]["slot"] = json!(view.slot);
    }
    let denies = |status: &Value| status["confirmationStatus"] != "finalized" && node.lies(mood.denies);
    for status in answer["value"].as_array_mut().unwrap() {
        let Some(slot) = status["slot"].as_u64() else { continue };
        if slot > view.slot || denies(status) {
            *status = Value::Null;
        } else if lag > 0 {
            status["confirmationStatus"] = json!(known(slot, &view));
        }
    }
    if node.lies(mood.garbles) {
        garble(node, &mut answer);
    }
    answer
}

/// How sure a node with this view is of a slot.
fn known(slot: u64, view: &View) -> &'static str {
    if slot <= view.finalized {
        "finalized"
    } else if slot < view.slot {
        "confirmed"
    } else {
        "processed"
    }
}

/// What can't be read.
fn garble(node: &Node<Svm>, answer: &mut Value) {
    let values = answer["value"].as_array_mut().unwrap();
    match node.world.chance.below(3) {
        0 => drop(values.pop()),
        1 => values.push(Value::Null),
        _ => {
            for status in values.iter_mut().filter_map(Value::as_object_mut) {
                status.remove("err");
            }
        }
    }
}

fn bad_send(node: &Node<Svm>, params: &Value) -> Result<Value, (i64, String)> {
    let raw = STANDARD.decode(params[0].as_str().unwrap()).unwrap();
    let refuse = |code: i64, message: &str| Err((code, message.to_owned()));
    match node.world.chance.below(4) {
        0 => {
            node.world.land.send(&raw);
            refuse(-32002, "This transaction has already been processed")
        }
        1 => refuse(-32005, "Node is behind by 42 slots"),
        2 => refuse(-32603, "internal error"),
        _ => Ok(json!(purse::signature(&raw))),
    }
}
