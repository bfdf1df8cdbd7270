//! Slots, heights and blockhashes.

use serde_json::{Value, json};
use solana_hash::Hash;

use super::{
    super::{bank::SLOTS_IN_EPOCH, node::Node},
    Answer, in_context,
    params::{Params, text},
};

/// `getRecentPrioritizationFees` tells of so many slots at most.
const FEE_SLOTS: u64 = 150;
/// It takes so many addresses.
const FEE_ADDRESSES: usize = 128;

pub(super) fn slot(node: &Node, params: Params<'_>) -> Answer {
    Ok(json!(params.options(0)?.bank(node)?.slot))
}

pub(super) fn block_height(node: &Node, params: Params<'_>) -> Answer {
    Ok(json!(params.options(0)?.bank(node)?.height))
}

/// The first slot of which all transactions are kept.
pub(super) fn first_available_block(node: &Node) -> u64 {
    node.history.first_whole_slot().unwrap_or_else(|| node.first_slot())
}

pub(super) fn epoch_info(node: &Node, params: Params<'_>) -> Answer {
    let options = params.options(0)?;
    let bank = options.bank(node)?;
    Ok(json!({
        "absoluteSlot": bank.slot,
        "blockHeight": bank.height,
        "epoch": bank.slot / SLOTS_IN_EPOCH,
        "slotIndex": bank.slot % SLOTS_IN_EPOCH,
        "slotsInEpoch": SLOTS_IN_EPOCH,
        "transactionCount": node.history.count(),
    }))
}

pub(super) fn latest_blockhash(node: &Node, params: Params<'_>) -> Answer {
    let options = params.options(0)?;
    let bank = options.bank(node)?;
    let last = bank.height.saturating_add(node.rules.blockhash_age);
    let value = json!({ "blockhash": bank.latest.0.to_string(), "lastValidBlockHeight": last });
    Ok(in_context(bank, value))
}

pub(super) fn is_blockhash_valid(node: &Node, params: Params<'_>) -> Answer {
    let hash: Hash = text(&params.required::<String>(0, "blockhash")?)?;
    let options = params.options(1)?;
    let bank = options.bank(node)?;
    Ok(in_context(bank, node.blockhash_is_good(&hash, bank)))
}

pub(super) fn prioritization_fees(node: &Node, params: Params<'_>) -> Answer {
    if params.0.get(0).is_some_and(|addresses| !addresses.is_null()) {
        params.texts::<solana_address::Address>(0, FEE_ADDRESSES)?;
    }
    let newest = node.confirmed();
    let oldest = newest.slot.saturating_sub(FEE_SLOTS - 1).max(node.first_slot());
    let fee = |slot| json!({ "slot": slot, "prioritizationFee": node.priority_fee });
    Ok(Value::Array((oldest..=newest.slot).map(fee).collect()))
}
