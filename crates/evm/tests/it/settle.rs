use std::time::Duration;

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall as _;
use serde_json::json;
use tollway_devnet::evm::Mining;
use tollway_evm::abi::Eip3009;
use tollway_ledger::{Journal as _, JournalState, SqliteLedger};
use tollway_protocol::Reason;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome};

use crate::common::{PRICE, Stack, bound, facilitator, hash_of, key, payment, reason_of, sign, transfer};

/// Submits the payer's authorization from an account that isn't the facilitator's.
fn front_run(stack: &Stack, nonce: u8, of: &tollway_protocol::Payment) {
    let payload = tollway_evm::exact::Authorization::decode(&of.payload).unwrap();
    let tollway_evm::signature::Signature::Ecdsa { r, s, v } = payload.signature else { unreachable!() };
    let t = payload.transfer;
    let data = Eip3009::transferWithAuthorization_0Call {
        from: t.from,
        to: t.to,
        value: t.value,
        validAfter: t.validAfter,
        validBefore: t.validBefore,
        nonce: t.nonce,
        v,
        r,
        s,
    };
    let stranger = Address::repeat_byte(nonce);
    stack.deployment.fund(stranger);
    send_as(stack, stranger, &data.abi_encode());
}

fn send_as(stack: &Stack, from: Address, data: &[u8]) {
    let data = format!("0x{}", hex::encode(data));
    stack.chain.request("anvil_impersonateAccount", &json!([from])).unwrap();
    let sent = json!([{"from": from, "to": stack.deployment.usdc, "data": data, "gas": "0x493e0"}]);
    stack.chain.request("eth_sendTransaction", &sent).unwrap();
}

#[tokio::test]
async fn a_payment_settles_and_names_its_transaction() {
    let stack = Stack::new().await;
    let outcome = stack.settle(stack.bound(1).await).await;
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
    assert_eq!(stack.seller_balance(), PRICE);
    assert_eq!(stack.transfers().len(), 1);
    assert_eq!(hash_of(&outcome), Some(stack.transfers()[0].to_string().as_str()));
}

#[tokio::test]
async fn fa01_the_same_payment_settled_again_gets_its_first_answer() {
    let stack = Stack::new().await;
    let payment = stack.bound(1).await;
    let first = stack.settle(payment.clone()).await;
    for _ in 0..3 {
        assert_eq!(stack.settle(payment.clone()).await, first);
    }
    assert_eq!((stack.transfers().len(), stack.transactions_of_signer()), (1, 1));
}

#[tokio::test]
async fn fa01_i02_x402rs_17_twenty_at_once_are_one_transaction_and_one_answer() {
    let stack = Stack::new().await;
    let payment = stack.bound(1).await;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (f, payment) = (stack.facilitator.clone(), payment.clone());
        all.spawn(async move { f.settle(payment, Duration::from_secs(10)).await });
    }
    let outcomes = all.join_all().await;
    assert!(matches!(outcomes[0], Outcome::Settled { .. }), "{:?}", outcomes[0]);
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
    assert_eq!((stack.transfers().len(), stack.transactions_of_signer()), (1, 1));
}

#[tokio::test]
async fn fa17_another_form_of_the_signature_is_the_same_payment() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    let mut paid = stack.pay(&offer, 1).await;
    let first = stack.settle(bound(&stack.facilitator, &offer, paid.clone()).unwrap()).await;
    let mut payload = serde_json::to_value(&paid.payload).unwrap();
    let signature = payload["signature"].as_str().unwrap().to_owned();
    let v = if signature.ends_with("1b") { "00" } else { "01" };
    payload["signature"] = json!(format!("{}{v}", &signature[..130]));
    paid.payload = serde_json::from_value(payload).unwrap();
    assert_eq!(stack.settle(bound(&stack.facilitator, &offer, paid).unwrap()).await, first);
    assert_eq!(stack.transfers().len(), 1);
}

#[tokio::test]
async fn i11_many_different_payments_settle_at_once_through_one_account() {
    let stack = Stack::new().await;
    let mut all = tokio::task::JoinSet::new();
    for nonce in 1..=24 {
        let (f, payment) = (stack.facilitator.clone(), stack.bound(nonce).await);
        all.spawn(async move { f.settle(payment, Duration::from_secs(20)).await });
    }
    for outcome in all.join_all().await {
        assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
    }
    assert_eq!((stack.seller_balance(), stack.transfers().len()), (24 * PRICE, 24));
    let settled = stack.ledger.page(&tollway_ledger::Filter::default(), 0, 100).await.unwrap();
    assert_eq!(settled.len(), 24, "i11: the ledger's sum is the chain's");
}

