//! `tollway pay`, where something is paid.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;
use tollway_protocol::header::{self, PAYMENT_REQUIRED, PAYMENT_SIGNATURE};

use crate::common::{Dev, files, run, tollway};

const PAY_TO: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";

#[tokio::test]
async fn an_answer_can_go_to_a_file_with_its_headers() {
    let dev = Dev::start().await;
    let file = dev.home.path().join("answer");
    let args = ["pay", &dev.weather(), "-i", "-o", file.to_str().unwrap()];
    let done = run(dev.paying(&args)).await.ended_with(0);
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains("paid 0.01 USDC on eip155:84532") && done.stderr.contains("transaction 0x"));
    let text = std::fs::read_to_string(file).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("payment-response: "), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["sky"], "sunny");
}

#[tokio::test]
async fn a_keystore_pays_with_its_passphrase_from_the_environment() {
    let dev = Dev::start().await;
    let with_passphrase = |args: &[&str]| {
        let mut command = tollway(dev.home.path(), args);
        command.env("TOLLWAY_PASSPHRASE", "correct horse");
        command
    };
    let mut import = with_passphrase(&["wallet", "import"]);
    import.env("TOLLWAY_PRIVATE_KEY", dev.secret());
    run(import).await.ended_with(0);
    run(with_passphrase(&["pay", &dev.weather()])).await.ended_with(0);
    assert_eq!(dev.usdc(&dev.payer()).await, 100_000_000 - 10_000);
    let mut wrong = with_passphrase(&["pay", &dev.weather()]);
    wrong.env("TOLLWAY_PASSPHRASE", "wrong");
    let done = run(wrong).await.ended_with(1);
    assert!(done.stderr.contains("TOLLWAY_PASSPHRASE"), "{}", done.stderr);
}

#[tokio::test]
async fn i12_the_daily_budget_counts_what_earlier_calls_paid() {
    let dev = Dev::start().await;
    let args = ["pay", &dev.weather(), "--budget", "0.015"];
    run(dev.paying(&args)).await.ended_with(0);
    let done = run(dev.paying(&args)).await.ended_with(3);
    assert!(done.stderr.contains("--budget"), "{}", done.stderr);
    assert_eq!(dev.usdc(&dev.payer()).await, 100_000_000 - 10_000);
}

#[tokio::test]
async fn a_payment_without_money_behind_it_is_refused_with_4() {
    let dev = Dev::start().await;
    let mut poor = tollway(dev.home.path(), &["pay", "--json", &dev.weather()]);
    poor.env("TOLLWAY_PRIVATE_KEY", format!("0x{}", "17".repeat(32)));
    let done = run(poor).await.ended_with(4);
    let told = done.told();
    let line = told.last().unwrap();
    assert_eq!(line["success"], false, "{line}");
    assert_eq!(line["exit"], 4);
    assert_eq!(done.stdout, "");
}

#[tokio::test]
async fn i16_the_key_is_in_no_output_no_log_and_no_file() {
    let dev = Dev::start().await;
    let done = run(dev.paying(&["--log", "trace", "pay", &dev.weather()])).await.ended_with(0);
    let key = dev.secret();
    let bare = key.trim_start_matches("0x");
    assert!(!done.stderr.contains(bare) && !done.stdout.contains(bare));
    for (path, text) in files(dev.home.path()) {
        assert!(!text.contains(bare), "{path}");
    }
}

/// A seller that takes payments at another account on each path and breaks down; and the payments that it saw.
async fn broken_seller() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (base, notes) = (url.clone(), seen.clone());
    let answer = move |request: Request| {
        let (base, notes) = (base.clone(), notes.clone());
        async move {
            let mut response = Response::new(axum::body::Body::from("out of order"));
            if let Some(payment) = request.headers().get(PAYMENT_SIGNATURE) {
                notes.lock().unwrap().push(payment.to_str().unwrap().to_owned());
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                return response;
            }
            *response.status_mut() = StatusCode::PAYMENT_REQUIRED;
            let challenge = HeaderValue::from_str(&challenge(&base, request.uri().path())).unwrap();
            response.headers_mut().insert(PAYMENT_REQUIRED, challenge);
            response
        }
    };
    tokio::spawn(async { axum::serve(listener, Router::new().fallback(answer)).await });
    (url, seen)
}

