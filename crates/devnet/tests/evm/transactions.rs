//! What is in blocks: transactions, receipts and logs.

use alloy_consensus::{TxEip2930, TxEip7702, TxLegacy, Typed2718 as _};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, Bloom, BloomInput, Bytes, TxKind, U256, keccak256};
use alloy_rpc_types_eth::{Block, Log, TransactionReceipt};
use alloy_signer::SignerSync as _;
use alloy_sol_types::{SolCall as _, SolEvent as _};
use serde_json::{Value, json};
use tollway_devnet::{artefacts, evm::MULTICALL3};

use crate::{
    abi::*,
    client::{Draft, raw},
    nodes::{Node, topic},
    on_both,
};

const SELLER: Address = Address::repeat_byte(0x5e);

/// Three transfers of the token in one block, from three payers.
async fn block_of_three(node: &Node) -> (Block, Vec<TransactionReceipt>) {
    let client = &node.client;
    let mut payers = Vec::new();
    for number in [0x31, 0x32, 0x33] {
        let payer = node.account(number).await;
        node.contracts.mint(payer.address(), U256::from(1000)).await.unwrap();
        payers.push(payer);
    }
    client.ask::<Value>("evm_setAutomine", json!([false])).await;
    for (payer, value) in payers.iter().zip(1u64..) {
        let call = Token::transferCall { to: SELLER, value: U256::from(value) };
        let draft = client.prepared(payer, node.usdc().into(), call.abi_encode()).await;
        let dearer = draft.with(|tx| {
            tx.max_fee_per_gas *= u128::from(value);
            tx.max_priority_fee_per_gas *= u128::from(value);
        });
        client.send_raw(&dearer.signed(payer)).await;
    }
    client.ask::<Value>("evm_mine", json!([])).await;
    let block = client.block("latest").await;
    (block, client.ask("eth_getBlockReceipts", json!(["latest"])).await)
}

