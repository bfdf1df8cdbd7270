use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tollway_ledger::Journal as _;
use tollway_protocol::Reason;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome};

use crate::common::{PRICE, Stack, network, parking::Fault, reason_of, verify};
use crate::paying::{approve, is_settled};

#[tokio::test]
async fn fa22_x402rs_02_a_lost_answer_to_the_broadcast_is_not_a_failure() {
    let hook = |method: &str, _: &Value| (method == "eth_sendRawTransaction").then_some(Fault::LostReply);
    let stack = Stack::hooked(Box::new(hook)).await;
    let outcome = stack.settle(stack.bound(1).await).await;
    assert_eq!(outcome, Outcome::Settled { transaction: stack.transfers()[0].to_string() });
    assert_eq!(stack.transactions_of_signer(), 1);
}

#[tokio::test]
async fn fa22_null_receipts_mean_nothing() {
    let lying = Arc::new(AtomicUsize::new(20));
    let left = lying.clone();
    let hook = move |method: &str, _: &Value| {
        let lie = method == "eth_getTransactionReceipt"
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        lie.then_some(Fault::Result(Value::Null))
    };
    let stack = Stack::hooked(Box::new(hook)).await;
    let outcome = stack.settle(stack.bound(1).await).await;
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
    assert_eq!((stack.seller_balance(), stack.transactions_of_signer()), (PRICE, 1));
}

#[tokio::test]
async fn fa22_another_transaction_s_receipt_is_not_believed() {
    let hook = |method: &str, _: &Value| {
        (method == "eth_getTransactionReceipt").then(|| {
            Fault::Result(json!({"transactionHash": format!("0x{}", "ab".repeat(32)), "status": "0x0",
                "blockNumber": "0x1", "logs": []}))
        })
    };
    let stack = Stack::hooked(Box::new(hook)).await;
    let payment = stack.bound(1).await;
    let outcome = stack.facilitator.settle(payment, Duration::from_millis(500)).await;
    assert!(matches!(outcome, Outcome::Pending { transaction: Some(_), .. }), "{outcome:?}");
}

