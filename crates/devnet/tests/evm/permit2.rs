//! Permit2.

use alloy_primitives::{
    Address, U256,
    aliases::{U48, U160},
};
use alloy_sol_types::{Eip712Domain, SolStruct as _, eip712_domain, sol};
use tollway_devnet::evm::PERMIT2;

use crate::{
    abi::{Token, sign},
    nodes::Node,
    on_both,
};

const SELLER: Address = Address::repeat_byte(0x5e);

sol! {
    #[derive(Debug)]
    struct TokenPermissions { address token; uint256 amount; }
    struct Witness { address to; uint256 validAfter; }
    struct PermitWitnessTransferFrom { TokenPermissions permitted; address spender; uint256 nonce; uint256 deadline; Witness witness; }
    struct PermitTransferFrom { TokenPermissions permitted; address spender; uint256 nonce; uint256 deadline; }
    struct PermitBatchTransferFrom { TokenPermissions[] permitted; address spender; uint256 nonce; uint256 deadline; }
    struct PermitDetails { address token; uint160 amount; uint48 expiration; uint48 nonce; }
    struct PermitSingle { PermitDetails details; address spender; uint256 sigDeadline; }

    struct Unsigned { TokenPermissions permitted; uint256 nonce; uint256 deadline; }
    struct UnsignedBatch { TokenPermissions[] permitted; uint256 nonce; uint256 deadline; }
    struct Details { address to; uint256 requestedAmount; }

    interface Witnessed {
        function permitWitnessTransferFrom(Unsigned permit, Details details, address owner, bytes32 witness, string witnessTypeString, bytes signature) external;
    }
    interface One { function permitTransferFrom(Unsigned permit, Details details, address owner, bytes signature) external; }
    interface Many { function permitTransferFrom(UnsignedBatch permit, Details[] details, address owner, bytes signature) external; }
    interface Allowing {
        function DOMAIN_SEPARATOR() external view returns (bytes32);
        function permit(address owner, PermitSingle single, bytes signature) external;
        function transferFrom(address from, address to, uint160 amount, address token) external;
        function nonceBitmap(address owner, uint256 word) external view returns (uint256);
        error InvalidNonce();
        error InvalidSigner();
        error InvalidAmount(uint256 maxAmount);
        error SignatureExpired(uint256 signatureDeadline);
        error InsufficientAllowance(uint256 amount);
    }
}

fn domain() -> Eip712Domain {
    eip712_domain! { name: "Permit2", chain_id: 84532, verifying_contract: PERMIT2, }
}

fn selector<E: alloy_sol_types::SolError>(error: &E) -> String {
    alloy_primitives::hex::encode_prefixed(error.abi_encode())
}

/// A payer that lets Permit2 take its tokens.
async fn payer(node: &Node) -> alloy_signer_local::PrivateKeySigner {
    let payer = node.payer().await;
    let approve = Token::approveCall { spender: PERMIT2, value: U256::MAX };
    assert!(node.client.send(&payer, node.usdc(), approve).await.status());
    payer
}

