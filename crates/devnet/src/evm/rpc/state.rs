//! Balances, nonces, code and storage.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, U256};

use super::{Answer, RpcError, params::Params, quantity, shaped};
use crate::evm::{chain::Chain, state::State};

pub(super) fn balance(chain: &Chain, params: Params<'_>) -> Answer {
    let address: Address = params.required(0, "address")?;
    shaped(&at(chain, params, 1)?.balance(address))
}

pub(super) fn nonce(chain: &Chain, params: Params<'_>) -> Answer {
    let address: Address = params.required(0, "address")?;
    if params.optional(1, "block")? == Some(BlockId::Number(BlockNumberOrTag::Pending)) {
        return quantity(chain.node(|node| node.world.pool.next_nonce(address, &node.world.state)));
    }
    quantity(at(chain, params, 1)?.nonce(address))
}

pub(super) fn code(chain: &Chain, params: Params<'_>) -> Answer {
    let address: Address = params.required(0, "address")?;
    shaped(&at(chain, params, 1)?.code(address))
}

pub(super) fn storage(chain: &Chain, params: Params<'_>) -> Answer {
    let address: Address = params.required(0, "address")?;
    let slot: U256 = params.required(1, "slot")?;
    shaped(&B256::from(at(chain, params, 2)?.storage(address, slot)))
}

fn at(chain: &Chain, params: Params<'_>, index: usize) -> Result<State, RpcError> {
    let block = params.optional(index, "block")?;
    chain.node(|node| node.world.state_at(block))
}
