//! Bodies of `/verify`, `/settle` and `/supported`, and 402 bodies, of both versions: no panic, no
//! `null` and no loss when written again, v1 translates without panic and keeps what it knows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tollway_protocol::{Challenge, PaymentRequest, Settlement, Supported, Verdict, json, v1};

const LIMIT: usize = 64 * 1024;

fn round<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let document = json::decode::<T>(bytes, LIMIT).ok()?;
    let written = serde_json::to_vec(&document).expect("our types always serialize");
    let value: Value = serde_json::from_slice(&written).expect("JSON is written");
    assert!(!null_members(&value), "no null is emitted");
    assert_eq!(serde_json::from_slice::<T>(&written).expect("what was written is read"), document);
    Some(document)
}

fn null_members(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().any(|v| v.is_null() || null_members(v)),
        Value::Array(items) => items.iter().any(null_members),
        _ => false,
    }
}

fuzz_target!(|data: &[u8]| {
    if json::check(data, LIMIT).is_ok() {
        assert!(data.len() <= LIMIT);
    }
    round::<PaymentRequest>(data);
    round::<Verdict>(data);
    round::<Supported>(data);
    round::<Challenge>(data);
    if let Some(settlement) = round::<Settlement>(data) {
        let _ = v1::Settlement::of(&settlement);
    }
    if let Some(request) = round::<v1::PaymentRequest>(data)
        && let Ok(translated) = request.to_v2()
    {
        assert_eq!(translated.payment_payload.accepted.amount, request.payment_requirements.max_amount_required);
        if let Some(back) = v1::Payment::of(&translated.payment_payload)
            && translated.payment_payload.accepted.network.v1_name() == Some(&request.payment_payload.network)
        {
            assert_eq!(back, request.payment_payload, "v1 → v2 → v1 is the same payment");
        }
    }
    if let Some(challenge) = round::<v1::Challenge>(data) {
        let _ = v1::Challenge::of(&challenge.to_v2("https://example.test/"));
    }
});
