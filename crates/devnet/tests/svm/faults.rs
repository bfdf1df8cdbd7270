//! What goes wrong with transactions, when a test wants it.

use std::time::Duration;

use serde_json::json;
use tollway_devnet::svm::{Chain, ChainError, USDC_DEVNET};

use crate::client::{PRICE, PURSE, Shop, checked};

#[tokio::test]
async fn a_dropped_transaction_has_a_signature_and_no_effect_and_may_be_sent_again() {
    let shop = Shop::open().await;
    shop.chain.drop_next(1);
    let payment = shop.payment(PRICE).await;
    let signature = shop.send(&payment).await;
    shop.chain.advance(5);
    assert_eq!(shop.status(&signature).await, json!(null));
    assert_eq!(shop.earned(), 0);
    assert_eq!(shop.send(&payment).await, signature);
    assert_eq!(shop.earned(), PRICE);
}

#[tokio::test]
async fn held_transactions_wait_and_are_executed_in_order() {
    let shop = Shop::open().await;
    shop.chain.hold();
    let first = shop.payment(PURSE).await;
    let first = shop.send(&first).await;
    let second = shop.pay(1).await;
    shop.chain.advance(3);
    assert_eq!((shop.status(&first).await, shop.earned()), (json!(null), 0));
    shop.chain.release();
    assert_eq!(shop.status(&first).await["err"], json!(null));
    assert_eq!(shop.status(&first).await["slot"], json!(shop.chain.slot()));
    assert_eq!(shop.status(&second).await["err"], json!({ "InstructionError": [0, { "Custom": 1 }] }));
    assert_eq!(shop.earned(), PURSE);
}

#[tokio::test]
async fn a_transaction_held_for_too_long_vanishes() {
    let shop = Shop::on(Chain::builder().blockhash_age(3)).await;
    shop.chain.hold();
    let signature = shop.pay(PRICE).await;
    shop.chain.advance(4);
    shop.chain.release();
    assert_eq!((shop.status(&signature).await, shop.earned()), (json!(null), 0));
}

#[tokio::test]
async fn a_fork_undoes_payments_and_what_is_known_of_them() {
    let shop = Shop::open().await;
    let kept = shop.pay(10).await;
    shop.chain.advance(1);
    let undone = shop.payment(PRICE).await;
    let signature = shop.send(&undone).await;
    shop.chain.advance(2);
    assert_eq!(shop.status(&signature).await["confirmationStatus"], json!("confirmed"));
    let (slot, height) = (shop.chain.slot(), shop.ask("getBlockHeight", json!([])).await);

    shop.chain.fork(3).unwrap();
    assert_eq!(shop.earned(), 10);
    assert_eq!(shop.status(&signature).await, json!(null));
    assert_eq!(shop.status(&kept).await["confirmationStatus"], json!("confirmed"));
    assert_eq!(shop.chain.slot(), slot + 1);
    assert_eq!(shop.ask("getBlockHeight", json!([])).await, height);
    assert_eq!(
        shop.ask("getTransaction", json!([signature, { "commitment": "confirmed" }])).await,
        json!(null)
    );

    assert_eq!(shop.send(&undone).await, signature);
    assert_eq!(shop.earned(), 10 + PRICE);
    assert_eq!(shop.status(&signature).await["slot"], json!(slot + 1));
}

#[tokio::test]
async fn a_blockhash_of_a_branch_that_is_gone_is_unknown() {
    let shop = Shop::open().await;
    shop.chain.advance(2);
    let payment = shop.payment(PRICE).await;
    shop.chain.fork(2).unwrap();
    let refusal = shop.refusal("sendTransaction", checked(&payment)).await;
    assert_eq!(refusal.data.unwrap()["err"], json!("BlockhashNotFound"));
    shop.chain.advance(2);
    assert_eq!(shop.refusal("sendTransaction", checked(&payment)).await.code, -32002);
}

#[tokio::test]
async fn what_is_finalized_no_fork_undoes() {
    let shop = Shop::on(Chain::builder().finality(3)).await;
    let signature = shop.pay(PRICE).await;
    shop.chain.advance(3);
    assert_eq!(shop.chain.fork(4), Err(ChainError::ForkDepth { depth: 4, deepest: 3 }));
    assert_eq!(shop.chain.fork(0), Err(ChainError::ForkDepth { depth: 0, deepest: 3 }));
    shop.chain.fork(3).unwrap();
    assert_eq!(shop.status(&signature).await["confirmationStatus"], json!("finalized"));
    assert_eq!(shop.chain.fork(2), Err(ChainError::ForkDepth { depth: 2, deepest: 1 }));
    assert_eq!(shop.earned(), PRICE);
}

#[tokio::test]
async fn gifts_outlive_a_fork_and_are_final_at_once() {
    let shop = Shop::open().await;
    shop.chain.advance(3);
    shop.chain.mint(USDC_DEVNET, shop.seller, 7).unwrap();
    shop.chain.fund(shop.seller, 9).unwrap();
    let balance = shop.ask("getBalance", json!([shop.seller.to_string()])).await;
    assert_eq!(balance["value"], json!(9));
    shop.chain.fork(3).unwrap();
    assert_eq!((shop.earned(), shop.chain.balance(shop.seller)), (7, 9));
}

#[tokio::test]
async fn slots_are_made_by_time_until_they_are_paused() {
    let shop = Shop::on(Chain::builder().slot_time(Duration::from_millis(1))).await;
    let before = shop.chain.slot();
    while shop.chain.slot() < before + 5 {
        tokio::task::yield_now().await;
    }
    shop.chain.pause();
    let paused = shop.chain.slot();
    let payment = shop.payment(PRICE).await;
    shop.send(&payment).await;
    // Round trips of more than a slot together.
    for _ in 0..20 {
        shop.ask("getHealth", json!([])).await;
    }
    assert_eq!((shop.chain.slot(), shop.earned()), (paused, PRICE));
    shop.chain.resume();
    while shop.chain.slot() < paused + 2 {
        tokio::task::yield_now().await;
    }
}
