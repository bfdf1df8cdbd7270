//! Payloads are read strictly, and every field of them counts.

use alloy_primitives::{Address, U256};
use proptest::prelude::*;
use serde_json::{Value, json};
use tollway_evm::exact::{ExactPayload, Method};
use tollway_evm::permit2::{EXACT_PROXY, Permit, Permit2Payment, UPTO_PROXY, nonce_word_and_bit};
use tollway_evm::upto;
use tollway_protocol::bind::{Effects, Presented};
use tollway_protocol::json::Object;
use tollway_protocol::{Dialect, Offer, Reason, Refusal};

use crate::samples::{
    FACILITATOR, NOW, SELLER, altered, exact, object, payment, presented, signed, upto as upto_offer,
};

fn effects(presented: &Presented) -> Result<Effects, Refusal> {
    match presented.offer().scheme.as_str() {
        upto::SCHEME => Permit2Payment::effects(presented).map(|(_, effects)| effects),
        _ => ExactPayload::effects(presented).map(|(_, effects)| effects),
    }
}

/// Why a payload is refused for `offer`, from reading it to its window.
fn refusal(offer: &Offer, payload: Object) -> Option<Refusal> {
    let presented = presented(offer, payload);
    effects(&presented).and_then(|effects| presented.bind(effects)?.at(NOW)).err()
}

#[tokio::test]
async fn what_our_payer_signs_does_what_the_offer_asks() {
    for offer in [exact(), upto_offer()] {
        let signed = signed(&offer).await;
        let presented = presented(&offer, signed.payload.clone());
        let effects = effects(&presented).unwrap();
        assert_eq!(effects, signed.effects);
        assert_eq!(effects.window.closes, NOW.plus(60), "for maxTimeoutSeconds and no longer");
        presented.bind(effects).unwrap().at(NOW).unwrap();
        let Permit2Payment { permit, signature } = Permit2Payment::decode(&offer, &signed.payload).unwrap();
        assert_eq!(signature.recover(&permit.digest(84532)), Some(permit.owner));
    }
}

#[tokio::test]
async fn i01_i08_every_member_of_a_payload_is_compared_with_the_offer() {
    let other = "0x1111111111111111111111111111111111111111";
    let cases = [
        ("/permit2Authorization/permitted/token", json!(other), Reason::AssetMismatch),
        ("/permit2Authorization/permitted/amount", json!("9999"), Reason::AmountMismatch),
        ("/permit2Authorization/permitted/amount", json!("10001"), Reason::AmountMismatch),
        ("/permit2Authorization/spender", json!(other), Reason::SpenderMismatch),
        ("/permit2Authorization/spender", json!(SELLER), Reason::SpenderMismatch),
        ("/permit2Authorization/witness/to", json!(other), Reason::RecipientMismatch),
        ("/permit2Authorization/deadline", json!(NOW.plus(4).to_string()), Reason::Expired),
        ("/permit2Authorization/deadline", json!(NOW.plus(86_400).to_string()), Reason::WindowTooLong),
        ("/permit2Authorization/deadline", json!(U256::MAX.to_string()), Reason::WindowTooLong),
        ("/permit2Authorization/witness/validAfter", json!(NOW.plus(1).to_string()), Reason::NotYetValid),
        ("/permit2Authorization/witness/validAfter", json!(U256::MAX.to_string()), Reason::NotYetValid),
    ];
    for offer in [exact(), upto_offer()] {
        let payload = signed(&offer).await.payload;
        assert_eq!(refusal(&offer, payload.clone()), None);
        for (member, value, reason) in &cases {
            let refusal = refusal(&offer, altered(&payload, member, Some(value.clone()))).unwrap();
            assert_eq!(refusal.reason, *reason, "{member} = {value}");
            assert_eq!(refusal.dialect, Dialect::of_offer(&offer));
        }
    }
    let offer = upto_offer();
    let payload = signed(&offer).await.payload;
    let facilitator = "/permit2Authorization/witness/facilitator";
    let elsewhere = refusal(&offer, altered(&payload, facilitator, Some(json!(other)))).unwrap();
    assert_eq!(elsewhere.code().as_str(), "upto_facilitator_mismatch");
}

