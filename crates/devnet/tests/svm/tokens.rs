//! The mints, and who holds what.

use serde_json::json;
use solana_instruction::{AccountMeta, Instruction};
use solana_signer::Signer as _;
use tollway_devnet::svm::{
    Address, ChainError, HOOKED_MINT, PYUSD_DEVNET, SECOND_MINT, TAXED_MINT, TOKEN_2022_PROGRAM,
    TOKEN_PROGRAM, USDC_DEVNET, associated_token_account,
};

use crate::client::{PRICE, PURSE, Shop};

#[tokio::test]
async fn the_tokens_are_of_their_programs_and_have_six_decimals() {
    let shop = Shop::open().await;
    for (mint, program) in [
        (USDC_DEVNET, TOKEN_PROGRAM),
        (SECOND_MINT, TOKEN_PROGRAM),
        (PYUSD_DEVNET, TOKEN_2022_PROGRAM),
        (TAXED_MINT, TOKEN_2022_PROGRAM),
        (HOOKED_MINT, TOKEN_2022_PROGRAM),
    ] {
        shop.chain.mint(mint, shop.payer.pubkey(), 1_500_000).unwrap();
        let params = json!([mint.to_string(), { "encoding": "base64" }]);
        let account = shop.ask("getAccountInfo", params).await;
        assert_eq!(account["value"]["owner"], json!(program.to_string()));
        let supply = shop.ask("getTokenSupply", json!([mint.to_string()])).await;
        assert_eq!(supply["value"]["decimals"], json!(6));
        let held = associated_token_account(&shop.payer.pubkey(), &mint, &program).to_string();
        let balance = shop.ask("getTokenAccountBalance", json!([held])).await["value"].take();
        let before = if mint == USDC_DEVNET { PURSE } else { 0 };
        assert_eq!(balance["amount"], json!((before + 1_500_000).to_string()));
    }
    assert_eq!(
        shop.ask("getTokenSupply", json!([PYUSD_DEVNET.to_string()])).await["value"]["uiAmountString"],
        json!("1.5")
    );
}

/// As the published clients transfer.
fn transfer(shop: &Shop, mint: Address, amount: u64) -> Instruction {
    let account = |owner: &Address| associated_token_account(owner, &mint, &TOKEN_2022_PROGRAM);
    let data = [&[12][..], &amount.to_le_bytes(), &[6]].concat();
    let accounts = vec![
        AccountMeta::new(account(&shop.payer.pubkey()), false),
        AccountMeta::new_readonly(mint, false),
        AccountMeta::new(account(&shop.seller), false),
        AccountMeta::new_readonly(shop.payer.pubkey(), true),
    ];
    Instruction { program_id: TOKEN_2022_PROGRAM, accounts, data }
}

#[tokio::test]
async fn a_taxed_token_delivers_less_and_a_hooked_one_nothing() {
    let shop = Shop::open().await;
    for mint in [PYUSD_DEVNET, TAXED_MINT, HOOKED_MINT] {
        shop.chain.mint(mint, shop.payer.pubkey(), PURSE).unwrap();
        shop.chain.mint(mint, shop.seller, 0).unwrap();
    }
    let blockhash = shop.blockhash().await;
    shop.send(&shop.signed(&[transfer(&shop, PYUSD_DEVNET, 10_000)], blockhash)).await;
    assert_eq!(shop.chain.token_balance(PYUSD_DEVNET, shop.seller), 10_000);
    shop.send(&shop.signed(&[transfer(&shop, TAXED_MINT, 10_000)], blockhash)).await;
    assert_eq!(shop.chain.token_balance(TAXED_MINT, shop.seller), 9_900);
    let hooked = shop.signed(&[transfer(&shop, HOOKED_MINT, 10_000)], blockhash);
    assert_eq!(shop.refusal("sendTransaction", crate::client::checked(&hooked)).await.code, -32002);
    shop.send_blindly(&hooked).await;
    assert_eq!(shop.chain.token_balance(HOOKED_MINT, shop.seller), 0);
}

#[tokio::test]
async fn the_token_accounts_of_an_owner_are_found() {
    let shop = Shop::open().await;
    let payer = shop.payer.pubkey();
    shop.chain.mint(PYUSD_DEVNET, payer, 3).unwrap();
    let encoding = json!({ "encoding": "base64" });
    let find = async |filter: serde_json::Value| {
        let found = shop.ask("getTokenAccountsByOwner", json!([payer.to_string(), filter, encoding])).await;
        let found = found["value"].as_array().unwrap().iter();
        found.map(|entry| entry["pubkey"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let usdc = associated_token_account(&payer, &USDC_DEVNET, &TOKEN_PROGRAM).to_string();
    let pyusd = associated_token_account(&payer, &PYUSD_DEVNET, &TOKEN_2022_PROGRAM).to_string();
    assert_eq!(find(json!({ "mint": USDC_DEVNET.to_string() })).await, std::slice::from_ref(&usdc));
    assert_eq!(find(json!({ "programId": TOKEN_PROGRAM.to_string() })).await, [usdc]);
    assert_eq!(find(json!({ "programId": TOKEN_2022_PROGRAM.to_string() })).await, [pyusd]);
    for filter in [json!({ "mint": payer.to_string() }), json!({ "programId": payer.to_string() }), json!({})]
    {
        let refusal = shop.refusal("getTokenAccountsByOwner", json!([payer.to_string(), filter])).await;
        assert_eq!(refusal.code, -32602);
    }
}

#[tokio::test]
async fn what_is_no_token_account_is_said_to_be_none() {
    let shop = Shop::open().await;
    for (address, text) in [
        (shop.seller, "Invalid param: could not find account"),
        (shop.fee_payer.pubkey(), "Invalid param: not a Token account"),
        (USDC_DEVNET, "Invalid param: not a Token account"),
    ] {
        let refusal = shop.refusal("getTokenAccountBalance", json!([address.to_string()])).await;
        assert_eq!((refusal.code, refusal.message.as_str()), (-32602, text));
    }
}

#[tokio::test]
async fn tokens_are_minted_as_often_as_there_is_room() {
    let shop = Shop::open().await;
    assert_eq!(shop.chain.mint(shop.seller, shop.seller, 1), Err(ChainError::UnknownMint(shop.seller)));
    assert_eq!(shop.chain.mint(USDC_DEVNET, shop.seller, u64::MAX), Err(ChainError::TooMuch));
    shop.chain.mint(USDC_DEVNET, shop.seller, PRICE).unwrap();
    shop.chain.mint(USDC_DEVNET, shop.seller, PRICE).unwrap();
    assert_eq!(shop.earned(), 2 * PRICE);
    assert_eq!(shop.chain.token_balance(PYUSD_DEVNET, shop.seller), 0);
}
