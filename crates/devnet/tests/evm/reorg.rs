//! Another branch takes the place of the newest blocks.

use alloy_primitives::{Address, B256, U256};
use alloy_rpc_types_eth::TransactionReceipt;
use serde_json::{Value, json};
use tollway_devnet::evm::{Chain, Mining};

use crate::{
    abi::*,
    client::{Draft, signer},
    on_both,
};

const EE: Address = Address::repeat_byte(0xee);
const SELLER: Address = Address::repeat_byte(0x5e);

fn ask(chain: &Chain, method: &str, params: &Value) -> Value {
    chain.request(method, params).unwrap()
}

/// A chain with one account that has ether, where blocks wait for a word and the clock stands still.
fn chain() -> Chain {
    let chain = Chain::builder().mining(Mining::Manual).clock(|| 1_800_000_000).build().unwrap();
    chain.set_balance(signer(0x22).address(), U256::from(10u128.pow(20)));
    chain
}

fn send(chain: &Chain, nonce: u64) -> Value {
    ask(chain, "eth_sendRawTransaction", &json!([Draft::of_one_wei(nonce).signed(&signer(0x22))]))
}

fn hash(chain: &Chain, number: u64) -> Value {
    ask(chain, "eth_getBlockByNumber", &json!([U256::from(number), false]))["hash"].clone()
}

on_both! {
    async fn a_reorganisation_takes_back_blocks_and_what_they_did(node: Node) {
        let (client, sender) = (&node.client, node.account(0x22).await);
        let before = client.block("latest").await;
        let hash = client.send_raw(&Draft::of_one_wei(0).signed(&sender)).await;
        let receipt = client.receipt(hash).await;
        client.ask::<Value>("anvil_mine", json!(["0x2"])).await;
        let old = client.block("latest").await;

        client.ask::<Value>("anvil_reorg", json!([3, []])).await;

        let new = client.block("latest").await;
        assert_eq!(new.header.number, old.header.number);
        assert_ne!(new.header.hash, old.header.hash);
        let first = client.block(&format!("{:#x}", before.header.number + 1)).await;
        assert_eq!(first.header.parent_hash, before.header.hash);
        assert_ne!(Some(first.header.hash), receipt.block_hash);
        assert_eq!(client.ask::<Value>("eth_getTransactionReceipt", json!([hash])).await, Value::Null);
        assert_eq!(client.ask::<Value>("eth_getBlockByHash", json!([old.header.hash, false])).await, Value::Null);
        assert_eq!(client.number("eth_getBalance", json!([EE, "latest"])).await, 0);
        assert_eq!(client.number("eth_getTransactionCount", json!([sender.address(), "latest"])).await, 0);
        let again = client.send_raw(&Draft::of_one_wei(0).signed(&sender)).await;
        assert_eq!(again, hash);
        let receipt = client.receipt(again).await;
        assert!(receipt.status());
        assert_eq!(receipt.block_number, Some(new.header.number + 1));
    }

    async fn a_payment_that_a_reorganisation_took_back_can_be_made_again(node: Node) {
        let (client, usdc, payer) = (&node.client, node.usdc(), node.payer().await);
        let relayer = node.account(0x22).await;
        let payment = authorization(payer.address(), SELLER, 5, client.time().await);
        let call = payment.in_parts(&sign(&payer, &payment, &token_domain(usdc)));
        assert!(client.send(&relayer, usdc, call.clone()).await.status());
        client.ask::<Value>("anvil_reorg", json!([1, []])).await;
        assert_eq!(client.read(usdc, Token::balanceOfCall { account: SELLER }).await, U256::ZERO);
        let state = Token::authorizationStateCall { authorizer: payer.address(), nonce: payment.nonce };
        assert!(!client.read(usdc, state).await);
        assert!(client.send(&relayer, usdc, call).await.status());
        assert_eq!(client.read(usdc, Token::balanceOfCall { account: SELLER }).await, U256::from(5));
    }

    async fn a_reorganisation_puts_given_transactions_where_it_is_told(node: Node) {
        let (client, sender) = (&node.client, node.account(0x22).await);
        let first = client.send_raw(&Draft::of_one_wei(0).signed(&sender)).await;
        client.receipt(first).await;
        client.ask::<Value>("anvil_mine", json!(["0x2"])).await;
        let height = client.block("latest").await.header.number;
        let other = Draft::of_one_wei(0).with(|tx| tx.value = U256::from(7)).signed(&sender);
        client.ask::<Value>("anvil_reorg", json!([3, [[other, 1]]])).await;
        let block = client.block(&format!("{:#x}", height - 1)).await;
        let hashes: Vec<B256> = block.transactions.hashes().collect();
        assert_eq!(hashes.len(), 1);
        assert!(client.receipt(hashes[0]).await.status());
        assert_eq!(client.number("eth_getBalance", json!([EE, "latest"])).await, 7);
        let old: Option<TransactionReceipt> = client.ask("eth_getTransactionReceipt", json!([first])).await;
        assert_eq!(old, None);
    }

    async fn a_reorganisation_deeper_than_the_chain_is_refused(node: Node) {
        let before = node.client.block("latest").await;
        let height = before.header.number;
        let refusal = node.client.refusal("anvil_reorg", json!([height + 1, []])).await;
        assert_eq!(refusal.code, -32602);
        assert_eq!(
            refusal.message,
            format!("Reorg depth must not exceed current chain height: current height {height}, depth {}", height + 1)
        );
        assert_eq!(node.client.block("latest").await, before);
    }
}

