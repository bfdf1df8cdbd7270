//! What an attacker, or a node that lies, gets out of it: nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall as _;
use serde_json::{Value, json};
use tollway_devnet::artefacts;
use tollway_devnet::evm::Mining;
use tollway_evm::ExactPayer;
use tollway_evm::abi::{Eip3009, MULTICALL3, Multicall3, TransferWithAuthorization};
use tollway_evm::exact::Authorization;
use tollway_protocol::door::Amount;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome};
use tollway_protocol::{Payment, Reason};

use crate::common::{
    PRICE, Stack, bound, digest, facilitator, hash_of, key, parking::Fault, payment, reason_of, sign,
    transfer, verify,
};

alloy_sol_types::sol! {
    function deploy(address owner, bytes32 salt) external returns (address);
    function addressOf(address owner, bytes32 salt) external view returns (address);
}

fn manual() -> Mining {
    Mining::Interval(Duration::from_secs(3600))
}

fn quiet() -> crate::common::parking::Hook {
    Box::new(|_, _| None)
}

fn by_stranger(stack: &Stack, to: Address, data: Vec<u8>) {
    let stranger = Address::repeat_byte(0x55);
    stack.deployment.fund(stranger);
    stack.chain.request("anvil_impersonateAccount", &json!([stranger])).unwrap();
    let sent = json!([{"from": stranger, "to": to, "data": Bytes::from(data), "gas": "0xf4240",
        "maxFeePerGas": "0x174876e800", "maxPriorityFeePerGas": "0x3b9aca00"}]);
    stack.chain.request("eth_sendTransaction", &sent).unwrap();
}

fn call_of(t: &TransferWithAuthorization, signature: Vec<u8>) -> Vec<u8> {
    Eip3009::transferWithAuthorization_1Call {
        from: t.from,
        to: t.to,
        value: t.value,
        validAfter: t.validAfter,
        validBefore: t.validBefore,
        nonce: t.nonce,
        signature: signature.into(),
    }
    .abi_encode()
}

fn front_run(stack: &Stack, of: &Payment) {
    let signature = of.payload.str("signature").unwrap();
    let signature = tollway_protocol::door::hex_bytes(signature, 9000).unwrap();
    let t = Authorization::decode(&of.payload).unwrap().transfer;
    by_stranger(stack, stack.deployment.usdc, call_of(&t, signature));
}

fn forged(of: &Payment, signature: &str) -> Payment {
    let mut forged = of.clone();
    let mut payload = serde_json::to_value(&forged.payload).unwrap();
    payload["signature"] = json!(signature);
    forged.payload = serde_json::from_value(payload).unwrap();
    forged
}

