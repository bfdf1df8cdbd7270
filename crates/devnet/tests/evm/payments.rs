//! The token, as payments use it.

use alloy_primitives::{Address, B256, U256};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{SolCall as _, SolEvent as _, SolStruct as _, SolValue as _};
use serde_json::{Value, json};
use tollway_devnet::{artefacts, evm::MINTER};

use crate::{abi::*, client::signer, on_both};

const SELLER: Address = Address::repeat_byte(0x5e);

on_both! {
    async fn the_token_says_what_is_signed_for_it(node: Node) {
        let (client, usdc) = (&node.client, node.usdc());
        assert_eq!(client.read(usdc, Token::nameCall {}).await, "USDC");
        assert_eq!(client.read(usdc, Token::versionCall {}).await, "2");
        assert_eq!(client.read(usdc, Token::decimalsCall {}).await, 6);
        assert_eq!(client.read(usdc, Token::DOMAIN_SEPARATORCall {}).await, token_domain(usdc).separator());
        let authorization = authorization(SELLER, SELLER, 1, 0);
        let hash = client.read(usdc, Token::TRANSFER_WITH_AUTHORIZATION_TYPEHASHCall {}).await;
        assert_eq!(hash, authorization.eip712_type_hash());
    }

    async fn an_authorization_pays_once_and_its_replay_says_why_not(node: Node) {
        let (client, usdc, payer) = (&node.client, node.usdc(), node.payer().await);
        let relayer = node.account(0x22).await;
        let payment = authorization(payer.address(), SELLER, 1234, client.time().await);
        let call = payment.in_parts(&sign(&payer, &payment, &token_domain(usdc)));

        client.read(usdc, call.clone()).await;
        let receipt = client.send(&relayer, usdc, call.clone()).await;

        assert!(receipt.status());
        let logs: Vec<_> = receipt.logs().iter().map(|log| log.topics()[0]).collect();
        assert_eq!(logs, [Token::AuthorizationUsed::SIGNATURE_HASH, Token::Transfer::SIGNATURE_HASH]);
        assert_eq!(client.read(usdc, Token::balanceOfCall { account: SELLER }).await, U256::from(1234));
        let used = Token::authorizationStateCall { authorizer: payer.address(), nonce: payment.nonce };
        assert!(client.read(usdc, used).await);
        let refusal = client.call_refusal(usdc, call.clone()).await;
        assert_eq!(refusal.code, 3);
        assert_eq!(refusal.message, "execution reverted: FiatTokenV2: authorization is used or canceled");
        assert!(refusal.data.is_some());
        assert!(!client.send(&relayer, usdc, call).await.status(), "a replay is mined and reverts");
    }

    async fn an_authorization_pays_with_its_signature_in_one_piece(node: Node) {
        let (client, usdc, payer) = (&node.client, node.usdc(), node.payer().await);
        let payment = authorization(payer.address(), SELLER, 77, client.time().await);
        let call = payment.whole(&sign(&payer, &payment, &token_domain(usdc)));
        assert!(client.send(&node.account(0x22).await, usdc, call).await.status());
        assert_eq!(client.read(usdc, Token::balanceOfCall { account: SELLER }).await, U256::from(77));
    }

    async fn an_altered_or_foreign_signature_pays_nothing(node: Node) {
        let (client, usdc, payer) = (&node.client, node.usdc(), node.payer().await);
        let payment = authorization(payer.address(), SELLER, 5, client.time().await);
        let signature = sign(&payer, &payment, &token_domain(usdc));
        let dearer = TransferWithAuthorization { value: U256::from(6), ..payment.clone() };
        let refusal = client.call_refusal(usdc, dearer.in_parts(&signature)).await;
        assert!(refusal.message.ends_with("FiatTokenV2: invalid signature"), "{refusal}");

        let mut high = payment.in_parts(&signature);
        let order = U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16).unwrap();
        high.s = (order - signature.s()).into();
        high.v = 27 + (28 - high.v);
        let refusal = client.call_refusal(usdc, high).await;
        assert!(refusal.message.ends_with("ECRecover: invalid signature 's' value"), "{refusal}");

        let mut odd = payment.in_parts(&signature);
        odd.v = 29;
        let refusal = client.call_refusal(usdc, odd).await;
        assert!(refusal.message.ends_with("ECRecover: invalid signature 'v' value"), "{refusal}");
        let mut short = payment.whole(&signature);
        short.signature = short.signature.slice(..64);
        let refusal = client.call_refusal(usdc, short).await;
        assert!(refusal.message.ends_with("ECRecover: invalid signature length"), "{refusal}");
    }

    async fn more_than_the_payer_has_is_refused(node: Node) {
        let (client, usdc, payer) = (&node.client, node.usdc(), node.payer().await);
        let payment = authorization(payer.address(), SELLER, 1_000_001, client.time().await);
        let refusal = client.call_refusal(usdc, payment.in_parts(&sign(&payer, &payment, &token_domain(usdc)))).await;
        assert!(refusal.message.ends_with("ERC20: transfer amount exceeds balance"), "{refusal}");
    }

    async fn time_travel_expires_an_authorization(node: Node) {
        let (client, usdc, payer) = (&node.client, node.usdc(), node.payer().await);
        let now = client.time().await;
        let mut payment = authorization(payer.address(), SELLER, 5, now);
        let call = payment.in_parts(&sign(&payer, &payment, &token_domain(usdc)));
        client.read(usdc, call.clone()).await;
        payment.validAfter = U256::from(now + 7200);
        payment.validBefore = U256::MAX;
        let early = payment.in_parts(&sign(&payer, &payment, &token_domain(usdc)));
        let refusal = client.call_refusal(usdc, early.clone()).await;
        assert!(refusal.message.ends_with("FiatTokenV2: authorization is not yet valid"), "{refusal}");

        client.ask::<Value>("evm_increaseTime", json!([7300])).await;
        client.ask::<Value>("evm_mine", json!([])).await;

        let refusal = client.call_refusal(usdc, call).await;
        assert!(refusal.message.ends_with("FiatTokenV2: authorization is expired"), "{refusal}");
        client.read(usdc, early).await;
    }

    async fn only_the_payee_receives_and_a_cancelled_authorization_is_dead(node: Node) {
        let (client, usdc, payer) = (&node.client, node.usdc(), node.payer().await);
        let payee = node.account(0x33).await;
        let message = ReceiveWithAuthorization {
            from: payer.address(), to: payee.address(), value: U256::from(3), validAfter: U256::ZERO,
            validBefore: U256::MAX, nonce: B256::repeat_byte(1),
        };
        let (v, r, s) = parts(&sign(&payer, &message, &token_domain(usdc)));
        let call = Parts::receiveWithAuthorizationCall {
            from: message.from, to: message.to, value: message.value, validAfter: message.validAfter,
            validBefore: message.validBefore, nonce: message.nonce, v, r, s,
        };
        let refusal = client.call_refusal(usdc, call.clone()).await;
        assert!(refusal.message.ends_with("FiatTokenV2: caller must be the payee"), "{refusal}");
        assert!(client.send(&payee, usdc, call).await.status());

        let payment = authorization(payer.address(), SELLER, 5, client.time().await);
        let cancel = CancelAuthorization { authorizer: payer.address(), nonce: payment.nonce };
        let signature = sign(&payer, &cancel, &token_domain(usdc)).as_bytes().into();
        let cancel = Whole::cancelAuthorizationCall { authorizer: payer.address(), nonce: payment.nonce, signature };
        assert!(client.send(&payee, usdc, cancel).await.status());
        let refusal = client.call_refusal(usdc, payment.in_parts(&sign(&payer, &payment, &token_domain(usdc)))).await;
        assert!(refusal.message.ends_with("FiatTokenV2: authorization is used or canceled"), "{refusal}");
    }

    async fn a_contract_wallet_pays_by_its_own_check(node: Node) {
        let (client, usdc, owner) = (&node.client, node.usdc(), node.account(0x44).await);
        let code = [artefacts::WALLET_1271.creation, &owner.address().abi_encode()].concat();
        let wallet = client.deploy(&owner, code).await;
        node.contracts.mint(wallet, U256::from(500)).await.unwrap();
        let payment = authorization(wallet, SELLER, 400, client.time().await);
        let stranger = payment.whole(&sign(&signer(0x45), &payment, &token_domain(usdc)));
        let refusal = client.call_refusal(usdc, stranger).await;
        assert!(refusal.message.ends_with("FiatTokenV2: invalid signature"), "{refusal}");
        assert!(client.send(&owner, usdc, payment.whole(&sign(&owner, &payment, &token_domain(usdc)))).await.status());
        assert_eq!(client.read(usdc, Token::balanceOfCall { account: SELLER }).await, U256::from(400));
    }

    async fn a_permit_allows_and_its_nonce_moves(node: Node) {
        let (client, usdc, payer) = (&node.client, node.usdc(), node.payer().await);
        let spender = node.account(0x55).await;
        let permit = Permit {
            owner: payer.address(), spender: spender.address(), value: U256::from(900), nonce: U256::ZERO,
            deadline: U256::from(client.time().await + 3600),
        };
        let (v, r, s) = parts(&sign(&payer, &permit, &token_domain(usdc)));
        let call = Parts::permitCall {
            owner: permit.owner, spender: permit.spender, value: permit.value, deadline: permit.deadline, v, r, s,
        };
        assert!(client.send(&spender, usdc, call.clone()).await.status());
        assert_eq!(client.read(usdc, Token::noncesCall { owner: payer.address() }).await, U256::ONE);
        let refusal = client.call_refusal(usdc, call).await;
        assert!(refusal.message.ends_with("EIP2612: invalid signature"), "{refusal}");
        let spend = |value| Token::transferFromCall { from: payer.address(), to: SELLER, value: U256::from(value) };
        assert!(client.send(&spender, usdc, spend(600)).await.status());
        assert!(!client.send(&spender, usdc, spend(301)).await.status(), "more than is left");
    }

    async fn a_contract_wallet_allows_by_its_own_check(node: Node) {
        let (client, usdc, owner) = (&node.client, node.usdc(), node.account(0x44).await);
        let code = [artefacts::WALLET_1271.creation, &owner.address().abi_encode()].concat();
        let wallet = client.deploy(&owner, code).await;
        let permit = Permit { owner: wallet, spender: SELLER, value: U256::from(900), nonce: U256::ZERO, deadline: U256::MAX };
        let signed_by = |signer: &PrivateKeySigner| Whole::permitCall {
            owner: wallet, spender: SELLER, value: permit.value, deadline: permit.deadline,
            signature: sign(signer, &permit, &token_domain(usdc)).as_bytes().into(),
        };
        let refusal = client.call_refusal(usdc, signed_by(&signer(0x45))).await;
        assert!(refusal.message.ends_with("EIP2612: invalid signature"), "{refusal}");
        assert!(client.send(&owner, usdc, signed_by(&owner)).await.status());
        let allowance = Token::allowanceCall { owner: wallet, spender: SELLER };
        assert_eq!(client.read(usdc, allowance).await, U256::from(900));
    }

    async fn a_blacklisted_account_allows_and_cannot_pay(node: Node) {
        let (client, usdc, payer) = (&node.client, node.usdc(), node.payer().await);
        client.ask::<Value>("anvil_impersonateAccount", json!([MINTER])).await;
        let data = alloy_primitives::Bytes::from(Token::blacklistCall { account: payer.address() }.abi_encode());
        let hash = client.ask("eth_sendTransaction", json!([{ "from": MINTER, "to": usdc, "data": data }])).await;
        assert!(client.receipt(hash).await.status());
        let approve = Token::approveCall { spender: SELLER, value: U256::from(900) };
        assert!(client.send(&payer, usdc, approve).await.status());
        assert!(!client.send(&payer, usdc, Token::transferCall { to: SELLER, value: U256::ONE }).await.status());
    }

    async fn a_paused_token_and_a_blacklisted_account_move_nothing(node: Node) {
        let (client, usdc, payer) = (&node.client, node.usdc(), node.payer().await);
        let payment = authorization(payer.address(), SELLER, 5, client.time().await);
        let call = payment.in_parts(&sign(&payer, &payment, &token_domain(usdc)));
        client.ask::<Value>("anvil_impersonateAccount", json!([MINTER])).await;
        for (data, text) in [
            (Token::blacklistCall { account: payer.address() }.abi_encode(), "Blacklistable: account is blacklisted"),
            (Token::pauseCall {}.abi_encode(), "Pausable: paused"),
        ] {
            let data = alloy_primitives::Bytes::from(data);
            let hash = client.ask("eth_sendTransaction", json!([{ "from": MINTER, "to": usdc, "data": data }])).await;
            assert!(client.receipt(hash).await.status());
            let refusal = client.call_refusal(usdc, call.clone()).await;
            assert!(refusal.message.ends_with(text), "{refusal}");
        }
    }
}
