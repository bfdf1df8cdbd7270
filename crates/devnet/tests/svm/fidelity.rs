//! Where an embedded runtime is easily kinder than a validator, so that a payment executed twice goes unnoticed.

use serde_json::json;
use solana_signature::Signature;

use crate::client::{PRICE, Shop, checked};

#[tokio::test]
async fn trap_1_duplicates_are_refused_though_the_runtime_checks_no_signatures() {
    let shop = Shop::open().await;
    let payment = shop.payment(PRICE).await;
    let signature = shop.send(&payment).await;
    let refusal = shop.refusal("sendTransaction", checked(&payment)).await;
    assert_eq!(refusal.code, -32002);
    assert_eq!(refusal.message, "Transaction simulation failed: This transaction has already been processed");
    assert_eq!(refusal.data.unwrap()["err"], json!("AlreadyProcessed"));
    assert_eq!(shop.send_blindly(&payment).await, signature);
    assert_eq!(shop.earned(), PRICE);
}

#[tokio::test]
async fn trap_2_a_duplicate_is_refused_after_any_number_of_others() {
    let shop = Shop::open().await;
    let payment = shop.payment(PRICE).await;
    shop.send(&payment).await;
    for other in 1..=40 {
        shop.pay(other).await;
    }
    let others: u64 = (1..=40).sum();
    shop.chain.advance(100);
    shop.send_blindly(&payment).await;
    assert_eq!(shop.refusal("sendTransaction", checked(&payment)).await.code, -32002);
    assert_eq!(shop.earned(), PRICE + others);
}

#[tokio::test]
async fn trap_3_a_message_is_executed_once_whatever_it_is_signed_with() {
    let shop = Shop::open().await;
    let payment = shop.payment(PRICE).await;
    let mut unsigned = payment.clone();
    unsigned.signatures[0] = Signature::default();
    assert_eq!(shop.simulate(&unsigned, json!({})).await["err"], json!(null));
    shop.send(&payment).await;
    assert_eq!(shop.simulate(&unsigned, json!({})).await["err"], json!("AlreadyProcessed"));
}

#[tokio::test]
async fn trap_4_a_blockhash_lives_for_150_slots_and_no_longer() {
    let shop = Shop::open().await;
    let latest = shop.ask("getLatestBlockhash", json!([{ "commitment": "processed" }])).await;
    let hash = &latest["value"]["blockhash"];
    let (early, late) = (shop.payment(1).await, shop.payment(2).await);
    shop.chain.advance(150);
    let last = &latest["value"]["lastValidBlockHeight"];
    let processed = json!({ "commitment": "processed" });
    assert_eq!(shop.ask("getBlockHeight", json!([processed])).await, *last);
    assert_eq!(shop.ask("isBlockhashValid", json!([hash, processed])).await["value"], json!(true));
    shop.send_blindly(&early).await;
    assert_eq!(shop.earned(), 1);
    shop.chain.advance(1);
    assert_eq!(shop.ask("isBlockhashValid", json!([hash, processed])).await["value"], json!(false));
    shop.send_blindly(&late).await;
    assert_eq!(shop.earned(), 1);
    let refusal = shop.refusal("sendTransaction", checked(&late)).await;
    assert_eq!(refusal.message, "Transaction simulation failed: Blockhash not found");
    assert_eq!(refusal.data.unwrap()["err"], json!("BlockhashNotFound"));
}

#[tokio::test]
async fn trap_4_every_slot_has_a_blockhash_and_older_ones_stay_good() {
    let shop = Shop::open().await;
    let first = shop.payment(1).await;
    shop.chain.advance(1);
    let second = shop.payment(2).await;
    assert_ne!(first.message.recent_blockhash(), second.message.recent_blockhash());
    shop.send(&second).await;
    shop.send(&first).await;
    assert_eq!(shop.earned(), 3);
}

#[tokio::test]
async fn trap_4_a_simulation_refuses_a_blockhash_six_slots_before_execution_does() {
    let shop = Shop::open().await;
    let payment = shop.payment(PRICE).await;
    shop.chain.advance(144);
    assert_eq!(shop.simulate(&payment, json!({})).await["err"], json!(null));
    shop.chain.advance(1);
    assert_eq!(shop.simulate(&payment, json!({})).await["err"], json!("BlockhashNotFound"));
    shop.send_blindly(&payment).await;
    assert_eq!(shop.earned(), PRICE);
}

#[tokio::test]
async fn trap_5_a_simulation_checks_signatures_when_it_is_asked_to() {
    let shop = Shop::open().await;
    let mut payment = shop.payment(PRICE).await;
    assert_eq!(shop.simulate(&payment, json!({ "sigVerify": true })).await["err"], json!(null));
    payment.signatures[1] = Signature::default();
    assert_eq!(shop.simulate(&payment, json!({ "sigVerify": false })).await["err"], json!(null));
    let options = json!({ "encoding": "base64", "sigVerify": true });
    let refusal = shop.refusal("simulateTransaction", json!([crate::client::wire(&payment), options])).await;
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (-32003, "Transaction signature verification failure")
    );
}

#[tokio::test]
async fn trap_5_what_is_not_signed_is_not_executed() {
    let shop = Shop::open().await;
    let mut payment = shop.payment(PRICE).await;
    payment.signatures[1] = Signature::default();
    assert_eq!(shop.refusal("sendTransaction", checked(&payment)).await.code, -32003);
    let signature = shop.send_blindly(&payment).await;
    assert_eq!(shop.status(&signature).await, json!(null));
    assert_eq!(shop.earned(), 0);
}
