//! Calls that are made together.

use alloy_primitives::{Address, B256, U64};
use tollway_rpc::Ask;

use super::Call;

pub(crate) fn head() -> Ask {
    Ask::new("eth_getBlockByNumber", &("latest", false))
}

pub(crate) fn receipt(hash: B256) -> Ask {
    Ask::new("eth_getTransactionReceipt", &[hash])
}

pub(crate) fn transaction(hash: B256) -> Ask {
    Ask::new("eth_getTransactionByHash", &[hash])
}

pub(crate) fn nonce(address: Address) -> Ask {
    Ask::new("eth_getTransactionCount", &(address, "latest"))
}

pub(crate) fn balance(address: Address) -> Ask {
    Ask::new("eth_getBalance", &(address, "latest"))
}

pub(crate) fn code(address: Address) -> Ask {
    Ask::new("eth_getCode", &(address, "latest"))
}

pub(crate) fn call(call: &Call) -> Ask {
    Ask::new("eth_call", &(call, "latest"))
}

pub(crate) fn logs(addresses: &[Address], topics: &serde_json::Value, from_block: u64) -> Ask {
    let filter = serde_json::json!([{
        "address": addresses, "topics": topics, "fromBlock": U64::from(from_block), "toBlock": "latest",
    }]);
    Ask::new("eth_getLogs", &filter)
}