#[tokio::test]
async fn a_refused_settle_costs_no_gas_and_leaves_the_payment_free() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    let mut other = transfer(stack.payer.address(), PRICE, 1);
    other.nonce = alloy_primitives::B256::repeat_byte(1);
    let forged = sign(8, crate::common::digest(&other, stack.deployment.usdc));
    let payload = tollway_evm::exact::Authorization::payload(&other, &forged).unwrap();
    let refused = stack.settle(bound(&stack.facilitator, &offer, payment(&offer, payload)).unwrap()).await;
    assert_eq!(reason_of(&refused), Some(&Reason::BadSignature));
    assert_eq!((stack.transactions_of_signer(), hash_of(&refused)), (0, None));
    assert!(matches!(stack.settle(stack.bound(1).await).await, Outcome::Settled { .. }));
}

#[tokio::test]
async fn i20_a_forged_copy_of_a_settled_payment_is_not_told_its_answer() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    let paid = stack.pay(&offer, 1).await;
    stack.settle(bound(&stack.facilitator, &offer, paid.clone()).unwrap()).await;
    let mut forged = paid;
    let mut payload = serde_json::to_value(&forged.payload).unwrap();
    payload["signature"] = json!(format!("0x{}1b", "11".repeat(64)));
    forged.payload = serde_json::from_value(payload).unwrap();
    let answer = stack.settle(bound(&stack.facilitator, &offer, forged).unwrap()).await;
    assert_eq!((reason_of(&answer), hash_of(&answer)), (Some(&Reason::AlreadyUsed), None));
}

#[tokio::test]
async fn two_payments_with_one_nonce_are_not_taken_for_each_other() {
    let stack = Stack::new().await;
    let (cheap, mut dear) = (stack.offer(), stack.offer());
    dear.amount = tollway_protocol::door::Amount::from(PRICE * 5);
    let first = bound(&stack.facilitator, &cheap, stack.pay(&cheap, 1).await).unwrap();
    let second = bound(&stack.facilitator, &dear, stack.pay(&dear, 1).await).unwrap();
    assert_eq!(first.key(), second.key());
    assert!(matches!(stack.settle(first).await, Outcome::Settled { .. }));
    let answer = stack.settle(second).await;
    assert_eq!(reason_of(&answer), Some(&Reason::AlreadyUsed));
    assert_eq!(stack.seller_balance(), PRICE);
}

#[tokio::test]
async fn fa13_a_payment_that_a_stranger_submitted_is_settled_by_that_transaction() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    let paid = stack.pay(&offer, 1).await;
    crate::common::verify(&stack.facilitator, &offer, paid.clone()).await.unwrap();
    front_run(&stack, 0x55, &paid);
    let outcome = stack.settle(bound(&stack.facilitator, &offer, paid).unwrap()).await;
    assert_eq!(outcome, Outcome::Settled { transaction: stack.transfers()[0].to_string() });
    assert_eq!(stack.transactions_of_signer(), 0);
}

#[tokio::test]
async fn fa12_a_cancelled_authorization_is_not_paid() {
    let stack = Stack::new().await;
    let stranger = Address::repeat_byte(0x56);
    stack.deployment.fund(stranger);
    send_as(&stack, stranger, &crate::common::cancellation(&stack, 1));
    let outcome = stack.settle(stack.bound(1).await).await;
    assert_eq!(reason_of(&outcome), Some(&Reason::AlreadyUsed));
    assert_eq!(stack.seller_balance(), 0);
}

#[tokio::test]
async fn fa07_i05_i18_x402rs_03_a_slow_chain_gives_pending_with_the_hash_and_later_the_same_hash_settled() {
    let stack = Stack::with(Mining::Interval(Duration::from_secs(3600)), Box::new(|_, _| None), |_| {}).await;
    let payment = stack.bound(1).await;
    let waiting = stack.facilitator.settle(payment.clone(), Duration::from_millis(700)).await;
    let Outcome::Pending { transaction: Some(hash), .. } = &waiting else { panic!("{waiting:?}") };
    let again = stack.facilitator.settle(payment.clone(), Duration::from_millis(50)).await;
    assert_eq!(hash_of(&again), Some(hash.as_str()), "i18: every answer names it");
    stack.chain.mine();
    assert_eq!(stack.settle(payment).await, Outcome::Settled { transaction: hash.clone() });
    assert_eq!(stack.transfers().len(), 1);
}

