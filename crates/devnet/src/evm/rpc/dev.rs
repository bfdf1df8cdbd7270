//! What only a development chain can do: the methods that anvil, hardhat and their users know.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde_json::{Value, json};

use super::{Answer, RpcError, params::Params, quantity, reorg, shaped};
use crate::evm::{
    chain::{Chain, Mining, Node},
    miner::NoRuntime,
    world::World,
};

/// How many blocks one request may ask for.
const MOST_BLOCKS: u64 = 10_000;

pub(super) fn dispatch(chain: &Chain, method: &str, params: Params<'_>) -> Answer {
    let Some(("evm" | "anvil" | "hardhat", verb)) = method.split_once('_') else {
        return match method {
            "txpool_status" => pool_status(chain),
            "tollway_reorg" => reorg::keeping(chain, params),
            _ => Err(RpcError::unknown_method(method)),
        };
    };
    let answer = match verb {
        "mine" if method == "evm_mine" => mine_at(chain, params),
        "mine" => mine_many(chain, params),
        "increaseTime" => increase_time(chain, params),
        "setNextBlockTimestamp" => set_next_time(chain, params),
        "setAutomine" => set_automine(chain, params),
        "getAutomine" => Ok(json!(chain.mining() == Mining::Auto)),
        "setIntervalMining" => set_interval(chain, params),
        "reorg" => reorg::replacing(chain, params),
        "snapshot" => snapshot(chain),
        "revert" => revert(chain, params),
        "setBalance" => with_account(chain, params, |world, account| {
            world.state.set_balance(account, params.required(1, "balance")?);
            Ok(())
        }),
        "setCode" => with_account(chain, params, |world, account| {
            world.state.set_code(account, params.required::<Bytes>(1, "code")?);
            Ok(())
        }),
        "setNonce" => with_account(chain, params, |world, account| {
            world.state.set_nonce(account, params.required_number(1, "nonce")?);
            world.pool.forget_used_nonces(&world.state);
            Ok(())
        }),
        "setNextBlockBaseFeePerGas" => {
            let fee = params.required_number(0, "base fee")?;
            chain.node(|node| node.world.base_fee = Some(fee));
            Ok(Value::Null)
        }
        "setStorageAt" => set_storage(chain, params),
        "dropTransaction" => drop_transaction(chain, params),
        "dropAllTransactions" => {
            chain.node(|node| node.world.pool.clear());
            Ok(Value::Null)
        }
        "impersonateAccount" => impersonate(chain, params, true),
        "stopImpersonatingAccount" => impersonate(chain, params, false),
        "autoImpersonateAccount" => auto_impersonate(chain, params),
        _ => Err(RpcError::unknown_method(method)),
    }?;
    chain.mine_if_due();
    Ok(answer)
}

/// `evm_mine` takes a time, or an object with a time and a number of blocks.
fn mine_at(chain: &Chain, params: Params<'_>) -> Answer {
    let options: Option<Value> = params.optional(0, "options")?;
    let (time, blocks) = match &options {
        Some(Value::Object(fields)) => {
            let fields = json!([fields.get("timestamp"), fields.get("blocks")]);
            (Params(&fields).number(0, "timestamp")?, Params(&fields).number(1, "blocks")?)
        }
        _ => (params.number(0, "timestamp")?, None),
    };
    chain.node(|node| {
        if let Some(time) = time {
            set_time(&mut node.world, time)?;
        }
        (0..bounded(blocks.unwrap_or(1))?).for_each(|_| node.world.mine());
        Ok(json!("0x0"))
    })
}

/// `anvil_mine` takes a number of blocks and the seconds between them.
fn mine_many(chain: &Chain, params: Params<'_>) -> Answer {
    let blocks = bounded(params.number(0, "blocks")?.unwrap_or(1))?;
    let apart = params.number(1, "interval")?;
    chain.node(|node| {
        for block in 0..blocks {
            if let (Some(seconds), 1..) = (apart, block) {
                let newest = node.world.head().header.timestamp;
                set_time(&mut node.world, newest.saturating_add(seconds.max(1)))?;
            }
            node.world.mine();
        }
        Ok(Value::Null)
    })
}

