//! Payments that live longer than their offers give: Solana's, which die with a blockhash and not by a clock.

use serde_json::{Value, json};
use tollway_payer::{Asked, Journal, PayError, Payer, Policy, PolicyError, Unfit, Wallet};
use tollway_protocol::Secret;
use tollway_svm::ExactPayer;
use tollway_svm::keys::Key;

use crate::common::{Account, encode, offer, purchase};

const URL: &str = "https://shop.example/data?q=1";
const DEVNET: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

/// A payer with an account on Solana and one on EVM networks.
fn payer(window: (u64, u64)) -> (Payer, Account) {
    let account = Account::new();
    let key = Key::from_seed(&Secret::new([7; 32]));
    let wallet = Wallet::new().with(ExactPayer::new(key)).with(account.clone());
    let policy = Policy::default().window(window.0, window.1);
    let journal = Journal::temporary().unwrap();
    (Payer::builder(wallet, journal).policy(policy).build().unwrap(), account)
}

/// A cent on Solana, with all that signing needs.
fn on_solana(seconds: u64) -> Value {
    json!({
        "scheme": "exact", "network": DEVNET, "amount": "10000", "maxTimeoutSeconds": seconds,
        "asset": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
        "payTo": "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4",
        "extra": {
            "feePayer": "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd",
            "recentBlockhash": "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd",
        },
    })
}

fn asked(offers: &[Value]) -> Asked {
    let challenge = json!({"x402Version": 2, "resource": {"url": URL}, "accepts": offers});
    let mut headers = http::HeaderMap::new();
    headers.insert("payment-required", http::HeaderValue::from_str(&encode(&challenge)).unwrap());
    Asked::read(&headers, b"").unwrap()
}

#[tokio::test]
async fn cl12_a_payment_that_lives_longer_than_the_policy_s_window_is_refused_before_it_is_signed() {
    let (payer, _) = payer((8, 120));
    let Err(error) = payer.prepare(&asked(&[on_solana(60)]), &purchase(URL)).await else { panic!("signed") };
    let PayError::Declined(declined) = &error else { panic!("{error:?}") };
    let Unfit::Policy(why) = &declined.rejected[0].why else { panic!("{declined:?}") };
    assert!(matches!(why, PolicyError::LivesTooLong { seconds: 300, max: 120, .. }), "{why:?}");
    for part in ["300 s", "at most 120", "Policy::window", DEVNET] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
    assert!(payer.journal().live().unwrap().is_empty() && payer.journal().history().unwrap().is_empty());
}

#[tokio::test]
async fn cl12_an_offer_that_ends_in_time_is_paid_instead_though_it_costs_more() {
    let (payer, account) = payer((8, 120));
    let both = asked(&[on_solana(60), offer("20000")]);
    let plan = payer.plan(&both, &purchase(URL)).await.unwrap();
    assert_eq!((plan.index, plan.rejected.len()), (1, 1));
    drop(payer.prepare(&both, &purchase(URL)).await.unwrap());
    assert_eq!(account.count(), 1);
}

#[tokio::test]
async fn the_window_that_the_refusal_names_is_enough() {
    let (payer, _) = payer((8, 300));
    drop(payer.prepare(&asked(&[on_solana(60)]), &purchase(URL)).await.unwrap());
    assert_eq!(payer.journal().live().unwrap().len(), 1);
}
