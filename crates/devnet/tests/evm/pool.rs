//! Transactions that wait, are replaced or refused.

use alloy_primitives::U256;
use alloy_rpc_types_eth::TransactionReceipt;
use serde_json::{Value, json};

use crate::{
    client::{Draft, signer},
    nodes::Node,
    on_both,
};

on_both! {
    async fn a_nonce_gap_waits_until_it_is_filled(node: Node) {
        let (client, sender) = (&node.client, node.account(0x22).await);
        let second = client.send_raw(&Draft::of_one_wei(1).signed(&sender)).await;
        let receipt: Option<TransactionReceipt> = client.ask("eth_getTransactionReceipt", json!([second])).await;
        assert_eq!(receipt, None);
        let waiting: Value = client.ask("eth_getTransactionByHash", json!([second])).await;
        assert_eq!(waiting["blockNumber"], Value::Null);
        assert_eq!(client.number("eth_getTransactionCount", json!([sender.address(), "pending"])).await, 0);

        let first = client.send_raw(&Draft::of_one_wei(0).signed(&sender)).await;
        let (first, second) = (client.receipt(first).await, client.receipt(second).await);
        assert!(first.status() && second.status());
        assert_eq!(client.number("eth_getTransactionCount", json!([sender.address(), "latest"])).await, 2);
    }

    async fn a_replacement_must_pay_more(node: Node) {
        let (client, sender) = (&node.client, node.account(0x22).await);
        client.ask::<Value>("evm_setAutomine", json!([false])).await;
        let old = client.send_raw(&raised(0).signed(&sender)).await;
        let other = raised(0).with(|tx| tx.value = U256::from(2));
        let refusal = client.refusal("eth_sendRawTransaction", json!([other.signed(&sender)])).await;
        assert_eq!(refusal.message, "replacement transaction underpriced");
        let new = client.send_raw(&raised(10).signed(&sender)).await;
        assert_eq!(client.number("eth_getTransactionCount", json!([sender.address(), "pending"])).await, 1);
        client.ask::<Value>("evm_mine", json!([])).await;
        assert!(client.receipt(new).await.status());
        assert_eq!(client.ask::<Value>("eth_getTransactionByHash", json!([old])).await, Value::Null);
    }

    async fn what_can_never_be_mined_is_refused_with_its_reason(node: Node) {
        let (client, sender) = (&node.client, node.account(0x22).await);
        let refused = async |draft: Draft, from| {
            let refusal = client.refusal("eth_sendRawTransaction", json!([draft.signed(from)])).await;
            refusal.message.to_lowercase()
        };
        let beggar = signer(0x77);
        let poor = refused(Draft::of_one_wei(0), &beggar).await;
        assert!(poor.starts_with("insufficient funds for gas * price + value"), "{poor}");
        let little = refused(Draft::of_one_wei(0).with(|tx| tx.gas_limit = 20_999), &sender).await;
        assert!(little.starts_with("intrinsic gas too low"), "{little}");
        let tip = refused(Draft::of_one_wei(0).with(|tx| tx.max_priority_fee_per_gas *= 100), &sender).await;
        assert!(tip.starts_with("max priority fee per gas higher than max fee per gas"), "{tip}");
        let foreign = refused(Draft::of_one_wei(0).with(|tx| tx.chain_id = 1), &sender).await;
        assert!(foreign.contains("chain id"), "{foreign}");

        let hash = client.send_raw(&Draft::of_one_wei(0).signed(&sender)).await;
        client.receipt(hash).await;
        let old = refused(Draft::of_one_wei(0).with(|tx| tx.value = U256::from(2)), &sender).await;
        assert!(old.starts_with("nonce too low"), "{old}");
        client.send_raw(&Draft::of_one_wei(5).signed(&sender)).await;
        let known = refused(Draft::of_one_wei(5), &sender).await;
        assert!(known.contains("already"), "{known}");
    }

    async fn a_dropped_transaction_is_never_mined(node: Node) {
        let (client, sender) = (&node.client, node.account(0x22).await);
        client.ask::<Value>("evm_setAutomine", json!([false])).await;
        let hash = client.send_raw(&Draft::of_one_wei(0).signed(&sender)).await;
        client.ask::<Value>("anvil_dropTransaction", json!([hash])).await;
        client.ask::<Value>("evm_mine", json!([])).await;
        assert_eq!(client.ask::<Value>("eth_getTransactionByHash", json!([hash])).await, Value::Null);
        assert_eq!(client.number("eth_getTransactionCount", json!([sender.address(), "pending"])).await, 0);
    }

    async fn a_fee_below_the_base_fee_is_not_mined(node: Node) {
        let (client, sender) = (&node.client, node.account(0x22).await);
        client.ask::<Value>("evm_setAutomine", json!([false])).await;
        let cheap = Draft::of_one_wei(0).with(|tx| {
            tx.max_fee_per_gas = 1;
            tx.max_priority_fee_per_gas = 1;
        });
        // anvil refuses it, we keep it as geth does: neither puts it into a block.
        let sent = tollway_devnet::evm::JsonRpc::request(client, "eth_sendRawTransaction", json!([cheap.signed(&sender)])).await;
        client.ask::<Value>("evm_mine", json!([])).await;
        assert!(client.block("latest").await.transactions.is_empty(), "{sent:?}");
    }
}

