//! The settlement pipeline: payments that share transactions, nonces that get stuck, accounts and processes that share
//! the work, chains that change their mind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall as _;
use serde_json::{Value, json};
use tollway_devnet::evm::{Chain as DevChain, Mining};
use tollway_evm::facilitator::{Chain, ChainConfig, Finality};
use tollway_evm::{ExactFacilitator, ExactPayer};
use tollway_ledger::{Filter, Journal as _, JournalState, SqliteLedger};
use tollway_protocol::bind::Bound;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome, PayerScheme as _};
use tollway_protocol::{Reason, Secret};

use crate::common::parking::{Fault, Hook};
use crate::common::{
    PRICE, Stack, bound, facilitator, hash_of, key, network, now, payment, reason_of, rpc_to, verify,
};

fn manual() -> Mining {
    Mining::Interval(Duration::from_secs(3600))
}

fn quiet() -> Hook {
    Box::new(|_, _| None)
}

/// A payment of `PRICE` by the payer whose key is made from `seed`, who has just that.
pub(crate) async fn by(stack: &Stack, seed: u8) -> Bound {
    let payer = ExactPayer::new(key(seed));
    stack.deployment.mint(payer.address(), U256::from(PRICE)).unwrap();
    let offer = stack.offer();
    let signed = payer.sign(&offer, now(), [seed; 32]).await.unwrap();
    bound(&stack.facilitator, &offer, payment(&offer, signed.payload)).unwrap()
}

type Settling = tokio::task::JoinHandle<Outcome>;

fn start(f: &ExactFacilitator, payment: &Bound) -> Settling {
    let (f, payment) = (f.clone(), payment.clone());
    tokio::spawn(async move { f.settle(payment, Duration::from_secs(20)).await })
}

async fn until_sent(stack: &Stack, n: usize) {
    while stack.sends.load(Ordering::SeqCst) < n {
        tokio::task::yield_now().await;
    }
}

/// Mines whenever something waits, until all have their outcome.
async fn mined(chain: &DevChain, all: Vec<Settling>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for settling in all {
        while !settling.is_finished() {
            chain.mine();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        outcomes.push(settling.await.unwrap());
    }
    outcomes
}

fn is_settled(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Settled { .. })
}

#[tokio::test]
async fn i11_what_gathers_behind_a_transaction_goes_out_as_one() {
    let stack = Stack::with(manual(), quiet(), |_| {}).await;
    let mut all = vec![start(&stack.facilitator, &by(&stack, 30).await)];
    until_sent(&stack, 1).await;
    let mut payments = Vec::new();
    for seed in 31..=60 {
        payments.push(by(&stack, seed).await);
    }
    all.extend(payments.iter().map(|payment| start(&stack.facilitator, payment)));
    let outcomes = mined(&stack.chain, all).await;
    assert!(outcomes.iter().all(is_settled), "{outcomes:?}");
    assert_eq!(stack.seller_balance(), 31 * PRICE);
    assert!(stack.transactions_of_signer() <= 4, "{} transactions", stack.transactions_of_signer());
    let records = stack.ledger.page(&Filter::default(), 0, 100).await.unwrap();
    assert!(records.iter().all(|record| record.state == JournalState::Settled));
    assert!(
        records.iter().all(|record| record.fee_gwei.is_some_and(|fee| fee > 0)),
        "each has its share of the gas"
    );
}

#[tokio::test]
async fn fx_x4_a_failing_member_costs_the_others_nothing() {
    let stack = Stack::with(manual(), quiet(), |_| {}).await;
    let mut all = vec![start(&stack.facilitator, &by(&stack, 30).await)];
    until_sent(&stack, 1).await;
    let mut payments = Vec::new();
    for seed in 31..=36 {
        payments.push(by(&stack, seed).await);
    }
    all.extend(payments.iter().map(|payment| start(&stack.facilitator, payment)));
    until_sent(&stack, 2).await;
    // One of them has spent its money meanwhile.
    alloy_sol_types::sol! { function transfer(address to, uint256 value) external returns (bool); }
    let away = transferCall { to: Address::repeat_byte(1), value: U256::from(PRICE) }.abi_encode();
    stack.chain.call_for_good(key(33).address(), stack.deployment.usdc, away).unwrap();
    let poor = all.remove(3);
    let outcomes = mined(&stack.chain, all).await;
    assert!(outcomes.iter().all(is_settled), "{outcomes:?}");
    assert_eq!(stack.seller_balance(), 6 * PRICE);
    let again = stack.facilitator.settle(payments[2].clone(), Duration::from_millis(300)).await;
    assert!(matches!(again, Outcome::Pending { transaction: Some(_), .. }), "i05: {again:?}");
    stack.chain.request("evm_increaseTime", &json!([800])).unwrap();
    stack.chain.mine();
    assert_eq!(reason_of(&poor.await.unwrap()), Some(&Reason::TransactionFailed));
    let payer = key(33).address().to_string().to_lowercase();
    let since = tollway_protocol::door::UnixTime(0);
    assert_eq!(stack.ledger.reverts(&network(), &payer, since).await.unwrap(), 1, "fa15: counted against it");
}