on_both! {
    async fn a_witnessed_permit_pays_once(node: Node) {
        let (client, token, payer) = (&node.client, node.usdc(), payer(&node).await);
        let spender = node.account(0x66).await;
        let (nonce, deadline) = (U256::from(7_001), U256::from(client.time().await + 600));
        let permitted = TokenPermissions { token, amount: U256::from(1000) };
        let witness = Witness { to: SELLER, validAfter: U256::ZERO };
        let message = PermitWitnessTransferFrom {
            permitted: permitted.clone(), spender: spender.address(), nonce, deadline, witness: witness.clone(),
        };
        assert_eq!(client.read(PERMIT2, Allowing::DOMAIN_SEPARATORCall {}).await, domain().separator());
        let call = Witnessed::permitWitnessTransferFromCall {
            permit: Unsigned { permitted, nonce, deadline },
            details: Details { to: SELLER, requestedAmount: U256::from(800) },
            owner: payer.address(),
            witness: witness.eip712_hash_struct(),
            witnessTypeString: "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,uint256 validAfter)".into(),
            signature: sign(&payer, &message, &domain()).as_bytes().into(),
        };
        let refusal = client.call_refusal(PERMIT2, call.clone()).await;
        assert_eq!(refusal.data.unwrap(), selector(&Allowing::InvalidSigner {}), "only the spender may use it");
        assert!(client.send(&spender, PERMIT2, call.clone()).await.status());
        assert_eq!(client.read(token, Token::balanceOfCall { account: SELLER }).await, U256::from(800));
        let bitmap = Allowing::nonceBitmapCall { owner: payer.address(), word: nonce >> 8 };
        assert_eq!(client.read(PERMIT2, bitmap).await, U256::ONE << 89);
        let refusal = client.call_refusal(PERMIT2, call).await;
        assert_eq!(refusal.code, 3);
        assert_eq!(refusal.data.unwrap(), selector(&Allowing::InvalidNonce {}));
    }

    async fn a_permit_for_one_token_is_bound_to_amount_and_time(node: Node) {
        let (client, token, payer) = (&node.client, node.usdc(), payer(&node).await);
        let spender = node.account(0x66).await;
        let deadline = U256::from(client.time().await + 600);
        let permitted = TokenPermissions { token, amount: U256::from(1000) };
        let message = PermitTransferFrom {
            permitted: permitted.clone(), spender: spender.address(), nonce: U256::ZERO, deadline,
        };
        let call = |amount: u64, deadline| One::permitTransferFromCall {
            permit: Unsigned { permitted: permitted.clone(), nonce: U256::ZERO, deadline },
            details: Details { to: SELLER, requestedAmount: U256::from(amount) },
            owner: payer.address(),
            signature: compact(&sign(&payer, &message, &domain())),
        };
        let refusal = client.call_refusal(PERMIT2, call(1001, deadline)).await;
        assert_eq!(refusal.data.unwrap(), selector(&Allowing::InvalidAmount { maxAmount: U256::from(1000) }));
        let refusal = client.call_refusal(PERMIT2, call(1000, U256::ONE)).await;
        assert_eq!(refusal.data.unwrap(), selector(&Allowing::SignatureExpired { signatureDeadline: U256::ONE }));
        assert!(client.send(&spender, PERMIT2, call(1000, deadline)).await.status());
    }

    async fn a_batch_pays_several_with_one_signature(node: Node) {
        let (client, token, payer) = (&node.client, node.usdc(), payer(&node).await);
        let spender = node.account(0x66).await;
        let deadline = U256::from(client.time().await + 600);
        let permitted: Vec<_> = [10, 20].map(|amount| TokenPermissions { token, amount: U256::from(amount) }).into();
        let message = PermitBatchTransferFrom {
            permitted: permitted.clone(), spender: spender.address(), nonce: U256::ZERO, deadline,
        };
        let call = Many::permitTransferFromCall {
            permit: UnsignedBatch { permitted, nonce: U256::ZERO, deadline },
            details: [10, 15].map(|amount| Details { to: SELLER, requestedAmount: U256::from(amount) }).into(),
            owner: payer.address(),
            signature: sign(&payer, &message, &domain()).as_bytes().into(),
        };
        assert!(client.send(&spender, PERMIT2, call).await.status());
        assert_eq!(client.read(token, Token::balanceOfCall { account: SELLER }).await, U256::from(25));
    }

    async fn an_allowance_by_signature_is_spent_and_ends(node: Node) {
        let (client, token, payer) = (&node.client, node.usdc(), payer(&node).await);
        let spender = node.account(0x66).await;
        let now = client.time().await;
        let single = PermitSingle {
            details: PermitDetails { token, amount: U160::from(100), expiration: U48::from(now + 600), nonce: U48::ZERO },
            spender: spender.address(),
            sigDeadline: U256::from(now + 600),
        };
        let signature = sign(&payer, &single, &domain()).as_bytes().into();
        let permit = Allowing::permitCall { owner: payer.address(), single, signature };
        assert!(client.send(&spender, PERMIT2, permit.clone()).await.status());
        assert_eq!(client.call_refusal(PERMIT2, permit).await.data.unwrap(), selector(&Allowing::InvalidNonce {}));
        let spend = |amount: u64| {
            Allowing::transferFromCall { from: payer.address(), to: SELLER, amount: U160::from(amount), token }
        };
        assert!(client.send(&spender, PERMIT2, spend(60)).await.status());
        assert!(!client.send(&spender, PERMIT2, spend(41)).await.status());
        assert!(client.send(&spender, PERMIT2, spend(40)).await.status());
    }
}

/// A signature of 64 bytes (EIP-2098).
fn compact(signature: &alloy_signer::Signature) -> alloy_primitives::Bytes {
    let s: U256 = signature.s() | (U256::from(signature.v()) << 255);
    [signature.r().to_be_bytes::<32>(), s.to_be_bytes::<32>()].concat().into()
}
