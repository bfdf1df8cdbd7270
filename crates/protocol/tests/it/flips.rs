//! Flipping any field of an offer, or of what a payment does, flips the verdict.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};
use tollway_protocol::bind::{Effects, Presented, accepts};
use tollway_protocol::door::Address;
use tollway_protocol::json::Object;
use tollway_protocol::{Network, Offer, Payment, Reason};

use crate::samples::{NOW, effects_of, payment_for};

fn address() -> impl Strategy<Value = String> {
    any::<[u8; 20]>().prop_map(|bytes| format!("0x{}", bytes.map(|b| format!("{b:02x}")).concat()))
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zA-Z0-9 ]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::hash_map("[a-z]{1,4}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn offers() -> impl Strategy<Value = Offer> {
    (
        prop_oneof![Just("exact"), Just("upto"), Just("later")],
        1..u64::MAX,
        any::<u64>(),
        address(),
        address(),
        0..u64::MAX,
        proptest::collection::btree_map("[a-zA-Z]{1,6}", json_value(), 1..4),
    )
        .prop_map(|(scheme, chain, amount, asset, pay_to, max_timeout_seconds, extra)| Offer {
            scheme: scheme.to_owned(),
            network: Network::eip155(chain),
            amount: amount.into(),
            asset,
            pay_to,
            max_timeout_seconds,
            extra: Object(extra.into_iter().collect()),
            unknown: Object::new(),
        })
}

fn flipped_hex(text: &str, at: Index) -> String {
    let at = 2 + at.index(text.len() - 2);
    let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

/// Another value than `value`, where neither has all that the other has.
fn another(value: &Value) -> Value {
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().map(|(key, inner)| (key.clone(), another(inner))).collect()
        }
        Value::Array(items) => items.iter().cloned().chain([json!("more")]).collect(),
        Value::String(text) => json!(format!("{text}!")),
        Value::Bool(b) => json!(!b),
        _ => json!("another"),
    }
}

/// The offer with one field changed, for each field and each entry of `extra`.
fn flips_of(offer: &Offer, at: Index) -> Vec<(String, Offer)> {
    let same = || offer.clone();
    let chain = offer.network.chain_id().unwrap();
    let mut flips = vec![
        ("scheme".to_owned(), Offer { scheme: format!("{}x", offer.scheme), ..same() }),
        ("network".to_owned(), Offer { network: Network::eip155(chain ^ 1 | 2), ..same() }),
        ("network".to_owned(), Offer { network: Network::new(&format!("other:{chain}")).unwrap(), ..same() }),
        ("amount".to_owned(), Offer { amount: offer.amount.checked_add(1.into()).unwrap(), ..same() }),
        ("asset".to_owned(), Offer { asset: flipped_hex(&offer.asset, at), ..same() }),
        ("payTo".to_owned(), Offer { pay_to: flipped_hex(&offer.pay_to, at), ..same() }),
        ("swap".to_owned(), Offer { asset: offer.pay_to.clone(), pay_to: offer.asset.clone(), ..same() }),
        (
            "maxTimeoutSeconds".to_owned(),
            Offer { max_timeout_seconds: offer.max_timeout_seconds + 1, ..same() },
        ),
        (
            "extra".to_owned(),
            Offer { extra: Object(Map::from_iter([("unheard of".to_owned(), json!(1))])), ..same() },
        ),
    ];
    for (key, value) in &offer.extra.0 {
        let extra = offer.extra.clone().with(key, another(value));
        flips.push((format!("extra.{key}"), Offer { extra, ..same() }));
        let mut more = offer.extra.clone();
        more.0.insert(format!("{key}2"), json!("asked for"));
        flips.push((format!("extra has {key}2 besides"), Offer { extra: more, ..same() }));
    }
    flips.retain(|(_, flipped)| flipped != offer);
    flips
}

fn bind(offer: &Offer, payment: &Payment, effects: &Effects) -> Result<(), Reason> {
    Presented::new(offer.clone(), payment.clone())
        .and_then(|presented| presented.bind(effects.clone()))
        .and_then(|bound| bound.at(NOW))
        .map(|_| ())
        .map_err(|refusal| refusal.reason)
}

/// Effects with one field changed, for each field that an offer or the payer fixes.
fn flips_of_effects(effects: &Effects, at: Index) -> Vec<(&'static str, Effects)> {
    let other =
        |address: &Address| Address::on(&effects.network, &flipped_hex(address.as_str(), at)).unwrap();
    let only = &effects.moves[0];
    let change = |field: &'static str, change: &dyn Fn(&mut Effects)| {
        let mut changed = effects.clone();
        change(&mut changed);
        (field, changed)
    };
    vec![
        change("scheme", &|e| e.scheme.push('x')),
        change("network", &|e| e.network = Network::eip155(effects.network.chain_id().unwrap() ^ 1 | 2)),
        change("payer", &|e| e.payer = other(&effects.payer)),
        change("from", &|e| e.moves[0].from = other(&only.from)),
        change("to", &|e| e.moves[0].to = other(&only.to)),
        change("to the payer", &|e| e.moves[0].to = effects.payer.clone()),
        change("asset", &|e| e.moves[0].asset = other(&only.asset)),
        change("more", &|e| e.moves[0].amount = only.amount.checked_add(1.into()).unwrap()),
        change("less", &|e| {
            let less = only.amount.get().checked_sub(1.try_into().unwrap());
            e.moves[0].amount = less.map_or_else(|| 1.into(), Into::into);
        }),
        change("nothing moves", &|e| e.moves.clear()),
        change("it moves twice", &|e| e.moves.push(only.clone())),
        change("something else moves too", &|e| {
            e.moves.push(tollway_protocol::bind::Move {
                to: other(&only.to),
                amount: 1.into(),
                ..only.clone()
            });
        }),
        change("a move of nothing", &|e| {
            e.moves.insert(0, tollway_protocol::bind::Move { amount: 0.into(), ..only.clone() });
        }),
        change("opens", &|e| e.window.opens = NOW.plus(1)),
        change("closes", &|e| e.window.closes = NOW),
    ]
    .into_iter()
    .filter(|(_, changed)| changed != effects)
    .collect()
}

