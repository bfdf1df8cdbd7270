//! `exact` by ERC-7710: a delegation that is redeemed by the facilitator.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall as _, SolValue as _};
use serde_json::json;
use tollway_devnet::artefacts;
use tollway_devnet::evm::Mining;
use tollway_evm::delegation::Delegation;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome};
use tollway_protocol::{Offer, Payment, Reason};

use crate::common::{PRICE, Stack, bound, key, offer_of, payment, reason_of, sign, verify};
use crate::paying::{STRANGER, is_settled, seller};

alloy_sol_types::sol! {
    struct Grant { address delegator; address delegate; address token; address to; uint256 max; uint256 salt; uint256 deadline; }
    function deploy(address owner, bytes32 salt) external returns (address);
    function addressOf(address owner, bytes32 salt) external view returns (address);
    function digestOf(Grant delegation) external view returns (bytes32);
    function disable(Grant delegation) external;
    function execute(address target, uint256 value, bytes data) external returns (bytes);
    function behave(uint8 mood, uint256 until) external;
}

const MANAGER: Address = Address::repeat_byte(0xd1);

async fn stack(allowed: bool) -> Stack {
    let managers = if allowed { vec![MANAGER] } else { Vec::new() };
    let stack =
        Stack::with(Mining::Auto, Box::new(|_, _| None), |config| config.delegation_managers = managers);
    let stack = stack.await;
    stack.chain.set_code(MANAGER, artefacts::DELEGATION_MANAGER.runtime);
    stack
}

fn ask(stack: &Stack, to: Address, data: Vec<u8>) -> B256 {
    let out =
        stack.chain.request("eth_call", &json!([{"to": to, "data": Bytes::from(data)}, "latest"])).unwrap();
    serde_json::from_value(out).unwrap()
}

/// The wallet of key 7's account, deployed and funded.
fn wallet(stack: &Stack) -> Address {
    let (owner, salt) = (key(7).address(), B256::ZERO);
    stack.chain.call_for_good(owner, MANAGER, deployCall { owner, salt }.abi_encode()).unwrap();
    let wallet = Address::from_word(ask(stack, MANAGER, addressOfCall { owner, salt }.abi_encode()));
    stack.deployment.mint(wallet, U256::from(PRICE * 10)).unwrap();
    wallet
}

fn offer(stack: &Stack) -> Offer {
    let mut offer = offer_of(stack.deployment.usdc);
    offer.extra = offer.extra.with("assetTransferMethod", "erc7710");
    offer
}

fn grant(stack: &Stack, delegator: Address, salt: u64) -> Grant {
    Grant {
        delegator,
        delegate: stack.signer.address(),
        token: stack.deployment.usdc,
        to: seller(),
        max: U256::from(PRICE),
        salt: U256::from(salt),
        deadline: U256::from(crate::common::now().0 + 300),
    }
}

/// A payment by a delegation that a key made from `seed` has signed.
fn pay(stack: &Stack, grant: &Grant, seed: u8) -> Payment {
    let digest = ask(stack, MANAGER, digestOfCall { delegation: grant.clone() }.abi_encode());
    let context = (grant.clone(), Bytes::from(sign(seed, digest))).abi_encode_params();
    paid(stack, MANAGER, context, grant.delegator)
}

fn paid(stack: &Stack, manager: Address, context: Vec<u8>, delegator: Address) -> Payment {
    let payload = Delegation { manager, context: context.into(), delegator }.payload().unwrap();
    payment(&offer(stack), payload)
}

#[tokio::test]
async fn a_delegation_is_redeemed_once_by_the_account_that_may() {
    let stack = stack(true).await;
    let wallet = wallet(&stack);
    let good = pay(&stack, &grant(&stack, wallet, 1), 7);
    verify(&stack.facilitator, &offer(&stack), good.clone()).await.unwrap();
    let payment = bound(&stack.facilitator, &offer(&stack), good).unwrap();
    let outcome = stack.settle(payment.clone()).await;
    assert_eq!(outcome, Outcome::Settled { transaction: stack.transfers()[0].to_string() });
    assert_eq!(stack.settle(payment).await, outcome);
    assert_eq!((stack.seller_balance(), stack.transactions_of_signer()), (PRICE, 1));
}

