//! The two x402 proxies for Permit2.

use std::path::PathBuf;

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_rpc_types_eth::TransactionReceipt;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{SolCall, SolError, SolEvent as _, eip712_domain, sol};
use serde_json::{Value, json};
use tollway_devnet::{
    artefacts,
    evm::{EXACT_PERMIT2_PROXY as EXACT, PERMIT2, UPTO_PERMIT2_PROXY as UPTO},
};

use crate::{
    abi::{self, Token, parts, sign, token_domain},
    nodes::Node,
    on_both,
};

const SELLER: Address = Address::repeat_byte(0x5e);
const AMOUNT: U256 = U256::from_limbs([1000, 0, 0, 0]);

sol! {
    #[derive(Debug)]
    struct TokenPermissions { address token; uint256 amount; }
    struct Unsigned { TokenPermissions permitted; uint256 nonce; uint256 deadline; }
    struct Permit2612 { uint256 value; uint256 deadline; bytes32 r; bytes32 s; uint8 v; }

    interface Exact {
        function settle(Unsigned permit, address owner, (address,uint256) witness, bytes signature) external;
        function settleWithPermit(Permit2612 permit2612, Unsigned permit, address owner, (address,uint256) witness, bytes signature) external;
    }
    interface Upto {
        function settle(Unsigned permit, uint256 amount, address owner, (address,address,uint256) witness, bytes signature) external;
        function settleWithPermit(Permit2612 permit2612, Unsigned permit, uint256 amount, address owner, (address,address,uint256) witness, bytes signature) external;
    }

    event Settled();
    event SettledWithPermit();
    event EIP2612PermitFailedWithReason(address indexed token, address indexed owner, string reason);
    error InvalidAmount();
    error InvalidOwner();
    error InvalidDestination();
    error PaymentTooEarly();
    error Permit2612AmountMismatch();
    error AmountExceedsPermitted();
    error UnauthorizedFacilitator();
    error ReentrancyGuardReentrantCall();
    error InvalidNonce();
    error InvalidSigner();

    interface Hostile {
        function callBack(address target, bytes data) external;
        function answer() external view returns (bytes);
    }
}

mod exact {
    alloy_sol_types::sol! {
        struct TokenPermissions { address token; uint256 amount; }
        struct Witness { address to; uint256 validAfter; }
        struct PermitWitnessTransferFrom { TokenPermissions permitted; address spender; uint256 nonce; uint256 deadline; Witness witness; }
    }
}
mod upto {
    alloy_sol_types::sol! {
        struct TokenPermissions { address token; uint256 amount; }
        struct Witness { address to; address facilitator; uint256 validAfter; }
        struct PermitWitnessTransferFrom { TokenPermissions permitted; address spender; uint256 nonce; uint256 deadline; Witness witness; }
    }
}

/// A payment that its payer has signed for one of the proxies.
#[derive(Clone)]
struct Signed {
    permit: Unsigned,
    owner: Address,
    to: Address,
    facilitator: Address,
    after: U256,
    signature: Bytes,
}

impl Signed {
    fn exact(payer: &PrivateKeySigner, token: Address, now: u64) -> Self {
        let (nonce, deadline) = (U256::from(5), U256::from(now + 600));
        let message = exact::PermitWitnessTransferFrom {
            permitted: exact::TokenPermissions { token, amount: AMOUNT },
            spender: EXACT,
            nonce,
            deadline,
            witness: exact::Witness { to: SELLER, validAfter: U256::ZERO },
        };
        let domain = eip712_domain! { name: "Permit2", chain_id: 84532, verifying_contract: PERMIT2, };
        Self::of(payer, token, (nonce, deadline), Address::ZERO, &sign(payer, &message, &domain).as_bytes())
    }