#[tokio::test]
async fn the_proxies_can_not_stand_for_each_other() {
    let payload = signed(&exact()).await.payload;
    assert_eq!(refusal(&upto_offer(), payload.clone()).unwrap().reason, Reason::InvalidPayload);
    let with = altered(&payload, "/permit2Authorization/witness/facilitator", Some(json!(FACILITATOR)));
    assert_eq!(refusal(&exact(), with).unwrap().reason, Reason::InvalidPayload);
    let proxy = altered(&payload, "/permit2Authorization/spender", Some(json!(UPTO_PROXY)));
    assert_eq!(refusal(&exact(), proxy).unwrap().reason, Reason::SpenderMismatch);
    let upto = signed(&upto_offer()).await.payload;
    let proxy = altered(&upto, "/permit2Authorization/spender", Some(json!(EXACT_PROXY)));
    assert_eq!(refusal(&upto_offer(), proxy).unwrap().reason, Reason::SpenderMismatch);
}

#[tokio::test]
async fn rs20_a_payload_is_read_strictly_and_the_member_is_named() {
    let offer = exact();
    let payload = signed(&offer).await.payload;
    let a = "/permit2Authorization";
    for member in ["/signature", a] {
        let refusal = refusal(&offer, altered(&payload, member, None)).unwrap();
        assert_eq!(refusal.reason, Reason::InvalidPayload);
    }
    for member in [
        "from",
        "permitted",
        "permitted/token",
        "permitted/amount",
        "spender",
        "nonce",
        "deadline",
        "witness",
        "witness/to",
        "witness/validAfter",
    ] {
        let path = format!("{a}/{member}");
        for value in
            [None, Some(json!("0x12")), Some(json!(1)), Some(json!("-1")), Some(json!("")), Some(json!(null))]
        {
            let refusal = refusal(&offer, altered(&payload, &path, value)).unwrap();
            assert_eq!(refusal.reason, Reason::InvalidPayload, "{member}");
        }
    }
    for number in [
        "01",
        "1.0",
        "1e3",
        " 1",
        "0x1",
        "115792089237316195423570985008687907853269984665640564039457584007913129639936",
    ] {
        let refusal =
            refusal(&offer, altered(&payload, "/permit2Authorization/nonce", Some(json!(number)))).unwrap();
        assert!(refusal.message.contains("permit2Authorization.nonce"), "{}", refusal.message);
    }
    for signature in ["0x".to_owned(), format!("0x{}", "ff".repeat(65))] {
        let refusal = refusal(&offer, altered(&payload, "/signature", Some(json!(signature)))).unwrap();
        assert_eq!(refusal.reason, Reason::SignatureForm);
        assert!(refusal.payer.is_some());
    }
    let long = format!("0x{}", "00".repeat(9_000));
    let refusal = refusal(&offer, altered(&payload, "/signature", Some(json!(long)))).unwrap();
    assert_eq!(refusal.reason, Reason::InvalidPayload);
}

#[tokio::test]
async fn a_payload_is_of_one_method_and_of_the_one_that_the_offer_names() {
    let by_permit2 = signed(&exact()).await.payload;
    let both = by_permit2.clone().with("authorization", json!({}));
    for (payload, method) in [
        (by_permit2.clone(), Some(Method::Permit2)),
        (object(json!({"authorization": {}})), Some(Method::Eip3009)),
        (object(json!({"delegationManager": SELLER})), Some(Method::Erc7710)),
        (both.clone(), None),
        (Object::new(), None),
        (object(json!({"authorization": null})), None),
    ] {
        assert_eq!(Method::of(&payload).ok(), method);
    }
    assert_eq!(refusal(&exact(), both).unwrap().reason, Reason::InvalidPayload);
    for other in [json!("eip3009"), json!("erc7710"), json!("Permit2"), json!(7)] {
        let mut offer = exact();
        offer.extra = offer.extra.with("assetTransferMethod", other);
        assert_eq!(refusal(&offer, by_permit2.clone()).unwrap().reason, Reason::TransferNotSupported);
    }
    let mut silent = exact();
    silent.extra = silent.extra.with("assetTransferMethod", Value::Null);
    assert_eq!(refusal(&silent, by_permit2), None, "an offer need not name it");
}

