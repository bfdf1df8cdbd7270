//! What a transaction should pay.

use alloy_consensus::Transaction as _;
use alloy_eips::BlockNumberOrTag;
use alloy_rpc_types_eth::FeeHistory;

use super::{Answer, RpcError, params::Params, quantity, shaped};
use crate::evm::{block::Block, chain::Chain};

/// The tip that is suggested, in wei: Base's usual one.
pub(super) const TIP: u64 = 1_000_000;
/// Longer histories are cut, as by geth.
const LONGEST: u64 = 1024;

pub(super) fn gas_price(chain: &Chain) -> Answer {
    quantity(chain.node(|node| node.world.next_base_fee()) + TIP)
}

pub(super) fn history(chain: &Chain, params: Params<'_>) -> Answer {
    let wanted = params.required_number(0, "block count")?.min(LONGEST);
    let newest: BlockNumberOrTag = params.required(1, "newest block")?;
    let percentiles: Option<Vec<f64>> = params.optional(2, "reward percentiles")?;
    if let Some(percentiles) = &percentiles {
        check(percentiles)?;
    }
    chain.node(|node| {
        let newest = node.world.number(newest);
        let last = node.world.block(newest).ok_or_else(|| RpcError::server("request beyond head block"))?;
        let oldest = (newest + 1).saturating_sub(wanted);
        let blocks: Vec<_> = (oldest..=newest).filter_map(|number| node.world.block(number)).collect();
        let mut base_fees: Vec<u128> = blocks.iter().map(|block| block.base_fee().into()).collect();
        let is_newest = last.hash == node.world.head().hash;
        let next = if is_newest { node.world.next_base_fee() } else { last.next_base_fee() };
        base_fees.push(next.into());
        shaped(&FeeHistory {
            base_fee_per_blob_gas: vec![1; base_fees.len()],
            base_fee_per_gas: base_fees,
            gas_used_ratio: blocks
                .iter()
                .map(|block| ratio(block.header.gas_used, block.header.gas_limit))
                .collect(),
            blob_gas_used_ratio: vec![0.0; blocks.len()],
            oldest_block: oldest,
            reward: percentiles.map(|wanted| blocks.iter().map(|block| rewards(block, &wanted)).collect()),
        })
    })
}

fn check(percentiles: &[f64]) -> Result<(), RpcError> {
    let inside = percentiles.iter().all(|percentile| (0.0..=100.0).contains(percentile));
    if inside && percentiles.is_sorted() && percentiles.len() <= 100 {
        return Ok(());
    }
    Err(RpcError::params("invalid reward percentiles: at most 100 of them, between 0 and 100 and rising"))
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// The tips below which these shares of the block's gas paid.
fn rewards(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let base_fee = block.base_fee();
    let tip = |mined: &super::super::block::Mined| {
        let tip = mined.candidate.transaction.effective_tip_per_gas(base_fee);
        (tip.unwrap_or_default(), mined.gas_used)
    };
    let mut tips: Vec<(u128, u64)> = block.transactions.iter().map(tip).collect();
    tips.sort_unstable();
    let reward = |percentile: &f64| {
        let share = block.header.gas_used as f64 * percentile / 100.0;
        let mut gas = 0;
        let reached = tips.iter().find(|(_, used)| {
            gas += used;
            gas as f64 >= share
        });
        reached.or(tips.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(reward).collect()
}
