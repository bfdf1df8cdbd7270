//! Blocks, transactions and receipts.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::B256;
use alloy_rpc_types_eth::TransactionReceipt;
use serde_json::Value;

use super::{Answer, params::Params, shape, shaped};
use crate::evm::{block::Block, chain::Chain};

pub(super) fn by_number(chain: &Chain, params: Params<'_>) -> Answer {
    let tag: BlockNumberOrTag = params.required(0, "block number")?;
    let full = params.optional(1, "full")?.unwrap_or(false);
    chain.node(|node| match tag {
        BlockNumberOrTag::Pending => pending(&node.world.pending().0, full),
        tag => node
            .world
            .block(node.world.number(tag))
            .map_or(Ok(Value::Null), |block| shaped(&shape::block(block, full))),
    })
}

pub(super) fn by_hash(chain: &Chain, params: Params<'_>) -> Answer {
    let hash: B256 = params.required(0, "block hash")?;
    let full = params.optional(1, "full")?.unwrap_or(false);
    let block = chain.node(|node| node.world.block_by_hash(&hash).cloned());
    block.map_or(Ok(Value::Null), |block| shaped(&shape::block(&block, full)))
}

/// What isn't sealed has no hash yet.
fn pending(block: &Block, full: bool) -> Answer {
    let mut answer = shaped(&shape::block(block, full))?;
    for field in ["hash", "nonce"] {
        if let Some(value) = answer.get_mut(field) {
            *value = Value::Null;
        }
    }
    Ok(answer)
}

pub(super) fn transaction(chain: &Chain, params: Params<'_>) -> Answer {
    let hash: B256 = params.required(0, "transaction hash")?;
    chain.node(|node| {
        if let Some((block, index, mined)) = node.world.mined(&hash) {
            return shaped(&shape::transaction(block, index, mined));
        }
        let waiting = node.world.pool.get(&hash);
        waiting.map_or(Ok(Value::Null), |candidate| shaped(&shape::waiting(candidate)))
    })
}

pub(super) fn receipt(chain: &Chain, params: Params<'_>) -> Answer {
    let hash: B256 = params.required(0, "transaction hash")?;
    chain.node(|node| {
        let mined = node.world.mined(&hash);
        mined.map_or(Ok(Value::Null), |(block, index, mined)| shaped(&shape::receipt(block, index, mined)))
    })
}

pub(super) fn receipts(chain: &Chain, params: Params<'_>) -> Answer {
    let block: BlockId = params.required(0, "block")?;
    let block = chain.node(|node| match block {
        BlockId::Number(tag) => node.world.block(node.world.number(tag)).cloned(),
        BlockId::Hash(hash) => node.world.block_by_hash(&hash.block_hash).cloned(),
    });
    block.map_or(Ok(Value::Null), |block| shaped(&receipts_of(&block)))
}

fn receipts_of(block: &Block) -> Vec<TransactionReceipt> {
    let all = block.transactions.iter().enumerate();
    all.map(|(index, mined)| shape::receipt(block, index, mined)).collect()
}
