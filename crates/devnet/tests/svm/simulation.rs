//! Transactions that are tried.

use serde_json::json;
use tollway_devnet::svm::{TOKEN_PROGRAM, USDC_DEVNET, associated_token_account};

use crate::client::{PRICE, PURSE, Shop, wire};

#[tokio::test]
async fn a_simulation_tells_what_would_be_and_changes_nothing() {
    let shop = Shop::open().await;
    let payment = shop.payment(PRICE).await;
    let account = associated_token_account(&shop.seller, &USDC_DEVNET, &TOKEN_PROGRAM).to_string();
    let wanted = json!({ "accounts": { "addresses": [account], "encoding": "base64" } });
    let tried = shop.simulate(&payment, wanted).await;
    assert_eq!(tried["err"], json!(null));
    assert!(tried["unitsConsumed"].as_u64().unwrap() > 0);
    let written = tried["accounts"][0]["data"][0].as_str().unwrap();
    let data = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, written).unwrap();
    assert_eq!(data[64..72], PRICE.to_le_bytes());
    assert_eq!(shop.earned(), 0);
    shop.send(&payment).await;
    assert_eq!(shop.earned(), PRICE);
}

#[tokio::test]
async fn a_blockhash_is_replaced_where_that_is_asked_for() {
    let shop = Shop::open().await;
    let unknown = solana_hash::Hash::new_from_array([7; 32]);
    let payment = shop.signed(&[shop.transfer(PRICE)], unknown);
    assert_eq!(shop.simulate(&payment, json!({})).await["err"], json!("BlockhashNotFound"));
    let tried = shop.simulate(&payment, json!({ "replaceRecentBlockhash": true })).await;
    assert_eq!(tried["err"], json!(null));
    assert_eq!(tried["replacementBlockhash"]["blockhash"], json!(shop.blockhash().await.to_string()));
    let both = json!({ "encoding": "base64", "replaceRecentBlockhash": true, "sigVerify": true });
    assert_eq!(shop.refusal("simulateTransaction", json!([wire(&payment), both])).await.code, -32602);
}

#[tokio::test]
async fn a_failing_simulation_has_logs_and_no_accounts() {
    let shop = Shop::open().await;
    let payment = shop.payment(PURSE + 1).await;
    let wanted = json!({ "accounts": { "addresses": [shop.seller.to_string()] }, "innerInstructions": true });
    let tried = shop.simulate(&payment, wanted).await;
    assert_eq!(tried["err"], json!({ "InstructionError": [0, { "Custom": 1 }] }));
    assert_eq!((&tried["accounts"], &tried["innerInstructions"]), (&json!([null]), &json!([])));
    assert!(!tried["logs"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn inner_instructions_are_told() {
    let shop = Shop::open().await;
    let stranger = solana_signer::Signer::pubkey(&solana_keypair::Keypair::new_from_array([9; 32]));
    let make = spl_associated_token_account_interface::instruction::create_associated_token_account(
        &solana_signer::Signer::pubkey(&shop.fee_payer),
        &stranger,
        &USDC_DEVNET,
        &TOKEN_PROGRAM,
    );
    let payment = shop.signed(&[make, shop.transfer(1)], shop.blockhash().await);
    let tried = shop.simulate(&payment, json!({ "innerInstructions": true })).await;
    assert_eq!(tried["err"], json!(null));
    assert_eq!(tried["innerInstructions"].as_array().unwrap().len(), 1);
    assert_eq!(tried["innerInstructions"][0]["index"], json!(0));
    assert_eq!(tried["innerInstructions"][0]["instructions"][0]["stackHeight"], json!(2));
}

#[tokio::test]
async fn what_is_no_transaction_is_refused() {
    let shop = Shop::open().await;
    let base64 = json!({ "encoding": "base64" });
    let payment = wire(&shop.payment(1).await);
    for (text, options) in [
        ("AAAA".to_owned(), &base64),
        ("!".to_owned(), &base64),
        ("A".repeat(4_000), &base64),
        (payment.clone(), &json!({})),
        (payment, &json!({ "encoding": "jsonParsed" })),
    ] {
        for method in ["sendTransaction", "simulateTransaction"] {
            let refusal = shop.refusal(method, json!([text, options])).await;
            assert_eq!(refusal.code, -32602, "{method} of {text}");
        }
    }
}
