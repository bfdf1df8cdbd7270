//! Accounts, and the small questions.

use serde_json::json;
use solana_signer::Signer as _;
use tollway_devnet::svm::{
    Chain, ChainError, DEVNET_GENESIS_HASH, TOKEN_PROGRAM, USDC_DEVNET, associated_token_account,
};

use crate::client::{Shop, checked};

#[tokio::test]
async fn the_chain_stands_for_devnet() {
    let shop = Shop::open().await;
    assert_eq!(shop.ask("getGenesisHash", json!([])).await, json!(DEVNET_GENESIS_HASH));
    assert_eq!(shop.chain.network(), "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1");
    assert_eq!(shop.ask("getHealth", json!([])).await, json!("ok"));
    assert!(shop.ask("getVersion", json!([])).await["solana-core"].is_string());
}

#[test]
fn a_chain_may_stand_for_another_one() {
    let hash = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d";
    let chain = Chain::builder().genesis_hash(hash).build().unwrap();
    assert_eq!(chain.network(), "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp");
    let none = Chain::builder().genesis_hash("mainnet").build().unwrap_err();
    assert_eq!(none, ChainError::GenesisHash("mainnet".into()));
    assert_eq!(Chain::builder().finality(0).build().unwrap_err(), ChainError::Zero);
}

#[tokio::test]
async fn an_account_is_answered_in_the_encoding_that_was_asked_for() {
    let shop = Shop::open().await;
    let fee_payer = shop.fee_payer.pubkey().to_string();
    let account = shop.ask("getAccountInfo", json!([fee_payer, { "encoding": "base58" }])).await;
    assert_eq!(account["value"]["data"], json!(["", "base58"]));
    assert_eq!(account["value"]["lamports"], json!(1_000_000_000));
    assert_eq!(shop.ask("getAccountInfo", json!([fee_payer])).await["value"]["data"], json!(""));

    let usdc = USDC_DEVNET.to_string();
    let base64 = shop.ask("getAccountInfo", json!([usdc, { "encoding": "base64" }])).await["value"].take();
    assert_eq!((&base64["owner"], &base64["space"]), (&json!(TOKEN_PROGRAM.to_string()), &json!(82)));
    assert_eq!(base64["data"][0].as_str().unwrap().len(), 112);
    let parsed =
        shop.ask("getAccountInfo", json!([usdc, { "encoding": "jsonParsed" }])).await["value"].take();
    assert_eq!(parsed["data"], base64["data"]);
    let slice = json!({ "encoding": "base64", "dataSlice": { "offset": 44, "length": 1 } });
    assert_eq!(
        shop.ask("getAccountInfo", json!([usdc, slice])).await["value"]["data"],
        json!(["Bg==", "base64"])
    );
    let held = associated_token_account(&shop.seller, &USDC_DEVNET, &TOKEN_PROGRAM).to_string();
    let long = shop.refusal("getAccountInfo", json!([held, { "encoding": "base58" }])).await;
    assert_eq!(long.code, -32600);
}

#[tokio::test]
async fn many_accounts_come_in_order_with_null_for_those_that_are_not() {
    let shop = Shop::open().await;
    let (usdc, nobody) = (USDC_DEVNET.to_string(), shop.seller.to_string());
    let found = shop.ask("getMultipleAccounts", json!([[nobody, usdc]])).await["value"].take();
    assert_eq!((&found[0], &found[1]["space"]), (&json!(null), &json!(82)));
    let many = shop.refusal("getMultipleAccounts", json!([vec![usdc; 101]])).await;
    assert_eq!(many.message, "Too many inputs provided; max 100");
    assert_eq!(shop.refusal("getMultipleAccounts", json!([["no"]])).await.code, -32602);
}

#[tokio::test]
async fn rent_is_what_clusters_ask() {
    let shop = Shop::open().await;
    for (size, lamports) in [(0, 890_880), (165, 2_039_280)] {
        assert_eq!(shop.ask("getMinimumBalanceForRentExemption", json!([size])).await, json!(lamports));
    }
    assert_eq!(shop.refusal("getMinimumBalanceForRentExemption", json!([1u64 << 40])).await.code, -32602);
}

#[tokio::test]
async fn airdrops_are_transactions_and_each_is_its_own() {
    let shop = Shop::open().await;
    let to = shop.seller.to_string();
    let first = shop.ask("requestAirdrop", json!([to, 2_000_000])).await;
    let second = shop.ask("requestAirdrop", json!([to, 2_000_000])).await;
    assert_ne!(first, second);
    assert_eq!(shop.chain.balance(shop.seller), 4_000_000);
    assert_eq!(shop.status(second.as_str().unwrap()).await["confirmationStatus"], json!("processed"));
    assert_eq!(shop.refusal("requestAirdrop", json!([to, "much"])).await.code, -32602);
}

#[tokio::test]
async fn prioritization_fees_are_what_the_test_says() {
    let shop = Shop::open().await;
    shop.chain.advance(200);
    shop.chain.set_priority_fee(7);
    let fees = shop.ask("getRecentPrioritizationFees", json!([[USDC_DEVNET.to_string()]])).await;
    let fees = fees.as_array().unwrap();
    assert_eq!(fees.len(), 150);
    assert_eq!(fees[149], json!({ "slot": shop.chain.slot() - 1, "prioritizationFee": 7 }));
}

#[tokio::test]
async fn programs_in_other_languages_do_what_tests_do() {
    let shop = Shop::open().await;
    let seller = shop.seller.to_string();
    shop.ask("tollway_fund", json!([seller, 1_000_000])).await;
    shop.ask("tollway_mint", json!([USDC_DEVNET.to_string(), seller, 5])).await;
    assert_eq!((shop.chain.balance(shop.seller), shop.earned()), (1_000_000, 5));
    let slot = shop.chain.slot();
    assert_eq!(shop.ask("tollway_advance", json!([2])).await, json!(slot + 2));
    shop.ask("tollway_hold", json!([])).await;
    let payment = shop.payment(1).await;
    shop.ask("sendTransaction", checked(&payment)).await;
    assert_eq!(shop.earned(), 5);
    shop.ask("tollway_release", json!([])).await;
    assert_eq!(shop.earned(), 6);
    shop.ask("tollway_fork", json!([1])).await;
    assert_eq!(shop.earned(), 5);
    shop.ask("tollway_dropNext", json!([1])).await;
    shop.ask("sendTransaction", checked(&payment)).await;
    assert_eq!(shop.earned(), 5);
    assert_eq!(shop.refusal("tollway_fork", json!([1_000])).await.code, -32602);
}