    fn upto(payer: &PrivateKeySigner, token: Address, facilitator: Address, now: u64) -> Self {
        let (nonce, deadline) = (U256::from(5), U256::from(now + 600));
        let message = upto::PermitWitnessTransferFrom {
            permitted: upto::TokenPermissions { token, amount: AMOUNT },
            spender: UPTO,
            nonce,
            deadline,
            witness: upto::Witness { to: SELLER, facilitator, validAfter: U256::ZERO },
        };
        let domain = eip712_domain! { name: "Permit2", chain_id: 84532, verifying_contract: PERMIT2, };
        Self::of(payer, token, (nonce, deadline), facilitator, &sign(payer, &message, &domain).as_bytes())
    }

    fn of(
        payer: &PrivateKeySigner,
        token: Address,
        (nonce, deadline): (U256, U256),
        facilitator: Address,
        signature: &[u8],
    ) -> Self {
        Self {
            permit: Unsigned { permitted: TokenPermissions { token, amount: AMOUNT }, nonce, deadline },
            owner: payer.address(),
            to: SELLER,
            facilitator,
            after: U256::ZERO,
            signature: signature.to_vec().into(),
        }
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }

    fn settle(self) -> Exact::settleCall {
        Exact::settleCall {
            permit: self.permit,
            owner: self.owner,
            witness: (self.to, self.after),
            signature: self.signature,
        }
    }

    fn settle_with(self, permit2612: Permit2612) -> Exact::settleWithPermitCall {
        Exact::settleWithPermitCall {
            permit2612,
            permit: self.permit,
            owner: self.owner,
            witness: (self.to, self.after),
            signature: self.signature,
        }
    }

    fn settle_upto(self, amount: u64) -> Upto::settleCall {
        Upto::settleCall {
            permit: self.permit,
            amount: U256::from(amount),
            owner: self.owner,
            witness: (self.to, self.facilitator, self.after),
            signature: self.signature,
        }
    }

    fn settle_upto_with(self, permit2612: Permit2612, amount: u64) -> Upto::settleWithPermitCall {
        Upto::settleWithPermitCall {
            permit2612,
            permit: self.permit,
            amount: U256::from(amount),
            owner: self.owner,
            witness: (self.to, self.facilitator, self.after),
            signature: self.signature,
        }
    }
}

/// The payer's permission of the token (EIP-2612) that Permit2 takes this much.
async fn permission(node: &Node, payer: &PrivateKeySigner, value: U256) -> Permit2612 {
    let (owner, deadline) = (payer.address(), U256::from(u64::MAX));
    let nonce = node.client.read(node.usdc(), Token::noncesCall { owner }).await;
    let message = abi::Permit { owner, spender: PERMIT2, value, nonce, deadline };
    let (v, r, s) = parts(&sign(payer, &message, &token_domain(node.usdc())));
    Permit2612 { value, deadline, r, s, v }
}

async fn allow_permit2(node: &Node, payer: &PrivateKeySigner) {
    let approve = Token::approveCall { spender: PERMIT2, value: U256::MAX };
    assert!(node.client.send(payer, node.usdc(), approve).await.status());
}

/// What a call of this account reverts with.
async fn reverts(node: &Node, from: Address, to: Address, call: impl SolCall) -> Value {
    let call = json!([{ "from": from, "to": to, "data": Bytes::from(call.abi_encode()) }, "latest"]);
    node.client.refusal("eth_call", call).await.data.unwrap_or_default()
}

fn coded<E: SolError>(error: &E) -> Value {
    json!(hex::encode_prefixed(error.abi_encode()))
}

async fn seller_has(node: &Node) -> U256 {
    node.client.read(node.usdc(), Token::balanceOfCall { account: SELLER }).await
}

fn logged(receipt: &TransactionReceipt, proxy: Address, event: B256) -> bool {
    receipt.logs().iter().any(|log| log.address() == proxy && log.topics() == [event])
}