on_both! {
    async fn receipts_of_a_block_count_on_from_each_other(node: Node) {
        let (block, receipts) = block_of_three(&node).await;
        let hashes: Vec<_> = block.transactions.hashes().collect();
        assert_eq!(hashes, receipts.iter().map(|receipt| receipt.transaction_hash).collect::<Vec<_>>());
        let base_fee = u128::from(block.header.base_fee_per_gas.unwrap());
        let (mut gas, mut bloom) = (0, Bloom::ZERO);
        for (receipt, index) in receipts.iter().zip(0u64..) {
            gas += receipt.gas_used;
            assert_eq!(receipt.transaction_index, Some(index));
            assert_eq!(receipt.inner.cumulative_gas_used(), gas);
            assert_eq!(receipt.effective_gas_price, base_fee + 1_000_000_000 * u128::from(3 - index), "the highest tip is first");
            assert_eq!(receipt.block_hash, Some(block.header.hash));
            let [log] = receipt.logs() else { panic!("one transfer each") };
            assert_eq!((log.log_index, log.transaction_index), (Some(index), Some(index)));
            assert!(receipt.inner.logs_bloom().contains_input(BloomInput::Raw(node.usdc().as_slice())));
            bloom |= *receipt.inner.logs_bloom();
            let alone: TransactionReceipt = node.client.ask("eth_getTransactionReceipt", json!([receipt.transaction_hash])).await;
            assert_eq!(&alone, receipt);
        }
        assert_eq!(block.header.gas_used, gas);
        assert_eq!(block.header.logs_bloom, bloom);
    }

    async fn a_blocks_hash_and_roots_are_those_of_its_contents(node: Node) {
        let (block, receipts) = block_of_three(&node).await;
        assert_eq!(block.header.inner.hash_slow(), block.header.hash);
        let receipts: Vec<_> = receipts.into_iter().map(|receipt| receipt.inner.into_primitives_receipt()).collect();
        assert_eq!(alloy_consensus::proofs::calculate_receipt_root(&receipts), block.header.receipts_root);
        let full: Block = node.client.ask("eth_getBlockByHash", json!([block.header.hash, true])).await;
        let transactions = full.into_transactions_vec().into_iter().map(|transaction| transaction.inner.into_inner());
        let transactions: Vec<_> = transactions.collect();
        assert_eq!(alloy_consensus::proofs::calculate_transaction_root(&transactions), block.header.transactions_root);
        let parent = node.client.block(&format!("{:#x}", block.header.number - 1)).await;
        assert_eq!(parent.header.hash, block.header.parent_hash);
        assert!(parent.header.timestamp <= block.header.timestamp);
    }

    async fn logs_are_found_by_address_topic_block_and_range(node: Node) {
        let (block, _) = block_of_three(&node).await;
        let find = async |filter: Value| -> Vec<Log> { node.client.ask("eth_getLogs", json!([filter])).await };
        let here = json!(format!("{:#x}", block.header.number));
        let transfer = Token::Transfer::SIGNATURE_HASH;
        assert_eq!(find(json!({ "blockHash": block.header.hash })).await.len(), 3);
        assert_eq!(find(json!({ "fromBlock": here, "toBlock": here, "address": node.usdc() })).await.len(), 3);
        assert_eq!(find(json!({ "fromBlock": here, "address": [MULTICALL3, node.usdc()] })).await.len(), 3);
        assert_eq!(find(json!({ "fromBlock": here, "address": MULTICALL3 })).await.len(), 0);
        assert_eq!(find(json!({ "fromBlock": "earliest", "toBlock": "latest", "topics": [transfer, null, topic(SELLER)] })).await.len(), 3);
        let minted = topic(Address::ZERO);
        assert_eq!(find(json!({ "fromBlock": "earliest", "topics": [transfer, [minted, topic(SELLER)]] })).await.len(), 3);
        assert_eq!(find(json!({ "fromBlock": here, "topics": [B256::ZERO] })).await.len(), 0);
        let found = find(json!({})).await;
        assert_eq!(found.len(), 3, "without a range it is the newest block");
        assert_eq!(found[2].log_index, Some(2));
        assert_eq!(found[2].data().data, Bytes::from(B256::from(U256::ONE)));
        node.client.refusal("eth_getLogs", json!([{ "blockHash": B256::repeat_byte(1) }])).await;
    }

    async fn every_kind_of_transaction_is_mined(node: Node) {
        let (client, sender) = (&node.client, node.account(0x22).await);
        let (to, gas_price, gas_limit) = (TxKind::Call(SELLER), 10_000_000_000, 100_000);
        let legacy = TxLegacy { chain_id: Some(84532), nonce: 0, gas_price, gas_limit, to, ..TxLegacy::default() };
        let listed = TxEip2930 { chain_id: 84532, nonce: 1, gas_price, gas_limit, to, ..TxEip2930::default() };
        for (transaction, kind) in [(raw(legacy, &sender), 0), (raw(listed, &sender), 1), (Draft::of_one_wei(2).signed(&sender), 2)] {
            let hash = client.send_raw(&transaction).await;
            let receipt = client.receipt(hash).await;
            assert!(receipt.status());
            assert_eq!(receipt.inner.tx_type() as u8, kind);
            let mined = client.mined(hash).await;
            assert_eq!(mined.inner.ty(), kind);
            assert_eq!(mined.inner.signer(), sender.address());
            assert_eq!(mined.block_number, receipt.block_number);
            assert_eq!(*mined.inner.inner().tx_hash(), hash);
        }
    }

    async fn an_account_delegates_to_code_and_back(node: Node) {
        let (client, sender, account) = (&node.client, node.account(0x22).await, node.account(0x23).await);
        for (nonce, target, code) in [(0, MULTICALL3, 23), (1, Address::ZERO, 0)] {
            let authorization = Authorization { chain_id: U256::from(84532), address: target, nonce };
            let signature = account.sign_hash_sync(&authorization.signature_hash()).unwrap();
            let transaction = TxEip7702 {
                chain_id: 84532, nonce, gas_limit: 200_000, max_fee_per_gas: 10_000_000_000, max_priority_fee_per_gas: 1,
                to: SELLER, authorization_list: vec![authorization.into_signed(signature)], ..TxEip7702::default()
            };
            let hash = client.send_raw(&raw(transaction, &sender)).await;
            assert_eq!(client.receipt(hash).await.inner.tx_type() as u8, 4);
            let found: Bytes = client.ask("eth_getCode", json!([account.address(), "latest"])).await;
            assert_eq!(found.len(), code);
        }
        // Who signed an authorization has used a nonce with it.
        let hash = client.send_raw(&Draft::of_one_wei(2).signed(&account)).await;
        assert!(client.receipt(hash).await.status());
    }

    async fn the_estimated_gas_is_enough_and_not_much_more(node: Node) {
        let (client, usdc, payer) = (&node.client, node.usdc(), node.payer().await);
        let payment = authorization(payer.address(), SELLER, 5, client.time().await);
        let call = payment.in_parts(&sign(&payer, &payment, &token_domain(usdc)));
        let data = Bytes::from(call.abi_encode());
        let relayer = node.account(0x22).await;
        let gas = client.number("eth_estimateGas", json!([{ "from": relayer.address(), "to": usdc, "data": data }])).await;
        let draft = client.prepared(&relayer, usdc.into(), data.to_vec()).await.with(|tx| tx.gas_limit = gas);
        let receipt = { let hash = client.send_raw(&draft.signed(&relayer)).await; client.receipt(hash).await };
        assert!(receipt.status());
        assert!(gas < receipt.gas_used * 11 / 10, "estimated {gas}, used {}", receipt.gas_used);
        assert_eq!(client.number("eth_estimateGas", json!([{ "from": relayer.address(), "to": SELLER, "value": "0x1" }])).await, 21_000);
        let refusal = client.refusal("eth_estimateGas", json!([{ "from": relayer.address(), "to": usdc, "data": data }])).await;
        assert_eq!(refusal.code, 3, "a replay has no estimate");
    }

    async fn a_call_can_pretend_another_state(node: Node) {
        let (client, usdc) = (&node.client, node.usdc());
        let stranger = Address::repeat_byte(0x99);
        let data = Bytes::from(Token::transferCall { to: SELLER, value: U256::from(5) }.abi_encode());
        let call = json!({ "from": stranger, "to": usdc, "data": data });
        assert_eq!(client.refusal("eth_call", json!([call, "latest"])).await.code, 3);
        let slot = keccak256([stranger.into_word().as_slice(), &U256::from(9).to_be_bytes::<32>()].concat());
        let pretend = json!({ usdc.to_string(): { "stateDiff": { slot.to_string(): B256::from(U256::from(5)) } } });
        let answer: U256 = client.ask("eth_call", json!([call, "latest", pretend])).await;
        assert_eq!(answer, U256::ONE);
        assert_eq!(client.refusal("eth_call", json!([call, "latest"])).await.code, 3, "nothing of it stays");
        let code: Bytes = client.ask("eth_call", json!([{ "data": Bytes::from_static(artefacts::MULTICALL3.creation) }, "latest"])).await;
        assert_eq!(code.as_ref(), artefacts::MULTICALL3.runtime, "a call without target runs as a deployment");
    }

    async fn the_sender_must_have_what_a_call_sends(node: Node) {
        let call = json!({ "from": Address::repeat_byte(0x99), "to": SELLER, "value": "0x1" });
        let refusal = node.client.refusal("eth_call", json!([call, "latest"])).await;
        assert!(refusal.message.to_lowercase().contains("insufficient funds"), "{refusal}");
    }
}
