//! Processed, confirmed, finalized.

use serde_json::{Value, json};
use solana_signer::Signer as _;
use tollway_devnet::svm::{Chain, TOKEN_PROGRAM, USDC_DEVNET, associated_token_account};

use crate::client::{PRICE, Shop};

const LEVELS: [&str; 3] = ["processed", "confirmed", "finalized"];

impl Shop {
    /// What the seller has at each level.
    async fn seen(&self) -> [u64; 3] {
        let account = associated_token_account(&self.seller, &USDC_DEVNET, &TOKEN_PROGRAM).to_string();
        let mut seen = [0; 3];
        for (level, seen) in LEVELS.iter().zip(&mut seen) {
            let params = json!([account, { "commitment": level }]);
            let answer = self.ask("getTokenAccountBalance", params).await;
            *seen = answer["value"]["amount"]
                .as_str()
                .unwrap()
                .chars()
                .fold(0, |sum, digit| sum * 10 + u64::from(digit.to_digit(10).unwrap()));
        }
        seen
    }
}

#[tokio::test]
async fn a_payment_is_processed_then_confirmed_after_a_slot_and_finalized_after_32() {
    let shop = Shop::open().await;
    let signature = shop.pay(PRICE).await;
    let status = async || {
        let status = shop.status(&signature).await;
        (status["confirmationStatus"].clone(), status["confirmations"].clone())
    };
    assert_eq!(status().await, (json!("processed"), json!(0)));
    assert_eq!(shop.seen().await, [PRICE, 0, 0]);
    shop.chain.advance(1);
    assert_eq!(status().await, (json!("confirmed"), json!(1)));
    assert_eq!(shop.seen().await, [PRICE, PRICE, 0]);
    shop.chain.advance(30);
    assert_eq!(status().await, (json!("confirmed"), json!(31)));
    assert_eq!(shop.seen().await, [PRICE, PRICE, 0]);
    shop.chain.advance(1);
    assert_eq!(status().await, (json!("finalized"), json!(null)));
    assert_eq!(shop.seen().await, [PRICE; 3]);
}

#[tokio::test]
async fn finality_may_be_nearer() {
    let shop = Shop::on(Chain::builder().finality(2)).await;
    let signature = shop.pay(PRICE).await;
    shop.chain.advance(1);
    assert_eq!(shop.status(&signature).await["confirmationStatus"], json!("confirmed"));
    shop.chain.advance(1);
    assert_eq!(shop.status(&signature).await["confirmationStatus"], json!("finalized"));
}

#[tokio::test]
async fn slots_and_block_heights_differ() {
    let shop = Shop::open().await;
    shop.chain.advance(40);
    let at = async |method: &'static str, level: &'static str| {
        shop.ask(method, json!([{ "commitment": level }])).await.as_u64().unwrap()
    };
    let slot = at("getSlot", "processed").await;
    assert_eq!(slot, shop.chain.slot());
    assert_eq!(at("getSlot", "confirmed").await, slot - 1);
    assert_eq!(at("getSlot", "finalized").await, slot - 32);
    assert_eq!(at("getBlockHeight", "processed").await, slot - 100);
    assert_eq!(shop.ask("getSlot", json!([])).await, json!(slot - 32));
    // All that ever was is kept.
    assert_eq!(shop.ask("getFirstAvailableBlock", json!([])).await, json!(1_000));
    let epoch = shop.ask("getEpochInfo", json!([{ "commitment": "processed" }])).await;
    assert_eq!((&epoch["absoluteSlot"], &epoch["blockHeight"]), (&json!(slot), &json!(slot - 100)));
}

#[tokio::test]
async fn a_slot_that_is_not_there_yet_is_an_error() {
    let shop = Shop::open().await;
    let options = json!([{ "commitment": "confirmed", "minContextSlot": shop.chain.slot() }]);
    let refusal = shop.refusal("getSlot", options).await;
    assert_eq!(refusal.code, -32016);
    assert_eq!(refusal.data, Some(json!({ "contextSlot": shop.chain.slot() - 1 })));
    let unknown = shop.refusal("getSlot", json!([{ "commitment": "sure" }])).await;
    assert_eq!(unknown.code, -32602);
}

#[tokio::test]
async fn a_preflight_is_made_in_the_bank_of_its_commitment() {
    let shop = Shop::open().await;
    let funded = solana_keypair::Keypair::new_from_array([9; 32]).pubkey();
    let lamports = 2_000_000_000u64;
    let gift = shop.ask("requestAirdrop", json!([funded.to_string(), lamports])).await;
    assert_eq!(shop.status(gift.as_str().unwrap()).await["err"], Value::Null);
    assert_eq!(shop.chain.balance(funded), lamports);
    let balance = async |level: &'static str| {
        shop.ask("getBalance", json!([funded.to_string(), { "commitment": level }])).await["value"].take()
    };
    assert_eq!((balance("processed").await, balance("finalized").await), (json!(lamports), json!(0)));

    let payment = shop.payment(PRICE).await;
    let options = json!({ "encoding": "base64", "preflightCommitment": "finalized" });
    shop.chain.advance(2);
    let young = shop.payment(PRICE).await;
    shop.ask("sendTransaction", json!([crate::client::wire(&payment), options])).await;
    let refusal = shop.refusal("sendTransaction", json!([crate::client::wire(&young), options])).await;
    assert_eq!(refusal.data.unwrap()["err"], json!("BlockhashNotFound"));
}