fn raised(percent: u128) -> Draft {
    let raise = |fee: u128| fee * (100 + percent) / 100;
    Draft::of_one_wei(0).with(|tx| {
        tx.max_fee_per_gas = raise(tx.max_fee_per_gas);
        tx.max_priority_fee_per_gas = raise(tx.max_priority_fee_per_gas);
    })
}

#[tokio::test]
async fn a_tenth_more_is_the_least_for_a_replacement() {
    let node = Node::embedded().await;
    let sender = node.account(0x22).await;
    node.client.ask::<Value>("evm_setAutomine", json!([false])).await;
    node.client.send_raw(&raised(0).signed(&sender)).await;
    let tip_only = raised(0).with(|tx| tx.max_priority_fee_per_gas *= 2);
    for too_little in [raised(9), tip_only] {
        let refusal =
            node.client.refusal("eth_sendRawTransaction", json!([too_little.signed(&sender)])).await;
        assert_eq!(refusal.message, "replacement transaction underpriced");
    }
    node.client.send_raw(&raised(10).signed(&sender)).await;
}

#[tokio::test]
async fn the_texts_of_refusals_are_geths() {
    let node = Node::embedded().await;
    let sender = node.account(0x22).await;
    let refused = async |draft: Draft| {
        let refusal = node.client.refusal("eth_sendRawTransaction", json!([draft.signed(&sender)])).await;
        assert_eq!(refusal.code, -32000);
        refusal.message
    };
    assert_eq!(
        refused(Draft::of_one_wei(0).with(|tx| tx.value = U256::from(10u128.pow(20)))).await,
        "insufficient funds for gas * price + value: balance 100000000000000000000, tx cost 100000210000000000000, \
         overshot 210000000000000"
    );
    assert_eq!(
        refused(Draft::of_one_wei(0).with(|tx| tx.gas_limit = 20_000)).await,
        "intrinsic gas too low: gas 20000, minimum needed 21000"
    );
    assert_eq!(
        refused(Draft::of_one_wei(0).with(|tx| tx.gas_limit = 17_000_000)).await,
        "transaction gas limit too high (cap: 16777216, tx: 17000000)"
    );
    assert_eq!(
        refused(Draft::of_one_wei(0).with(|tx| tx.gas_limit = 31_000_000)).await,
        "exceeds block gas limit"
    );
    node.client.send_raw(&Draft::of_one_wei(1).signed(&sender)).await;
    assert_eq!(refused(Draft::of_one_wei(1)).await, "already known");
    node.client.send_raw(&Draft::of_one_wei(0).signed(&sender)).await;
    assert_eq!(refused(Draft::of_one_wei(0)).await, "nonce too low: next nonce 2, tx nonce 0");
    assert_eq!(
        refused(Draft::of_one_wei(2).with(|tx| tx.chain_id = 1)).await,
        "invalid chain id for signer: have 1 want 84532"
    );
}

#[tokio::test]
async fn queued_transactions_count_against_the_balance() {
    let node = Node::embedded().await;
    let sender = node.account(0x22).await;
    let half = U256::from(10u128.pow(20)) / U256::from(2);
    node.client.send_raw(&Draft::of_one_wei(1).with(|tx| tx.value = half).signed(&sender)).await;
    let second = Draft::of_one_wei(2).with(|tx| tx.value = half).signed(&sender);
    let refusal = node.client.refusal("eth_sendRawTransaction", json!([second])).await;
    assert!(refusal.message.contains("queued cost"), "{refusal}");
    let status: Value = node.client.ask("txpool_status", json!([])).await;
    assert_eq!(status, json!({ "pending": "0x0", "queued": "0x1" }));
}
