//! Matching an echoed offer, binding effects, and the time window.

use proptest::prelude::*;
use serde_json::{Value, json};
use tollway_protocol::bind::{
    MAX_WINDOW_SLACK_SECONDS, MIN_REMAINING_SECONDS, PaymentKey, Presented, Window, accepts,
};
use tollway_protocol::door::{Address, UnixTime};
use tollway_protocol::{Network, Offer, Reason};

use crate::samples::{BUYER, NOW, SELLER, USDC, effects_of, offer, offer_json, payment_for, read};

fn with_extra(extra: Value) -> Offer {
    let mut value = offer_json();
    value["extra"] = extra;
    read(value)
}

#[test]
fn x402rs_29_a_payer_may_add_to_extra_at_any_depth() {
    let ours = with_extra(json!({ "name": "USDC", "more": { "deep": [1] } }));
    for more in [
        json!({ "name": "USDC", "more": { "deep": [1] }, "added": "x" }),
        json!({ "name": "USDC", "more": { "deep": [1], "added": { "x": 1 } } }),
    ] {
        assert!(accepts(&ours, &with_extra(more)));
    }
    assert!(accepts(&with_extra(json!({})), &ours));
}

#[test]
fn x402rs_29_a_payer_may_not_drop_or_change_what_extra_has() {
    let ours = with_extra(json!({ "name": "USDC", "n": 1, "more": { "deep": [1] } }));
    for less in [
        json!({}),
        json!(null),
        json!({ "name": "USDC", "n": 1 }),
        json!({ "name": "USDC", "n": 1, "more": {} }),
        json!({ "name": "USDC", "n": 1, "more": { "deep": [] } }),
        json!({ "name": "USDC", "n": 1, "more": { "deep": [1, 2] } }),
        json!({ "name": "usdc", "n": 1, "more": { "deep": [1] } }),
        json!({ "name": "USDC", "n": "1", "more": { "deep": [1] } }),
        json!({ "name": "USDC", "n": 1, "more": null }),
    ] {
        assert!(!accepts(&ours, &with_extra(less.clone())), "{less}");
    }
}

#[test]
fn on_solana_alone_the_chains_state_in_an_offer_may_be_older_in_its_echo() {
    let on = |network: &str, hash: &str, height: &str| {
        let mut offer =
            with_extra(json!({ "feePayer": "a", "recentBlockhash": hash, "lastValidBlockHeight": height }));
        offer.network = tollway_protocol::Network::new(network).unwrap();
        offer
    };
    let solana = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
    assert!(accepts(&on(solana, "new", "151"), &on(solana, "old", "150")));
    let mut other = on(solana, "new", "151");
    other.extra = other.extra.with("feePayer", "b");
    assert!(!accepts(&on(solana, "new", "151"), &other));
    assert!(!accepts(&on("eip155:84532", "new", "151"), &on("eip155:84532", "old", "150")));
}

#[test]
fn addresses_match_in_any_case_and_nothing_else_does() {
    let lower = Offer { asset: USDC.to_lowercase(), pay_to: SELLER.to_lowercase(), ..offer() };
    assert!(accepts(&offer(), &lower));
    let shouting = Offer { scheme: "EXACT".into(), ..offer() };
    assert!(!accepts(&offer(), &shouting));
}

#[test]
fn texts_that_are_no_addresses_match_only_themselves() {
    let odd = |asset: &str| Offer { asset: asset.into(), ..offer() };
    assert!(accepts(&odd("usdc"), &odd("usdc")));
    for (ours, theirs) in [("usdc", "USDC"), ("usdc", USDC), (USDC, "usdc"), (USDC, ""), ("0x1", "0x01")] {
        assert!(!accepts(&odd(ours), &odd(theirs)), "{ours} {theirs}");
    }
}

#[test]
fn solana_addresses_match_by_their_exact_text() {
    let mint = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
    let solana = Offer {
        network: Network::named("solana").unwrap(),
        asset: mint.into(),
        pay_to: mint.into(),
        ..offer()
    };
    assert!(accepts(&solana, &solana));
    let other = Offer { asset: mint.replace("EPj", "epj"), ..solana.clone() };
    assert!(!accepts(&solana, &other));
}

