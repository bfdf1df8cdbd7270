//! `eth_call` and `eth_estimateGas`.

use alloy_eips::BlockId;
use alloy_primitives::{TxKind, U256};
use alloy_rpc_types_eth::TransactionRequest;
use revm::context::{TxEnv, result::ExecutionResult};

use super::{Answer, RpcError, error, overrides, params::Params, quantity, shaped};
use crate::evm::{
    chain::Chain,
    execution::{Mode, TRANSACTION_GAS, execute},
    world::View,
};

/// The most that a call may use, and what it gets by default. geth's.
const CALL_GAS: u64 = 50_000_000;
/// The least that any transaction needs.
const LEAST_GAS: u64 = 21_000;

pub(super) fn call(chain: &Chain, params: Params<'_>) -> Answer {
    let request: TransactionRequest = params.required(0, "transaction")?;
    let block: Option<BlockId> = params.optional(1, "block")?;
    let mut view = chain.node(|node| node.world.view(block))?;
    overrides::apply(
        &mut view,
        params.optional(2, "state overrides")?,
        params.optional(3, "block overrides")?,
    )?;
    let gas = request.gas.unwrap_or(CALL_GAS).min(CALL_GAS);
    shaped(&error::output(run(&view, &request, gas)?)?)
}

pub(super) fn estimate_gas(chain: &Chain, params: Params<'_>) -> Answer {
    let request: TransactionRequest = params.required(0, "transaction")?;
    let block: Option<BlockId> = params.optional(1, "block")?;
    let mut view = chain.node(|node| node.world.view(block))?;
    overrides::apply(
        &mut view,
        params.optional(2, "state overrides")?,
        params.optional(3, "block overrides")?,
    )?;
    quantity(estimate(&view, &request)?)
}

/// A gas limit with which the transaction succeeds, at most 1.5 % above the least one.
pub(super) fn estimate(view: &View, request: &TransactionRequest) -> Result<u64, RpcError> {
    let most = affordable(view, request)?;
    let result = run(view, request, most)?;
    if matches!(&result, ExecutionResult::Halt { .. }) {
        return Err(RpcError::server(format!("gas required exceeds allowance ({most})")));
    }
    let used = result.tx_gas_used();
    error::output(result)?;
    let enough = |gas| matches!(run(view, request, gas), Ok(result) if result.is_success());
    let (mut fails, mut works) = (used.saturating_sub(1), most);
    // Without refunds and inner calls it needs just what it used; a call passes on 63/64 of its gas at most.
    let mut guesses = [used, used + used / 63 + 2_300].into_iter();
    while works - fails > 1 && works - fails > works / 67 {
        let guess =
            guesses.next().map_or(fails + (works - fails) / 2, |guess| guess.clamp(fails + 1, works - 1));
        if enough(guess) {
            works = guess;
        } else {
            fails = guess;
        }
    }
    Ok(works)
}

fn affordable(view: &View, request: &TransactionRequest) -> Result<u64, RpcError> {
    let most = request.gas.filter(|gas| *gas >= LEAST_GAS).unwrap_or(TRANSACTION_GAS).min(TRANSACTION_GAS);
    let price = request.max_fee_per_gas.or(request.gas_price).unwrap_or_default();
    if price == 0 {
        return Ok(most);
    }
    let balance = view.state.balance(request.from.unwrap_or_default());
    let left = balance.checked_sub(request.value.unwrap_or_default());
    let left = left.ok_or_else(|| RpcError::server("insufficient funds for transfer"))?;
    let gas = u64::try_from(left / U256::from(price)).unwrap_or(u64::MAX).min(most);
    if gas < LEAST_GAS {
        return Err(RpcError::server(format!("gas required exceeds allowance ({gas})")));
    }
    Ok(gas)
}

fn run(view: &View, request: &TransactionRequest, gas: u64) -> Result<ExecutionResult, RpcError> {
    let from = request.from.unwrap_or_default();
    let mut transaction = TxEnv::builder()
        .caller(from)
        .gas_limit(gas)
        .gas_price(request.max_fee_per_gas.or(request.gas_price).unwrap_or_default())
        .gas_priority_fee(request.max_priority_fee_per_gas)
        .kind(request.to.unwrap_or(TxKind::Create))
        .value(request.value.unwrap_or_default())
        .data(request.input.input().cloned().unwrap_or_default())
        .nonce(request.nonce.unwrap_or_else(|| view.state.nonce(from)))
        .chain_id(Some(request.chain_id.unwrap_or(view.chain_id)))
        .access_list(request.access_list.clone().unwrap_or_default());
    if let Some(authorizations) = request.authorization_list.clone() {
        transaction = transaction.authorization_list_signed(authorizations);
    }
    let outcome = execute(&view.state, view.chain_id, &view.block, transaction.build_fill(), Mode::Call)?;
    Ok(outcome.result)
}
