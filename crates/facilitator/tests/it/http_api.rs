use std::sync::atomic::Ordering;

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tollway_facilitator::{Api, api};

use crate::common::{TestClient, v1, v2, world};

#[tokio::test]
async fn a_good_payment_verifies_and_settles_over_http() {
    let client = world().client();
    let verdict = client.ask("/verify", &v2("")).await;
    assert_eq!((verdict.status, verdict.json()["isValid"].clone()), (StatusCode::OK, json!(true)));
    assert_eq!(verdict.headers[header::CONTENT_TYPE], "application/json");
    let settlement = client.ask("/settle", &v2("")).await;
    assert_eq!(settlement.status, StatusCode::OK);
    let body = settlement.json();
    assert_eq!(body["success"], json!(true));
    assert_eq!(body["network"], json!("eip155:84532"));
    assert_eq!(body["amount"], json!("10000"));
}

#[tokio::test]
async fn x402rs_24_version_1_is_answered_with_its_own_network_names_and_codes() {
    let client = world().client();
    assert_eq!(client.ask("/verify", &v1("")).await.json()["isValid"], json!(true));
    let body = client.ask("/settle", &v1("")).await.json();
    assert_eq!((&body["success"], &body["network"]), (&json!(true), &json!("base-sepolia")));
    let mut wrong = v1("");
    wrong["paymentPayload"]["payload"]["value"] = json!("9999");
    let verdict = client.ask("/verify", &wrong).await.json();
    assert_eq!(verdict["invalidReason"], json!("invalid_exact_evm_authorization_value"));
    let settlement = client.ask("/settle", &wrong).await.json();
    assert_eq!(settlement["errorReason"], json!("invalid_exact_evm_authorization_value"));
}

#[tokio::test]
async fn the_version_may_be_in_the_payment_alone() {
    let client = world().client();
    for mut body in [v1(""), v2("")] {
        body.as_object_mut().unwrap().remove("x402Version");
        assert_eq!(client.ask("/verify", &body).await.json()["isValid"], json!(true));
        body["x402Version"] = Value::Null;
        assert_eq!(client.ask("/verify", &body).await.json()["isValid"], json!(true));
    }
}

#[tokio::test]
async fn i08_version_1_of_what_it_never_had_is_a_verdict() {
    let client = world().client();
    let mut body = v1("");
    body["paymentPayload"]["scheme"] = json!("upto");
    body["paymentRequirements"]["scheme"] = json!("upto");
    let verdict = client.ask("/verify", &body).await;
    assert_eq!(
        (verdict.status, verdict.json()["invalidReason"].clone()),
        (StatusCode::OK, json!("unsupported_scheme"))
    );
    let mut body = v1("");
    body["paymentPayload"]["network"] = json!("atlantis");
    body["paymentRequirements"]["network"] = json!("atlantis");
    let verdict = client.ask("/settle", &body).await;
    assert_eq!(
        (verdict.status, verdict.json()["errorReason"].clone()),
        (StatusCode::OK, json!("invalid_network"))
    );
}

#[tokio::test]
async fn x402rs_41_a_refused_payment_is_200_with_a_reason() {
    let client = world().client();
    let verdict = client.ask("/verify", &v2("poor")).await;
    assert_eq!(verdict.status, StatusCode::OK);
    assert_eq!(verdict.json()["invalidReason"], json!("invalid_exact_evm_insufficient_balance"));
    assert_eq!(verdict.json()["payer"], json!(crate::common::PAYER));
    let settlement = client.ask("/settle", &v2("reverted")).await;
    assert_eq!(settlement.status, StatusCode::OK);
    assert_eq!(settlement.json()["errorReason"], json!("invalid_exact_evm_transaction_failed"));
    let pending = client.ask("/settle", &v2("pending")).await;
    assert_eq!(pending.status, StatusCode::OK);
    assert_eq!(pending.json()["errorReason"], json!("settlement_pending"));
}

#[tokio::test]
async fn i19_trouble_of_ours_is_503_with_retry_after_and_a_protocol_body() {
    let client = world().client();
    for (path, fault, member, code) in [
        ("/verify", "unreachable", "invalidReason", "unexpected_verify_error"),
        ("/verify", "panic", "invalidReason", "unexpected_verify_error"),
        ("/settle", "unreachable", "errorReason", "unexpected_verify_error"),
        ("/settle", "store", "errorReason", "unexpected_settle_error"),
        ("/settle", "gas", "errorReason", "facilitator_unavailable"),
    ] {
        let answer = client.ask(path, &v2(fault)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path} {fault}");
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
        assert_eq!(answer.json()[member], json!(code), "{path} {fault}");
    }
}