async fn until_sent(stack: &Stack, n: usize) {
    while stack.sends.load(Ordering::SeqCst) < n {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn i11_one_transfer_does_not_pay_for_several_payments() {
    let stack = Stack::new().await;
    let (offer, payer, usdc) = (stack.offer(), stack.payer.address(), stack.deployment.usdc);
    let mut calls = Vec::new();
    let mut payments = Vec::new();
    for nonce in 1..=5u8 {
        // What is presented at the sellers: all good, PRICE to the seller.
        let presented = transfer(payer, PRICE, nonce);
        let good = sign(7, digest(&presented, usdc));
        payments.push(payment(&offer, Authorization::payload(&presented, &good).unwrap()));
        // What is executed: the first is paid, the others' nonces are burnt by a transfer of nothing to itself.
        let (executed, signature) = if nonce == 1 {
            (presented, good)
        } else {
            let mut t = transfer(payer, 0, nonce);
            t.to = payer;
            let signature = sign(7, digest(&t, usdc));
            (t, signature)
        };
        calls.push(Multicall3::Call3 {
            target: usdc,
            allowFailure: false,
            callData: call_of(&executed, signature).into(),
        });
    }
    for paid in &payments {
        verify(&stack.facilitator, &offer, paid.clone()).await.unwrap();
    }
    by_stranger(&stack, MULTICALL3, Multicall3::aggregate3Call { calls }.abi_encode());
    assert_eq!(stack.seller_balance(), PRICE);
    let mut successes = 0;
    for paid in payments {
        let outcome = stack.settle(bound(&stack.facilitator, &offer, paid).unwrap()).await;
        successes += u64::from(matches!(outcome, Outcome::Settled { .. }));
    }
    assert_eq!(successes * PRICE, stack.seller_balance(), "i11: {successes} told settled");
}

#[tokio::test]
async fn i20_fa13_a_forged_signature_does_not_adopt_a_strangers_transaction() {
    let stack = Stack::new().await;
    let offer = stack.offer();
    let paid = stack.pay(&offer, 1).await;
    verify(&stack.facilitator, &offer, paid.clone()).await.unwrap();
    front_run(&stack, &paid);
    let forged = forged(&paid, &format!("0x{}1b", "11".repeat(64)));
    let outcome = stack.settle(bound(&stack.facilitator, &offer, forged).unwrap()).await;
    assert!(!matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
}

const FACTORY: Address = Address::repeat_byte(0xfa);

#[tokio::test]
async fn i20_a_forger_can_not_take_a_contract_wallets_settlement_from_it() {
    let stack = Stack::new().await;
    stack.chain.set_code(FACTORY, artefacts::WALLET_FACTORY.runtime);
    let (owner, salt) = (key(7).address(), B256::ZERO);
    let data = Bytes::from(addressOfCall { owner, salt }.abi_encode());
    let out = stack.chain.request("eth_call", &json!([{"to": FACTORY, "data": data}, "latest"])).unwrap();
    let wallet = Address::from_word(serde_json::from_value::<B256>(out).unwrap());
    stack.chain.call_for_good(owner, FACTORY, deployCall { owner, salt }.abi_encode()).unwrap();
    stack.deployment.mint(wallet, U256::from(PRICE)).unwrap();
    let t = transfer(wallet, PRICE, 1);
    let good = sign(7, digest(&t, stack.deployment.usdc));
    let paid = payment(&stack.offer(), Authorization::payload(&t, &good).unwrap());
    verify(&stack.facilitator, &stack.offer(), paid.clone()).await.unwrap();
    front_run(&stack, &paid);
    let f = forged(&paid, "0xdead");
    let forgers = stack.settle(bound(&stack.facilitator, &stack.offer(), f).unwrap()).await;
    let payers = stack.settle(bound(&stack.facilitator, &stack.offer(), paid).unwrap()).await;
    assert!(matches!(payers, Outcome::Settled { .. }), "payer {payers:?}, forger {forgers:?}");
}

#[tokio::test]
async fn fa05_a_transaction_that_was_never_mined_does_not_stop_the_lane() {
    let refusing = Arc::new(AtomicBool::new(true));
    let seen = refusing.clone();
    let hook = move |method: &str, _: &Value| {
        (method == "eth_sendRawTransaction" && seen.load(Ordering::SeqCst))
            .then_some(Fault::Error(-32000, "insufficient funds for gas * price + value"))
    };
    let stack = Stack::hooked(Box::new(hook)).await;
    let first = stack.bound(1).await;
    let f = stack.facilitator.clone();
    let settling = tokio::spawn(async move { f.settle(first, Duration::from_secs(20)).await });
    until_sent(&stack, 1).await;
    stack.chain.request("evm_increaseTime", &json!([800])).unwrap();
    stack.chain.mine();
    until_sent(&stack, 3).await;
    refusing.store(false, Ordering::SeqCst);
    let outcome = settling.await.unwrap();
    assert_eq!(reason_of(&outcome), Some(&Reason::TransactionFailed), "{outcome:?}");
    // All is well again:
    let mut long = stack.offer();
    long.max_timeout_seconds = 5000;
    let second = bound(&stack.facilitator, &long, stack.pay(&long, 2).await).unwrap();
    let outcome = stack.facilitator.settle(second, Duration::from_secs(3)).await;
    let restarted = facilitator(&stack.rpc, stack.ledger.clone(), stack.signer.clone(), |_| {});
    restarted.recover().await;
    let third = bound(&restarted, &long, stack.pay(&long, 3).await).unwrap();
    let after = restarted.settle(third, Duration::from_secs(3)).await;
    assert!(
        matches!(after, Outcome::Settled { .. }),
        "second {outcome:?}, after restart {after:?}, mined {}",
        stack.transactions_of_signer()
    );
}

#[tokio::test]
async fn fa15_one_balance_does_not_buy_many_reverts() {
    let mut stack = Stack::with(manual(), quiet(), |_| {}).await;
    stack.payer = ExactPayer::new(key(11));
    stack.deployment.mint(stack.payer.address(), U256::from(PRICE)).unwrap();
    let mut all = tokio::task::JoinSet::new();
    for nonce in 1..=20 {
        let (f, payment) = (stack.facilitator.clone(), stack.bound(nonce).await);
        all.spawn(async move { f.settle(payment, Duration::from_millis(1500)).await });
    }
    all.join_all().await;
    stack.chain.mine();
    assert_eq!(stack.seller_balance(), PRICE);
    assert!(stack.transactions_of_signer() <= 3, "{} transactions for one", stack.transactions_of_signer());
}

#[tokio::test]
async fn i07_a_payment_of_nothing_to_oneself_costs_no_gas() {
    let mut stack = Stack::new().await;
    stack.payer = ExactPayer::new(key(12));
    let mut offer = stack.offer();
    offer.amount = Amount::from(0);
    offer.pay_to = stack.payer.address().to_string();
    for nonce in 1..=5 {
        let paid = stack.pay(&offer, nonce).await;
        if let Ok(bound) = bound(&stack.facilitator, &offer, paid) {
            stack.settle(bound).await;
        }
    }
    assert_eq!(stack.transactions_of_signer(), 0);
}

#[tokio::test]
async fn fa15_a_wallet_that_knows_it_is_simulated_can_not_burn_gas_for_ever() {
    let stack = Stack::new().await;
    let wallet = Address::repeat_byte(0xba);
    let code = hex::decode("3a15600657fe5b631626ba7e60e01b60005260206000f3").unwrap();
    stack.chain.set_code(wallet, code);
    stack.deployment.mint(wallet, U256::from(PRICE)).unwrap();
    for nonce in 1..=12 {
        let t = transfer(wallet, PRICE, nonce);
        let paid = payment(&stack.offer(), Authorization::payload(&t, &[1, 2, 3]).unwrap());
        stack.settle(bound(&stack.facilitator, &stack.offer(), paid).unwrap()).await;
    }
    assert_eq!(stack.seller_balance(), 0);
    assert!(stack.transactions_of_signer() <= 3, "{} reverts paid", stack.transactions_of_signer());
}

#[tokio::test]
async fn i05_fa13_what_is_told_failed_does_not_move_money_later() {
    let stack = Stack::with(manual(), quiet(), |_| {}).await;
    let offer = stack.offer();
    let paid = stack.pay(&offer, 1).await;
    let this = bound(&stack.facilitator, &offer, paid.clone()).unwrap();
    let (f, same) = (stack.facilitator.clone(), this.clone());
    let settling = tokio::spawn(async move { f.settle(same, Duration::from_secs(20)).await });
    until_sent(&stack, 1).await;
    alloy_sol_types::sol! { function transfer(address to, uint256 value) external returns (bool); }
    let away = transferCall { to: Address::repeat_byte(1), value: U256::from(1_000_000) }.abi_encode();
    stack.chain.call_for_good(stack.payer.address(), stack.deployment.usdc, away).unwrap();
    stack.chain.mine();
    let failed = settling.await.unwrap();
    stack.deployment.mint(stack.payer.address(), U256::from(PRICE)).unwrap();
    front_run(&stack, &paid);
    stack.chain.mine();
    assert_eq!(stack.seller_balance(), PRICE);
    let later = stack.settle(this).await;
    assert!(matches!(later, Outcome::Settled { .. }), "first {failed:?}, with the money moved {later:?}");
}

#[tokio::test]
async fn fa13_fa22_silent_logs_are_not_a_failure() {
    let lagging = Arc::new(AtomicBool::new(true));
    let seen = lagging.clone();
    let hook = move |method: &str, _: &Value| {
        (method == "eth_getLogs" && seen.load(Ordering::SeqCst)).then_some(Fault::Result(json!([])))
    };
    let stack = Stack::with(manual(), Box::new(hook), |_| {}).await;
    let offer = stack.offer();
    let paid = stack.pay(&offer, 1).await;
    let this = bound(&stack.facilitator, &offer, paid.clone()).unwrap();
    let (f, same) = (stack.facilitator.clone(), this.clone());
    let settling = tokio::spawn(async move { f.settle(same, Duration::from_secs(3)).await });
    until_sent(&stack, 1).await;
    front_run(&stack, &paid);
    stack.chain.mine();
    let during = settling.await.unwrap();
    lagging.store(false, Ordering::SeqCst);
    assert_eq!(stack.seller_balance(), PRICE);
    let later = stack.settle(this).await;
    assert!(matches!(later, Outcome::Settled { .. }), "during {during:?}, later {later:?}");
}

#[tokio::test]
async fn fa22_a_receipt_without_logs_is_not_a_failure() {
    let left = Arc::new(AtomicUsize::new(3));
    let hook = move |method: &str, params: &Value| {
        let lie = method == "eth_getTransactionReceipt"
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        lie.then(|| {
            Fault::Result(
                json!({"transactionHash": params[0], "status": "0x1", "blockNumber": "0x1", "logs": []}),
            )
        })
    };
    let stack = Stack::hooked(Box::new(hook)).await;
    let outcome = stack.settle(stack.bound(1).await).await;
    assert_eq!(stack.seller_balance(), PRICE);
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
}

fn far_future(left: Arc<AtomicUsize>) -> crate::common::parking::Hook {
    Box::new(move |method: &str, _: &Value| {
        let lie = method == "eth_getBlockByNumber"
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        lie.then(|| Fault::Result(json!({"number": "0x1", "timestamp": "0xffffffffffff"})))
    })
}

#[tokio::test]
async fn fa22_fa23_one_lying_block_does_not_make_every_payment_expired() {
    let stack = Stack::hooked(far_future(Arc::new(AtomicUsize::new(1)))).await;
    let _ = stack.facilitator.ready().await;
    let offer = stack.offer();
    let paid = stack.pay(&offer, 1).await;
    assert_eq!(verify(&stack.facilitator, &offer, paid).await, Ok(()));
}

#[tokio::test]
async fn i05_fa22_one_lying_block_does_not_make_a_sent_payment_failed() {
    let left = Arc::new(AtomicUsize::new(0));
    let stack = Stack::with(manual(), far_future(left.clone()), |_| {}).await;
    let this = stack.bound(1).await;
    let (f, same) = (stack.facilitator.clone(), this.clone());
    let settling = tokio::spawn(async move { f.settle(same, Duration::from_secs(2)).await });
    until_sent(&stack, 1).await;
    left.store(2, Ordering::SeqCst);
    let told = settling.await.unwrap();
    stack.chain.mine();
    assert_eq!(stack.seller_balance(), PRICE);
    let later = stack.settle(this).await;
    assert!(matches!(later, Outcome::Settled { .. }), "told {told:?}, later {later:?}");
}

#[tokio::test]
async fn fa13_without_multicall_a_front_run_payment_is_settled_too() {
    let stack = Stack::new().await;
    stack.chain.set_code(MULTICALL3, Vec::new());
    let offer = stack.offer();
    let paid = stack.pay(&offer, 1).await;
    verify(&stack.facilitator, &offer, paid.clone()).await.unwrap();
    front_run(&stack, &paid);
    let outcome = stack.settle(bound(&stack.facilitator, &offer, paid).unwrap()).await;
    assert_eq!(stack.seller_balance(), PRICE);
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
}

#[tokio::test]
async fn i05_fa13_a_payment_used_before_the_log_window_is_not_told_failed() {
    let stack = Stack::with(Mining::Auto, quiet(), |config| config.log_window = 2).await;
    let offer = stack.offer();
    let paid = stack.pay(&offer, 1).await;
    verify(&stack.facilitator, &offer, paid.clone()).await.unwrap();
    front_run(&stack, &paid);
    stack.chain.request("anvil_mine", &json!(["0xa"])).unwrap();
    let outcome = stack.settle(bound(&stack.facilitator, &offer, paid).unwrap()).await;
    assert_eq!(stack.seller_balance(), PRICE);
    assert!(!matches!(outcome, Outcome::NotSettled { .. }), "{outcome:?}");
}

#[tokio::test]
async fn fa12_a_cancelled_payment_whose_transaction_is_dead_comes_to_an_end() {
    let stack = Stack::with(manual(), quiet(), |_| {}).await;
    let this = stack.bound(1).await;
    let (f, same) = (stack.facilitator.clone(), this.clone());
    let settling = tokio::spawn(async move { f.settle(same, Duration::from_secs(1)).await });
    until_sent(&stack, 1).await;
    let waiting = settling.await.unwrap();
    stack.chain.request("anvil_dropTransaction", &json!([hash_of(&waiting).unwrap()])).unwrap();
    by_stranger(&stack, stack.deployment.usdc, crate::common::cancellation(&stack, 1));
    let signer = stack.signer.address();
    stack.chain.request("anvil_setNonce", &json!([signer, "0x1"])).unwrap();
    stack.chain.mine();
    stack.chain.request("evm_increaseTime", &json!([800])).unwrap();
    stack.chain.mine();
    let outcome = stack.facilitator.settle(this, Duration::from_secs(3)).await;
    assert!(!matches!(outcome, Outcome::Pending { .. }), "{outcome:?}");
}

#[tokio::test]
async fn i20_a_forger_is_not_told_the_hash_of_a_payment_in_flight() {
    let hanging = Arc::new(AtomicBool::new(false));
    let hung = Arc::new(AtomicUsize::new(0));
    let (seen, count) = (hanging.clone(), hung.clone());
    let hook = move |method: &str, _: &Value| {
        let hang = method == "eth_call" && seen.load(Ordering::SeqCst);
        count.fetch_add(usize::from(hang), Ordering::SeqCst);
        hang.then_some(Fault::Hang)
    };
    let stack = Stack::with(manual(), Box::new(hook), |_| {}).await;
    let offer = stack.offer();
    let paid = stack.pay(&offer, 1).await;
    assert_eq!(verify(&stack.facilitator, &offer, paid.clone()).await, Ok(()));
    let this = bound(&stack.facilitator, &offer, paid.clone()).unwrap();
    let forged =
        bound(&stack.facilitator, &offer, forged(&paid, &format!("0x{}1b", "11".repeat(64)))).unwrap();
    hanging.store(true, Ordering::SeqCst);
    let f = stack.facilitator.clone();
    let told = tokio::spawn(async move { f.settle(forged, Duration::from_millis(900)).await });
    while hung.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    hanging.store(false, Ordering::SeqCst);
    let own = stack.facilitator.settle(this, Duration::from_millis(300)).await;
    assert!(hash_of(&own).is_some());
    assert_eq!(hash_of(&told.await.unwrap()), None);
}
