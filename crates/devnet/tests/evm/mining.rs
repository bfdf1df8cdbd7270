//! When blocks come and what they cost.

use std::time::Duration;

use alloy_primitives::{Address, U256};
use alloy_rpc_types_eth::FeeHistory;
use serde_json::{Value, json};
use tokio::{runtime::Handle, time::Instant};
use tollway_devnet::evm::{Chain, Mining, NoRuntime};

use crate::{
    client::{Draft, signer},
    nodes::Node,
};

fn ask(chain: &Chain, method: &str, params: &Value) -> Value {
    chain.request(method, params).unwrap()
}

#[tokio::test(start_paused = true)]
async fn blocks_come_at_intervals_and_end_with_the_chain() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let chain = Chain::builder().mining(Mining::Interval(Duration::from_secs(2))).build().unwrap();
    let begin = Instant::now();
    while chain.block_number() < 3 {
        tokio::time::advance(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
    assert!(begin.elapsed() >= Duration::from_secs(6), "after {:?}", begin.elapsed());
    assert_eq!(tasks(), before + 1);
    drop(chain);
    while tasks() > before {
        tokio::task::yield_now().await;
    }
}

#[test]
fn mining_at_intervals_needs_a_runtime() {
    assert_eq!(
        Chain::builder().mining(Mining::Interval(Duration::from_secs(2))).build().unwrap_err(),
        NoRuntime
    );
    let chain = Chain::builder().build().unwrap();
    let refusal = chain.request("evm_setIntervalMining", &json!([2])).unwrap_err();
    assert_eq!(refusal.message, "mining at intervals needs a tokio runtime");
}

#[tokio::test]
async fn what_waited_is_mined_when_automatic_mining_returns() {
    let chain = Chain::builder().mining(Mining::Interval(Duration::from_secs(3600))).build().unwrap();
    let sender = signer(0x22);
    chain.set_balance(sender.address(), U256::from(10u128.pow(20)));
    let hash = ask(&chain, "eth_sendRawTransaction", &json!([Draft::of_one_wei(0).signed(&sender)]));
    assert_eq!(chain.block_number(), 0);
    let pending = ask(&chain, "eth_getBlockByNumber", &json!(["pending", false]));
    assert_eq!((&pending["hash"], &pending["transactions"]), (&Value::Null, &json!([hash])));
    assert_eq!(ask(&chain, "eth_getBalance", &json!([Address::repeat_byte(0xee), "pending"])), json!("0x1"));
    assert_eq!(ask(&chain, "eth_getBalance", &json!([Address::repeat_byte(0xee), "latest"])), json!("0x0"));
    ask(&chain, "evm_setAutomine", &json!([true]));
    assert_eq!(chain.block_number(), 1);
}

#[test]
fn a_full_block_leaves_the_rest_to_the_next() {
    let chain = Chain::builder().mining(Mining::Manual).build().unwrap();
    for number in 1..=4 {
        let sender = signer(number);
        chain.set_balance(sender.address(), U256::from(10u128.pow(20)));
        let draft = Draft::of_one_wei(0).with(|tx| tx.gas_limit = 14_900_000);
        // Its gas is spent: the code loops until it has none.
        chain.set_code(Address::repeat_byte(0xee), vec![0x5b, 0x5f, 0x56]);
        ask(&chain, "eth_sendRawTransaction", &json!([draft.signed(&sender)]));
    }
    ask(&chain, "evm_setAutomine", &json!([true]));
    let used = |number: &str| ask(&chain, "eth_getBlockByNumber", &json!([number, false]))["gasUsed"].clone();
    assert_eq!(chain.block_number(), 2);
    assert_eq!((used("0x1"), used("0x2")), (json!(U256::from(29_800_000)), json!(U256::from(29_800_000))));
}

#[test]
fn a_burst_from_many_threads_is_mined_without_loss() {
    let chain = Chain::builder().mining(Mining::Manual).build().unwrap();
    std::thread::scope(|scope| {
        for number in 1..=8 {
            let chain = &chain;
            scope.spawn(move || {
                let sender = signer(number);
                chain.set_balance(sender.address(), U256::from(10u128.pow(20)));
                for nonce in (0..50).rev() {
                    ask(chain, "eth_sendRawTransaction", &json!([Draft::of_one_wei(nonce).signed(&sender)]));
                }
            });
        }
    });
    assert_eq!(ask(&chain, "txpool_status", &json!([])), json!({ "pending": "0x190", "queued": "0x0" }));
    chain.mine();
    let receipts = ask(&chain, "eth_getBlockReceipts", &json!(["latest"]));
    assert_eq!(receipts.as_array().unwrap().len(), 400);
    assert_eq!(chain.balance(Address::repeat_byte(0xee)), U256::from(400));
}

#[test]
fn the_base_fee_falls_after_empty_blocks_and_rises_after_full_ones() {
    let chain = Chain::builder().base_fee(1_000_000_000).mining(Mining::Manual).build().unwrap();
    let fee = |chain: &Chain| {
        let block = ask(chain, "eth_getBlockByNumber", &json!(["latest", false]));
        serde_json::from_value::<U256>(block["baseFeePerGas"].clone()).unwrap().to::<u64>()
    };
    chain.mine();
    chain.mine();
    assert_eq!(fee(&chain), 765_625_000);
    chain.set_code(Address::repeat_byte(0xee), vec![0x5b, 0x5f, 0x56]);
    for number in 1..=2 {
        chain.set_balance(signer(number).address(), U256::from(10u128.pow(20)));
        let draft = Draft::of_one_wei(0).with(|tx| tx.gas_limit = 15_000_000);
        ask(&chain, "eth_sendRawTransaction", &json!([draft.signed(&signer(number))]));
    }
    chain.mine();
    let full = fee(&chain);
    chain.mine();
    assert_eq!(fee(&chain), full + full / 8);
}

#[test]
fn fee_history_tells_fees_usage_and_tips() {
    let chain = Chain::builder().build().unwrap();
    let sender = signer(0x22);
    chain.set_balance(sender.address(), U256::from(10u128.pow(20)));
    for nonce in 0..2 {
        ask(&chain, "eth_sendRawTransaction", &json!([Draft::of_one_wei(nonce).signed(&sender)]));
    }
    let history = ask(&chain, "eth_feeHistory", &json!(["0x5", "latest", [0, 50.0]]));
    let history: FeeHistory = serde_json::from_value(history).unwrap();
    assert_eq!(history.oldest_block, 0);
    assert_eq!(history.base_fee_per_gas.len(), 4);
    assert_eq!(history.gas_used_ratio, [0.0, 0.0007, 0.0007]);
    assert_eq!(history.reward.unwrap(), [[0, 0], [1_000_000_000; 2], [1_000_000_000; 2]]);
    let next = history.base_fee_per_gas[3];
    assert_eq!(ask(&chain, "eth_gasPrice", &json!([])), json!(U256::from(next + 1_000_000)));
    chain.request("eth_feeHistory", &json!([1, "latest", [50, 20]])).unwrap_err();
}

#[test]
fn block_times_follow_the_given_clock_and_always_rise() {
    let chain = Chain::builder().clock(|| 1_800_000_000).build().unwrap();
    chain.mine();
    chain.mine();
    let head = ask(&chain, "eth_getBlockByNumber", &json!(["latest", false]));
    assert_eq!(head["timestamp"], json!(U256::from(1_800_000_002u64)));
}

#[tokio::test]
async fn a_call_is_judged_by_the_time_of_the_next_block() {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };
    let now = Arc::new(AtomicU64::new(1_800_000_000));
    let clock = now.clone();
    let chain = Chain::builder().clock(move || clock.load(Ordering::SeqCst)).build().unwrap();
    let node = Node::serving(chain).await;
    now.fetch_add(900, Ordering::SeqCst);
    let time = node
        .client
        .read(node.contracts.multicall3, crate::abi::Multicall::getCurrentBlockTimestampCall {})
        .await;
    assert_eq!(time, U256::from(1_800_000_900u64));
}