#[tokio::test]
async fn fa32_a_node_that_hangs_gives_pending_with_the_hash_by_the_deadline() {
    let hook = |method: &str, _: &Value| (method == "eth_getTransactionReceipt").then_some(Fault::Hang);
    let stack = Stack::hooked(Box::new(hook)).await;
    let outcome = stack.facilitator.settle(stack.bound(1).await, Duration::from_millis(800)).await;
    let Outcome::Pending { transaction: Some(hash), .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(hash, stack.transfers()[0].to_string());
}

#[tokio::test]
async fn fx_n1_i19_with_the_node_away_nothing_is_taken_or_broadcast() {
    let away = Arc::new(AtomicBool::new(true));
    let seen = away.clone();
    let hook = move |_: &str, _: &Value| seen.load(Ordering::SeqCst).then_some(Fault::Hang);
    let stack = Stack::with(tollway_devnet::evm::Mining::Auto, Box::new(hook), |config| {
        config.rpc_timeout = Duration::from_millis(100);
    })
    .await;
    let offer = stack.offer();
    let paid = stack.pay(&offer, 1).await;
    assert_eq!(verify(&stack.facilitator, &offer, paid).await, Err(Reason::ChainUnreachable));
    let outcome = stack.settle(stack.bound(1).await).await;
    assert_eq!(reason_of(&outcome), Some(&Reason::ChainUnreachable));
    assert!(stack.ledger.open(&network()).await.unwrap().is_empty());
    away.store(false, Ordering::SeqCst);
    assert!(matches!(stack.settle(stack.bound(1).await).await, Outcome::Settled { .. }));
}

#[tokio::test]
async fn fx_x2_a_dropped_transaction_is_sent_again_unchanged() {
    let first = Arc::new(AtomicBool::new(true));
    let hook = move |method: &str, params: &Value| {
        let swallow = method == "eth_sendRawTransaction" && first.swap(false, Ordering::SeqCst);
        swallow.then(|| {
            let raw: alloy_primitives::Bytes = serde_json::from_value(params[0].clone()).unwrap();
            Fault::Result(json!(alloy_primitives::keccak256(raw)))
        })
    };
    let stack = Stack::hooked(Box::new(hook)).await;
    let outcome = stack.settle(stack.bound(1).await).await;
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
    assert_eq!(stack.sends.load(Ordering::SeqCst), 2);
    assert_eq!(stack.transfers().len(), 1);
}

#[tokio::test]
async fn x402rs_04_one_refused_broadcast_does_not_break_the_others() {
    let refused = Arc::new(AtomicUsize::new(0));
    let hook = move |method: &str, _: &Value| {
        let refuse =
            method == "eth_sendRawTransaction" && refused.fetch_add(1, Ordering::SeqCst).is_multiple_of(3);
        refuse.then_some(Fault::Error(-32000, "txpool is full"))
    };
    let stack = Stack::hooked(Box::new(hook)).await;
    let mut all = tokio::task::JoinSet::new();
    for nonce in 1..=6 {
        let (f, payment) = (stack.facilitator.clone(), stack.bound(nonce).await);
        all.spawn(async move { f.settle(payment, Duration::from_secs(10)).await });
    }
    for outcome in all.join_all().await {
        assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
    }
    assert_eq!(stack.transfers().len(), 6);
    assert!(stack.transactions_of_signer() <= 6);
}

#[tokio::test]
async fn x402rs_01_a_mined_transaction_is_seen_at_the_first_look() {
    let looks = Arc::new(AtomicUsize::new(0));
    let seen = looks.clone();
    let hook = move |method: &str, _: &Value| {
        if method == "eth_getTransactionReceipt" {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        None
    };
    let stack = Stack::hooked(Box::new(hook)).await;
    assert!(matches!(stack.settle(stack.bound(1).await).await, Outcome::Settled { .. }));
    assert_eq!(looks.load(Ordering::SeqCst), 1);
}

/// A receipt as of a transaction that has done nothing.
fn without_logs(mut receipt: Value) -> Value {
    if receipt.is_object() {
        receipt["logs"] = json!([]);
    }
    receipt
}

/// As [`without_logs`], of one that failed.
fn failed(mut receipt: Value) -> Value {
    if receipt.is_object() {
        receipt["status"] = json!("0x0");
    }
    without_logs(receipt)
}

/// A node that changes every receipt as long as it lies.
async fn liar(change: fn(Value) -> Value) -> (Stack, Arc<AtomicBool>) {
    let lies = Arc::new(AtomicBool::new(true));
    let lying = lies.clone();
    let hook = move |method: &str, _: &Value| {
        let lie = method == "eth_getTransactionReceipt" && lying.load(Ordering::SeqCst);
        lie.then_some(Fault::Changed(change))
    };
    (Stack::hooked(Box::new(hook)).await, lies)
}

async fn reverts(stack: &Stack) -> u64 {
    let payer = format!("{:#x}", stack.payer.address());
    stack.ledger.reverts(&network(), &payer, tollway_protocol::door::UnixTime(0)).await.unwrap()
}

#[tokio::test]
async fn fx_n4_a_receipt_without_its_logs_does_not_count_against_the_payer() {
    for change in [without_logs as fn(Value) -> Value, failed] {
        for by_permit in [false, true] {
            let (stack, lies) = liar(change).await;
            approve(&stack, stack.deployment.usdc, stack.payer.address());
            let pay =
                async |nonce| if by_permit { stack.permit(nonce).await } else { stack.bound(nonce).await };
            let mut all = Vec::new();
            for nonce in 1..=4 {
                let paid = pay(nonce).await;
                all.push(paid.clone());
                let told = stack.facilitator.settle(paid, Duration::from_millis(200)).await;
                assert!(matches!(told, Outcome::Pending { transaction: Some(_), .. }), "{told:?}");
            }
            assert_eq!((stack.seller_balance(), reverts(&stack).await), (4 * PRICE, 0));
            lies.store(false, Ordering::SeqCst);
            all.push(pay(5).await);
            for paid in all {
                let told = stack.settle(paid).await;
                assert!(is_settled(&told), "{told:?}");
            }
            assert_eq!((stack.seller_balance(), stack.transactions_of_signer()), (5 * PRICE, 5));
        }
    }
}

#[tokio::test]
async fn fx_n4_what_a_node_does_not_show_counts_until_it_proves_to_be_paid() {
    let lies = Arc::new(AtomicBool::new(true));
    let lying = lies.clone();
    let hook = move |method: &str, _: &Value| match method {
        _ if !lying.load(Ordering::SeqCst) => None,
        "eth_getTransactionReceipt" => Some(Fault::Changed(without_logs)),
        "eth_getLogs" => Some(Fault::Result(json!([]))),
        _ => None,
    };
    let stack = Stack::hooked(Box::new(hook)).await;
    let mut all = Vec::new();
    for nonce in 1..=3 {
        let paid = stack.bound(nonce).await;
        let told = stack.facilitator.settle(paid.clone(), Duration::from_millis(400)).await;
        assert!(matches!(told, Outcome::Pending { transaction: Some(_), .. }), "{told:?}");
        all.push(paid);
    }
    let fourth = stack.bound(4).await;
    let told = stack.settle(fourth.clone()).await;
    assert_eq!(reason_of(&told), Some(&Reason::PayerSuspended), "{told:?}");
    lies.store(false, Ordering::SeqCst);
    all.push(fourth);
    for paid in all {
        let told = stack.settle(paid).await;
        assert!(is_settled(&told), "{told:?}");
    }
    assert_eq!((stack.seller_balance(), reverts(&stack).await), (4 * PRICE, 0));
}
