//! 10,000 malformed requests, the same ones on every run (threats 4.4).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../it/common.rs"]
#[allow(dead_code)]
mod common;
mod corpus;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use common::{Answer, TestClient, v2, world};
use corpus::Random;

/// Resident memory in pages of 4 KiB.
fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    tollway_protocol::door::decimal_u64(statm.split(' ').nth(1).unwrap()).unwrap() * 4
}

fn judge(path: &str, body: &[u8], answer: &Answer) {
    let shown = String::from_utf8_lossy(&body[..body.len().min(300)]);
    let about = format!("{path} {shown}\n→ {} {}", answer.status, answer.text);
    assert!(answer.status.as_u16() < 500, "{about}");
    if answer.status == StatusCode::NOT_FOUND || answer.status == StatusCode::METHOD_NOT_ALLOWED {
        return;
    }
    let reply = answer.json();
    let reason = |member: &str| {
        let reason = reply[member].as_str().unwrap_or_default();
        assert!(!reason.trim().is_empty() && reason.len() <= 200, "{about}");
    };
    match path {
        "/verify" if reply["isValid"] != json!(true) => {
            assert_eq!(reply["isValid"], json!(false), "{about}");
            reason("invalidReason");
        }
        "/settle" => {
            assert!(reply["network"].is_string() && reply["transaction"].is_string(), "{about}");
            if reply["success"] != json!(true) {
                assert_eq!(reply["success"], json!(false), "{about}");
                reason("errorReason");
            }
        }
        _ => {}
    }
    assert!(answer.text.len() < 4096, "{about}");
}

async fn send(client: &TestClient, random: &mut Random) {
    let (path, method, body) = corpus::request(random);
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in corpus::headers(random) {
        request = request.header(name, value);
    }
    let answer = client.send(request.body(Body::from(body.clone())).unwrap()).await;
    judge(path, &body, &answer);
}

#[tokio::test]
async fn fa09_fx_m1_ten_thousand_malformed_requests_get_answers_and_memory_stays_flat() {
    let client = world().client();
    let mut random = Random(0x7011_3A1F_2026_1121);
    for _ in 0..3_000 {
        send(&client, &mut random).await;
    }
    let before = resident_kib();
    for _ in 0..7_000 {
        send(&client, &mut random).await;
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 8 * 1024, "resident memory grew by {grown} KiB");
}

#[tokio::test]
async fn fa09_a_body_cut_at_every_byte_is_refused() {
    let client = world().client();
    let whole = v2("").to_string();
    for end in 0..whole.len() {
        let answer = client.post("/verify", whole[..end].to_owned()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.json()["invalidReason"], json!("invalid_payload"));
    }
}

#[tokio::test]
async fn one_altered_member_has_its_own_reason() {
    let client = world().client();
    let other = json!("0x00000000000000000000000000000000000000cc");
    let rows: &[(&str, Value, &str)] = &[
        (
            "/paymentRequirements/amount",
            json!("10001"),
            "invalid_exact_evm_payload_authorization_value_mismatch",
        ),
        ("/paymentRequirements/payTo", other.clone(), "invalid_exact_evm_recipient_mismatch"),
        ("/paymentRequirements/asset", other.clone(), "No matching payment requirements"),
        ("/paymentRequirements/maxTimeoutSeconds", json!(61), "No matching payment requirements"),
        ("/paymentRequirements/extra/name", json!("Fake"), "No matching payment requirements"),
        ("/paymentRequirements/network", json!("eip155:8453"), "invalid_network"),
        ("/paymentRequirements/scheme", json!("upto"), "unsupported_scheme"),
        ("/paymentPayload/accepted/scheme", json!("upto"), "invalid_exact_evm_scheme"),
        ("/paymentPayload/accepted/network", json!("eip155:8453"), "invalid_exact_evm_network_mismatch"),
        (
            "/paymentPayload/payload/value",
            json!("10001"),
            "invalid_exact_evm_payload_authorization_value_mismatch",
        ),
        ("/paymentPayload/payload/value", json!("+10000"), "invalid_payload"),
        ("/paymentPayload/payload/to", other, "invalid_exact_evm_recipient_mismatch"),
        (
            "/paymentPayload/payload/validBefore",
            json!(common::NOW.to_string()),
            "invalid_exact_evm_payload_authorization_valid_before",
        ),
        (
            "/paymentPayload/payload/validAfter",
            json!((common::NOW + 9).to_string()),
            "invalid_exact_evm_payload_authorization_valid_after",
        ),
        ("/paymentPayload/payload/signature", json!("0x00"), "invalid_exact_evm_failed_to_parse_signature"),
        ("/paymentPayload/payload/nonce", json!("0x01"), "invalid_payload"),
    ];
    for (member, value, code) in rows {
        let mut body = v2("");
        *body.pointer_mut(member).unwrap() = value.clone();
        let answer = client.ask("/verify", &body).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["invalidReason"], json!(code), "{member}");
    }
}
