//! What a caller of `eth_call` wants to be different.

use alloy_primitives::{Address, U256};
use alloy_rpc_types_eth::{
    BlockOverrides,
    state::{AccountOverride, StateOverride},
};

use super::RpcError;
use crate::evm::{state::State, world::View};

pub(super) fn apply(
    view: &mut View,
    accounts: Option<StateOverride>,
    block: Option<BlockOverrides>,
) -> Result<(), RpcError> {
    for (address, account) in accounts.unwrap_or_default() {
        change_account(&mut view.state, address, account)?;
    }
    match block {
        Some(block) => change_block(view, &block),
        None => Ok(()),
    }
}

fn change_account(state: &mut State, address: Address, account: AccountOverride) -> Result<(), RpcError> {
    if account.move_precompile_to.is_some() {
        return Err(RpcError::params("movePrecompileToAddress is not supported"));
    }
    if account.state.is_some() && account.state_diff.is_some() {
        return Err(RpcError::params(format!("account {address} has both 'state' and 'stateDiff'")));
    }
    if let Some(balance) = account.balance {
        state.set_balance(address, balance);
    }
    if let Some(nonce) = account.nonce {
        state.set_nonce(address, nonce);
    }
    if let Some(code) = account.code {
        state.set_code(address, code);
    }
    if account.state.is_some() {
        state.clear_storage(address);
    }
    for (slot, value) in account.state.or(account.state_diff).into_iter().flatten() {
        state.set_storage(address, U256::from_be_bytes(slot.0), U256::from_be_bytes(value.0));
    }
    Ok(())
}

fn change_block(view: &mut View, changes: &BlockOverrides) -> Result<(), RpcError> {
    if changes.blob_base_fee.is_some() || changes.block_hash.is_some() || changes.beacon_root.is_some() {
        return Err(RpcError::params(
            "of a block, only number, time, gasLimit, coinbase, random and baseFee can be overridden",
        ));
    }
    let block = &mut view.block;
    block.number = changes.number.unwrap_or(block.number);
    block.timestamp = changes.time.map_or(block.timestamp, U256::from);
    block.gas_limit = changes.gas_limit.unwrap_or(block.gas_limit);
    block.beneficiary = changes.coinbase.unwrap_or(block.beneficiary);
    block.prevrandao = changes.random.or(block.prevrandao);
    if let Some(fee) = changes.base_fee {
        block.basefee = u64::try_from(fee).map_err(|_| RpcError::params("baseFee is too large"))?;
    }
    Ok(())
}
