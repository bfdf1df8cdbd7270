//! What the published SDKs put on the wire, recorded by `e2e/record.mjs`: all of it is read, and
//! written again it is the same JSON.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tollway_protocol::header::{self, HeaderDocument};
use tollway_protocol::{
    Challenge, Payment, PaymentRequest, Reason, Retry, Settlement, Supported, Verdict, json, v1,
};

const RECORDED: [&str; 4] = ["v1-js", "v1-py", "v2-js", "v2-py"];

fn recorded(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../e2e/vectors/{name}.json"));
    serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        .unwrap()
}

/// JSON as every peer reads it: a null is an absent member.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// Optional members that one side writes empty and the other leaves out: equal in meaning.
fn meaning(value: &Value) -> Value {
    let mut value = without_nulls(value);
    if let Value::Object(map) = &mut value {
        map.retain(|key, v| {
            !(["extra", "extensions"].contains(&key.as_str()) && *v == serde_json::json!({}))
        });
        map.values_mut().for_each(|v| *v = meaning(v));
    } else if let Value::Array(items) = &mut value {
        items.iter_mut().for_each(|v| *v = meaning(v));
    }
    value
}

fn round<T: Serialize + DeserializeOwned>(at: &str, raw: &str) -> T {
    let document: T = json::decode(raw.as_bytes(), 64 * 1024).unwrap_or_else(|e| panic!("{at}: {e}: {raw}"));
    let original: Value = serde_json::from_str(raw).unwrap();
    assert_eq!(meaning(&serde_json::to_value(&document).unwrap()), meaning(&original), "{at}");
    document
}

fn raw<'a>(body: &'a Value, at: &str) -> &'a str {
    body["raw"].as_str().unwrap_or_else(|| panic!("{at}: no raw body in {body}"))
}

fn header_round<T: HeaderDocument + PartialEq + std::fmt::Debug>(at: &str, value: &str) {
    let document: T = header::decode(value.as_bytes()).unwrap_or_else(|e| panic!("{at}: {e}"));
    let bytes = header::decode_base64(value.as_bytes()).unwrap();
    round::<T>(at, std::str::from_utf8(&bytes).unwrap());
    assert_eq!(header::decode::<T>(header::encode(&document).as_bytes()).unwrap(), document, "{at}");
}

/// Calls the check of each payment header in a recorded message, and says how many there were.
fn headers(at: &str, message: &Value) -> usize {
    let list = message["headers"].as_array().unwrap();
    let mut seen = 0;
    for pair in list {
        let (name, value) = (pair[0].as_str().unwrap().to_lowercase(), pair[1].as_str().unwrap());
        let at = format!("{at}, {name}");
        match name.as_str() {
            header::PAYMENT_REQUIRED => header_round::<Challenge>(&at, value),
            header::PAYMENT_SIGNATURE => header_round::<Payment>(&at, value),
            header::PAYMENT_RESPONSE => header_round::<Settlement>(&at, value),
            header::X_PAYMENT => header_round::<v1::Payment>(&at, value),
            header::X_PAYMENT_RESPONSE => header_round::<v1::Settlement>(&at, value),
            _ => continue,
        }
        seen += 1;
    }
    seen
}

#[test]
fn every_recorded_header_is_read_and_written_as_the_same_json() {
    for name in RECORDED {
        let vector = recorded(name);
        let sent = headers(name, &vector["paid"]["request"]);
        let answered = headers(name, &vector["paid"]["response"]);
        assert_eq!((sent, answered), (1, 1), "{name}: a payment and its settlement were recorded");
        let asked = headers(name, &vector["unpaid"]["response"]);
        if name.starts_with("v2") {
            assert_eq!(asked, 1, "{name}: a challenge was recorded");
        } else {
            round::<v1::Challenge>(name, raw(&vector["unpaid"]["response"], name));
        }
    }
}

#[test]
fn every_recorded_body_is_read_and_written_as_the_same_json() {
    for name in RECORDED {
        let vector = recorded(name);
        round::<Supported>(name, raw(&vector["supported"], name));
        for step in ["verify", "settle"] {
            let at = format!("{name}, {step}");
            let request = raw(&vector[step]["request"], &at);
            let response = raw(&vector[step]["response"], &at);
            if name.starts_with("v1") {
                round::<v1::PaymentRequest>(&at, request).to_v2().unwrap();
            } else {
                round::<PaymentRequest>(&at, request);
            }
            match step {
                "verify" => assert!(round::<Verdict>(&at, response).is_valid),
                _ if name.starts_with("v1") => assert!(round::<v1::Settlement>(&at, response).success),
                _ => assert!(round::<Settlement>(&at, response).success),
            }
        }
    }
}

/// npm's facilitator gives a library's whole error text as the reason of a settlement that reverts.
fn is_prose(json: &Value) -> bool {
    json["errorReason"].as_str().is_some_and(|text| text.contains('\n'))
}

#[test]
fn every_recorded_refusal_has_a_reason_that_is_known() {
    for name in RECORDED {
        for (case, answers) in recorded(name)["refusals"].as_object().unwrap() {
            for (step, answer) in answers.as_object().unwrap() {
                let at = format!("{name}, {case}, {step}");
                let json = &answer["json"];
                let code = if is_prose(json) {
                    let settlement: v1::Settlement = serde_json::from_value(json.clone()).unwrap();
                    let reason = settlement.error_reason.unwrap().reason();
                    assert_eq!(reason.row().retry, Retry::Never, "{at}: no leave to pay again");
                    continue;
                } else if json.get("isValid").is_some() {
                    round::<Verdict>(&at, raw(answer, &at)).invalid_reason
                } else if json.get("success").is_some() {
                    round::<v1::Settlement>(&at, raw(answer, &at)).error_reason
                } else {
                    continue; // an error of the facilitator's framework, no protocol answer
                };
                if let Some(code) = code {
                    assert!(!matches!(code.reason(), Reason::Other(_)), "{at}: {code}");
                }
            }
        }
    }
}