#[tokio::test]
async fn fa01_one_nonce_of_an_owner_is_one_payment_whatever_was_signed_with_it() {
    let (one, other) = (signed(&exact()).await, signed(&upto_offer()).await);
    assert_eq!(one.effects.key, other.effects.key, "exact and upto spend the same nonce");
    let payload = &one.payload;
    let key = |payload: Object| effects(&presented(&exact(), payload)).unwrap().key;
    for (member, value) in [
        ("/permit2Authorization/permitted/token", json!(SELLER)),
        ("/permit2Authorization/permitted/amount", json!("1")),
        ("/permit2Authorization/witness/to", json!(FACILITATOR)),
        ("/permit2Authorization/deadline", json!("1")),
        (
            "/permit2Authorization/from",
            json!(payload.0["permit2Authorization"]["from"].as_str().unwrap().to_lowercase()),
        ),
        ("/signature", json!(format!("0x{}1b", "11".repeat(64)))),
    ] {
        assert_eq!(key(altered(payload, member, Some(value))), one.effects.key, "{member}");
    }
    for (member, value) in
        [("/permit2Authorization/nonce", json!("1")), ("/permit2Authorization/from", json!(SELLER))]
    {
        assert_ne!(key(altered(payload, member, Some(value))), one.effects.key, "{member}");
    }
}

#[tokio::test]
async fn upto_settles_at_most_what_was_signed_and_may_settle_nothing() {
    let offer = upto_offer();
    let payload = signed(&offer).await.payload;
    for (amount, fits) in [(0u64, true), (1, true), (9_999, true), (10_000, true), (10_001, false)] {
        let charged = Offer { amount: amount.into(), ..offer.clone() };
        let presented = Presented::charged(charged, payment(&offer, payload.clone()));
        match presented {
            Ok(presented) => {
                assert!(fits, "{amount}");
                let effects = effects(&presented).unwrap();
                let bound = presented.bind(effects).unwrap();
                assert_eq!(bound.offer().amount, amount.into());
                assert_eq!(bound.effects().moves[0].amount, 10_000.into(), "what was permitted");
            }
            Err(refusal) => {
                assert!(!fits, "{amount}");
                assert_eq!(refusal.code().as_str(), "invalid_upto_evm_payload_settlement_exceeds_amount");
            }
        }
    }
    // The payer's own word for the ceiling does not raise it.
    let said = Offer { amount: 20_000.into(), ..offer.clone() };
    let presented =
        Presented::charged(Offer { amount: 15_000.into(), ..offer }, payment(&said, payload)).unwrap();
    let refusal = presented.clone().bind(effects(&presented).unwrap()).unwrap_err();
    assert_eq!(refusal.reason, Reason::AmountMismatch);
}

#[test]
fn a_nonce_has_its_bit() {
    assert_eq!(nonce_word_and_bit(U256::ZERO), (U256::ZERO, U256::ONE));
    assert_eq!(nonce_word_and_bit(U256::from(7_001)), (U256::from(27), U256::ONE << 89));
    assert_eq!(nonce_word_and_bit(U256::MAX), (U256::MAX >> 8, U256::ONE << 255));
}

fn number() -> impl Strategy<Value = U256> {
    any::<[u8; 32]>().prop_map(U256::from_be_bytes)
}

fn permits() -> impl Strategy<Value = Permit> {
    let address = || any::<[u8; 20]>().prop_map(Address::from);
    (address(), address(), number(), number(), number(), address(), number(), prop::option::of(address()))
        .prop_map(|(owner, token, amount, nonce, deadline, to, valid_after, facilitator)| Permit {
            owner,
            token,
            amount,
            nonce,
            deadline,
            to,
            valid_after,
            facilitator,
        })
}

proptest! {
    #[test]
    fn a_written_payload_reads_as_itself(permit in permits(), r in 1u8.., s in 1u8..0x7f, v in 27u8..29) {
        let offer = if permit.facilitator.is_some() { upto_offer() } else { exact() };
        let signature = [[r; 32], [s; 32]].concat().into_iter().chain([v]).collect::<Vec<_>>();
        let payload = Permit2Payment::payload(&permit, &signature).unwrap();
        let read = Permit2Payment::decode(&offer, &payload).unwrap();
        prop_assert_eq!(&read.permit, &permit);
        prop_assert_eq!(&read.signature.to_bytes()[..], &signature[..]);
        let effects = permit.effects(&offer.network).unwrap();
        prop_assert!(effects.window.closes < tollway_protocol::bind::Window::ALWAYS.closes);
    }

    #[test]
    fn two_permits_have_one_digest_only_if_they_are_one(one in permits(), other in permits()) {
        prop_assert_eq!(one.digest(1) == other.digest(1), one == other);
        prop_assert_ne!(one.digest(1), one.digest(2));
    }
}
