//! Multicall3, the wallet factory, the CREATE2 deployer and the tokens that misbehave.

use alloy_primitives::{Address, B256, U256, address, hex, keccak256};
use alloy_sol_types::{SolCall as _, SolEvent as _, sol};
use serde_json::{Value, json};
use tollway_devnet::{
    artefacts::{self, Artefact},
    evm::{CREATE2_DEPLOYER, MULTICALL3},
};

use crate::{abi::*, nodes::Node, on_both};

const SELLER: Address = Address::repeat_byte(0x5e);

sol! {
    function initialize(string name, string symbol, string currency, uint8 decimals, address minter) external;
    function mint(address to, uint256 amount) external returns (bool);
}

/// A token of this kind whose minter and owner is `from`, with a million units for it.
pub(crate) async fn token(
    node: &Node,
    kind: Artefact,
    from: &alloy_signer_local::PrivateKeySigner,
) -> Address {
    let token = node.client.deploy(from, kind.creation.to_vec()).await;
    let call = initializeCall {
        name: "USDC".into(),
        symbol: "USDC".into(),
        currency: "USD".into(),
        decimals: 6,
        minter: from.address(),
    };
    assert!(node.client.send(from, token, call).await.status());
    let mint = mintCall { to: from.address(), amount: U256::from(1_000_000) };
    assert!(node.client.send(from, token, mint).await.status());
    token
}

