//! One transaction on one state.

use std::convert::Infallible;

use alloy_consensus::{Header, Transaction as _, Typed2718 as _};
use alloy_primitives::U256;
use revm::{
    Context, ExecuteEvm as _, MainBuilder as _, MainContext as _,
    context::{
        BlockEnv, TxEnv,
        result::{EVMError, ExecResultAndState, ExecutionResult, InvalidTransaction},
    },
    primitives::hardfork::SpecId,
    state::EvmState,
};

use super::{pool::Candidate, state::State};

/// The rules of the chain.
pub(crate) const SPEC: SpecId = SpecId::OSAKA;
/// How much gas one block holds.
pub(crate) const BLOCK_GAS: u64 = 30_000_000;
/// How much gas one transaction may have (EIP-7825).
pub(crate) const TRANSACTION_GAS: u64 = 1 << 24;

/// How strictly the sender is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As in a block.
    Signed,
    /// As in a block, but a contract may be the sender.
    Impersonated,
    /// As in `eth_call`: any sender and nonce, without fees unless they are given, without the block's gas limit.
    Call,
}

/// Why a transaction can't be executed at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Invalid(InvalidTransaction),
    #[error("{0}")]
    Other(String),
}

pub(crate) type Outcome = ExecResultAndState<ExecutionResult, EvmState>;

pub(crate) fn execute(
    state: &State,
    chain_id: u64,
    block: &BlockEnv,
    transaction: TxEnv,
    mode: Mode,
) -> Result<Outcome, Refused> {
    let free = transaction.gas_price == 0;
    let mut evm = Context::mainnet()
        .with_ref_db(state)
        .with_block(block.clone())
        .modify_cfg_chained(|rules| {
            rules.set_spec_and_mainnet_gas_params(SPEC);
            rules.chain_id = chain_id;
            rules.disable_eip3607 = mode != Mode::Signed;
            if mode == Mode::Call {
                rules.disable_nonce_check = true;
                rules.disable_block_gas_limit = true;
                rules.disable_base_fee = free;
                rules.tx_gas_limit_cap = Some(u64::MAX);
            }
        })
        .build_mainnet();
    evm.transact(transaction).map_err(|error: EVMError<Infallible>| match error {
        EVMError::Transaction(invalid) => Refused::Invalid(invalid),
        other => Refused::Other(other.to_string()),
    })
}

/// The surroundings that contracts of this block see.
pub(crate) fn surroundings(header: &Header) -> BlockEnv {
    BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        prevrandao: Some(header.mix_hash),
        ..BlockEnv::default()
    }
}

/// The transaction in revm's words.
pub(crate) fn environment(candidate: &Candidate) -> Result<TxEnv, Refused> {
    let transaction = &candidate.transaction;
    TxEnv::builder()
        .tx_type(Some(transaction.ty()))
        .caller(candidate.from)
        .gas_limit(transaction.gas_limit())
        .gas_price(transaction.max_fee_per_gas())
        .gas_priority_fee(transaction.max_priority_fee_per_gas())
        .kind(transaction.kind())
        .value(transaction.value())
        .data(transaction.input().clone())
        .nonce(transaction.nonce())
        .chain_id(transaction.chain_id())
        .access_list(transaction.access_list().cloned().unwrap_or_default())
        .authorization_list_signed(transaction.authorization_list().unwrap_or_default().to_vec())
        .build()
        .map_err(|error| Refused::Other(error.to_string()))
}
