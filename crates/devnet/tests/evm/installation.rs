//! Installing the contracts on a node outside.

use alloy_primitives::{Address, Bytes, U256};
use serde_json::{Value, json};
use tollway_devnet::{
    artefacts,
    evm::{Genesis, InstallError, JsonRpc, RpcError, install},
};

use crate::{abi::Token, nodes::Node, on_both};

on_both! {
    async fn tokens_are_minted_to_whom_it_pleases(node: Node) {
        let account = Address::repeat_byte(0x12);
        for _ in 0..2 {
            node.contracts.mint(account, U256::from(10)).await.unwrap();
        }
        assert_eq!(node.client.read(node.usdc(), Token::balanceOfCall { account }).await, U256::from(20));
        assert_eq!(node.client.read(node.usdc(), Token::totalSupplyCall {}).await, U256::from(20));
    }

    async fn tokens_are_minted_where_blocks_wait_for_a_word(node: Node) {
        node.client.ask::<Value>("evm_setAutomine", json!([false])).await;
        let account = Address::repeat_byte(0x12);
        node.contracts.mint(account, U256::from(10)).await.unwrap();
        assert_eq!(node.client.read(node.usdc(), Token::balanceOfCall { account }).await, U256::from(10));
    }

    async fn installing_twice_changes_nothing(node: Node) {
        let account = Address::repeat_byte(0x12);
        node.contracts.mint(account, U256::from(10)).await.unwrap();
        install(node.client.clone(), &Genesis::base_sepolia()).await.unwrap();
        assert_eq!(node.client.read(node.usdc(), Token::balanceOfCall { account }).await, U256::from(10));
    }

    async fn a_refused_mint_is_an_error(node: Node) {
        let error = node.contracts.mint(Address::ZERO, U256::from(10)).await.unwrap_err();
        assert!(matches!(error, InstallError::Reverted { .. } | InstallError::Request { .. }), "{error}");
    }

    async fn another_chain_is_refused(node: Node) {
        let error = install(node.client.clone(), &Genesis::base()).await.unwrap_err();
        assert_eq!(error.to_string(), "the node has chain 84532, the contracts are for chain 8453");
    }

    async fn a_contract_that_is_there_stays(node: Node) {
        let permit2: Bytes = Bytes::from_static(&[0xfe]);
        node.client.ask::<Value>("anvil_setCode", json!([node.contracts.permit2, permit2])).await;
        install(node.client.clone(), &Genesis::base_sepolia()).await.unwrap();
        let code: Bytes = node.client.ask("eth_getCode", json!([node.contracts.permit2, "latest"])).await;
        assert_eq!(code, permit2);
    }
}

/// A node of a network that people use.
struct Geth;

impl JsonRpc for Geth {
    type Error = RpcError;

    async fn request(&self, method: &str, _params: Value) -> Result<Value, RpcError> {
        match method {
            "eth_chainId" => Ok(json!("0x14a34")),
            "web3_clientVersion" => Ok(json!("Geth/v1.16.0")),
            _ => Err(RpcError {
                code: -32601,
                message: format!("the method {method} does not exist"),
                data: None,
            }),
        }
    }
}

#[tokio::test]
async fn a_node_that_is_no_anvil_is_named() {
    let error = install(Geth, &Genesis::base_sepolia()).await.err().unwrap();
    let text = "the node is Geth/v1.16.0, not an anvil: it has no anvil_setBalance, so contracts can't be installed on it";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn the_original_contracts_are_not_ours() {
    let node = Node::anvil().await;
    let code: Bytes = node.client.ask("eth_getCode", json!([node.contracts.multicall3, "latest"])).await;
    assert_ne!(code.as_ref(), artefacts::MULTICALL3.runtime, "anvil runs the original Multicall3");
}