#[test]
fn what_a_reorganisation_keeps_waits_again_and_is_mined_later() {
    let chain = chain();
    let (first, second) = (send(&chain, 0), send(&chain, 1));
    chain.mine();
    chain.mine();
    assert_eq!(
        ask(&chain, "tollway_reorg", &json!([{ "depth": 2, "keep": true }])),
        json!("0x3"),
        "the new branch is longer by one"
    );
    assert_eq!(chain.balance(EE), U256::ZERO);
    assert_eq!(ask(&chain, "eth_getTransactionReceipt", &json!([first])), Value::Null);
    assert_eq!(ask(&chain, "eth_getTransactionByHash", &json!([first]))["blockNumber"], Value::Null);
    assert_eq!(ask(&chain, "txpool_status", &json!([])), json!({ "pending": "0x2", "queued": "0x0" }));
    chain.mine();
    let block = ask(&chain, "eth_getBlockByNumber", &json!(["latest", false]));
    assert_eq!(block["transactions"], json!([first, second]));
    assert_eq!(ask(&chain, "eth_getTransactionReceipt", &json!([first]))["blockNumber"], json!("0x4"));
}

#[test]
fn what_a_reorganisation_forgets_is_gone_and_what_waited_after_it_has_a_gap() {
    let chain = chain();
    let first = send(&chain, 0);
    chain.mine();
    send(&chain, 1);
    chain.reorg(1, false).unwrap();
    assert_eq!(chain.block_number(), 2);
    assert_eq!(ask(&chain, "eth_getTransactionByHash", &json!([first])), Value::Null);
    assert_eq!(ask(&chain, "txpool_status", &json!([])), json!({ "pending": "0x0", "queued": "0x1" }));
    send(&chain, 0);
    chain.mine();
    assert_eq!(chain.balance(EE), U256::from(2));
}

#[test]
fn an_account_that_was_made_before_the_dropped_blocks_stays() {
    let chain = chain();
    chain.mine();
    chain.set_balance(SELLER, U256::from(5));
    chain.mine();
    chain.set_balance(EE, U256::from(6));
    chain.mine();
    chain.reorg(1, false).unwrap();
    assert_eq!((chain.balance(SELLER), chain.balance(EE)), (U256::from(5), U256::from(6)));
    chain.reorg(2, false).unwrap();
    assert_eq!((chain.balance(SELLER), chain.balance(EE)), (U256::from(5), U256::from(6)));
    chain.reorg(4, false).unwrap();
    assert_eq!((chain.balance(SELLER), chain.balance(EE)), (U256::from(5), U256::ZERO));
}

#[test]
fn empty_blocks_that_take_the_place_of_empty_ones_are_others() {
    let chain = chain();
    chain.mine();
    let mut seen = vec![hash(&chain, 1)];
    for _ in 0..3 {
        chain.reorg(chain.block_number(), false).unwrap();
        let new = hash(&chain, 1);
        assert!(!seen.contains(&new), "{new} was there before");
        seen.push(new);
    }
}

#[test]
fn a_reorganisation_goes_back_128_blocks_and_not_further() {
    let chain = chain();
    chain.set_balance(EE, U256::from(1));
    ask(&chain, "anvil_mine", &json!([130]));
    let refusal = chain.reorg(129, false).unwrap_err();
    assert_eq!(refusal.message, "Reorg depth must not exceed 128, depth 129");
    assert_eq!(chain.block_number(), 130);
    chain.reorg(128, true).unwrap();
    assert_eq!(chain.block_number(), 131);
    for refused in [json!([0, []]), json!(["0xffffffffffffffff", []]), json!([1, [["0x00", 0]]]), json!([])] {
        chain.request("anvil_reorg", &refused).unwrap_err();
    }
    let stray = json!([1, [[Draft::of_one_wei(9).signed(&signer(0x22)), 0]]]);
    let refusal = chain.request("anvil_reorg", &stray).unwrap_err();
    assert_eq!(refusal.message, "a transaction is not valid at its place in the new branch");
    assert_eq!(chain.block_number(), 131);
}

#[test]
fn history_of_the_new_branch_is_its_own() {
    let chain = chain();
    send(&chain, 0);
    chain.mine();
    chain.mine();
    chain.reorg(2, false).unwrap();
    for number in ["0x1", "0x2", "latest"] {
        assert_eq!(ask(&chain, "eth_getBalance", &json!([EE, number])), json!("0x0"));
    }
    let logs = ask(&chain, "eth_getBlockReceipts", &json!(["0x1"]));
    assert_eq!(logs, json!([]));
    let parents: Vec<_> = (1..=3)
        .map(|number| {
            ask(&chain, "eth_getBlockByNumber", &json!([U256::from(number), false]))["parentHash"].clone()
        })
        .collect();
    assert_eq!(parents, (0..3).map(|number| hash(&chain, number)).collect::<Vec<_>>());
}