#[test]
fn an_offer_whose_addresses_are_none_binds_to_nothing() {
    for (asset, pay_to) in [("USDC", SELLER), (USDC, "shop.eth"), ("", SELLER), (USDC, "")] {
        let effects = effects_of(&offer());
        let bad = Offer { asset: asset.into(), pay_to: pay_to.into(), ..offer() };
        let presented = Presented::new(bad.clone(), payment_for(&bad)).unwrap();
        assert_eq!(presented.bind(effects).unwrap_err().reason, Reason::InvalidOffer);
    }
}

#[test]
fn a_refusal_names_the_payer_and_speaks_the_schemes_dialect() {
    let mut effects = effects_of(&offer());
    effects.moves[0].amount = 9_999.into();
    let refusal = Presented::new(offer(), payment_for(&offer())).unwrap().bind(effects).unwrap_err();
    assert_eq!(refusal.code().as_str(), "invalid_exact_evm_payload_authorization_value_mismatch");
    assert_eq!(refusal.payer, Some(BUYER.to_lowercase()));
}

fn verdict_at(opens: u64, closes: u64, now: u64) -> Result<(), Reason> {
    let mut effects = effects_of(&offer());
    effects.window = Window { opens: UnixTime(opens), closes: UnixTime(closes) };
    let bound = Presented::new(offer(), payment_for(&offer())).unwrap().bind(effects).unwrap();
    bound.at(UnixTime(now)).map(|_| ()).map_err(|refusal| refusal.reason)
}

#[test]
fn the_window_opens_and_closes_to_the_second() {
    let now = NOW.0;
    let last = now + MIN_REMAINING_SECONDS;
    assert_eq!(verdict_at(now, last, now), Ok(()));
    assert_eq!(verdict_at(now + 1, last, now), Err(Reason::NotYetValid));
    assert_eq!(verdict_at(now, last - 1, now), Err(Reason::Expired));
    assert_eq!(verdict_at(now + 100, now, now), Err(Reason::Expired), "a window that never opens");
    let longest = now + offer().max_timeout_seconds + MAX_WINDOW_SLACK_SECONDS;
    assert_eq!(verdict_at(0, longest, now), Ok(()));
    assert_eq!(verdict_at(0, longest + 1, now), Err(Reason::WindowTooLong));
    assert_eq!(verdict_at(0, u64::MAX, now), Err(Reason::WindowTooLong), "what never ends never fails");
    assert_eq!(verdict_at(0, 0, 0), Err(Reason::Expired));
    assert_eq!(verdict_at(u64::MAX, u64::MAX, u64::MAX), Ok(()), "the end of time does not wrap");
}

#[test]
fn the_request_to_the_facilitator_carries_the_sellers_own_offer() {
    let mut accepted = offer();
    accepted.extra = accepted.extra.with("added", "by the payer");
    let presented = Presented::new(offer(), payment_for(&accepted)).unwrap();
    let request = presented.bind(effects_of(&offer())).unwrap().to_request();
    assert_eq!(request.payment_requirements, offer());
    assert_eq!(request.payment_payload.accepted, accepted);
}

#[test]
fn a_stored_key_is_the_key() {
    let key = PaymentKey::new(&Network::eip155(1), &["0xasset", "0xpayer", "0xnonce"]);
    assert_eq!(key.as_str(), "eip155:1/0xasset/0xpayer/0xnonce");
    assert_eq!(PaymentKey::stored(key.to_string()), key);
}

proptest! {
    #[test]
    fn i02_different_payments_never_share_a_key(
        a in proptest::collection::vec("[a-c/%2F]{0,4}", 0..4), b in proptest::collection::vec("[a-c/%2F]{0,4}", 0..4),
    ) {
        let key = |parts: &[String]| {
            PaymentKey::new(&Network::eip155(1), &parts.iter().map(String::as_str).collect::<Vec<_>>())
        };
        prop_assert_eq!(key(&a) == key(&b), a == b, "{} {}", key(&a), key(&b));
    }

    #[test]
    fn i02_one_address_has_one_text(bytes in any::<[u8; 20]>(), cases in any::<u64>()) {
        let hex = |upper: &dyn Fn(usize) -> bool| -> String {
            let digits = bytes.iter().flat_map(|b| format!("{b:02x}").chars().collect::<Vec<_>>()).enumerate();
            digits.map(|(i, c)| if upper(i) { c.to_ascii_uppercase() } else { c }).collect()
        };
        let network = Network::eip155(1);
        let (a, b) = (format!("0x{}", hex(&|_| false)), format!("0x{}", hex(&|i| cases >> i & 1 == 1)));
        prop_assert_eq!(Address::on(&network, &a).unwrap(), Address::on(&network, &b).unwrap());
    }
}
