use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tollway_facilitator::Registry;
use tollway_facilitator::registry::BuildError;
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Facilitator, PaymentRequest};

use crate::common::{Fake, NOW, PAYER, request, v2, world};

fn registry(fake: &Arc<Fake>) -> tollway_facilitator::registry::Builder {
    Registry::builder().mechanism(fake.clone()).clock(|| UnixTime(NOW))
}

#[tokio::test]
async fn a_good_payment_verifies_and_settles() {
    let world = world();
    let verdict = world.registry.verify(&request("")).await.unwrap();
    assert!(verdict.is_valid, "{verdict:?}");
    assert_eq!(verdict.payer.as_deref(), Some(PAYER));
    let settlement = world.registry.settle(&request("")).await.unwrap();
    assert!(settlement.success);
    assert_eq!(settlement.payer.as_deref(), Some(PAYER));
    assert_eq!(settlement.network.as_str(), "eip155:84532");
    assert_eq!(settlement.amount.unwrap().to_string(), "10000");
    assert!(settlement.transaction.unwrap().starts_with("0x"));
}

#[tokio::test]
async fn i09_verify_changes_nothing() {
    let world = world();
    for _ in 0..3 {
        assert!(world.registry.verify(&request("")).await.unwrap().is_valid);
    }
    assert_eq!(world.fake.broadcasts.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_settled_payment_that_has_expired_since_still_gets_its_first_answer() {
    let fake = Fake::new("exact", "eip155:84532");
    let first = registry(&fake).build().unwrap().settle(&request("")).await.unwrap();
    let later = registry(&fake).clock(|| UnixTime(NOW + 3600)).build().unwrap();
    assert_eq!(
        later.verify(&request("")).await.unwrap().invalid_reason.unwrap().as_str(),
        "invalid_exact_evm_payload_authorization_valid_before"
    );
    assert_eq!(later.settle(&request("")).await.unwrap().transaction, first.transaction);
}

#[tokio::test]
async fn i08_what_is_not_served_is_refused_with_a_reason() {
    let world = world();
    for (scheme, network, code) in [
        ("exact", "eip155:1", "invalid_network"),
        ("exact", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "invalid_network"),
        ("upto", "eip155:84532", "unsupported_scheme"),
        ("", "eip155:84532", "unsupported_scheme"),
    ] {
        let mut body = v2("");
        for offer in ["/paymentRequirements", "/paymentPayload/accepted"] {
            let offer = body.pointer_mut(offer).unwrap();
            offer["scheme"] = json!(scheme);
            offer["network"] = json!(network);
        }
        let request: PaymentRequest = serde_json::from_value(body).unwrap();
        let verdict = world.registry.verify(&request).await.unwrap();
        assert_eq!(verdict.invalid_reason.unwrap().as_str(), code);
        assert!(!verdict.invalid_message.unwrap().is_empty());
        let settlement = world.registry.settle(&request).await.unwrap();
        assert!(!settlement.success);
        assert_eq!(settlement.error_reason.unwrap().as_str(), code);
    }
}

#[tokio::test]
async fn i05_a_panic_while_settling_is_unknown_never_failed() {
    let settlement = world().registry.settle(&request("panic")).await.unwrap();
    assert_eq!(settlement.error_reason.unwrap().as_str(), "settlement_pending");
}

#[tokio::test]
async fn fa09_a_panic_while_decoding_or_verifying_is_an_answer() {
    let world = world();
    for fault in ["panic", "panic in effects"] {
        let verdict = world.registry.verify(&request(fault)).await.unwrap();
        assert_eq!(verdict.invalid_reason.unwrap().as_str(), "unexpected_verify_error", "{fault}");
    }
    let settlement = world.registry.settle(&request("panic in effects")).await.unwrap();
    assert_eq!(settlement.error_reason.unwrap().as_str(), "unexpected_settle_error");
}

#[tokio::test]
async fn fa09_a_reason_is_never_empty() {
    let world = world();
    let verdict = world.registry.verify(&request("nameless")).await.unwrap();
    assert_eq!(verdict.invalid_reason.unwrap().as_str(), "unexpected_verify_error");
    assert!(!verdict.invalid_message.unwrap().is_empty());
    let settlement = world.registry.settle(&request("nameless")).await.unwrap();
    assert_eq!(settlement.error_reason.unwrap().as_str(), "unexpected_settle_error");
    assert!(!settlement.error_message.unwrap().is_empty());
}

#[tokio::test]
async fn i18_a_failed_or_pending_settlement_names_its_transaction() {
    let world = world();
    for (fault, code) in
        [("reverted", "invalid_exact_evm_transaction_failed"), ("pending", "settlement_pending")]
    {
        let settlement = world.registry.settle(&request(fault)).await.unwrap();
        assert!(!settlement.success);
        assert_eq!(settlement.error_reason.unwrap().as_str(), code);
        assert!(settlement.transaction.unwrap().ends_with('7'));
        assert_eq!(settlement.payer.as_deref(), Some(PAYER));
    }
}

#[tokio::test(start_paused = true)]
async fn fa32_a_settlement_is_answered_within_25_seconds_and_the_mechanism_gets_less() {
    let world = world();
    let started = tokio::time::Instant::now();
    let settlement = world.registry.settle(&request("slow")).await.unwrap();
    assert_eq!(settlement.error_reason.unwrap().as_str(), "settlement_pending");
    assert_eq!(started.elapsed(), Duration::from_secs(25));
    assert_eq!(*world.fake.deadline.lock(), Some(Duration::from_secs(24)));
}

#[tokio::test(start_paused = true)]
async fn fa32_a_verdict_comes_within_10_seconds() {
    let started = tokio::time::Instant::now();
    let verdict = world().registry.verify(&request("slow")).await.unwrap();
    assert_eq!(verdict.invalid_reason.unwrap().as_str(), "unexpected_verify_error");
    assert_eq!(started.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn fa01_a_caller_that_hangs_up_does_not_stop_its_settlement() {
    let world = world();
    let asked = request("gated");
    {
        let mut call = std::pin::pin!(world.registry.settle(&asked));
        assert!(futures_util::poll!(&mut call).is_pending());
        while world.fake.deadline.lock().is_none() {
            tokio::task::yield_now().await;
        }
    }
    world.fake.gate.notify_one();
    world.registry.drain(Duration::from_secs(5)).await.unwrap();
    assert_eq!(world.fake.answered.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn i15_settlements_of_callers_that_hung_up_are_bounded() {
    let fake = Fake::new("exact", "eip155:84532");
    let registry = registry(&fake).settlements(1).build().unwrap();
    let asked = request("gated");
    {
        let mut call = std::pin::pin!(registry.settle(&asked));
        assert!(futures_util::poll!(&mut call).is_pending());
    }
    let refused = registry.settle(&request("")).await.unwrap();
    assert_eq!(refused.error_reason.unwrap().as_str(), "facilitator_unavailable");
    assert_eq!(fake.broadcasts.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn draining_takes_no_more_settlements_and_says_what_is_left() {
    let world = world();
    let asked = request("gated");
    let mut call = Box::pin(world.registry.settle(&asked));
    assert!(futures_util::poll!(&mut call).is_pending());
    let undrained = world.registry.drain(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(undrained.settlements, 1);
    let refused = world.registry.settle(&request("")).await.unwrap();
    assert_eq!(refused.error_reason.unwrap().as_str(), "facilitator_unavailable");
    world.fake.gate.notify_one();
    world.registry.drain(Duration::from_secs(5)).await.unwrap();
    assert!(call.await.unwrap().success);
}

#[tokio::test]
async fn a_mechanism_whose_recovery_panics_is_named() {
    let world = world();
    assert!(world.registry.recover().await.is_empty());
    *world.fake.ready.lock() = Some("panic in recover".to_owned());
    assert_eq!(world.registry.recover().await.len(), 1);
}

#[test]
fn two_mechanisms_for_the_same_payments_are_a_build_error() {
    let twice = Registry::builder()
        .mechanism(Fake::new("exact", "eip155:1"))
        .mechanism(Fake::new("exact", "eip155:8453"))
        .mechanism(Fake::new("exact", "eip155:1"));
    let error = twice.build().unwrap_err();
    assert_eq!(error.to_string(), "exact on eip155:1 is registered twice");
    assert_eq!(Registry::builder().build().unwrap_err(), BuildError::Empty);
}

#[test]
fn supported_lists_both_versions_and_the_signers_by_family() {
    let registry = Registry::builder()
        .mechanism(Fake::new("exact", "eip155:84532"))
        .mechanism(Fake::new("upto", "eip155:84532"))
        .mechanism(Fake::new("exact", "eip155:31337"))
        .build()
        .unwrap();
    assert_eq!(
        serde_json::to_value(registry.kinds()).unwrap(),
        json!({
            "kinds": [
                { "x402Version": 2, "scheme": "exact", "network": "eip155:31337" },
                { "x402Version": 2, "scheme": "exact", "network": "eip155:84532" },
                { "x402Version": 2, "scheme": "upto", "network": "eip155:84532" },
                { "x402Version": 1, "scheme": "exact", "network": "base-sepolia" },
            ],
            "extensions": [],
            "signers": { "eip155:*": ["0x00000000000000000000000000000000000000ff"] },
        })
    );
}
