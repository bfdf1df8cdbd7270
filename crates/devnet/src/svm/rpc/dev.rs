//! What only a development chain does: [`Chain`](super::super::Chain)'s methods for programs in other languages.

use serde_json::{Value, json};

use super::{
    super::{ChainError, node::Node},
    Answer, RpcError, method_not_found,
    params::Params,
};

/// More slots at once are refused.
const SLOTS: u64 = 10_000;

pub(super) fn dispatch(node: &mut Node, method: &str, params: Params<'_>) -> Answer {
    match method {
        "tollway_fund" => {
            let (address, lamports) = (params.address(0)?, params.required(1, "lamports")?);
            done(node.fund(address, lamports))
        }
        "tollway_mint" => {
            let (mint, owner) = (params.address(0)?, params.address(1)?);
            done(node.mint(mint, owner, params.required(2, "amount")?))
        }
        "tollway_advance" => {
            let slots: u64 = params.required(0, "slots")?;
            if slots > SLOTS {
                return Err(RpcError::params(format!("Invalid param: more than {SLOTS} slots")));
            }
            (0..slots).for_each(|_| node.advance());
            Ok(json!(node.processed().slot))
        }
        "tollway_fork" => done(node.fork(params.required(0, "depth")?)),
        other => fault(node, other, params),
    }
}

fn fault(node: &mut Node, method: &str, params: Params<'_>) -> Answer {
    match method {
        "tollway_dropNext" => node.faults.dropped = params.required(0, "count")?,
        "tollway_hold" => node.faults.held = true,
        "tollway_release" => node.release(),
        "tollway_pause" => node.faults.paused = true,
        "tollway_resume" => node.faults.paused = false,
        "tollway_setPriorityFee" => node.priority_fee = params.required(0, "fee")?,
        other => return Err(method_not_found(other)),
    }
    Ok(Value::Null)
}

fn done(result: Result<(), ChainError>) -> Answer {
    match result {
        Ok(()) => Ok(Value::Null),
        Err(error) => Err(RpcError::params(error.to_string())),
    }
}
