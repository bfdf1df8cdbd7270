//! FA19: what is refused once a node has tried it, or has told what a mint does.

use serde_json::{Value, json};
use tollway_devnet::svm::{HOOKED_MINT, SECOND_MINT, TAXED_MINT, USDC_DEVNET};
use tollway_svm::programs::{TOKEN, TOKEN_2022, associated_token_account};

use crate::common::{World, key, request, world};
use crate::crafted::refused;
use crate::draft::{Draft, base64, limit};

/// What the chain has to be asked for.
async fn asked(world: &World, what: &str, code: &str, change: impl FnOnce(&mut Draft, &mut Value)) {
    let (mut draft, mut offer) = (world.draft(), world.offer());
    change(&mut draft, &mut offer);
    let request = request(&offer, &json!({"transaction": base64(&draft.signed(&[&world.payer]))}));
    let refusal = refused(world, what, &request).await;
    assert_eq!(refusal.code().as_str(), code, "{what}: {refusal}");
}

#[tokio::test]
async fn fa19_what_the_chain_would_refuse_is_refused() {
    let world = world();
    let failed = "invalid_exact_svm_transaction_simulation_failed";
    asked(&world, "an unknown blockhash", failed, |draft, _| draft.blockhash = [7; 32]).await;
    asked(&world, "other decimals", failed, |draft, _| draft.calls[2].data[9] = 7).await;
    asked(&world, "too few compute units", failed, |draft, _| draft.calls[0].data = limit(10)).await;
    asked(&world, "more than the payer has", failed, |draft, offer| {
        draft.calls[2].data[1..9].copy_from_slice(&2_000_000u64.to_le_bytes());
        offer["amount"] = json!("2000000");
    })
    .await;
    asked(&world, "a payee without a token account", failed, |draft, offer| {
        let account = associated_token_account(&key(8).address(), &USDC_DEVNET, &TOKEN);
        draft.written[1] = account;
        draft.calls[2].accounts[2] = account;
        offer["payTo"] = json!(key(8).address().to_string());
    })
    .await;
    let old = world.draft();
    world.chain.advance(200);
    asked(&world, "a dead blockhash", failed, |draft, _| draft.blockhash = old.blockhash).await;
}

#[tokio::test]
async fn fa19_mints_that_do_more_than_move_are_refused() {
    let world = world();
    let not_settled = "asset_not_allowed";
    for (what, mint, program) in [
        ("a mint that is not listed", SECOND_MINT, TOKEN),
        ("a transfer fee", TAXED_MINT, TOKEN_2022),
        ("a transfer hook", HOOKED_MINT, TOKEN_2022),
    ] {
        asked(&world, what, not_settled, |draft, offer| {
            let account = |owner| associated_token_account(owner, &mint, &program);
            draft.written = vec![account(&world.payer.address()), account(&world.seller)];
            draft.calls[2].program = program;
            draft.calls[2].accounts = vec![draft.written[0], mint, draft.written[1], world.payer.address()];
            offer["asset"] = json!(mint.to_string());
        })
        .await;
    }
}