#[tokio::test]
async fn x402rs_20_answers_name_no_rpc_url() {
    let world = world();
    *world.fake.ready.lock() = Some(format!("{} answers 500", crate::common::RPC));
    let client = world.client();
    for answer in [
        client.ask("/verify", &v2("unreachable")).await,
        client.ask("/settle", &v2("unreachable")).await,
        client.get("/readyz").await,
    ] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        for secret in ["rpc.example", "SECRETKEY", "pass", "https://"] {
            assert!(!answer.text.contains(secret), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn fa09_a_malformed_body_is_400_and_says_where() {
    let client = world().client();
    let mut no_amount = v2("");
    no_amount["paymentRequirements"].as_object_mut().unwrap().remove("amount");
    let mut number = v2("");
    number["paymentPayload"]["accepted"]["amount"] = json!(10000);
    let mut network = v2("");
    network["paymentRequirements"]["network"] = json!("base");
    let mut version = v2("");
    version["x402Version"] = json!(3);
    let mut mixed = v2("");
    mixed["paymentPayload"]["x402Version"] = json!(1);
    for (body, code, place) in [
        ("{".to_owned(), "invalid_payload", "line 1"),
        ("[]".to_owned(), "invalid_payload", "not a JSON object"),
        ("[".repeat(40), "invalid_payload", "nested deeper than 32"),
        (no_amount.to_string(), "invalid_payment_requirements", "missing field `amount`"),
        (number.to_string(), "invalid_payload", "paymentPayload.accepted"),
        (network.to_string(), "invalid_network", "paymentRequirements.network"),
        (version.to_string(), "invalid_x402_version", "x402Version"),
        (mixed.to_string(), "invalid_x402_version", "paymentPayload.x402Version"),
    ] {
        let verdict = client.post("/verify", body.clone()).await;
        assert_eq!(verdict.status, StatusCode::BAD_REQUEST, "{body}");
        let answer = verdict.json();
        assert_eq!((&answer["isValid"], &answer["invalidReason"]), (&json!(false), &json!(code)), "{body}");
        assert!(answer["invalidMessage"].as_str().unwrap().contains(place), "{place}: {answer}");
        let settlement = client.post("/settle", body).await;
        assert_eq!(settlement.status, StatusCode::BAD_REQUEST);
        let answer = settlement.json();
        assert_eq!((&answer["success"], &answer["errorReason"]), (&json!(false), &json!(code)));
        assert_eq!(answer["transaction"], json!(""));
        assert!(answer["network"].is_string());
    }
    let answer = client.ask("/settle", &number).await.json();
    assert_eq!(answer["network"], json!("eip155:84532"));
}

#[tokio::test]
async fn fa29_a_body_over_64_kib_is_413() {
    let client = world().client();
    let long = " ".repeat(64 * 1024 + 1);
    let said = client.post("/settle", long.clone()).await;
    let chunks = futures_util::stream::iter((0..10).map(|_| Ok::<_, std::io::Error>("x".repeat(10_000))));
    let streamed = client.post("/settle", Body::from_stream(chunks)).await;
    for answer in [said, streamed] {
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.json()["errorReason"], json!("invalid_payload"));
    }
    assert_eq!(client.post("/verify", long).await.json()["isValid"], json!(false));
    let mut padded = v2("").to_string();
    padded.push_str(&" ".repeat(64 * 1024 - padded.len()));
    assert_eq!(client.post("/verify", padded).await.json()["isValid"], json!(true));
}

#[tokio::test(start_paused = true)]
async fn fa29_a_body_that_does_not_arrive_is_408() {
    let body = Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>());
    let answer = world().client().post("/settle", body).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(answer.json()["success"], json!(false));
}

#[tokio::test]
async fn fa09_any_content_type_is_read() {
    let client = world().client();
    for kind in ["application/json", "application/json; charset=utf-8", "text/plain", "\u{1}"] {
        let Ok(kind) = http::HeaderValue::from_str(kind) else { continue };
        let request = Request::post("/verify").header(header::CONTENT_TYPE, kind);
        let answer = client.send(request.body(v2("").to_string().into()).unwrap()).await;
        assert_eq!(answer.json()["isValid"], json!(true));
    }
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405_in_json() {
    let client = world().client();
    let missing = client.get("/nothing").await;
    assert_eq!(
        (missing.status, missing.json()["error"].clone()),
        (StatusCode::NOT_FOUND, json!("not_found"))
    );
    let wrong = client.get("/settle").await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers[header::ALLOW], "POST");
    assert_eq!(wrong.json()["error"], json!("method_not_allowed"));
    assert_eq!(client.post("/supported", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn x402rs_40_readiness_is_not_liveness() {
    let world = world();
    let client = world.client();
    assert_eq!(client.get("/readyz").await.status, StatusCode::OK);
    let world = crate::common::world();
    *world.fake.ready.lock() = Some("the signer has no gas".to_owned());
    let client = world.client();
    assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(client.get("/supported").await.status, StatusCode::OK);
    let answer = client.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["problems"][0]["problem"], json!("the signer has no gas"));
}

#[tokio::test]
async fn fa25_an_unhealthy_ledger_is_not_ready() {
    let check = || async { Err("disk full".to_owned()) };
    let client = TestClient(Api::new(world().registry).ledger(check).router());
    let answer = client.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text.contains("disk full"));
}

#[tokio::test]
async fn the_index_names_the_endpoints() {
    let answer = world().client().get("/").await;
    assert_eq!(answer.status, StatusCode::OK);
    for path in ["/verify", "/settle", "/supported", "/healthz", "/readyz", "/metrics"] {
        assert!(answer.text.contains(path));
    }
}

#[tokio::test]
async fn i15_what_comes_on_top_of_the_limit_is_shed_and_health_is_not() {
    let world = world();
    let limits = api::Limits { concurrency: 1, ..api::Limits::default() };
    let client = TestClient(Api::new(world.registry.clone()).limits(limits).router());
    let gated = v2("gated");
    let mut first = Box::pin(client.ask("/settle", &gated));
    while world.fake.deadline.lock().is_none() {
        assert!(futures_util::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }
    for (path, member) in [("/verify", "invalidReason"), ("/settle", "errorReason")] {
        let shed = client.ask(path, &v2("")).await;
        assert_eq!(shed.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(shed.headers.contains_key(header::RETRY_AFTER));
        assert_eq!(shed.json()[member], json!("facilitator_unavailable"));
    }
    assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
    world.fake.gate.notify_one();
    assert_eq!(first.await.json()["success"], json!(true));
    assert_eq!(client.ask("/verify", &v2("")).await.status, StatusCode::OK);
    assert_eq!(world.fake.broadcasts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_is_not_stored() {
    let client = world().client();
    let ask =
        |id: &'static str| Request::get("/nothing").header("x-request-id", id).body(Body::empty()).unwrap();
    assert_eq!(client.send(ask("abc-1.2_3")).await.headers["x-request-id"], "abc-1.2_3");
    for hostile in ["a b", "\"", ""] {
        let answer = client.send(ask(hostile)).await;
        assert_eq!(answer.headers["x-request-id"].len(), 24);
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    }
}

#[tokio::test]
async fn seconds_that_are_written_as_a_whole_float_are_read() {
    let client = world().client();
    let with = |seconds: Value| {
        let mut body = v2("");
        for offer in ["/paymentRequirements", "/paymentPayload/accepted"] {
            body.pointer_mut(offer).unwrap()["maxTimeoutSeconds"] = seconds.clone();
        }
        body
    };
    assert_eq!(client.ask("/verify", &with(json!(60.0))).await.json()["isValid"], json!(true));
    for bad in [json!(60.5), json!(-60.0), json!(1e30), json!("60")] {
        assert_eq!(client.ask("/verify", &with(bad)).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn i03_a_name_that_can_not_be_one_is_refused_where_names_matter() {
    let client = world().client();
    let ask = |path: &str, network: &str, keys: &[&str]| {
        let mut request = Request::post(path);
        for key in keys {
            request = request.header("Idempotency-Key", *key);
        }
        let body = v2("").to_string().replace("eip155:84532", network);
        client.send(request.body(Body::from(body)).unwrap())
    };
    let (uuid, long) = ("8e03978e-40d5-43dd-bc93-6894a57f9324", "k".repeat(257));
    let solana = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
    let bad =
        [&["short"][..], &["two words, not one key"], &[&long], &["\"8e03978e-40d5-43dd"], &[uuid, uuid]];
    for keys in bad {
        let answer = ask("/settle", solana, keys).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{keys:?}");
        assert_eq!(answer.json()["errorReason"], json!("invalid_payload"));
        assert!(answer.json()["errorMessage"].as_str().unwrap().contains("Idempotency-Key"));
        // On this one everybody is told, and nothing is asked before it is settled.
        assert_eq!(ask("/settle", "eip155:84532", keys).await.json()["success"], json!(true));
        assert_eq!(ask("/verify", "eip155:84532", keys).await.json()["isValid"], json!(true));
    }
    // Of these nothing is said; Solana is not served here.
    for keys in [&[][..], &[uuid], &["\"8e03978e-40d5-43dd-bc93-6894a57f9324\""]] {
        let answer = ask("/settle", solana, keys).await;
        assert_eq!(
            (answer.status, &answer.json()["errorReason"]),
            (StatusCode::OK, &json!("invalid_network"))
        );
    }
}

#[tokio::test]
async fn the_openapi_document_has_every_endpoint_and_is_served() {
    let client = world().client();
    let served = client.get("/openapi.json").await;
    assert_eq!(served.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(served.text, api::openapi());
    let document = served.json();
    assert_eq!(document["openapi"], json!("3.1.0"));
    let mut listed: Vec<String> = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            listed.push(format!("{} {path}", method.to_uppercase()).replace("{key}", "{payment key}"));
        }
    }
    let index = client.get("/").await.json();
    let mut told: Vec<String> = index["endpoints"].as_object().unwrap().keys().cloned().collect();
    told.push("GET /".to_owned());
    listed.sort();
    told.sort();
    assert_eq!(listed, told);
}
