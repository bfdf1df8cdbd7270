//! Sending transactions.

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope, transaction::SignerRecoverable as _};
use alloy_eips::{BlockId, BlockNumberOrTag, eip2718::Decodable2718 as _};
use alloy_primitives::{Address, Bytes, Signature, TxKind, U256};
use alloy_rpc_types_eth::TransactionRequest;

use super::{Answer, RpcError, fees, params::Params, shaped, simulation};
use crate::evm::{
    chain::{Chain, Node},
    pool::Candidate,
};

pub(super) fn raw(chain: &Chain, params: Params<'_>) -> Answer {
    submit(chain, decode(&params.required(0, "transaction")?)?)
}

/// A signed transaction as it is sent.
pub(super) fn decode(bytes: &Bytes) -> Result<Candidate, RpcError> {
    let mut rest = bytes.as_ref();
    let transaction =
        TxEnvelope::decode_2718(&mut rest).map_err(|error| RpcError::params(error.to_string()))?;
    if !rest.is_empty() {
        return Err(RpcError::params("bytes after the transaction"));
    }
    let from = transaction.recover_signer().map_err(|_| RpcError::server("invalid sender"))?;
    Ok(Candidate { transaction, from, impersonated: false })
}

pub(super) fn impersonated(chain: &Chain, params: Params<'_>) -> Answer {
    let request: TransactionRequest = params.required(0, "transaction")?;
    let from = request.from.ok_or_else(|| RpcError::params("missing value for from"))?;
    if !chain.node(|node| node.impersonate_all || node.impersonated.contains(&from)) {
        return Err(RpcError::server("unknown account"));
    }
    let transaction = complete(chain, request, from)?;
    // What can't be signed is marked with the sender, so that equal transactions of two accounts differ in their hash.
    let mark = Signature::new(U256::from_be_slice(from.as_slice()), U256::ONE, false);
    let transaction = TxEnvelope::from(transaction.into_signed(mark));
    submit(chain, Candidate { transaction, from, impersonated: true })
}

fn complete(chain: &Chain, request: TransactionRequest, from: Address) -> Result<TxEip1559, RpcError> {
    let pending = BlockId::Number(BlockNumberOrTag::Pending);
    let gas_limit = match request.gas {
        Some(gas) => gas,
        None => simulation::estimate(&chain.node(|node| node.world.view(Some(pending)))?, &request)?,
    };
    let (chain_id, nonce, base_fee) = chain.node(|node: &mut Node| {
        let world = &node.world;
        (world.chain_id, world.pool.next_nonce(from, &world.state), world.next_base_fee())
    });
    let fee = request.max_fee_per_gas.or(request.gas_price).unwrap_or(u128::from(base_fee * 2 + fees::TIP));
    let tip =
        request.max_priority_fee_per_gas.or(request.gas_price).unwrap_or(u128::from(fees::TIP).min(fee));
    Ok(TxEip1559 {
        chain_id: request.chain_id.unwrap_or(chain_id),
        nonce: request.nonce.unwrap_or(nonce),
        gas_limit,
        max_fee_per_gas: fee,
        max_priority_fee_per_gas: tip,
        to: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        access_list: request.access_list.clone().unwrap_or_default(),
        input: request.input.into_input().unwrap_or_default(),
    })
}

fn submit(chain: &Chain, candidate: Candidate) -> Answer {
    let hash = chain.node(|node| node.world.submit(candidate))?;
    chain.mine_if_due();
    shaped(&hash)
}
