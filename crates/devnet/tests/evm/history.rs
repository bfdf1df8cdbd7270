//! Looking back, going back, and going forward in time.

use alloy_primitives::{Address, U256};
use serde_json::{Value, json};

use crate::{client::Draft, nodes::Node, on_both};

const RICH: Address = Address::repeat_byte(0xaa);

on_both! {
    async fn a_snapshot_takes_back_blocks_state_and_what_waits(node: Node) {
        let (client, sender) = (&node.client, node.account(0x22).await);
        let before = client.block("latest").await;
        let snapshot: Value = client.ask("evm_snapshot", json!([])).await;
        let hash = client.send_raw(&Draft::of_one_wei(0).signed(&sender)).await;
        client.receipt(hash).await;
        client.ask::<Value>("anvil_setBalance", json!([RICH, "0x64"])).await;

        assert!(client.ask::<bool>("evm_revert", json!([snapshot])).await);

        assert_eq!(client.block("latest").await, before);
        assert_eq!(client.number("eth_getTransactionCount", json!([sender.address(), "latest"])).await, 0);
        assert_eq!(client.number("eth_getBalance", json!([RICH, "latest"])).await, 0);
        assert_eq!(client.ask::<Value>("eth_getTransactionReceipt", json!([hash])).await, Value::Null);
        let again = client.send_raw(&Draft::of_one_wei(0).signed(&sender)).await;
        assert!(client.receipt(again).await.status());
    }

    async fn the_past_is_as_it_was(node: Node) {
        let (client, sender) = (&node.client, node.account(0x22).await);
        let to = Address::repeat_byte(0xee);
        let mut blocks = Vec::new();
        for nonce in 0..3 {
            let hash = client.send_raw(&Draft::of_one_wei(nonce).signed(&sender)).await;
            blocks.push(client.receipt(hash).await);
        }
        for (receipt, wei) in blocks.iter().zip(1..) {
            let number = format!("{:#x}", receipt.block_number.unwrap());
            assert_eq!(client.number("eth_getBalance", json!([to, number])).await, wei);
            let by_hash = json!([to, { "blockHash": receipt.block_hash }]);
            assert_eq!(client.number("eth_getBalance", by_hash).await, wei);
            assert_eq!(client.number("eth_getTransactionCount", json!([sender.address(), number])).await, wei);
        }
        client.refusal("eth_getBalance", json!([to, "0xffff"])).await;
        assert_eq!(client.ask::<Value>("eth_getBlockByNumber", json!(["0xffff", false])).await, Value::Null);
        assert_eq!(client.number("eth_getBalance", json!([to, "earliest"])).await, 0);
    }

    async fn the_next_block_gets_the_time_it_is_told(node: Node) {
        let client = &node.client;
        let now = client.time().await;
        client.ask::<Value>("evm_setNextBlockTimestamp", json!([now + 5000])).await;
        client.ask::<Value>("evm_mine", json!([])).await;
        assert_eq!(client.time().await, now + 5000);
        client.ask::<Value>("evm_mine", json!([])).await;
        let later = client.time().await;
        assert!((now + 5000..now + 5100).contains(&later), "the clock goes on from there");
        client.refusal("evm_setNextBlockTimestamp", json!([now])).await;
    }

    async fn an_impersonated_account_sends_without_a_key(node: Node) {
        let (client, contract) = (&node.client, node.contracts.multicall3);
        client.fund(contract).await;
        let transaction = json!([{ "from": contract, "to": RICH, "value": "0x7" }]);
        client.refusal("eth_sendTransaction", transaction.clone()).await;
        client.ask::<Value>("anvil_impersonateAccount", json!([contract])).await;
        let hash = client.ask("eth_sendTransaction", transaction).await;
        let receipt = client.receipt(hash).await;
        assert!(receipt.status());
        assert_eq!(receipt.from, contract);
        assert_eq!(client.number("eth_getBalance", json!([RICH, "latest"])).await, 7);
    }

    async fn accounts_are_made_to_order(node: Node) {
        let client = &node.client;
        client.ask::<Value>("anvil_setNonce", json!([RICH, "0x9"])).await;
        client.ask::<Value>("anvil_setCode", json!([RICH, "0x602a60005260206000f3"])).await;
        client.ask::<Value>("anvil_mine", json!(["0x3"])).await;
        assert_eq!(client.number("eth_getTransactionCount", json!([RICH, "latest"])).await, 9);
        assert_eq!(client.ask::<String>("eth_getCode", json!([RICH, "latest"])).await, "0x602a60005260206000f3");
        let answer: U256 = client.ask("eth_call", json!([{ "to": RICH }, "latest"])).await;
        assert_eq!(answer, U256::from(42));
    }
}

#[tokio::test]
async fn a_state_that_is_gone_is_an_error_not_a_wrong_answer() {
    let node = Node::embedded().await;
    node.client.ask::<Value>("anvil_mine", json!([128])).await;
    assert_eq!(node.client.number("eth_getBalance", json!([RICH, "0x0"])).await, 0);
    node.client.ask::<Value>("evm_mine", json!([])).await;
    for (method, params) in [
        ("eth_getBalance", json!([RICH, "0x0"])),
        ("eth_call", json!([{ "to": RICH }, "earliest"])),
        ("eth_getTransactionCount", json!([RICH, "0x0"])),
    ] {
        let refusal = node.client.refusal(method, params).await;
        assert_eq!(refusal.message, "the state of block 0 is gone: this chain keeps it for 128 blocks");
    }
}
