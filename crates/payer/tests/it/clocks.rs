//! A payer whose clock is wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use tollway_payer::journal::State;
use tollway_payer::{Journal, PayError, Policy};

use crate::common::*;

fn real_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A seller with a right clock, which takes what is valid now and for as long as it asked, give or take an hour.
async fn punctual() -> Shop {
    Shop::answering(|seen, _| {
        let payment = decode(&seen.payment().unwrap());
        let (now, closes) = (real_now(), payment["payload"]["validBefore"].as_u64().unwrap());
        if closes < now + 6 {
            ask(seen, &[offer("10000")]).header(
                "payment-response",
                encode(&failed("invalid_exact_evm_payload_authorization_valid_before")),
            )
        } else if closes > now + 60 + 3600 {
            ask(seen, &[offer("10000")])
                .header("payment-response", encode(&failed("payment_window_too_long")))
        } else {
            reply(200).settled("0x1")
        }
    })
    .await
}

fn failed(code: &str) -> serde_json::Value {
    serde_json::json!({"success": false, "errorReason": code, "transaction": "", "network": SEPOLIA})
}

fn clock(apart: i64) -> Clock {
    let clock = Clock::new();
    clock.advance(u64::MAX.wrapping_add_signed(apart).wrapping_add(1));
    clock
}

#[tokio::test]
async fn cl16_a_clock_ten_minutes_behind_makes_payments_that_are_refused_as_expired_and_the_error_says_why() {
    let shop = punctual().await;
    let (account, journal) = (Account::new(), Journal::temporary().unwrap());
    let payer = builder(&account, &journal, &clock(-600)).build().unwrap();
    for _ in 0..2 {
        let error = payer.pay(shop.get("/")).await.unwrap_err();
        let PayError::Refused(kept) = &error else { panic!("{error}") };
        let hint = kept.hint.as_deref().unwrap();
        assert!(hint.contains("s behind the server's") && error.to_string().contains(hint), "{error}");
        assert!(kept.until.0 < real_now());
    }
    assert_eq!((account.count(), shop.payments().len()), (1, 2), "a hint, and never a reason to sign again");
    assert_eq!(journal.live().unwrap()[0].state, State::Refused);
}

#[tokio::test]
async fn cl16_a_clock_ten_minutes_ahead_makes_payments_that_are_taken() {
    let shop = punctual().await;
    let (account, journal) = (Account::new(), Journal::temporary().unwrap());
    let payer = builder(&account, &journal, &clock(600)).build().unwrap();
    let paid = payer.pay(shop.get("/")).await.unwrap().payment.unwrap();
    assert!(paid.payment.valid_before.0 > real_now() + 600 && account.count() == 1);
}

#[tokio::test]
async fn cl16_a_clock_ten_minutes_off_does_not_change_what_the_policy_allows_and_is_a_hint_in_each_error() {
    for (apart, which) in [(-600, "behind"), (600, "ahead of")] {
        let hint = format!("s {which} the server's");
        let (account, journal) = (Account::new(), Journal::temporary().unwrap());
        let payer = |policy| builder(&account, &journal, &clock(apart)).policy(policy).build().unwrap();
        let refusing = Shop::answering(|seen, _| ask(seen, &[offer("10000")])).await;
        let error = payer(Policy::default()).pay(refusing.get("/")).await.unwrap_err();
        assert!(matches!(error, PayError::Refused(_)) && error.to_string().contains(&hint), "{error}");
        let strict = Policy::default().cap(&money("$0.001")).unwrap();
        let error = payer(strict.clone()).pay(refusing.get("/dear")).await.unwrap_err();
        assert!(matches!(error, PayError::Declined(_)) && error.to_string().contains(&hint), "{error}");
        let error = payer(strict).dry_run(refusing.get("/dear")).await.unwrap_err();
        assert!(matches!(error, PayError::Declined(_)) && error.to_string().contains(&hint), "{error}");
        assert_eq!(account.count(), 1);
    }
}
