//! Every wire type of both versions: round trips, unknown members, `null`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tollway_protocol::wire::{Kind, Verdict};
use tollway_protocol::{
    Challenge, Offer, Payment, PaymentRequest, Resource, Settlement, Supported, json as bounded, v1,
};

use crate::samples::{offer_json, payload_json, payment_json, resource_json, v1_offer_json, v1_payment_json};

fn challenge_json() -> Value {
    json!({ "x402Version": 2, "error": "Payment required", "resource": resource_json(),
        "accepts": [offer_json()], "extensions": { "bazaar": { "info": { "input": { "type": "http" } } } } })
}

fn settlement_json() -> Value {
    json!({ "success": false, "errorReason": "settlement_pending", "errorMessage": "not mined yet",
        "payer": "0xabc", "transaction": "0xdef", "network": "eip155:84532", "amount": "10000",
        "extensions": { "x": { "info": {} } }, "extra": { "y": 1 } })
}

fn verdict_json() -> Value {
    json!({ "isValid": false, "invalidReason": "insufficient_funds", "invalidMessage": "has 1",
        "payer": "0xabc", "extensions": { "x": {} }, "extra": { "y": 1 } })
}

fn supported_json() -> Value {
    json!({ "kinds": [{ "x402Version": 2, "scheme": "exact", "network": "eip155:84532", "extra": { "a": "b" } },
            { "x402Version": 1, "scheme": "exact", "network": "base-sepolia" }],
        "extensions": ["bazaar"], "signers": { "eip155:*": ["0xabc"] } })
}

/// Runs a check with each type and a document of it that has every member.
macro_rules! every_type {
    ($check:ident) => {
        $check::<Resource>(&resource_json());
        $check::<Offer>(&offer_json());
        $check::<Challenge>(&challenge_json());
        $check::<Payment>(&payment_json());
        $check::<PaymentRequest>(&json!({ "x402Version": 2, "paymentPayload": payment_json(), "paymentRequirements": offer_json() }),
        );
        $check::<Verdict>(&verdict_json());
        $check::<Settlement>(&settlement_json());
        $check::<Kind>(&supported_json()["kinds"][0].clone());
        $check::<Supported>(&supported_json());
        $check::<v1::Offer>(&v1_offer_json());
        $check::<v1::Challenge>(&json!({ "x402Version": 1, "error": "X-PAYMENT header is required", "accepts": [v1_offer_json()] }),
        );
        $check::<v1::Payment>(&v1_payment_json());
        $check::<v1::PaymentRequest>(&json!({ "x402Version": 1, "paymentPayload": v1_payment_json(), "paymentRequirements": v1_offer_json() }),
        );
        $check::<v1::Settlement>(&json!({ "success": true, "errorReason": "invalid_scheme",
            "transaction": "0xdef", "network": "base-sepolia", "payer": "0xabc" }));
    };
}

fn round<T: Serialize + DeserializeOwned>(value: &Value) -> Value {
    let text = value.to_string();
    let document: T = bounded::decode(text.as_bytes(), text.len()).unwrap_or_else(|e| panic!("{e}: {text}"));
    serde_json::to_value(&document).unwrap()
}

fn any_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().any(any_null),
        Value::Array(items) => items.iter().any(any_null),
        _ => false,
    }
}

/// Every object in the document gets a member that no version knows.
fn with_unknown(value: &mut Value) {
    if let Value::Object(map) = value {
        map.values_mut().for_each(with_unknown);
        map.insert(
            "x-unknown".into(),
            json!({ "kept": [1, { "as": "it is" }], "big": 9_007_199_254_740_993_u64 }),
        );
    } else if let Value::Array(items) = value {
        items.iter_mut().for_each(with_unknown);
    }
}

#[test]
fn every_type_reads_and_writes_itself() {
    fn check<T: Serialize + DeserializeOwned>(value: &Value) {
        assert_eq!(round::<T>(value), *value);
    }
    every_type!(check);
}

#[test]
fn unknown_members_survive_at_every_level() {
    fn check<T: Serialize + DeserializeOwned>(value: &Value) {
        let mut value = value.clone();
        with_unknown(&mut value);
        if let Some(signers) = value.get_mut("signers") {
            *signers = json!({ "eip155:*": ["0xabc"] }); // a map of lists has no room for other shapes
        }
        assert_eq!(round::<T>(&value), value);
    }
    every_type!(check);
}

