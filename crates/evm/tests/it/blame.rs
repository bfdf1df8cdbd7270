//! What is told, and done, before and after a transaction that did not make all of its payments.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall as _;
use serde_json::Value;
use tollway_devnet::artefacts;
use tollway_ledger::{Journal as _, SqliteLedger};
use tollway_protocol::Reason;
use tollway_protocol::bind::Bound;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome};

use crate::common::parking::Fault;
use crate::common::{PRICE, Stack, facilitator, key, network, reason_of};
use crate::engine::by;
use crate::paying::{
    STRANGER, approve, by_permit2, is_settled, manual, permit_for, seller, settling, signed,
};
use crate::permit2::{ODD, odd};

#[tokio::test]
async fn i19_those_that_paid_are_answered_before_it_is_known_whom_to_blame_for_the_others() {
    // The state after a block is asked for only to blame somebody.
    let hook =
        |method: &str, params: &Value| (method == "eth_call" && params[1] != "latest").then_some(Fault::Hang);
    let stack =
        Stack::with(manual(), Box::new(hook), |config| config.rpc_timeout = Duration::from_secs(60)).await;
    let start = |payment: Bound| {
        let f = stack.facilitator.clone();
        tokio::spawn(async move { f.settle(payment, Duration::from_secs(20)).await })
    };
    let mut all = vec![start(by(&stack, 30).await)];
    while stack.sends.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    let mut waiting = Vec::new();
    for seed in 31..=34 {
        waiting.push(by(&stack, seed).await);
    }
    all.extend(waiting.into_iter().map(start));
    while stack.sends.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    alloy_sol_types::sol! { function transfer(address to, uint256 value) external returns (bool); }
    let away = transferCall { to: Address::repeat_byte(1), value: U256::from(PRICE) }.abi_encode();
    stack.chain.call_for_good(key(33).address(), stack.deployment.usdc, away).unwrap();
    drop(all.remove(3));
    for settling in all {
        while !settling.is_finished() {
            stack.chain.mine();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let outcome = settling.await.unwrap();
        assert!(is_settled(&outcome), "{outcome:?}");
    }
    assert_eq!(stack.seller_balance(), 4 * PRICE);
}

#[tokio::test]
async fn i18_a_drained_process_keeps_no_lease_and_takes_none_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let stack = Stack::new().await;
    let open = || Arc::new(SqliteLedger::open(&path).unwrap());
    let one = facilitator(&stack.rpc, open(), key(9), |_| {});
    one.recover().await;
    assert!(is_settled(&one.settle(by(&stack, 30).await, Duration::from_secs(10)).await));
    one.drain().await;
    let late = by(&stack, 31).await;
    let told = one.settle(late.clone(), Duration::from_millis(400)).await;
    assert!(matches!(told, Outcome::Pending { transaction: None, .. }), "{told:?}");
    let (ledger, signer) = (open(), key(9).address().to_string());
    assert!(ledger.lease(&network(), &signer).await.unwrap().is_some(), "the account is free");
    let other = facilitator(&stack.rpc, ledger, key(9), |_| {});
    other.recover().await;
    let told = other.settle(late, Duration::from_secs(10)).await;
    assert!(is_settled(&told), "{told:?}");
    assert_eq!((stack.seller_balance(), stack.transfers().len()), (2 * PRICE, 2));
}

#[tokio::test]
async fn fa15_a_permit_s_nonce_burnt_with_another_token_counts_and_suspends_after_the_limit() {
    let stack = odd(artefacts::PLAIN_TOKEN.runtime, false).await;
    approve(&stack, stack.deployment.usdc, stack.payer.address());
    stack.deployment.fund(STRANGER);
    stack.chain.request("anvil_impersonateAccount", &serde_json::json!([STRANGER])).unwrap();
    stack.chain.set_mining(manual()).unwrap();
    let other = by_permit2(ODD);
    for nonce in 1..=4 {
        let (f, paid) = (stack.facilitator.clone(), stack.permit(nonce).await);
        let settling_it = tokio::spawn(async move { f.settle(paid, Duration::from_millis(800)).await });
        if nonce > 3 {
            let told = settling_it.await.unwrap();
            assert_eq!(reason_of(&told), Some(&Reason::PayerSuspended), "{told:?}");
            break;
        }
        while stack.sends.load(Ordering::SeqCst) < usize::from(nonce) {
            tokio::task::yield_now().await;
        }
        // First in the block: a permit with the same nonce, in a token whose logs nobody looks at.
        let (to, data) = settling(&signed(&other, &permit_for(&other, stack.payer.address(), nonce), 7));
        let sent = serde_json::json!([{"from": STRANGER, "to": to, "data": data, "gas": "0x493e0",
            "maxFeePerGas": "0x174876e800", "maxPriorityFeePerGas": "0x174876e800"}]);
        stack.chain.request("eth_sendTransaction", &sent).unwrap();
        stack.chain.mine();
        let told = settling_it.await.unwrap();
        assert!(matches!(told, Outcome::Pending { .. }), "{told:?}");
        assert_eq!(stack.balance_of(ODD, seller()), u64::from(nonce) * PRICE);
    }
    assert_eq!((stack.seller_balance(), stack.transactions_of_signer()), (0, 3));
}