#[tokio::test]
async fn fa03_i10_what_a_dead_process_left_open_is_finished_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let stack = Stack::with(Mining::Interval(Duration::from_secs(3600)), Box::new(|_, _| None), |_| {}).await;
    let payment = stack.bound(1).await;
    let key_of = payment.key().clone();
    // A process of its own, as far as a test can have one: all of its tasks end with it.
    let (url, file, same) = (stack.rpc.clone(), path.clone(), payment.clone());
    let dies = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            let ledger = std::sync::Arc::new(SqliteLedger::open(&file).unwrap());
            let first = facilitator(&url, ledger, key(9), |_| {});
            first.settle(same, Duration::from_millis(700)).await
        });
        hash_of(&outcome).unwrap().to_owned()
    });
    let hash = dies.await.unwrap();
    stack.chain.request("anvil_dropTransaction", &json!([hash])).unwrap();
    let ledger = std::sync::Arc::new(SqliteLedger::open(&path).unwrap());
    let second = facilitator(&stack.rpc, ledger.clone(), key(9), |_| {});
    second.recover().await;
    while stack.chain.request("eth_getTransactionByHash", &json!([hash])).unwrap().is_null() {
        tokio::task::yield_now().await;
    }
    stack.chain.mine();
    second.drain().await;
    let record = ledger.settlement(&key_of).await.unwrap().unwrap();
    assert_eq!((record.state, record.hash.as_deref()), (JournalState::Settled, Some(hash.as_str())));
    assert_eq!(second.settle(payment, Duration::from_secs(5)).await, Outcome::Settled { transaction: hash });
    assert_eq!(stack.transfers().len(), 1);
}

#[tokio::test]
async fn i05_a_reverted_transaction_is_a_failure_once_the_payment_can_no_longer_be_used() {
    let stack = Stack::with(Mining::Interval(Duration::from_secs(3600)), Box::new(|_, _| None), |_| {}).await;
    let payment = stack.bound(1).await;
    let f = stack.facilitator.clone();
    let settling = tokio::spawn({
        let payment = payment.clone();
        async move { f.settle(payment, Duration::from_secs(2)).await }
    });
    while stack.sends.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    drain(&stack);
    stack.chain.mine();
    let waiting = settling.await.unwrap();
    assert!(matches!(waiting, Outcome::Pending { transaction: Some(_), .. }), "{waiting:?}");
    stack.chain.request("evm_increaseTime", &json!([800])).unwrap();
    stack.chain.mine();
    let outcome = stack.settle(payment.clone()).await;
    assert_eq!(reason_of(&outcome), Some(&Reason::TransactionFailed), "{outcome:?}");
    assert_eq!(hash_of(&outcome), hash_of(&waiting));
    assert_eq!(stack.settle(payment).await, outcome);
}

/// Takes the payer's tokens away, outside of any block.
fn drain(stack: &Stack) {
    alloy_sol_types::sol! { function transfer(address to, uint256 value) external returns (bool); }
    let data = transferCall { to: Address::repeat_byte(1), value: U256::from(1_000_000) }.abi_encode();
    stack.chain.call_for_good(stack.payer.address(), stack.deployment.usdc, data).unwrap();
}

#[tokio::test]
async fn fa21_confirmations_are_waited_for() {
    let stack = Stack::with(Mining::Auto, Box::new(|_, _| None), |config| config.confirmations = 3).await;
    let payment = stack.bound(1).await;
    let waiting = stack.facilitator.settle(payment.clone(), Duration::from_millis(600)).await;
    assert!(matches!(waiting, Outcome::Pending { transaction: Some(_), .. }), "{waiting:?}");
    stack.chain.mine();
    stack.chain.mine();
    assert!(matches!(stack.settle(payment).await, Outcome::Settled { .. }));
}