proptest! {
    #[test]
    fn i01_flipping_any_field_of_the_accepted_offer_is_refused(offer in offers(), at in any::<Index>()) {
        let effects = effects_of(&offer);
        prop_assert_eq!(bind(&offer, &payment_for(&offer), &effects), Ok(()));
        for (field, flipped) in flips_of(&offer, at) {
            // An addition of the payer's to `extra` is allowed; every other difference is not.
            let only_added = flipped.extra != offer.extra && accepts(&offer, &flipped);
            prop_assert_eq!(only_added, field.starts_with("extra has"), "{}", field);
            let verdict = bind(&offer, &payment_for(&flipped), &effects);
            prop_assert_eq!(verdict.is_ok(), only_added, "{}: {:?}", field, verdict);
        }
    }

    /// Scheme `upto`, at settlement: what is charged may be less than what was accepted and signed, and nothing else
    /// may differ.
    #[test]
    fn i01_what_is_charged_is_at_most_what_was_signed_and_all_else_is_equal(
        offer in offers(), charged in any::<u64>(), at in any::<Index>()
    ) {
        let offer = Offer { scheme: "upto".into(), ..offer };
        let (payment, effects) = (payment_for(&offer), effects_of(&offer));
        let charge = |offer: &Offer, effects: &Effects| {
            Presented::charged(offer.clone(), payment.clone())
                .and_then(|presented| presented.bind(effects.clone()))
                .and_then(|bound| bound.at(NOW))
                .map(|verified| verified.offer().amount)
                .map_err(|refusal| refusal.reason)
        };
        let lowered = Offer { amount: charged.into(), ..offer.clone() };
        let expected = if lowered.amount > offer.amount { Err(Reason::ExceedsPermitted) } else { Ok(lowered.amount) };
        prop_assert_eq!(charge(&lowered, &effects), expected);
        for lower in [0u64.into(), offer.amount] {
            prop_assert_eq!(charge(&Offer { amount: lower, ..offer.clone() }, &effects), Ok(lower));
        }
        for (field, flipped) in flips_of(&Offer { amount: 0u64.into(), ..offer.clone() }, at) {
            // One unit more than nothing is a charge like any other, if there is one to be had.
            let fits = field == "amount" && flipped.amount <= offer.amount;
            prop_assert_eq!(charge(&flipped, &effects).is_ok(), fits, "{}", field);
        }
        // What was signed is compared with what was accepted, not with what is charged.
        for (field, changed) in flips_of_effects(&effects, at) {
            prop_assert!(charge(&Offer { amount: 0u64.into(), ..offer.clone() }, &changed).is_err(), "{}", field);
        }
    }

    #[test]
    fn i01_only_upto_is_charged_less_than_was_accepted(offer in offers(), charged in any::<u64>()) {
        let lowered = Offer { amount: charged.into(), ..offer.clone() };
        let verdict = Presented::charged(lowered.clone(), payment_for(&offer));
        let fits = lowered.amount == offer.amount || offer.scheme == "upto" && lowered.amount < offer.amount;
        prop_assert_eq!(verdict.is_ok(), fits);
        prop_assert_eq!(Presented::new(lowered.clone(), payment_for(&offer)).is_ok(), lowered.amount == offer.amount);
    }

    #[test]
    fn i01_flipping_any_field_of_the_sellers_offer_is_refused(offer in offers(), at in any::<Index>()) {
        let (payment, effects) = (payment_for(&offer), effects_of(&offer));
        for (field, flipped) in flips_of(&offer, at) {
            prop_assert!(bind(&flipped, &payment, &effects).is_err(), "{}", field);
        }
    }

    /// A payer who lies about what it accepted gains nothing: the effects are compared with the offer.
    #[test]
    fn i01_an_honest_echo_does_not_save_other_effects(offer in offers(), at in any::<Index>()) {
        for (field, flipped) in flips_of(&offer, at) {
            if field.starts_with("extra") || field == "maxTimeoutSeconds" {
                continue; // no effect has these
            }
            prop_assert!(bind(&flipped, &payment_for(&flipped), &effects_of(&offer)).is_err(), "{}", field);
        }
    }

    #[test]
    fn i08_flipping_any_effect_is_refused(offer in offers(), at in any::<Index>()) {
        let effects = effects_of(&offer);
        for (field, flipped) in flips_of_effects(&effects, at) {
            prop_assert!(bind(&offer, &payment_for(&offer), &flipped).is_err(), "{}", field);
        }
    }
}