/// Sets each member to null in turn, and adds an unknown null: whatever still reads reads as if the
/// member were absent, and no null comes out.
#[test]
fn a_null_reads_as_absent_and_none_is_written() {
    fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &Value) {
        let keys: Vec<String> =
            value.as_object().unwrap().keys().cloned().chain(["x-unknown".into()]).collect();
        for key in keys {
            let (mut null, mut absent) = (value.clone(), value.clone());
            null[&key] = Value::Null;
            absent.as_object_mut().unwrap().remove(&key);
            match (serde_json::from_value::<T>(null), serde_json::from_value::<T>(absent)) {
                (Ok(null), Ok(absent)) => {
                    assert_eq!(null, absent, "{key}");
                    assert!(!any_null(&serde_json::to_value(null).unwrap()), "{key}");
                }
                (Err(_), Err(_)) => {}
                (null, absent) => panic!("{key}: null gives {null:?}, absent gives {absent:?}"),
            }
        }
    }
    every_type!(check);
}

#[test]
fn nulls_inside_free_objects_are_dropped_too() {
    let mut value = payment_json();
    value["payload"]["authorization"]["extra"] = Value::Null;
    value["accepted"]["extra"]["facilitator"] = Value::Null;
    value["extensions"]["payment-identifier"]["info"]["id"] = Value::Null;
    assert_eq!(round::<Payment>(&value), payment_json());
}

#[test]
fn v1_amounts_are_read_in_v2_and_written_as_amount() {
    let mut value = offer_json();
    let amount = value.as_object_mut().unwrap().remove("amount").unwrap();
    value["maxAmountRequired"] = amount;
    assert_eq!(round::<Offer>(&value), offer_json());
}

#[test]
fn two_amounts_in_one_offer_are_refused() {
    let mut value = offer_json();
    value["maxAmountRequired"] = json!("1");
    assert!(serde_json::from_value::<Offer>(value).is_err());
    for twice in [r#""amount":"1","amount":"10000""#, r#""amount":"10000","amount":"10000""#] {
        let text = offer_json().to_string().replace(r#""amount":"10000""#, twice);
        assert!(serde_json::from_str::<Offer>(&text).is_err(), "{text}");
    }
}

#[test]
fn a_known_member_given_twice_is_refused() {
    let text = payment_json().to_string();
    let twice = text.replacen('{', r#"{"payload":{"signature":"0x"},"#, 1);
    assert!(serde_json::from_str::<Payment>(&twice).is_err());
}

#[test]
fn versions_are_the_numbers_two_and_one() {
    for version in [json!(1), json!(3), json!(0), json!("2"), json!(2.5), json!(-2), json!(null), json!([2])]
    {
        let mut value = payment_json();
        value["x402Version"] = version.clone();
        assert!(serde_json::from_value::<Payment>(value).is_err(), "{version}");
    }
    for version in [json!(2), json!(0), json!("1"), json!(null)] {
        let mut value = v1_payment_json();
        value["x402Version"] = version.clone();
        assert!(serde_json::from_value::<v1::Payment>(value).is_err(), "{version}");
    }
}

#[test]
fn a_settlement_without_a_transaction_has_an_empty_one_on_the_wire() {
    for written in [json!(""), Value::Null] {
        let value = json!({ "success": false, "transaction": written, "network": "eip155:1" });
        let settlement: Settlement = serde_json::from_value(value).unwrap();
        assert_eq!(settlement.transaction, None);
        assert_eq!(serde_json::to_value(settlement).unwrap()["transaction"], "");
    }
}

#[test]
fn an_empty_settled_amount_reads_as_none_and_a_bad_one_is_refused() {
    let settlement = |amount: &str| {
        serde_json::from_value::<Settlement>(
            json!({ "success": true, "transaction": "0x1", "network": "eip155:1", "amount": amount }),
        )
    };
    assert_eq!(settlement("").unwrap().amount, None);
    assert!(settlement("1e4").is_err());
}

#[test]
fn a_v1_seller_may_leave_the_version_out_of_the_request() {
    let value = json!({ "paymentPayload": v1_payment_json(), "paymentRequirements": v1_offer_json() });
    assert!(serde_json::from_value::<v1::PaymentRequest>(value).is_ok());
}

#[test]
fn a_payload_must_be_an_object() {
    for payload in [json!("0xabc"), json!([payload_json()]), json!(1), json!(null)] {
        let mut value = payment_json();
        value["payload"] = payload.clone();
        assert!(serde_json::from_value::<Payment>(value).is_err(), "{payload}");
    }
}