#[test]
fn the_next_block_has_the_base_fee_that_it_was_told() {
    let chain = Chain::builder().mining(Mining::Manual).build().unwrap();
    ask(&chain, "anvil_setNextBlockBaseFeePerGas", &json!(["0x77"]));
    assert_eq!(ask(&chain, "eth_gasPrice", &json!([])), json!(U256::from(0x77 + 1_000_000)));
    let history = ask(&chain, "eth_feeHistory", &json!([1, "latest", []]));
    assert_eq!(history["baseFeePerGas"][1], json!("0x77"));
    chain.mine();
    chain.mine();
    let fee = |number| ask(&chain, "eth_getBlockByNumber", &json!([number, false]))["baseFeePerGas"].clone();
    assert_eq!((fee("0x1"), fee("0x2")), (json!("0x77"), json!(U256::from(0x77 - 0x77 / 8))));
}

#[test]
fn safe_and_finalized_follow_at_their_distance() {
    let chain = Chain::builder().mining(Mining::Manual).finality(2, 5).build().unwrap();
    let numbers = |chain: &Chain| {
        ["latest", "safe", "finalized"]
            .map(|tag| ask(chain, "eth_getBlockByNumber", &json!([tag, false]))["number"].clone())
    };
    chain.mine();
    assert_eq!(numbers(&chain), ["0x1", "0x0", "0x0"].map(|number| json!(number)));
    ask(&chain, "anvil_mine", &json!([8]));
    assert_eq!(numbers(&chain), ["0x9", "0x7", "0x4"].map(|number| json!(number)));
    chain.set_balance(Address::repeat_byte(1), U256::ONE);
    chain.mine();
    let balance = |tag| ask(&chain, "eth_getBalance", &json!([Address::repeat_byte(1), tag]));
    assert_eq!((balance("latest"), balance("finalized")), (json!("0x1"), json!("0x0")));
    let at_once = Chain::builder().mining(Mining::Manual).build().unwrap();
    at_once.mine();
    assert_eq!(numbers(&at_once), ["0x1", "0x1", "0x1"].map(|number| json!(number)));
}
