use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use tollway_facilitator::{Api, meter};

use crate::common::{SIGNATURE, TestClient, v2, world};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn i16_x402rs_19_logs_hold_no_signature_body_or_url() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let client = world().client();
    for fault in ["", "unreachable", "panic", "panic in effects", "reverted", "pending", "nameless"] {
        client.ask("/verify", &v2(fault)).await;
        client.ask("/settle", &v2(fault)).await;
    }
    client.post("/settle", format!("{{\"x402Version\":2,\"paymentPayload\":\"{SIGNATURE}\"}}")).await;
    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    assert!(text.contains("settlement answered") && text.contains("payment="), "{text}");
    for secret in [SIGNATURE, "5e5e5e5e", "rpc.example", "SECRETKEY", "validBefore", "paymentPayload"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn metrics_count_payments_by_outcome_with_few_labels() {
    let recorder = meter::prometheus().unwrap().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let client = TestClient(Api::new(world().registry).metrics(handle).router());
    for fault in ["", "poor", "unreachable"] {
        client.ask("/verify", &v2(fault)).await;
    }
    for fault in ["", "pending", "reverted", "store"] {
        client.ask("/settle", &v2(fault)).await;
    }
    for n in 0..50 {
        let mut body = v2("");
        for offer in ["/paymentRequirements", "/paymentPayload/accepted"] {
            body.pointer_mut(offer).unwrap()["scheme"] = format!("evil{n}").into();
        }
        client.ask("/verify", &body).await;
        client.get(&format!("/{n}")).await;
    }
    let text = client.get("/metrics").await.text;
    let served = "network=\"eip155:84532\",scheme=\"exact\"";
    for (operation, outcome, reason) in [
        ("verify", "valid", ""),
        ("verify", "invalid", "insufficient_funds"),
        ("verify", "unavailable", "unexpected_verify_error"),
        ("settle", "settled", ""),
        ("settle", "pending", "settlement_pending"),
        ("settle", "failed", "invalid_transaction_state"),
        ("settle", "unavailable", "unexpected_settle_error"),
    ] {
        let line = format!(
            "tollway_facilitator_payments_total{{operation=\"{operation}\",{served},outcome=\"{outcome}\",reason=\"{reason}\"}} 1"
        );
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(text.contains("tollway_facilitator_in_flight{operation=\"settle\"} 0"), "{text}");
    assert!(text.contains("tollway_facilitator_payment_seconds_bucket"));
    assert!(text.contains("path=\"other\",status=\"404\"} 50"), "{text}");
    assert!(!text.contains("evil"), "{text}");
}

#[tokio::test]
async fn without_a_recorder_there_are_no_metrics() {
    assert_eq!(world().client().get("/metrics").await.status, http::StatusCode::NOT_FOUND);
}
