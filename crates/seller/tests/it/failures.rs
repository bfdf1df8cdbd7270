use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use http::StatusCode;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;
use tollway_protocol::{Code, Network, Reason, Settlement, Verdict, header};
use tower::ServiceExt as _;

use crate::common::*;

fn invalid(code: &str) -> Fault {
    let invalid_message = Some(format!("balance is short, says {LEAK}"));
    let invalid_reason = Some(Code::new(code));
    Fault::Verdict(Box::new(Verdict { invalid_reason, invalid_message, ..Verdict::default() }))
}

#[tokio::test]
async fn x402rs_20_an_invalid_payment_gets_a_fresh_challenge_with_the_reason_and_no_upstream_text() {
    let shop = Shop::open().await;
    shop.fault_verify([invalid("invalid_exact_evm_insufficient_balance")]);
    let client = shop.selling(|| async { "sunny" });
    let got = client.pay("0x01").await;
    assert_eq!(got.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(got.challenge().error.as_deref(), Some("invalid_exact_evm_insufficient_balance"));
    assert_eq!(got.json()["invalidReason"], "invalid_exact_evm_insufficient_balance");
    assert_eq!(got.json()["help"], Reason::InsufficientBalance.row().help);
    assert!(!got.text().contains("SECRETKEY"));
    // Released: the same payment can be presented again.
    assert_eq!(client.pay("0x01").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_reason_with_a_status_of_its_own_is_answered_with_it() {
    let shop = Shop::open().await;
    let client = shop.selling(|| async { "sunny" });
    for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::PaymentRequired) {
        shop.fault_verify([invalid(reason.row().core)]);
        let got = client.pay("0x01").await;
        let reason = Reason::of(reason.row().core);
        assert_eq!(got.status.as_u16(), reason.row().http, "{reason:?}");
        let payable = [402, 412].contains(&got.status.as_u16());
        assert_eq!(got.headers.contains_key(header::PAYMENT_REQUIRED), payable);
        assert!(got.status != 503 || got.headers.contains_key("retry-after"));
        assert_eq!(got.headers["cache-control"], "no-store");
    }
    assert_eq!(shop.settles(), 0);
    assert_eq!(client.pay("0x01").await.status, StatusCode::OK);
}

#[tokio::test]
async fn i19_without_a_verdict_nothing_is_served_and_the_payment_is_free_again() {
    let shop = Shop::open().await;
    let ran = Arc::new(AtomicU64::new(0));
    let client = shop.selling(counting(&ran));
    let stranger = Verdict { is_valid: true, payer: Some(OTHER.into()), ..Verdict::default() };
    let torn = Verdict { is_valid: true, invalid_reason: Some(Code::new("x")), ..Verdict::default() };
    shop.fault_verify([Fault::NotAsked, Fault::Unknown, Fault::Hang, Fault::Verdict(Box::new(stranger))]);
    for _ in 0..4 {
        let got = client.pay("0x01").await;
        assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(got.headers.contains_key("retry-after"));
        assert!(!got.text().contains("SECRETKEY"));
    }
    shop.fault_verify([Fault::Verdict(Box::new(torn))]);
    assert_eq!(client.pay("0x01").await.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!((ran.load(SeqCst), shop.settles()), (0, 0));
    assert_eq!(client.pay("0x01").await.status, StatusCode::OK);
}

#[tokio::test]
async fn i04_rs11_what_is_not_2xx_is_free() {
    let shop = Shop::open().await;
    for status in [101, 204 + 100, 300, 302, 303, 307, 308, 400, 401, 402, 404, 409, 418, 500, 502, 503, 599]
    {
        let status = StatusCode::from_u16(status).unwrap();
        let client = shop.selling(move || async move { (status, "not this time") });
        let got = client.pay("0x01").await;
        let expected = if status == 101 { StatusCode::NOT_IMPLEMENTED } else { status };
        assert_eq!(got.status, expected);
        assert!(got.receipt().is_none(), "{status}");
        assert!(got.headers["cache-control"].to_str().unwrap().contains("no-store"));
    }
    assert_eq!(shop.settles(), 0);
    assert_eq!(shop.selling(|| async { "sunny" }).pay("0x01").await.status, StatusCode::OK);
}

#[tokio::test]
async fn i04_rs11_a_handler_that_panics_is_free() {
    let shop = Shop::open().await;
    async fn panics() -> &'static str {
        panic!("{LEAK}")
    }
    let got = shop.selling(panics).pay("0x01").await;
    assert_eq!(got.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(got.receipt().is_none());
    assert!(!got.text().contains("SECRETKEY"));
    assert_eq!(shop.settles(), 0);
    assert_eq!(shop.selling(|| async { "sunny" }).pay("0x01").await.status, StatusCode::OK);
}

#[tokio::test]
async fn i04_a_client_that_hangs_up_on_the_wire_while_the_handler_runs_is_not_charged() {
    struct Gone(Arc<Notify>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let shop = Shop::open().await;
    let (running, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entered, left) = (running.clone(), gone.clone());
    let client = shop.selling(move || {
        let (entered, guard) = (entered.clone(), Gone(left.clone()));
        async move {
            let _guard = guard;
            entered.notify_one();
            std::future::pending::<&'static str>().await
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = client.0.clone();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let payment = payment(&client.offer("/weather").await, "0x01");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /weather HTTP/1.1\r\nhost: x\r\npayment-signature: {}\r\n\r\n",
        header::encode(&payment)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    running.notified().await;
    drop(stream);
    gone.notified().await;
    shop.seller.idle().await;
    assert_eq!(shop.settles(), 0);
    let got = shop.selling(|| async { "sunny" }).send(paid("/weather", &payment)).await;
    assert_eq!(got.status, StatusCode::OK);
    server.abort();
}

#[tokio::test]
async fn rs10_x402rs_33_a_settlement_outlives_its_client_and_the_payment_buys_the_next_try() {
    let shop = Shop::with(|builder| builder.limits(tollway_seller::Limits::default())).await;
    shop.script.hold.store(true, SeqCst);
    let ran = Arc::new(AtomicU64::new(0));
    let client = shop.selling(counting(&ran));
    let payment = payment(&client.offer("/weather").await, "0x01");
    let request = tokio::spawn(client.0.clone().oneshot(paid("/weather", &payment)));
    shop.script.entered.notified().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    let busy = client.send(paid("/weather", &payment)).await;
    assert_eq!(busy.json()["code"], "payment_in_progress");
    shop.script.hold.store(false, SeqCst);
    shop.script.go.notify_one();
    shop.seller.idle().await;
    assert_eq!((shop.settles(), shop.charged()), (1, 1));
    let got = client.send(paid("/weather", &payment)).await;
    assert_eq!((got.status, &got.body[..]), (StatusCode::OK, &b"sunny"[..]));
    assert_eq!((shop.settles(), shop.charged()), (1, 1));
    assert_eq!(client.send(paid("/weather", &payment)).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn x402rs_26_a_final_failure_to_settle_is_402_with_challenge_and_failed_receipt() {
    let shop = Shop::open().await;
    shop.fault_settle([Fault::Settlement(|s| {
        s.success = false;
        s.error_reason = Some(Code::new("invalid_exact_evm_transaction_failed"));
        s.error_message = Some(LEAK.into());
    })]);
    let client = shop.selling(|| async { "sunny" });
    let got = client.pay("0x01").await;
    assert_eq!(got.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(got.challenge().error.as_deref(), Some("invalid_exact_evm_transaction_failed"));
    let receipt = got.receipt().unwrap();
    assert!(!receipt.success);
    assert_eq!(receipt.transaction.as_deref(), Some(DEAD));
    assert!(!got.text().contains("SECRETKEY") && !got.text().contains("sunny"));
    assert_eq!(client.pay("0x01").await.status, StatusCode::OK);
}

#[tokio::test]
async fn i18_rs07_pending_is_asked_about_once_more_and_then_reported_with_its_transaction() {
    let shop = Shop::open().await;
    let pending = Fault::Settlement(|s| {
        s.success = false;
        s.error_reason = Some(Code::new("settlement_pending"));
    });
    shop.fault_settle([pending.clone(), pending.clone()]);
    let ran = Arc::new(AtomicU64::new(0));
    let client = shop.selling(counting(&ran));
    let got = client.pay("0x01").await;
    assert_eq!(shop.settles(), 2);
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(got.headers.contains_key("retry-after") && !got.headers.contains_key(header::PAYMENT_REQUIRED));
    let receipt = got.receipt().unwrap();
    assert!(!receipt.success);
    assert_eq!(receipt.error_reason.unwrap().reason(), Reason::SettlementPending);
    assert_eq!(receipt.transaction.as_deref(), Some(DEAD));
    assert!(!got.text().contains("sunny"));
    // i18: an answer that knows nothing still names what an earlier one named.
    shop.fault_settle([Fault::Unknown]);
    assert_eq!(client.pay("0x01").await.receipt().unwrap().transaction.as_deref(), Some(DEAD));
    // The same payment again: settled, then served.
    let got = client.pay("0x01").await;
    assert_eq!((got.status, shop.settles(), shop.charged()), (StatusCode::OK, 4, 1));
    shop.fault_settle([pending]);
    assert_eq!(client.pay("0x02").await.status, StatusCode::OK, "the second question may find it settled");
}

#[tokio::test]
async fn i05_rs06_rs08_rs32_no_answer_or_a_foreign_one_is_pending_and_the_same_payment_is_served_once() {
    let lies: [(&str, Fault); 11] = [
        ("time-out", Fault::Hang),
        ("lost", Fault::Unknown),
        ("other network", Fault::Settlement(|s| s.network = Network::eip155(1))),
        ("other payer", Fault::Settlement(|s| s.payer = Some(OTHER.into()))),
        ("other amount", Fault::Settlement(|s| s.amount = Some(1u64.into()))),
        ("no hash", Fault::Settlement(|s| s.transaction = Some("0xdead".into()))),
        ("a page", Fault::Settlement(|s| s.transaction = Some("<b>".repeat(9_000)))),
        ("no transaction", Fault::Settlement(|s| s.transaction = None)),
        ("success with a reason", Fault::Settlement(|s| s.error_reason = Some(Code::new("x")))),
        ("failure without a reason", Fault::Settlement(|s| s.success = false)),
        (
            "used, by whomever",
            Fault::Settlement(|s| {
                s.success = false;
                s.error_reason = Some(Code::new("invalid_exact_evm_nonce_already_used"));
            }),
        ),
    ];
    for (what, fault) in lies {
        let shop = Shop::open().await;
        shop.fault_settle([fault]);
        let client = shop.selling(|| async { "sunny" });
        let got = client.pay("0x01").await;
        assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE, "{what}");
        assert!(got.headers.contains_key("retry-after"), "{what}");
        assert!(!got.headers.contains_key(header::PAYMENT_REQUIRED), "{what}");
        let json = got.json();
        assert_eq!(json["code"], "settlement_pending", "{what}");
        assert_eq!((&json["network"], &json["payer"]), (&NETWORK.into(), &PAYER.into()), "{what}");
        assert!(json["payment"].as_str().unwrap().ends_with("0x01") && json["asset"].is_string(), "{what}");
        assert!(!got.text().contains("SECRETKEY") && !got.text().contains("sunny"), "{what}");
        let got = client.pay("0x01").await;
        assert_eq!((got.status, shop.charged()), (StatusCode::OK, 1), "{what}");
        assert_eq!(client.pay("0x01").await.status, StatusCode::CONFLICT, "{what}");
    }
}

#[tokio::test]
async fn rs08_only_what_proves_that_nothing_was_broadcast_asks_for_another_payment() {
    fn failing(s: &mut Settlement, code: &str, transaction: Option<&str>) {
        s.success = false;
        s.error_reason = Some(Code::new(code));
        s.transaction = transaction.map(str::to_owned);
    }
    let unknown: [fn(&mut Settlement); 6] = [
        // CDP: broadcast, and then the confirmation took too long, or the node failed.
        |s| failing(s, "settle_exact_evm_transaction_confirmation_timed_out", Some(DEAD)),
        |s| failing(s, "settle_exact_node_failure", Some(DEAD)),
        |s| failing(s, "unknown_error", None),
        // @x402/evm: any error after the broadcast, viem's time-out for the receipt too.
        |s| failing(s, "invalid_exact_evm_transaction_failed", None),
        |s| failing(s, "invalid_exact_evm_transfer_event_mismatch", Some(DEAD)),
        |s| failing(s, "insufficient_funds", Some(DEAD)),
    ];
    for (at, alter) in unknown.into_iter().enumerate() {
        let shop = Shop::open().await;
        shop.fault_settle([Fault::Settlement(alter), Fault::Unknown]);
        let client = shop.selling(|| async { "sunny" });
        for again in [false, true] {
            let got = client.pay("0x01").await;
            assert_eq!(got.json()["code"], "settlement_pending", "{at} {again}");
            assert!(!got.headers.contains_key(header::PAYMENT_REQUIRED), "{at} {again}");
            let mut told = Settlement::new(false, Network::new(NETWORK).unwrap());
            alter(&mut told);
            assert_eq!(got.receipt().unwrap().transaction, told.transaction, "i18: {at} {again}");
        }
        assert_eq!((client.pay("0x01").await.status, shop.charged()), (StatusCode::OK, 1), "{at}");
    }
    for reason in
        [Reason::BadSignature, Reason::InsufficientBalance, Reason::Expired, Reason::SimulationFailed]
    {
        let shop = Shop::open().await;
        let invalid: fn(&mut Settlement) = match reason {
            Reason::BadSignature => |s| failing(s, "invalid_exact_evm_signature", None),
            Reason::InsufficientBalance => |s| failing(s, "insufficient_funds", None),
            Reason::Expired => |s| failing(s, "payment_expired", None),
            _ => |s| failing(s, "transaction_simulation_failed", None),
        };
        shop.fault_settle([Fault::Settlement(invalid)]);
        let got = shop.selling(|| async { "sunny" }).pay("0x01").await;
        assert_eq!(got.status, StatusCode::PAYMENT_REQUIRED, "{reason:?}");
        assert!(got.headers.contains_key(header::PAYMENT_REQUIRED));
    }
}

#[tokio::test]
async fn rs05_a_payer_whose_account_is_emptied_while_the_handler_runs_gets_nothing_of_its_response() {
    let emptied: [fn(&mut Settlement); 2] = [
        |s| {
            s.success = false;
            s.transaction = None;
            s.error_reason = Some(Code::new("invalid_exact_evm_insufficient_balance"));
        },
        |s| {
            s.success = false;
            s.error_reason = Some(Code::new("invalid_exact_evm_transaction_failed"));
        },
    ];
    for empty in emptied {
        let shop = Shop::open().await;
        let script = shop.script.clone();
        let client = shop.selling(move || {
            let script = script.clone();
            async move {
                // The money goes after the verdict.
                assert_eq!(script.verified.load(SeqCst), 1);
                tokio::task::yield_now().await;
                script.settle.lock().unwrap().push_back(Fault::Settlement(empty));
                ([("x-forecast", "sunny"), ("content-type", "text/x-forecast")], "sunny")
            }
        });
        let got = client.pay("0x01").await;
        assert_eq!((got.status, shop.settles()), (StatusCode::PAYMENT_REQUIRED, 1));
        assert!(!got.text().contains("sunny") && !got.headers.contains_key("x-forecast"));
        assert_eq!(got.headers["content-type"], "application/json");
        assert!(!got.receipt().unwrap().success);
    }
}

#[tokio::test]
async fn rs08_after_an_unknown_outcome_only_proof_frees_the_payment() {
    let shop = Shop::open().await;
    let short = |s: &mut Settlement| {
        s.success = false;
        s.transaction = None;
        s.error_reason = Some(Code::new("insufficient_funds"));
    };
    // The balance may be short because the first attempt took it.
    shop.fault_settle([Fault::Unknown, Fault::Settlement(short), Fault::NotAsked]);
    let client = shop.selling(|| async { "sunny" });
    for _ in 0..3 {
        let got = client.pay("0x01").await;
        assert_eq!(got.json()["code"], "settlement_pending");
    }
    assert_eq!((client.pay("0x01").await.status, shop.charged()), (StatusCode::OK, 1));
}

#[tokio::test]
async fn a_facilitator_that_was_never_asked_to_settle_charged_nothing() {
    let shop = Shop::open().await;
    shop.fault_settle([Fault::NotAsked]);
    let client = shop.selling(|| async { "sunny" });
    let got = client.pay("0x01").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.json()["code"], "facilitator_unavailable");
    // Another request may have it now.
    let payment = payment(&client.offer("/weather").await, "0x01");
    assert_eq!(client.send(paid("/weather?elsewhere", &payment)).await.status, StatusCode::OK);
}
