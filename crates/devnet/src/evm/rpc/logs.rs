//! `eth_getLogs`.

use std::sync::Arc;

use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log};

use super::{Answer, RpcError, params::Params, shape, shaped};
use crate::evm::{block::Block, chain::Chain, world::World};

pub(super) fn get(chain: &Chain, params: Params<'_>) -> Answer {
    let filter: Filter = params.required(0, "filter")?;
    let blocks = chain.node(|node| covered(&node.world, &filter))?;
    let found: Vec<Log> = blocks.iter().flat_map(|block| matching(block, &filter)).collect();
    shaped(&found)
}

/// The blocks that can hold what the filter asks for.
fn covered(world: &World, filter: &Filter) -> Result<Vec<Arc<Block>>, RpcError> {
    let (first, last) = match &filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let block = world.block_by_hash(hash).ok_or_else(|| RpcError::server("unknown block"))?;
            return Ok(vec![block.clone()]);
        }
        FilterBlockOption::Range { from_block, to_block } => {
            (world.number(from_block.unwrap_or_default()), world.number(to_block.unwrap_or_default()))
        }
    };
    let head = world.head().header.number;
    if first > last {
        return Err(RpcError::params("invalid block range params"));
    }
    let blocks = (first..=last.min(head)).filter_map(|number| world.block(number));
    Ok(blocks.filter(|block| filter.matches_bloom(block.header.logs_bloom)).cloned().collect())
}

fn matching(block: &Block, filter: &Filter) -> Vec<Log> {
    let all = block.transactions.iter().enumerate();
    let logs = all.flat_map(|(index, mined)| shape::logs(block, index, mined));
    logs.filter(|log| filter.matches(&log.inner)).collect()
}