fn challenge(base: &str, path: &str) -> String {
    let account = if path == "/other" { "0x4242424242424242424242424242424242424242" } else { PAY_TO };
    let offer = json!({
        "scheme": "exact", "network": "eip155:84532", "amount": "10000", "maxTimeoutSeconds": 300,
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "payTo": account,
        "extra": { "name": "USDC", "version": "2" },
    });
    let challenge =
        json!({ "x402Version": 2, "resource": { "url": format!("{base}{path}") }, "accepts": [offer] });
    header::encode(&serde_json::from_value::<tollway_protocol::Challenge>(challenge).unwrap())
}

fn pay_with_some_key(home: &Path, args: &[&str]) -> Command {
    let mut command = tollway(home, &[&["--log", "trace", "pay"], args].concat());
    command.env("TOLLWAY_PRIVATE_KEY", format!("0x{}", "18".repeat(32)));
    command
}

#[tokio::test]
async fn i13_a_call_after_an_unknown_outcome_sends_the_same_payment_again() {
    let home = tempfile::tempdir().unwrap();
    let (url, seen) = broken_seller().await;
    let mut log = String::new();
    for _ in 0..2 {
        let done = run(pay_with_some_key(home.path(), &[&url])).await.ended_with(5);
        assert!(done.stderr.contains("run the same command again"), "{}", done.stderr);
        log.push_str(&done.stderr);
    }
    let payments = seen.lock().unwrap().clone();
    assert!(payments.len() >= 2 && payments.iter().all(|one| *one == payments[0]), "{payments:?}");
    assert!(!log.contains(&payments[0]), "i16: whoever reads the log could spend it");
    let done = run(pay_with_some_key(home.path(), &["--dry-run", &url])).await.ended_with(0);
    assert!(done.stdout.contains("would send again"), "{}", done.stdout);
}

#[tokio::test]
async fn i12_a_site_that_asks_for_another_account_is_declined_until_a_person_allows_it() {
    let home = tempfile::tempdir().unwrap();
    let (url, seen) = broken_seller().await;
    let other = format!("{url}/other");
    run(pay_with_some_key(home.path(), &[&url])).await.ended_with(5);
    let paid = seen.lock().unwrap().len();
    let done = run(pay_with_some_key(home.path(), &[&other])).await.ended_with(3);
    assert!(
        done.stderr.contains("--pay-to 0x4242") && done.stderr.contains(&PAY_TO.to_lowercase()),
        "{}",
        done.stderr
    );
    assert_eq!(seen.lock().unwrap().len(), paid);
    let account = format!("0x{}", "42".repeat(20));
    run(pay_with_some_key(home.path(), &[&other, "--pay-to", &account])).await.ended_with(5);
    assert!(seen.lock().unwrap().len() > paid, "it was sent");
}

#[tokio::test]
async fn i12_a_payment_left_behind_is_not_sent_again_outside_the_limits_of_now() {
    let home = tempfile::tempdir().unwrap();
    let (url, seen) = broken_seller().await;
    run(pay_with_some_key(home.path(), &[&url])).await.ended_with(5);
    let sent = seen.lock().unwrap().len();
    for more in [&[][..], &["--dry-run"]] {
        let args = [&[url.as_str(), "--max", "0.001"], more].concat();
        let done = run(pay_with_some_key(home.path(), &args)).await.ended_with(3);
        for part in ["an earlier call signed", "--max 0.01", "or wait until"] {
            assert!(done.stderr.contains(part), "{part} in {}", done.stderr);
        }
        assert!(!done.stderr.contains("Policy::"), "flags, not methods: {}", done.stderr);
    }
    assert_eq!(seen.lock().unwrap().len(), sent);
}
