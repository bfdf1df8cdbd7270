//! The JSON-RPC methods, with the shapes, codes and texts of Agave's node.

mod accounts;
mod commitment;
mod dev;
mod params;
mod shape;
mod signatures;
mod simulation;
mod slots;
mod submission;
mod tokens;
mod transactions;
mod wire;

use serde_json::{Value, json};

use super::{RpcError, bank::Bank, node::Node};
use params::Params;

pub(crate) use commitment::Commitment;
pub(crate) use signatures::SignatureNotice;

type Answer = Result<Value, RpcError>;

/// The version of the node whose answers these are, and of the runtime that executes.
const VERSION: &str = "4.2.2";

pub(crate) fn dispatch(node: &mut Node, method: &str, params: &Value) -> Answer {
    let params = Params(params);
    match method {
        "getVersion" => Ok(json!({ "solana-core": VERSION, "feature-set": 0 })),
        "getHealth" => Ok(json!("ok")),
        "getGenesisHash" => Ok(json!(node.rules.genesis.to_string())),
        "getSlot" => slots::slot(node, params),
        "getBlockHeight" => slots::block_height(node, params),
        "getFirstAvailableBlock" => Ok(json!(slots::first_available_block(node))),
        "getEpochInfo" => slots::epoch_info(node, params),
        "getLatestBlockhash" => slots::latest_blockhash(node, params),
        "isBlockhashValid" => slots::is_blockhash_valid(node, params),
        "getFeeForMessage" => simulation::fee(node, params),
        "getRecentPrioritizationFees" => slots::prioritization_fees(node, params),

        "getMinimumBalanceForRentExemption" => accounts::rent(node, params),
        "getBalance" => accounts::balance(node, params),
        "getAccountInfo" => accounts::one(node, params),
        "getMultipleAccounts" => accounts::many(node, params),
        "getTokenAccountBalance" => tokens::balance(node, params),
        "getTokenAccountsByOwner" => tokens::by_owner(node, params),
        "getTokenSupply" => tokens::supply(node, params),

        "simulateTransaction" => simulation::simulate(node, params),
        "sendTransaction" => submission::send(node, params),
        "requestAirdrop" => submission::airdrop(node, params),

        "getSignatureStatuses" => signatures::statuses(node, params),
        "getSignaturesForAddress" => signatures::of_address(node, params),
        "getTransaction" => transactions::get(node, params),

        other => dev::dispatch(node, other, params),
    }
}

/// An answer with the slot of the bank that it is about.
fn in_context(bank: &Bank, value: impl Into<Value>) -> Value {
    json!({ "context": { "slot": bank.slot, "apiVersion": VERSION }, "value": value.into() })
}

fn method_not_found(method: &str) -> RpcError {
    RpcError::new(-32601, format!("Method not found: {method}"))
}
