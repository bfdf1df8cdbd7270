//! What the ledger answers about transactions.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use solana_message::{VersionedMessage, v0};
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;
use tollway_devnet::svm::Chain;

use crate::client::{PRICE, PURSE, Shop, wire};

#[tokio::test]
async fn a_transaction_is_answered_with_its_balances() {
    let shop = Shop::open().await;
    let payment = shop.payment(PRICE).await;
    let signature = shop.send(&payment).await;
    let options =
        json!({ "commitment": "confirmed", "encoding": "base64", "maxSupportedTransactionVersion": 0 });
    assert_eq!(shop.ask("getTransaction", json!([signature, options])).await, json!(null));
    shop.chain.advance(1);
    let found = shop.ask("getTransaction", json!([signature, options])).await;
    assert_eq!(found["transaction"], json!([wire(&payment), "base64"]));
    assert_eq!((&found["version"], &found["slot"]), (&json!("legacy"), &json!(shop.chain.slot() - 1)));
    let meta = &found["meta"];
    assert_eq!((&meta["err"], &meta["fee"]), (&json!(null), &json!(10_000)));
    assert_eq!(
        (&meta["preBalances"][0], &meta["postBalances"][0]),
        (&json!(1_000_000_000), &json!(999_990_000))
    );
    let moved = |balances: &serde_json::Value| {
        let of = |owner: String| {
            let found =
                balances.as_array().unwrap().iter().find(|held| held["owner"] == json!(owner)).unwrap();
            found["uiTokenAmount"]["amount"].as_str().unwrap().to_owned()
        };
        (of(shop.payer.pubkey().to_string()), of(shop.seller.to_string()))
    };
    assert_eq!(moved(&meta["preTokenBalances"]), (PURSE.to_string(), "0".to_owned()));
    assert_eq!(moved(&meta["postTokenBalances"]), ((PURSE - PRICE).to_string(), PRICE.to_string()));
    assert!(!meta["logMessages"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_transaction_is_answered_in_json_too() {
    let shop = Shop::open().await;
    let signature = shop.pay(PRICE).await;
    shop.chain.advance(32);
    let found = shop.ask("getTransaction", json!([signature])).await;
    assert_eq!(found["transaction"]["signatures"][0], json!(signature));
    assert_eq!(found["transaction"]["message"]["accountKeys"][0], json!(shop.fee_payer.pubkey().to_string()));
    assert_eq!(found["transaction"]["message"]["header"]["numRequiredSignatures"], json!(2));
    assert!(found.get("version").is_none());
    let processed = shop.refusal("getTransaction", json!([signature, { "commitment": "processed" }])).await;
    assert_eq!(processed.code, -32602);
}

#[tokio::test]
async fn a_versioned_transaction_is_for_clients_that_know_of_versions() {
    let shop = Shop::open().await;
    let fee_payer = shop.fee_payer.pubkey();
    let blockhash = shop.blockhash().await;
    let message = v0::Message::try_compile(&fee_payer, &[shop.transfer(PRICE)], &[], blockhash).unwrap();
    let keys = [&shop.fee_payer, &shop.payer];
    let payment = VersionedTransaction::try_new(VersionedMessage::V0(message), &keys).unwrap();
    let signature = shop.send(&payment).await;
    assert_eq!(shop.earned(), PRICE);
    shop.chain.advance(32);
    assert_eq!(shop.refusal("getTransaction", json!([signature])).await.code, -32015);
    let found = shop.ask("getTransaction", json!([signature, { "maxSupportedTransactionVersion": 0 }])).await;
    assert_eq!(
        (&found["version"], &found["transaction"]["message"]["addressTableLookups"]),
        (&json!(0), &json!([]))
    );
}

#[tokio::test]
async fn a_failed_transaction_pays_its_fee_and_is_in_the_ledger() {
    let shop = Shop::open().await;
    let payment = shop.payment(PURSE + 1).await;
    let refusal = shop.refusal("sendTransaction", crate::client::checked(&payment)).await;
    assert_eq!(refusal.code, -32002);
    assert!(refusal.message.starts_with("Transaction simulation failed: Error processing Instruction 0"));
    let data = refusal.data.unwrap();
    assert_eq!(data["err"], json!({ "InstructionError": [0, { "Custom": 1 }] }));
    assert!(
        data["logs"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains("insufficient"))
    );

    let signature = shop.send_blindly(&payment).await;
    assert_eq!(shop.status(&signature).await["err"], data["err"]);
    assert_eq!(shop.status(&signature).await["status"], json!({ "Err": data["err"] }));
    assert_eq!((shop.chain.balance(shop.fee_payer.pubkey()), shop.earned()), (999_990_000, 0));
    shop.chain.advance(1);
    let options = json!({ "commitment": "confirmed" });
    let found = shop.ask("getTransaction", json!([signature, options])).await;
    assert_eq!((&found["meta"]["err"], &found["meta"]["fee"]), (&data["err"], &json!(10_000)));
}

#[tokio::test]
async fn who_cannot_pay_the_fee_is_not_in_the_ledger() {
    let shop = Shop::open().await;
    let blockhash = shop.blockhash().await;
    let payer = shop.payer.pubkey();
    let message = solana_message::Message::new_with_blockhash(&[shop.transfer(1)], Some(&payer), &blockhash);
    let payment = VersionedTransaction::try_new(VersionedMessage::Legacy(message), &[&shop.payer]).unwrap();
    let signature = shop.send_blindly(&payment).await;
    assert_eq!((shop.status(&signature).await, shop.earned()), (json!(null), 0));
    let refusal = shop.refusal("sendTransaction", crate::client::checked(&payment)).await;
    assert_eq!(refusal.data.unwrap()["err"], json!("AccountNotFound"));
}

#[tokio::test]
async fn an_old_signature_is_found_by_searching_only() {
    let shop = Shop::on(Chain::builder().blockhash_age(4).finality(2)).await;
    let signature = shop.pay(PRICE).await;
    shop.chain.advance(8);
    assert_eq!(shop.status(&signature).await["confirmationStatus"], json!("finalized"));
    shop.chain.advance(1);
    assert_eq!(shop.status(&signature).await, json!(null));
    let searched = json!([[signature], { "searchTransactionHistory": true }]);
    let found = shop.ask("getSignatureStatuses", searched).await;
    assert_eq!(found["value"][0]["confirmationStatus"], json!("finalized"));
}

#[tokio::test]
async fn the_signatures_of_an_address_come_newest_first() {
    let shop = Shop::open().await;
    let mut signatures = Vec::new();
    for amount in 1..=4 {
        signatures.insert(0, shop.pay(amount).await);
    }
    shop.chain.advance(1);
    let late = shop.pay(5).await;
    let of = async |options: serde_json::Value| {
        let params = json!([shop.payer.pubkey().to_string(), options]);
        let found = shop.ask("getSignaturesForAddress", params).await;
        let found = found.as_array().unwrap().iter();
        found.map(|entry| entry["signature"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(json!({ "commitment": "confirmed" })).await, signatures);
    assert!(!of(json!({ "commitment": "confirmed" })).await.contains(&late));
    assert_eq!(of(json!({ "commitment": "finalized" })).await, Vec::<String>::new());
    let between = json!({ "commitment": "confirmed", "before": signatures[0], "until": signatures[3] });
    assert_eq!(of(between).await, signatures[1..3]);
    assert_eq!(of(json!({ "commitment": "confirmed", "limit": 1 })).await, signatures[..1]);
    let stranger = solana_keypair::Keypair::new_from_array([8; 32]).pubkey().to_string();
    assert_eq!(shop.ask("getSignaturesForAddress", json!([stranger])).await, json!([]));
}

#[tokio::test]
async fn a_fee_is_told_before_it_is_paid() {
    let shop = Shop::open().await;
    let fee = async |steps: &[solana_instruction::Instruction], blockhash| {
        let message = BASE64_STANDARD.encode(shop.signed(steps, blockhash).message.serialize());
        shop.ask("getFeeForMessage", json!([message, { "commitment": "processed" }])).await["value"].take()
    };
    let blockhash = shop.blockhash().await;
    assert_eq!(fee(&[shop.transfer(1)], blockhash).await, json!(10_000));
    let price = solana_compute_budget_interface::ComputeBudgetInstruction::set_compute_unit_price(5_000_000);
    let limit = solana_compute_budget_interface::ComputeBudgetInstruction::set_compute_unit_limit(20_000);
    let steps = [limit, price, shop.transfer(1)];
    assert_eq!(fee(&steps, blockhash).await, json!(110_000));
    assert_eq!(fee(&steps, solana_hash::Hash::new_from_array([7; 32])).await, json!(null));
    shop.send(&shop.signed(&steps, blockhash)).await;
    assert_eq!(shop.chain.balance(shop.fee_payer.pubkey()), 999_890_000);
    assert_eq!(fee(&steps, blockhash).await, json!(110_000));
}

#[tokio::test]
async fn who_asks_for_a_fee_need_not_have_it() {
    let shop = Shop::open().await;
    let payer = shop.payer.pubkey();
    let blockhash = shop.blockhash().await;
    let message = solana_message::Message::new_with_blockhash(&[shop.transfer(1)], Some(&payer), &blockhash);
    let message = BASE64_STANDARD.encode(VersionedMessage::Legacy(message).serialize());
    let answer = shop.ask("getFeeForMessage", json!([message, { "commitment": "processed" }])).await;
    assert_eq!((shop.chain.balance(payer), &answer["value"]), (0, &json!(5_000)));
}