#[tokio::test]
async fn fa01_pairs_posted_at_the_same_moment_are_one_transfer_each_and_answered_alike() {
    let stack = Stack::new().await;
    let mut pairs = Vec::new();
    for seed in 40..=71 {
        let payment = by(&stack, seed).await;
        pairs.push((start(&stack.facilitator, &payment), start(&stack.facilitator, &payment)));
    }
    for (one, other) in pairs {
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert!(is_settled(&one), "{one:?}");
        assert_eq!(one, other);
    }
    assert_eq!((stack.transfers().len(), stack.seller_balance()), (32, 32 * PRICE));
}

#[tokio::test]
async fn several_payments_of_each_of_several_payers_at_the_same_moment_are_all_settled() {
    let stack = Stack::with(manual(), quiet(), |_| {}).await;
    let offer = stack.offer();
    let mut all = Vec::new();
    for (seed, nonce) in [40u8, 41, 42].into_iter().flat_map(|seed| (1..=5u8).map(move |nonce| (seed, nonce)))
    {
        let payer = ExactPayer::new(key(seed));
        stack.deployment.mint(payer.address(), U256::from(PRICE)).unwrap();
        let signed = payer.sign(&offer, now(), [nonce; 32]).await.unwrap();
        let payment = payment(&offer, signed.payload);
        all.push(bound(&stack.facilitator, &offer, payment).unwrap());
    }
    let all = all.iter().map(|payment| start(&stack.facilitator, payment)).collect();
    let outcomes = mined(&stack.chain, all).await;
    assert!(outcomes.iter().all(is_settled), "{outcomes:?}");
    assert_eq!(stack.seller_balance(), 15 * PRICE);
}

#[tokio::test]
async fn verifications_at_the_same_moment_share_a_round_trip() {
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = calls.clone();
    let hook = move |method: &str, _: &Value| {
        seen.fetch_add(usize::from(matches!(method, "eth_call" | "eth_getCode")), Ordering::SeqCst);
        None
    };
    let stack = Stack::hooked(Box::new(hook)).await;
    let offer = stack.offer();
    let first = stack.pay(&offer, 1).await;
    verify(&stack.facilitator, &offer, first).await.unwrap();
    let mut all = tokio::task::JoinSet::new();
    let before = calls.load(Ordering::SeqCst);
    for seed in 40..=79u8 {
        let payment = by(&stack, seed).await;
        let f = stack.facilitator.clone();
        all.spawn(async move { f.verify(&payment.at(f.now(now())).unwrap()).await });
    }
    for verdict in all.join_all().await {
        verdict.unwrap();
    }
    // Two in a round trip: the simulation, and which payers have code.
    let calls = calls.load(Ordering::SeqCst) - before;
    assert!(calls <= 16, "{calls} calls for 40 payments");
}

#[tokio::test]
async fn i09_a_shared_simulation_judges_each_payment_alone() {
    // One balance, two payments of all of it: each would settle now, whichever is asked about, though not both.
    let stack = Stack::new().await;
    let offer = stack.offer();
    let payer = ExactPayer::new(key(50));
    stack.deployment.mint(payer.address(), U256::from(PRICE)).unwrap();
    let mut all = tokio::task::JoinSet::new();
    for nonce in 1..=6u8 {
        let signed = payer.sign(&offer, now(), [nonce; 32]).await.unwrap();
        let payment = bound(&stack.facilitator, &offer, payment(&offer, signed.payload)).unwrap();
        let f = stack.facilitator.clone();
        all.spawn(async move { f.verify(&payment.at(f.now(now())).unwrap()).await });
    }
    for verdict in all.join_all().await {
        verdict.unwrap();
    }
}

#[tokio::test]
async fn fx_x1_a_stuck_transaction_is_bid_more_for_under_its_nonce() {
    let stack = Stack::with(manual(), quiet(), |config| config.bump_after = Duration::from_millis(200)).await;
    let payment = stack.bound(1).await;
    let settling = start(&stack.facilitator, &payment);
    until_sent(&stack, 2).await;
    stack.chain.mine();
    let outcome = settling.await.unwrap();
    assert!(is_settled(&outcome), "{outcome:?}");
    let attempts = stack.ledger.history(payment.key()).await.unwrap();
    assert!(attempts.len() >= 2, "i18: the replacement is recorded");
    assert!(attempts.iter().all(|attempt| attempt.transaction.nonce == 0), "s08: one nonce, one batch");
    assert_eq!((stack.transfers().len(), stack.transactions_of_signer()), (1, 1));
}

