//! Threat RS20 at this layer: broken headers and bodies are errors, never panics or documents.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use tollway_protocol::header;
use tollway_protocol::json as bounded;
use tollway_protocol::{Payment, PaymentRequest, v1};

use crate::samples::{offer_json, payment_json, read, v1_payment_json};

static HEADER: LazyLock<String> = LazyLock::new(|| header::encode(&read::<Payment>(payment_json())));

fn refused(header: &[u8]) -> bool {
    header::decode::<Payment>(header).is_err() && header::decode::<v1::Payment>(header).is_err()
}

fn body(bytes: &[u8]) -> Result<Payment, bounded::JsonError> {
    bounded::decode(bytes, 64 * 1024)
}

#[test]
fn rs20_a_header_cut_at_any_byte_is_refused() {
    let whole = HEADER.as_bytes();
    let unpadded = HEADER.trim_end_matches('=').len();
    for end in 0..unpadded {
        assert!(refused(&whole[..end]), "cut at {end}");
    }
}

#[test]
fn rs20_a_body_cut_at_any_byte_is_refused() {
    let text = payment_json().to_string();
    for end in 0..text.len() {
        assert!(body(&text.as_bytes()[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn rs20_what_is_no_object_is_refused() {
    for root in
        ["", "null", "[]", "1", "true", "\"text\"", "{}", "[{}]", "NaN", "nul", "\0", "{]", "{\"a\":}"]
    {
        assert!(body(root.as_bytes()).is_err(), "{root:?}");
    }
    let list = format!("[{}]", payment_json());
    assert!(body(list.as_bytes()).is_err());
}

#[test]
fn rs20_text_around_and_inside_the_document_is_refused() {
    let text = payment_json().to_string();
    for broken in [
        format!("\u{feff}{text}"),
        format!("{text}{text}"),
        format!("{text}x"),
        format!("{text}\0"),
        format!("\0{text}"),
        text.replacen("\"exact\"", "\"ex\u{1}act\"", 1),
        text.replacen("\"exact\"", "\"\\ud800\"", 1),
        text.replacen("\"exact\"", "'exact'", 1),
        text.replacen("60", "1e999", 1),
        text.replacen(",", ",,", 1),
        text.replacen('}', ",}", 1),
        format!("/* */{text}"),
    ] {
        assert!(body(broken.as_bytes()).is_err(), "{broken}");
    }
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(body(&utf16).is_err());
    for bad in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\x80"] {
        let at = text.find("exact").unwrap();
        let bytes = [&text.as_bytes()[..at], bad, &text.as_bytes()[at..]].concat();
        assert!(body(&bytes).is_err(), "{bad:x?}");
    }
}

#[test]
fn rs20_a_header_encoded_twice_or_in_another_encoding_is_refused() {
    let payment: Payment = read(payment_json());
    let json = serde_json::to_string(&payment).unwrap();
    let hex: String = json.bytes().map(|b| format!("{b:02x}")).collect();
    for other in
        [json.clone(), hex, format!("Bearer {}", *HEADER), format!("{0},{0}", *HEADER), "%7B%7D".into()]
    {
        assert!(refused(other.as_bytes()));
    }
}

#[test]
fn rs20_each_required_member_is_required_and_of_its_type() {
    let request =
        json!({ "x402Version": 2, "paymentPayload": payment_json(), "paymentRequirements": offer_json() });
    let optional = [
        "/resource",
        "/extensions",
        "/extra",
        "/description",
        "/mimeType",
        "/serviceName",
        "/tags",
        "/iconUrl",
    ];
    let free = ["/payload/", "/extra/", "/extensions/"]; // what the schemes and extensions own
    for (path, _) in members(&request) {
        let inside = |part: &str| path.contains(part);
        if free.iter().any(|part| inside(part)) {
            continue;
        }
        if !optional.iter().any(|end| path.ends_with(end)) {
            let mut without = request.clone();
            remove(&mut without, &path);
            assert!(serde_json::from_value::<PaymentRequest>(without).is_err(), "without {path}");
        }
        let mut other = request.clone();
        *other.pointer_mut(&path).unwrap() = json!([[1.5]]);
        assert!(serde_json::from_value::<PaymentRequest>(other).is_err(), "a list at {path}");
    }
}

#[test]
fn rs20_ten_thousand_mutated_headers_are_refused_or_read_as_something_consistent() {
    let seed = [20u8; 32];
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::with_cases(10_000), rng);
    let both = [payment_json().to_string(), v1_payment_json().to_string()];
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..4);
    runner
        .run(&(0..2usize, edits, any::<bool>()), |(which, edits, outside)| {
            let mut bytes = both[which].clone().into_bytes();
            if outside {
                bytes = HEADER.clone().into_bytes();
            }
            for (at, byte, how) in edits {
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => drop(bytes.remove(at)),
                }
            }
            if outside {
                let _ = header::decode::<v1::Payment>(&bytes);
                if let Ok(payment) = header::decode::<Payment>(&bytes) {
                    let again = header::decode::<Payment>(header::encode(&payment).as_bytes());
                    prop_assert_eq!(again.unwrap(), payment);
                }
            } else if let Ok(payment) = body(&bytes) {
                let written = serde_json::to_vec(&payment).unwrap();
                prop_assert_eq!(body(&written).unwrap(), payment);
            }
            Ok(())
        })
        .unwrap();
}

/// Every member in the document by its JSON pointer.
fn members(value: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    if let Value::Object(map) = value {
        for (key, inner) in map {
            let escaped = key.replace('~', "~0").replace('/', "~1");
            found.push((format!("/{escaped}"), inner.clone()));
            found.extend(members(inner).into_iter().map(|(path, v)| (format!("/{escaped}{path}"), v)));
        }
    }
    found
}

fn remove(value: &mut Value, path: &str) {
    let (parent, key) = path.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
}
