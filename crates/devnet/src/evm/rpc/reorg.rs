//! Reorganisations: `anvil_reorg`, and `tollway_reorg`, which can keep what was in the dropped blocks.

use alloy_primitives::Bytes;
use serde_json::{Value, json};

use super::{Answer, RpcError, params::Params, submission};
use crate::evm::chain::Chain;

/// How many transactions one request may bring along.
const MOST: usize = 10_000;

/// `anvil_reorg` takes a depth and pairs of a signed transaction and the number of the new block that it goes into, from
/// 0. The chain is as long as before.
pub(super) fn replacing(chain: &Chain, params: Params<'_>) -> Answer {
    let depth = params.required_number(0, "depth")?;
    let pairs: Vec<(Bytes, u64)> =
        params.optional(1, "signed transactions with their blocks")?.unwrap_or_default();
    if pairs.len() > MOST {
        return Err(RpcError::params(format!("at most {MOST} transactions at once")));
    }
    chain.node(|node| {
        // Before anything of that size is made: a depth that can't be is refused.
        let deepest = node.world.head().header.number.min(crate::evm::world::HISTORY as u64);
        let mut blocks: Vec<_> = (0..depth.min(deepest)).map(|_| Vec::new()).collect();
        for (transaction, index) in &pairs {
            let block = usize::try_from(*index).ok().and_then(|index| blocks.get_mut(index));
            let block =
                block.ok_or_else(|| RpcError::params(format!("the new branch has no block {index}")))?;
            block.push(submission::decode(transaction)?);
        }
        node.world.reorganise_into(depth, blocks)
    })?;
    Ok(Value::Null)
}

/// `tollway_reorg` takes `{depth, keep}`; the new branch is longer by one block. Answers the new height.
pub(super) fn keeping(chain: &Chain, params: Params<'_>) -> Answer {
    let options: Value = params.required(0, "options")?;
    let fields = json!([options.get("depth"), options.get("keep")]);
    let depth = Params(&fields).required_number(0, "depth")?;
    let keep = Params(&fields).optional(1, "keep")?.unwrap_or(false);
    chain.reorg(depth, keep)?;
    super::quantity(chain.block_number())
}