on_both! {
    async fn a_failing_member_does_not_stop_the_others(node: Node) {
        let (client, usdc, payer) = (&node.client, node.usdc(), node.payer().await);
        let now = client.time().await;
        let good = authorization(payer.address(), SELLER, 10, now);
        let dear = TransferWithAuthorization { value: U256::from(u64::MAX), nonce: B256::repeat_byte(8), ..good.clone() };
        let late = TransferWithAuthorization { value: U256::from(20), nonce: B256::repeat_byte(9), ..good.clone() };
        let calls = [&good, &dear, &late].map(|payment| Multicall::Call3 {
            target: usdc,
            allowFailure: true,
            callData: payment.in_parts(&sign(&payer, payment, &token_domain(usdc))).abi_encode().into(),
        });
        let call = Multicall::aggregate3Call { calls: calls.to_vec() };
        let results = client.read(MULTICALL3, call.clone()).await;
        assert_eq!(results.iter().map(|result| result.success).collect::<Vec<_>>(), [true, false, true]);
        let text = String::from_utf8_lossy(&results[1].returnData).into_owned();
        assert!(text.contains("ERC20: transfer amount exceeds balance"), "{text}");

        let receipt = client.send(&node.account(0x22).await, MULTICALL3, call.clone()).await;
        assert!(receipt.status());
        assert_eq!(receipt.logs().len(), 4);
        assert_eq!(client.read(usdc, Token::balanceOfCall { account: SELLER }).await, U256::from(30));

        let strict = Multicall::aggregate3Call {
            calls: call.calls.into_iter().map(|call| Multicall::Call3 { allowFailure: false, ..call }).collect(),
        };
        let refusal = client.call_refusal(MULTICALL3, strict).await;
        assert_eq!(refusal.message, "execution reverted: Multicall3: call failed");
    }

    async fn multicall_knows_the_chain(node: Node) {
        let client = &node.client;
        client.ask::<Value>("evm_mine", json!([])).await;
        let head = client.block("latest").await;
        assert_eq!(client.read(MULTICALL3, Multicall::getBlockNumberCall {}).await, U256::from(head.header.number));
        assert_eq!(client.read(MULTICALL3, Multicall::getLastBlockHashCall {}).await, head.header.parent_hash);
        assert_eq!(client.read(MULTICALL3, Multicall::getChainIdCall {}).await, U256::from(84532));
        let time = client.read(MULTICALL3, Multicall::getCurrentBlockTimestampCall {}).await;
        assert!(time >= U256::from(head.header.timestamp));
        let account = node.account(0x22).await.address();
        let balance = client.read(MULTICALL3, Multicall::getEthBalanceCall { account }).await;
        assert_eq!(balance, U256::from(10u128.pow(20)));
        let call = Multicall::Call3Value { target: SELLER, allowFailure: true, value: U256::ONE, callData: [].into() };
        let refusal = client.call_refusal(MULTICALL3, Multicall::aggregate3ValueCall { calls: vec![call] }).await;
        assert!(refusal.message.ends_with("Multicall3: value mismatch"), "{refusal}");
    }

    async fn a_factory_puts_the_wallet_where_it_said(node: Node) {
        let (client, owner) = (&node.client, node.account(0x44).await);
        let factory = client.deploy(&owner, artefacts::WALLET_FACTORY.creation.to_vec()).await;
        let (salt, owner_address) = (B256::repeat_byte(3), owner.address());
        let wallet = client.read(factory, Factory::addressOfCall { owner: owner_address, salt }).await;
        for _ in 0..2 {
            assert!(client.send(&owner, factory, Factory::deployCall { owner: owner_address, salt }).await.status());
        }
        let payment = authorization(wallet, SELLER, 1, 0);
        let signature = sign(&owner, &payment, &token_domain(node.usdc())).as_bytes().into();
        let digest = alloy_sol_types::SolStruct::eip712_signing_hash(&payment, &token_domain(node.usdc()));
        let answer = client.read(wallet, Wallet::isValidSignatureCall { digest, signature }).await;
        assert_eq!(answer, hex!("1626ba7e"));
    }

    async fn the_create2_deployer_is_the_one_of_every_chain(node: Node) {
        let code: String = node.client.ask("eth_getCode", json!([CREATE2_DEPLOYER, "latest"])).await;
        assert_eq!(code.len(), 2 + 2 * 69);
        let (salt, init) = (B256::repeat_byte(1), artefacts::MULTICALL3.creation);
        let sender = node.account(0x22).await;
        let draft = node.client.prepared(&sender, CREATE2_DEPLOYER.into(), [salt.as_slice(), init].concat()).await;
        let hash = node.client.send_raw(&draft.signed(&sender)).await;
        assert!(node.client.receipt(hash).await.status());
        let made: String = node.client.ask("eth_getCode", json!([CREATE2_DEPLOYER.create2(salt, keccak256(init)), "latest"])).await;
        assert_eq!(made, hex::encode_prefixed(artefacts::MULTICALL3.runtime));
    }

    async fn a_silent_token_says_success_to_a_replay(node: Node) {
        let (client, payer) = (&node.client, node.account(0x44).await);
        let token = token(&node, artefacts::SILENT_TOKEN, &payer).await;
        let payment = authorization(payer.address(), SELLER, 9, client.time().await);
        let call = payment.in_parts(&sign(&payer, &payment, &token_domain(token)));
        assert_eq!(client.send(&payer, token, call.clone()).await.logs().len(), 2);
        let replay = client.send(&payer, token, call).await;
        assert!(replay.status());
        assert!(replay.logs().is_empty());

        assert!(client.send(&payer, token, Token::muteTransfersCall { muted: true }).await.status());
        let payment = TransferWithAuthorization { nonce: B256::repeat_byte(1), ..payment };
        let muted = client.send(&payer, token, payment.in_parts(&sign(&payer, &payment, &token_domain(token)))).await;
        assert_eq!(muted.logs().len(), 1);
        assert_eq!(client.read(token, Token::balanceOfCall { account: SELLER }).await, U256::from(18));
    }

    async fn a_fee_token_delivers_less_than_was_signed(node: Node) {
        let (client, payer) = (&node.client, node.account(0x44).await);
        let token = token(&node, artefacts::FEE_TOKEN, &payer).await;
        let payment = authorization(payer.address(), SELLER, 1000, client.time().await);
        let receipt = client.send(&payer, token, payment.in_parts(&sign(&payer, &payment, &token_domain(token)))).await;
        let transfers = receipt.logs().iter().filter_map(|log| Token::Transfer::decode_log(&log.inner).ok());
        let values: Vec<_> = transfers.map(|transfer| transfer.value).collect();
        assert_eq!(values, [U256::from(990), U256::from(10)]);
        assert_eq!(client.read(token, Token::balanceOfCall { account: SELLER }).await, U256::from(990));
    }

    async fn balances_are_at_the_slot_of_circles_token(node: Node) {
        let account = address!("00000000000000000000000000000000000000aa");
        let slot = keccak256([account.into_word().as_slice(), &U256::from(9).to_be_bytes::<32>()].concat());
        let value = B256::from(U256::from(321));
        node.client.ask::<Value>("anvil_setStorageAt", json!([node.usdc(), slot, value])).await;
        assert_eq!(node.client.read(node.usdc(), Token::balanceOfCall { account }).await, U256::from(321));
    }
}