#[tokio::test]
async fn i07_no_more_is_bid_than_allowed() {
    let stack = Stack::with(manual(), quiet(), |config| {
        config.bump_after = Duration::from_millis(50);
        config.max_bumps = 2;
    })
    .await;
    let payment = stack.bound(1).await;
    let waiting = stack.facilitator.settle(payment.clone(), Duration::from_millis(1500)).await;
    assert!(matches!(waiting, Outcome::Pending { transaction: Some(_), .. }), "{waiting:?}");
    assert_eq!(stack.ledger.history(payment.key()).await.unwrap().len(), 3);
    stack.chain.mine();
    assert!(is_settled(&stack.settle(payment).await));
}

#[tokio::test]
async fn fa05_fx_x2_a_dropped_transaction_does_not_hold_up_those_behind_it() {
    let stack = Stack::with(manual(), quiet(), |_| {}).await;
    let first = by(&stack, 30).await;
    let mut all = vec![start(&stack.facilitator, &first)];
    until_sent(&stack, 1).await;
    let hash = stack.ledger.settlement(first.key()).await.unwrap().unwrap().hash.unwrap();
    all.push(start(&stack.facilitator, &by(&stack, 31).await));
    until_sent(&stack, 2).await;
    stack.chain.request("anvil_dropTransaction", &json!([hash])).unwrap();
    let outcomes = mined(&stack.chain, all).await;
    assert!(outcomes.iter().all(is_settled), "{outcomes:?}");
    assert_eq!((hash_of(&outcomes[0]), stack.transfers().len()), (Some(hash.as_str()), 2), "the same bytes");
}

fn two_accounts(stack: &Stack, ledger: Arc<SqliteLedger>) -> ExactFacilitator {
    let mut config = ChainConfig::new(network(), Secret::new(stack.rpc.clone()));
    config.poll = Duration::from_millis(10);
    for signer in [key(9), key(10)] {
        stack.deployment.fund(signer.address());
    }
    ExactFacilitator::with_keys(Chain::new(config).unwrap(), vec![key(9), key(10)], ledger)
}

#[tokio::test]
async fn i11_fa06_several_accounts_share_the_work() {
    let stack = Stack::new().await;
    let both = two_accounts(&stack, stack.ledger.clone());
    both.recover().await;
    let second = key(10).address().to_string();
    let mut seed = 30;
    while stack.ledger.next_nonce(&network(), &second).await.unwrap().is_none() {
        assert!(is_settled(&both.settle(by(&stack, seed).await, Duration::from_secs(10)).await));
        seed += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stack.seller_balance(), u64::from(seed - 30) * PRICE);
}

#[tokio::test]
async fn fa01_two_processes_on_one_ledger_settle_a_payment_once_and_answer_alike() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let stack = Stack::new().await;
    let replica = || {
        let ledger = Arc::new(SqliteLedger::open(&path).unwrap());
        facilitator(&stack.rpc, ledger, key(9), |_| {})
    };
    let (one, other) = (replica(), replica());
    one.recover().await;
    other.recover().await;
    let mut pairs = Vec::new();
    for seed in 40..=55 {
        let payment = by(&stack, seed).await;
        pairs.push((start(&one, &payment), start(&other, &payment)));
    }
    for (one, other) in pairs {
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert!(is_settled(&one), "{one:?}");
        assert_eq!(one, other);
    }
    // The one without the account settles through the other.
    let outcome = other.settle(by(&stack, 60).await, Duration::from_secs(10)).await;
    assert!(is_settled(&outcome), "{outcome:?}");
    assert_eq!((stack.transfers().len(), stack.seller_balance()), (17, 17 * PRICE));
}

#[tokio::test]
async fn fa21_fx_x3_what_a_reorg_undoes_is_reported_and_made_again_by_the_same_bytes() {
    let stack = Stack::new().await;
    let payment = stack.bound(1).await;
    let first = stack.settle(payment.clone()).await;
    assert!(is_settled(&first), "{first:?}");
    stack.chain.mine();
    // The transaction is lost with its block.
    stack.chain.reorg(2, false).unwrap();
    assert_eq!(stack.seller_balance(), 0);
    while stack.seller_balance() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let again = stack.settle(payment.clone()).await;
    assert_eq!(again, first, "i18: the same transaction");
    assert_eq!((stack.transfers().len(), stack.transactions_of_signer()), (1, 1));
    let record = stack.ledger.settlement(payment.key()).await.unwrap().unwrap();
    assert_eq!((record.state, record.is_final), (JournalState::Settled, false));
}