on_both! {
    async fn an_exact_payment_is_submitted_by_anyone_and_pays_all_of_it_once(node: Node) {
        let (payer, stranger) = (node.payer().await, node.account(0x66).await);
        allow_permit2(&node, &payer).await;
        let payment = Signed::exact(&payer, node.usdc(), node.client.time().await);
        let receipt = node.client.send(&stranger, EXACT, payment.clone().settle()).await;
        assert!(receipt.status() && logged(&receipt, EXACT, Settled::SIGNATURE_HASH));
        assert_eq!(seller_has(&node).await, AMOUNT);
        assert_eq!(reverts(&node, stranger.address(), EXACT, payment.settle()).await, coded(&InvalidNonce {}));
    }

    async fn an_exact_payment_brings_its_allowance_along(node: Node) {
        let (payer, stranger) = (node.payer().await, node.account(0x66).await);
        let payment = Signed::exact(&payer, node.usdc(), node.client.time().await);
        let without = node.client.call_refusal(EXACT, payment.clone().settle()).await;
        assert!(without.message.contains("TRANSFER_FROM_FAILED"), "{without}");
        let permit = permission(&node, &payer, AMOUNT).await;
        let receipt = node.client.send(&stranger, EXACT, payment.settle_with(permit)).await;
        assert!(receipt.status() && logged(&receipt, EXACT, SettledWithPermit::SIGNATURE_HASH));
        assert_eq!(seller_has(&node).await, AMOUNT);
        let left = Token::allowanceCall { owner: payer.address(), spender: PERMIT2 };
        assert_eq!(node.client.read(node.usdc(), left).await, U256::ZERO);
    }

    async fn a_permission_that_fails_is_logged_and_the_allowance_decides(node: Node) {
        let (payer, stranger) = (node.payer().await, node.account(0x66).await);
        let payment = Signed::exact(&payer, node.usdc(), node.client.time().await);
        let stale = Permit2612 { deadline: U256::ONE, ..permission(&node, &payer, AMOUNT).await };
        let call = payment.settle_with(stale);
        let without = node.client.call_refusal(EXACT, call.clone()).await;
        assert!(without.message.contains("TRANSFER_FROM_FAILED"), "{without}");
        allow_permit2(&node, &payer).await;
        let receipt = node.client.send(&stranger, EXACT, call).await;
        assert!(receipt.status() && logged(&receipt, EXACT, SettledWithPermit::SIGNATURE_HASH));
        let failures = receipt.logs().iter().filter_map(|log| EIP2612PermitFailedWithReason::decode_log(&log.inner).ok());
        let failures: Vec<_> = failures.map(|log| (log.token, log.owner, log.reason.clone())).collect();
        assert_eq!(failures, [(node.usdc(), payer.address(), "FiatTokenV2: permit is expired".to_owned())]);
        assert_eq!(seller_has(&node).await, AMOUNT);
    }

    async fn an_exact_payment_goes_nowhere_else_and_not_too_early(node: Node) {
        let payer = node.payer().await;
        allow_permit2(&node, &payer).await;
        let good = Signed::exact(&payer, node.usdc(), node.client.time().await);
        let far = U256::from(u64::MAX);
        for (changed, error) in [
            (good.with(|p| p.to = Address::repeat_byte(0xbb)), coded(&InvalidSigner {})),
            (good.with(|p| p.after = U256::ONE), coded(&InvalidSigner {})),
            (good.with(|p| p.permit.permitted.amount = U256::ONE), coded(&InvalidSigner {})),
            (good.with(|p| p.to = Address::ZERO), coded(&InvalidDestination {})),
            (good.with(|p| p.owner = Address::ZERO), coded(&InvalidOwner {})),
            (good.with(|p| p.permit.permitted.amount = U256::ZERO), coded(&InvalidAmount {})),
            (good.with(|p| p.after = far), coded(&PaymentTooEarly {})),
        ] {
            assert_eq!(reverts(&node, payer.address(), EXACT, changed.settle()).await, error);
        }
        let other = permission(&node, &payer, AMOUNT + U256::ONE).await;
        let error = reverts(&node, payer.address(), EXACT, good.settle_with(other)).await;
        assert_eq!(error, coded(&Permit2612AmountMismatch {}));
    }

    async fn only_the_signed_facilitator_settles_up_to_the_maximum_once(node: Node) {
        let (payer, facilitator, stranger) = (node.payer().await, node.account(0x66).await, node.account(0x67).await);
        allow_permit2(&node, &payer).await;
        let payment = Signed::upto(&payer, node.usdc(), facilitator.address(), node.client.time().await);
        let from_stranger = reverts(&node, stranger.address(), UPTO, payment.clone().settle_upto(400)).await;
        assert_eq!(from_stranger, coded(&UnauthorizedFacilitator {}));
        let renamed = payment.with(|p| p.facilitator = stranger.address()).settle_upto(400);
        assert_eq!(reverts(&node, stranger.address(), UPTO, renamed).await, coded(&InvalidSigner {}));
        let receipt = node.client.send(&facilitator, UPTO, payment.clone().settle_upto(400)).await;
        assert!(receipt.status() && logged(&receipt, UPTO, Settled::SIGNATURE_HASH));
        assert_eq!(seller_has(&node).await, U256::from(400));
        let again = reverts(&node, facilitator.address(), UPTO, payment.settle_upto(400)).await;
        assert_eq!(again, coded(&InvalidNonce {}), "what is left of the maximum is not to be had");
    }

    async fn a_metered_payment_brings_its_allowance_along(node: Node) {
        let (payer, facilitator) = (node.payer().await, node.account(0x66).await);
        let payment = Signed::upto(&payer, node.usdc(), facilitator.address(), node.client.time().await);
        let permit = permission(&node, &payer, AMOUNT).await;
        let call = payment.clone().settle_upto_with(permit.clone(), 1000);
        let from_stranger = reverts(&node, payer.address(), UPTO, call.clone()).await;
        assert_eq!(from_stranger, coded(&UnauthorizedFacilitator {}));
        let other = Permit2612 { value: U256::from(400), ..permit };
        let mismatch = reverts(&node, facilitator.address(), UPTO, payment.settle_upto_with(other, 400)).await;
        assert_eq!(mismatch, coded(&Permit2612AmountMismatch {}));
        let receipt = node.client.send(&facilitator, UPTO, call).await;
        assert!(receipt.status() && logged(&receipt, UPTO, SettledWithPermit::SIGNATURE_HASH));
        assert_eq!(seller_has(&node).await, AMOUNT);
    }

    async fn a_metered_payment_is_bound_to_what_was_signed(node: Node) {
        let (payer, facilitator) = (node.payer().await, node.account(0x66).await);
        allow_permit2(&node, &payer).await;
        let good = Signed::upto(&payer, node.usdc(), facilitator.address(), node.client.time().await);
        let far = U256::from(u64::MAX);
        for (changed, amount, error) in [
            (good.clone(), 1001, coded(&AmountExceedsPermitted {})),
            (good.clone(), 0, coded(&InvalidAmount {})),
            (good.with(|p| p.to = Address::repeat_byte(0xbb)), 9, coded(&InvalidSigner {})),
            (good.with(|p| p.to = Address::ZERO), 9, coded(&InvalidDestination {})),
            (good.with(|p| p.owner = Address::ZERO), 9, coded(&InvalidOwner {})),
            (good.with(|p| p.after = far), 9, coded(&PaymentTooEarly {})),
        ] {
            assert_eq!(reverts(&node, facilitator.address(), UPTO, changed.settle_upto(amount)).await, error);
        }
    }

    async fn a_token_cannot_call_the_proxy_back(node: Node) {
        let (payer, stranger) = (node.payer().await, node.account(0x66).await);
        let token = node.client.deploy(&stranger, artefacts::HOSTILE.creation.to_vec()).await;
        let inner = Signed::exact(&payer, node.usdc(), node.client.time().await).settle().abi_encode();
        let call = Hostile::callBackCall { target: EXACT, data: inner.into() };
        assert!(node.client.send(&stranger, token, call).await.status());
        let payment = Signed::exact(&payer, token, node.client.time().await);
        assert!(node.client.send(&stranger, EXACT, payment.settle()).await.status());
        let answer = node.client.read(token, Hostile::answerCall {}).await;
        assert_eq!(json!(answer), coded(&ReentrancyGuardReentrantCall {}));
    }
}

#[tokio::test]
async fn the_proxies_speak_the_abi_of_the_published_sdk() {
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxies.mjs"));
    let output = tokio::process::Command::new("node").arg(script).output().await.expect("node runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}