fn bounded(blocks: u64) -> Result<u64, RpcError> {
    if blocks <= MOST_BLOCKS {
        return Ok(blocks);
    }
    Err(RpcError::params(format!("at most {MOST_BLOCKS} blocks at once")))
}

fn increase_time(chain: &Chain, params: Params<'_>) -> Answer {
    let seconds = params.required_number(0, "seconds")?;
    let offset = chain.node(|node| node.world.clock.advance(seconds));
    quantity(offset.unsigned_abs())
}

fn set_next_time(chain: &Chain, params: Params<'_>) -> Answer {
    let time = params.required_number(0, "timestamp")?;
    chain.node(|node| set_time(&mut node.world, time)).map(|()| Value::Null)
}

fn set_time(world: &mut World, time: u64) -> Result<(), RpcError> {
    let newest = world.head().header.timestamp;
    if time <= newest {
        return Err(RpcError::params(format!("timestamp {time} is not after the newest block's, {newest}")));
    }
    world.clock.set_next(time);
    Ok(())
}

fn set_automine(chain: &Chain, params: Params<'_>) -> Answer {
    let mode = match (params.required(0, "enabled")?, chain.mining()) {
        (true, _) => Mining::Auto,
        (false, Mining::Auto) => Mining::Manual,
        (false, other) => other,
    };
    set_mining(chain, mode)
}

fn set_interval(chain: &Chain, params: Params<'_>) -> Answer {
    let mode = match params.required_number(0, "seconds")? {
        0 => Mining::Manual,
        seconds => Mining::Interval(Duration::from_secs(seconds)),
    };
    set_mining(chain, mode)
}

fn set_mining(chain: &Chain, mode: Mining) -> Answer {
    chain.set_mining(mode).map_err(|error: NoRuntime| RpcError::internal(error.to_string()))?;
    Ok(Value::Null)
}

fn snapshot(chain: &Chain) -> Answer {
    chain.node(|node| {
        node.last_snapshot += 1;
        node.snapshots.insert(node.last_snapshot, node.world.clone());
        quantity(node.last_snapshot)
    })
}

/// Goes back to a snapshot, which is then gone, as are later ones.
fn revert(chain: &Chain, params: Params<'_>) -> Answer {
    let id = params.required_number(0, "snapshot")?;
    chain.node(|node| {
        let Some(world) = node.snapshots.get(&id).cloned() else { return Ok(json!(false)) };
        node.snapshots.split_off(&id);
        node.world = world;
        Ok(json!(true))
    })
}

fn with_account(
    chain: &Chain,
    params: Params<'_>,
    change: impl FnOnce(&mut World, Address) -> Result<(), RpcError>,
) -> Answer {
    let account = params.required(0, "address")?;
    chain.node(|node| change(&mut node.world, account)).map(|()| Value::Null)
}

fn set_storage(chain: &Chain, params: Params<'_>) -> Answer {
    let account: Address = params.required(0, "address")?;
    let (slot, value): (U256, U256) = (params.required(1, "slot")?, params.required(2, "value")?);
    chain.node(|node| node.world.state.set_storage(account, slot, value));
    Ok(json!(true))
}

fn drop_transaction(chain: &Chain, params: Params<'_>) -> Answer {
    let hash: B256 = params.required(0, "transaction hash")?;
    let dropped = chain.node(|node| node.world.pool.drop_transaction(&hash));
    shaped(&dropped.then_some(hash))
}

fn impersonate(chain: &Chain, params: Params<'_>, begin: bool) -> Answer {
    let account: Address = params.required(0, "address")?;
    chain.node(|node: &mut Node| match begin {
        true => node.impersonated.insert(account),
        false => node.impersonated.remove(&account),
    });
    Ok(Value::Null)
}

fn auto_impersonate(chain: &Chain, params: Params<'_>) -> Answer {
    let enabled = params.required(0, "enabled")?;
    chain.node(|node| node.impersonate_all = enabled);
    Ok(Value::Null)
}

fn pool_status(chain: &Chain) -> Answer {
    let (pending, queued) = chain.node(|node| node.world.pool.counts(&node.world.state));
    Ok(json!({ "pending": quantity(pending)?, "queued": quantity(queued)? }))
}
