//! What a transaction must be to get into the pool. The texts are geth's.

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_primitives::U256;
use revm::{context_interface::cfg::gas::calculate_initial_tx_gas, primitives::eip3860::MAX_INITCODE_SIZE};

use super::{
    execution::{BLOCK_GAS, SPEC, TRANSACTION_GAS},
    pool::Candidate,
    rpc::RpcError,
    world::World,
};

pub(crate) fn check(candidate: &Candidate, world: &World) -> Result<(), RpcError> {
    check_shape(candidate, world.chain_id)?;
    check_gas(&candidate.transaction)?;
    check_sender(candidate, world)
}

fn check_shape(candidate: &Candidate, chain_id: u64) -> Result<(), RpcError> {
    let transaction = &candidate.transaction;
    if transaction.is_eip4844() {
        return Err(RpcError::server("transaction type not supported"));
    }
    if let Some(have) = transaction.chain_id().filter(|have| *have != chain_id) {
        return refuse(format!("invalid chain id for signer: have {have} want {chain_id}"));
    }
    if transaction.authorization_list().is_some_and(<[_]>::is_empty) {
        return refuse("EIP-7702 transaction with empty auth list");
    }
    let size = transaction.input().len();
    if transaction.is_create() && size > MAX_INITCODE_SIZE {
        return refuse(format!("max initcode size exceeded: code size {size}, limit {MAX_INITCODE_SIZE}"));
    }
    let (cap, tip) = (transaction.max_fee_per_gas(), transaction.max_priority_fee_per_gas());
    if let Some(tip) = tip.filter(|tip| *tip > cap) {
        let from = candidate.from;
        return refuse(format!(
            "max priority fee per gas higher than max fee per gas: address {from}, maxPriorityFeePerGas: {tip}, \
             maxFeePerGas: {cap}"
        ));
    }
    Ok(())
}

fn check_gas(transaction: &TxEnvelope) -> Result<(), RpcError> {
    let gas = transaction.gas_limit();
    if gas > BLOCK_GAS {
        return refuse("exceeds block gas limit");
    }
    if gas > TRANSACTION_GAS {
        return refuse(format!("transaction gas limit too high (cap: {TRANSACTION_GAS}, tx: {gas})"));
    }
    let accounts = transaction.access_list().map_or(0, |list| list.len());
    let slots =
        transaction.access_list().map_or(0, |list| list.iter().map(|item| item.storage_keys.len()).sum());
    let authorizations = transaction.authorization_list().map_or(0, <[_]>::len);
    let least = calculate_initial_tx_gas(
        SPEC,
        transaction.input(),
        transaction.is_create(),
        accounts as u64,
        slots as u64,
        authorizations as u64,
        None,
    );
    let (initial, floor) = (least.initial_total_gas(), least.floor_gas);
    if gas < initial {
        return refuse(format!("intrinsic gas too low: gas {gas}, minimum needed {initial}"));
    }
    if gas < floor {
        return refuse(format!(
            "insufficient gas for floor data gas cost: gas {gas}, minimum needed {floor}"
        ));
    }
    Ok(())
}

fn check_sender(candidate: &Candidate, world: &World) -> Result<(), RpcError> {
    let (from, nonce) = (candidate.from, candidate.transaction.nonce());
    let next = world.state.nonce(from);
    if nonce < next {
        return refuse(format!("nonce too low: next nonce {next}, tx nonce {nonce}"));
    }
    if !candidate.impersonated && !world.state.is_signer(from) {
        return refuse(format!("sender not an eoa: address {from}"));
    }
    let (balance, cost) = (world.state.balance(from), candidate.cost());
    if balance < cost {
        let overshot = cost.saturating_sub(balance);
        return refuse(format!(
            "insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {overshot}"
        ));
    }
    let promised: U256 = world.pool.promised(from, nonce);
    let total = promised.saturating_add(cost);
    if balance < total {
        let overshot = total.saturating_sub(balance);
        return refuse(format!(
            "insufficient funds for gas * price + value: balance {balance}, queued cost {promised}, tx cost {cost}, \
             overshot {overshot}"
        ));
    }
    Ok(())
}

fn refuse(message: impl Into<String>) -> Result<(), RpcError> {
    Err(RpcError::server(message))
}