#[tokio::test]
async fn fa24_without_gas_money_nothing_is_taken() {
    let stack = Stack::new().await;
    stack.chain.set_balance(stack.signer.address(), U256::ZERO);
    let outcome = stack.settle(stack.bound(1).await).await;
    assert_eq!(reason_of(&outcome), Some(&Reason::FacilitatorUnavailable));
    assert!(stack.facilitator.ready().await.is_err());
    assert!(stack.ledger.open(&crate::common::network()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_dearer_payment_does_not_ride_on_a_cheap_one_of_the_same_nonce_in_flight() {
    let stack = Stack::with(Mining::Interval(Duration::from_secs(3600)), Box::new(|_, _| None), |_| {}).await;
    let (cheap, mut dear) = (stack.offer(), stack.offer());
    dear.amount = tollway_protocol::door::Amount::from(PRICE * 5);
    let first = bound(&stack.facilitator, &cheap, stack.pay(&cheap, 1).await).unwrap();
    let second = bound(&stack.facilitator, &dear, stack.pay(&dear, 1).await).unwrap();
    let mut both = tokio::task::JoinSet::new();
    for payment in [first, second] {
        let f = stack.facilitator.clone();
        both.spawn(async move { f.settle(payment, Duration::from_millis(900)).await });
    }
    let outcomes = both.join_all().await;
    // Which of the two reasons depends on whether the other one was signed for yet.
    let told =
        |o: &&Outcome| matches!(reason_of(o), Some(Reason::AlreadyUsed | Reason::FacilitatorUnavailable));
    let refused = outcomes.iter().filter(told).count();
    let waiting = outcomes.iter().filter(|o| matches!(o, Outcome::Pending { .. })).count();
    assert_eq!((refused, waiting), (1, 1), "{outcomes:?}");
    stack.chain.mine();
    assert_eq!(stack.transactions_of_signer(), 1);
}

#[tokio::test]
async fn fa04_x402rs_04_a_nonce_that_went_elsewhere_is_replaced_and_the_payment_settles() {
    let stack = Stack::new().await;
    assert!(matches!(stack.settle(stack.bound(1).await).await, Outcome::Settled { .. }));
    let signer = stack.signer.address();
    stack.chain.request("anvil_impersonateAccount", &json!([signer])).unwrap();
    let elsewhere = json!([{"from": signer, "to": Address::repeat_byte(2), "value": "0x1", "gas": "0x5208"}]);
    stack.chain.request("eth_sendTransaction", &elsewhere).unwrap();
    let outcome = stack.settle(stack.bound(2).await).await;
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
    let record = stack.ledger.settlement(stack.bound(2).await.key()).await.unwrap().unwrap();
    assert_eq!(record.hash.as_deref(), hash_of(&outcome));
    assert_eq!(stack.ledger.history(&record.key).await.unwrap().len(), 2, "i18: the replacement is recorded");
}

#[tokio::test]
async fn a_payment_that_can_no_longer_come_is_given_up_with_proof() {
    let stack = Stack::with(Mining::Interval(Duration::from_secs(3600)), Box::new(|_, _| None), |_| {}).await;
    let payment = stack.bound(1).await;
    let waiting = stack.facilitator.settle(payment.clone(), Duration::from_millis(700)).await;
    let hash = hash_of(&waiting).unwrap().to_owned();
    stack.chain.request("anvil_dropTransaction", &json!([hash])).unwrap();
    stack.chain.request("evm_increaseTime", &json!([800])).unwrap();
    stack.chain.mine();
    let f = stack.facilitator.clone();
    let settling = tokio::spawn(async move { f.settle(payment, Duration::from_secs(10)).await });
    while stack.sends.load(std::sync::atomic::Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    stack.chain.mine();
    let outcome = settling.await.unwrap();
    assert_eq!(reason_of(&outcome), Some(&Reason::TransactionFailed), "{outcome:?}");
    assert_ne!(hash_of(&outcome), Some(hash.as_str()), "its nonce was spent on nothing");
    assert_eq!(stack.seller_balance(), 0);
}

#[tokio::test]
async fn i07_x402rs_14_gas_is_bounded_per_transaction_in_price_and_per_day() {
    type Adjust = fn(&mut tollway_evm::facilitator::ChainConfig);
    let cases: [(Adjust, Reason); 3] = [
        (|c| c.gas_cap = 60_000, Reason::SimulationFailed),
        (|c| c.max_fee_per_gas = 1_000, Reason::FacilitatorUnavailable),
        (|c| c.gas_budget_per_day = U256::from(1_000), Reason::FacilitatorUnavailable),
    ];
    for (adjust, reason) in cases {
        let stack = Stack::with(Mining::Auto, Box::new(|_, _| None), adjust).await;
        let outcome = stack.settle(stack.bound(1).await).await;
        assert_eq!(reason_of(&outcome), Some(&reason), "{outcome:?}");
        assert_eq!(stack.transactions_of_signer(), 0);
        assert!(stack.ledger.open(&crate::common::network()).await.unwrap().is_empty());
    }
}
