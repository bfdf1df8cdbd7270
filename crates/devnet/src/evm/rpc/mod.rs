//! The JSON-RPC methods.

mod blocks;
mod dev;
mod error;
mod fees;
mod logs;
mod overrides;
mod params;
mod reorg;
mod shape;
mod simulation;
mod state;
mod submission;

use alloy_primitives::U256;
use serde::Serialize;
use serde_json::{Value, json};

use super::{block::Block, chain::Chain};
use params::Params;

pub use crate::json_rpc::RpcError;
pub(crate) use crate::json_rpc::answer;
pub(crate) use error::output;

type Answer = Result<Value, RpcError>;

pub(crate) fn dispatch(chain: &Chain, method: &str, params: &Value) -> Answer {
    let params = Params(params);
    match method {
        "eth_chainId" => quantity(chain.chain_id()),
        "net_version" => Ok(json!(chain.chain_id().to_string())),
        "net_listening" => Ok(json!(true)),
        "web3_clientVersion" => Ok(json!(concat!("tollway-devnet/", env!("CARGO_PKG_VERSION")))),
        "eth_syncing" => Ok(json!(false)),
        "eth_accounts" => Ok(json!([])),
        "eth_blockNumber" => quantity(chain.block_number()),

        "eth_getBalance" => state::balance(chain, params),
        "eth_getTransactionCount" => state::nonce(chain, params),
        "eth_getCode" => state::code(chain, params),
        "eth_getStorageAt" => state::storage(chain, params),

        "eth_call" => simulation::call(chain, params),
        "eth_estimateGas" => simulation::estimate_gas(chain, params),

        "eth_gasPrice" => fees::gas_price(chain),
        "eth_maxPriorityFeePerGas" => quantity(fees::TIP),
        "eth_feeHistory" => fees::history(chain, params),

        "eth_sendRawTransaction" => submission::raw(chain, params),
        "eth_sendTransaction" => submission::impersonated(chain, params),

        "eth_getTransactionByHash" => blocks::transaction(chain, params),
        "eth_getTransactionReceipt" => blocks::receipt(chain, params),
        "eth_getBlockByNumber" => blocks::by_number(chain, params),
        "eth_getBlockByHash" => blocks::by_hash(chain, params),
        "eth_getBlockReceipts" => blocks::receipts(chain, params),
        "eth_getLogs" => logs::get(chain, params),

        other => dev::dispatch(chain, other, params),
    }
}

/// What subscribers are told of a new block.
pub(crate) fn head(block: &Block) -> Value {
    serde_json::to_value(shape::block(block, false).header).unwrap_or_default()
}

fn quantity(value: impl Into<u128>) -> Answer {
    shaped(&U256::from(value.into()))
}

fn shaped(value: &impl Serialize) -> Answer {
    serde_json::to_value(value).map_err(|error| RpcError::internal(error.to_string()))
}