#[tokio::test]
async fn fa21_a_reorg_that_takes_the_transaction_along_moves_its_block() {
    let stack = Stack::with(Mining::Auto, quiet(), |config| config.finality = Finality::Blocks(6)).await;
    let payment = stack.bound(1).await;
    let first = stack.settle(payment.clone()).await;
    for _ in 0..2 {
        stack.chain.mine();
    }
    stack.chain.reorg(3, true).unwrap();
    for _ in 0..12 {
        stack.chain.mine();
    }
    let record = loop {
        let record = stack.ledger.settlement(payment.key()).await.unwrap().unwrap();
        if record.is_final {
            break record;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(record.hash.as_deref(), hash_of(&first));
    assert_eq!(stack.settle(payment).await, first);
    assert_eq!(stack.transfers().len(), 1);
}

#[tokio::test]
async fn fx_n1_with_the_first_node_away_the_second_is_asked() {
    let away = Arc::new(AtomicBool::new(false));
    let seen = away.clone();
    let hook = move |_: &str, _: &Value| seen.load(Ordering::SeqCst).then_some(Fault::Hang);
    let stack = Stack::hooked(Box::new(hook)).await;
    let (second, _) = rpc_to(stack.chain.clone(), quiet()).await;
    let mut config = ChainConfig::new(network(), Secret::new(stack.rpc.clone()));
    config.rpc.push(Secret::new(second));
    config.poll = Duration::from_millis(10);
    config.rpc_timeout = Duration::from_millis(200);
    let f = ExactFacilitator::new(Chain::new(config).unwrap(), key(9), stack.ledger.clone());
    assert!(is_settled(&f.settle(stack.bound(1).await, Duration::from_secs(10)).await));
    away.store(true, Ordering::SeqCst);
    let outcome = f.settle(stack.bound(2).await, Duration::from_secs(10)).await;
    assert!(is_settled(&outcome), "{outcome:?}");
    assert_eq!(stack.transfers().len(), 2);
}

#[tokio::test]
async fn fx_n5_above_the_threshold_two_nodes_must_agree() {
    let lying = Arc::new(AtomicBool::new(true));
    let seen = lying.clone();
    // The second node does not know of any transaction.
    let stale = move |method: &str, _: &Value| {
        let lies = method == "eth_getTransactionReceipt" && seen.load(Ordering::SeqCst);
        lies.then_some(Fault::Result(Value::Null))
    };
    let stack = Stack::new().await;
    let (second, _) = rpc_to(stack.chain.clone(), Box::new(stale)).await;
    let with = |above: u64| {
        let mut config = ChainConfig::new(network(), Secret::new(stack.rpc.clone()));
        config.rpc.push(Secret::new(second.clone()));
        config.poll = Duration::from_millis(10);
        config.agree_above = Some(U256::from(above));
        ExactFacilitator::new(Chain::new(config).unwrap(), key(9), stack.ledger.clone())
    };
    let f = with(PRICE + 1);
    assert!(
        is_settled(&f.settle(stack.bound(1).await, Duration::from_secs(10)).await),
        "below it one is enough"
    );
    let f = with(PRICE);
    let payment = stack.bound(2).await;
    let waiting = f.settle(payment.clone(), Duration::from_millis(600)).await;
    assert!(matches!(waiting, Outcome::Pending { transaction: Some(_), .. }), "{waiting:?}");
    lying.store(false, Ordering::SeqCst);
    assert!(is_settled(&f.settle(payment, Duration::from_secs(10)).await));
}

#[tokio::test]
async fn fa22_a_node_of_another_chain_is_not_used() {
    let stack = Stack::new().await;
    let other = DevChain::builder().chain_id(1).build().unwrap();
    let (foreign, _) = rpc_to(other, quiet()).await;
    let mut config = ChainConfig::new(network(), Secret::new(stack.rpc.clone()));
    config.rpc.push(Secret::new(foreign));
    let f = ExactFacilitator::new(Chain::new(config).unwrap(), key(9), stack.ledger.clone());
    let told = f.ready().await.unwrap_err();
    assert!(told.problem.contains("another chain"), "{told}");
    let outcome = f.settle(stack.bound(1).await, Duration::from_secs(5)).await;
    assert_eq!(reason_of(&outcome), Some(&Reason::ChainUnreachable));
    assert_eq!(stack.transactions_of_signer(), 0);
}