#[tokio::test]
async fn a_delegation_that_would_not_be_redeemed_is_refused() {
    let stack = stack(true).await;
    let wallet = wallet(&stack);
    let offer = offer(&stack);
    let judge = |payment| verify(&stack.facilitator, &offer, payment);
    let forged = pay(&stack, &grant(&stack, wallet, 1), 8);
    assert_eq!(judge(forged).await, Err(Reason::SimulationFailed));
    let foreign = Grant { delegate: STRANGER, ..grant(&stack, wallet, 2) };
    assert_eq!(judge(pay(&stack, &foreign, 7)).await, Err(Reason::SimulationFailed));
    let less = Grant { max: U256::from(PRICE - 1), ..grant(&stack, wallet, 3) };
    assert_eq!(judge(pay(&stack, &less, 7)).await, Err(Reason::SimulationFailed));
    let poor = grant(&stack, Address::repeat_byte(0x44), 4);
    assert_eq!(judge(pay(&stack, &poor, 7)).await, Err(Reason::InsufficientBalance));
}

#[tokio::test]
async fn fa14_a_manager_that_is_not_allowed_is_not_called() {
    let stack = stack(false).await;
    let wallet = wallet(&stack);
    let good = pay(&stack, &grant(&stack, wallet, 1), 7);
    assert_eq!(verify(&stack.facilitator, &offer(&stack), good).await, Err(Reason::TransferNotSupported));
}

#[tokio::test]
async fn fa15_a_manager_that_only_says_yes_is_not_paid_and_costs_no_more_than_the_budget() {
    let stack = stack(true).await;
    let victim = wallet(&stack);
    stack.chain.set_code(MANAGER, artefacts::HOSTILE.runtime);
    let mut failed = 0;
    for n in 1..=5u8 {
        let paid = paid(&stack, MANAGER, vec![n; 64], victim);
        let bound = bound(&stack.facilitator, &offer(&stack), paid).unwrap();
        match reason_of(&stack.settle(bound).await) {
            Some(Reason::TransferNotFound) => failed += 1,
            Some(Reason::PayerSuspended) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((failed, stack.transactions_of_signer(), stack.seller_balance()), (3, 3, 0));
    // Who was named as the delegator pays by other methods as before.
    let since = tollway_protocol::door::UnixTime(0);
    let payer = format!("{victim:#x}");
    let ledger: &dyn tollway_ledger::Journal = stack.ledger.as_ref();
    assert_eq!(ledger.reverts(&crate::common::network(), &payer, since).await.unwrap(), 0);
}

#[tokio::test]
async fn fa15_a_delegation_that_is_taken_back_in_time_is_a_failure_for_good() {
    let stack = Stack::with(crate::paying::manual(), Box::new(|_, _| None), |config| {
        config.delegation_managers = vec![MANAGER];
    })
    .await;
    stack.chain.set_code(MANAGER, artefacts::DELEGATION_MANAGER.runtime);
    let wallet = wallet(&stack);
    let grant = grant(&stack, wallet, 1);
    let payment = bound(&stack.facilitator, &offer(&stack), pay(&stack, &grant, 7)).unwrap();
    let (f, asked) = (stack.facilitator.clone(), payment.clone());
    let settling = tokio::spawn(async move { f.settle(asked, Duration::from_secs(20)).await });
    while stack.sends.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    stack.chain.call_for_good(wallet, MANAGER, disableCall { delegation: grant }.abi_encode()).unwrap();
    stack.chain.mine();
    let outcome = settling.await.unwrap();
    assert_eq!(reason_of(&outcome), Some(&Reason::TransactionFailed), "{outcome:?}");
    assert!(!is_settled(&stack.settle(payment).await));
    assert_eq!((stack.seller_balance(), stack.transactions_of_signer()), (0, 1));
}
