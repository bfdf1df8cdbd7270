//! What happens when the answer to a payment is lost or unclear.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tollway_payer::journal::{Outcome, State};
use tollway_payer::{Journal, PayError, Policy};

use crate::common::*;

/// A server that closes the connection after reading each of the first `cuts` payments.
async fn cutting(cuts: usize) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let payments: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let (log, base) = (Arc::clone(&payments), origin.clone());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0u8; 1];
                if socket.read(&mut byte).await.unwrap_or(0) == 0 {
                    break;
                }
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let payment = request.lines().find_map(|line| line.strip_prefix("payment-signature: "));
            let head = match payment {
                Some(payment) => {
                    let mut log = log.lock().unwrap();
                    log.push(payment.to_owned());
                    if log.len() <= cuts {
                        continue;
                    }
                    "200 OK".to_owned()
                }
                None => {
                    let challenge = json!({"x402Version": 2, "resource": {"url": format!("{base}/")}, "accepts": [offer("10000")]});
                    format!("402 Payment Required\r\npayment-required: {}", encode(&challenge))
                }
            };
            let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (origin, payments)
}

fn get(origin: &str) -> reqwest::Request {
    reqwest::Request::new(reqwest::Method::GET, url::Url::parse(origin).unwrap())
}

#[tokio::test]
async fn i13_cl06_x402rs_34_a_lost_answer_then_a_retry_sends_the_same_bytes() {
    let (origin, payments) = cutting(1).await;
    let (payer, account) = payer(Policy::default());
    let error = payer.pay(get(&origin)).await.unwrap_err();
    let PayError::Unknown(kept) = &error else { panic!("{error}") };
    assert!(kept.answer.is_none() && error.to_string().contains("kept"), "{error}");
    let paid = payer.pay(get(&origin)).await.unwrap().payment.unwrap();
    assert!(paid.resent && paid.payment.id == kept.id);
    let payments = payments.lock().unwrap();
    assert_eq!((payments.len(), account.count()), (2, 1));
    assert_eq!(payments[0], payments[1]);
}

#[tokio::test]
async fn i13_x402rs_108_a_cut_connection_is_tried_again_within_the_call_with_the_same_bytes() {
    let (origin, payments) = cutting(2).await;
    let account = Account::new();
    let journal = Journal::temporary().unwrap();
    let payer = builder(&account, &journal, &Clock::new()).limits(limits(3)).build().unwrap();
    let paid = payer.pay(get(&origin)).await.unwrap().payment.unwrap();
    assert_eq!((paid.sends, paid.resent, account.count()), (3, false, 1));
    let payments = payments.lock().unwrap();
    assert!(payments.iter().all(|one| *one == payments[0]));
}

#[tokio::test]
async fn i13_cl06_after_a_restart_the_same_payment_is_sent_from_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let shop = Shop::answering(|_, n| if n == 0 { reply(500) } else { reply(200).settled("0x1") }).await;
    let (first, second) = (Account::new(), Account::new());
    for (account, expected) in [(&first, false), (&second, true)] {
        let journal = Journal::open(directory.path()).unwrap();
        let payer = builder(account, &journal, &Clock::new()).build().unwrap();
        let result = payer.pay(shop.get("/")).await;
        assert_eq!(result.is_ok(), expected, "{result:?}");
    }
    assert_eq!((first.count(), second.count()), (1, 0));
    assert_eq!(shop.payments()[0], shop.payments()[1]);
}

/// Not a test of its own: what the process that dies in the next test does.
#[tokio::test]
async fn in_a_process_that_dies() {
    let (Ok(directory), Ok(origin)) = (std::env::var("PAYER_CRASH_DIR"), std::env::var("PAYER_CRASH_SHOP"))
    else {
        return;
    };
    let journal = Journal::open(directory).unwrap();
    let account = Account::new();
    let payer = builder(&account, &journal, &Clock::new()).build().unwrap();
    let url = url::Url::parse(&origin).unwrap();
    let purchase = tollway_payer::Purchase::new("GET", &url, b"");
    let challenge = json!({"x402Version": 2, "resource": {"url": origin}, "accepts": [offer("10000")]});
    let challenge: tollway_protocol::Challenge = serde_json::from_value(challenge).unwrap();
    let flight = payer.prepare(&challenge.into(), &purchase).await.unwrap();
    std::fs::write(std::env::var("PAYER_CRASH_FILE").unwrap(), flight.header().1).unwrap();
    std::process::abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn i13_cl06_a_payment_of_a_process_that_died_is_sent_by_the_next_one() {
    let (directory, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shop = Shop::selling(vec![offer("10000")]).await;
    let header = files.path().join("header");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::in_a_process_that_dies"])
        .env("PAYER_CRASH_DIR", directory.path())
        .env("PAYER_CRASH_SHOP", format!("{}/", shop.origin))
        .env("PAYER_CRASH_FILE", &header)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    assert!(!status.success());
    let signed = std::fs::read_to_string(header).unwrap();
    let (account, journal) = (Account::new(), Journal::open(directory.path()).unwrap());
    let payer = builder(&account, &journal, &Clock::new()).build().unwrap();
    assert!(payer.pay(shop.get("/")).await.unwrap().payment.unwrap().resent);
    assert_eq!((shop.payments(), account.count()), (vec![signed], 0));
}

#[tokio::test]
async fn i13_a_fresh_payment_is_signed_only_after_the_old_one_has_ended() {
    let shop = Shop::answering(|_, n| if n < 3 { reply(502) } else { reply(200).settled("0x1") }).await;
    let (account, journal, clock) = (Account::new(), Journal::temporary().unwrap(), Clock::new());
    let payer = builder(&account, &journal, &clock).build().unwrap();
    for advance in [0, 60, 119] {
        clock.advance(advance);
        assert!(matches!(payer.pay(shop.get("/")).await, Err(PayError::Unknown(_))));
        assert_eq!(account.count(), 1);
    }
    clock.advance(2);
    payer.pay(shop.get("/")).await.unwrap();
    assert_eq!(account.count(), 2);
    assert_ne!(shop.payments()[2], shop.payments()[3]);
}

#[tokio::test]
async fn cl06_concurrent_calls_for_the_same_request_are_purchases_of_their_own() {
    let (payer, account) = payer(Policy::default());
    let shop = Shop::selling(vec![offer("10000")]).await;
    let url = url::Url::parse(&format!("{}/", shop.origin)).unwrap();
    let purchase = tollway_payer::Purchase::new("GET", &url, b"");
    let challenge = json!({"x402Version": 2, "resource": {"url": url.as_str()}, "accepts": [offer("10000")]});
    let asked = serde_json::from_value::<tollway_protocol::Challenge>(challenge).unwrap().into();
    let held = payer.prepare(&asked, &purchase).await.unwrap();
    let other = payer.pay(shop.get("/")).await.unwrap().payment.unwrap();
    assert!(!other.resent && other.payment.id != held.summary().id);
    assert_eq!(account.count(), 2);
    drop(held);
    assert!(payer.pay(shop.get("/")).await.unwrap().payment.unwrap().resent, "now it is an orphan");
    assert_eq!(account.count(), 2);
}

#[tokio::test]
async fn i13_a_cancelled_call_leaves_its_payment_to_the_next_one() {
    let (arrived, arrival) = (Arc::new(tokio::sync::Notify::new()), AtomicUsize::new(0));
    let notify = Arc::clone(&arrived);
    let shop = Arc::new(
        Shop::answering(move |_, _| {
            if arrival.fetch_add(1, Ordering::SeqCst) == 0 {
                notify.notify_one();
            }
            reply(200).settled("0x1")
        })
        .await,
    );
    let (payer, account) = payer(Policy::default());
    tokio::select! {
        biased;
        () = arrived.notified() => {}
        result = payer.pay(shop.get("/")) => panic!("{result:?}"),
    }
    payer.pay(shop.get("/")).await.unwrap();
    assert_eq!(account.count(), 1);
    assert_eq!(shop.payments()[0], shop.payments()[1]);
}

#[tokio::test]
async fn cl07_a_pending_settlement_names_its_transaction_and_is_never_paid_again() {
    let pending = json!({"success": false, "errorReason": "settlement_pending", "transaction": "0xfeed", "network": SEPOLIA});
    let shop = Shop::answering(move |_, n| match n {
        0 | 1 => reply(503).header("retry-after", "0").header("payment-response", encode(&pending)),
        _ => reply(200).settled("0xfeed"),
    })
    .await;
    let (payer, account) = payer(Policy::default());
    let error = payer.pay(shop.get("/")).await.unwrap_err();
    assert!(
        matches!(&error, PayError::Pending(kept) if kept.transaction.as_deref() == Some("0xfeed")),
        "{error}"
    );
    let live = payer.journal().live().unwrap();
    assert_eq!((live[0].state, live[0].transaction.as_deref()), (State::Unknown, Some("0xfeed")));
    let patient = builder(&account, payer.journal(), &Clock::new()).limits(limits(2)).build().unwrap();
    let paid = patient.pay(shop.get("/")).await.unwrap().payment.unwrap();
    assert_eq!((paid.sends, paid.resent, account.count()), (2, true, 1));
}

#[tokio::test]
async fn a_retry_after_longer_than_the_window_is_not_waited_for() {
    let shop = Shop::answering(|_, _| reply(503).header("retry-after", "3600")).await;
    let account = Account::new();
    let journal = Journal::temporary().unwrap();
    let payer = builder(&account, &journal, &Clock::new()).limits(limits(3)).build().unwrap();
    let error = payer.pay(shop.get("/")).await.unwrap_err();
    assert!(matches!(&error, PayError::Unknown(kept) if kept.sends == 1), "{error}");
}

#[tokio::test]
async fn a_spent_payment_is_recorded_and_the_next_call_pays_anew() {
    let spent = [
        reply(409).body(json!({"error": "payment_already_spent", "transaction": "0xdead"}).to_string()),
        reply(409).header(
            "payment-response",
            encode(
                &json!({"success": false, "errorReason": "payment_already_spent", "transaction": "0xdead",
                           "network": SEPOLIA}),
            ),
        ),
        reply(200).settled("0xbeef"),
    ];
    let shop = Shop::answering(move |_, n| spent[n].clone()).await;
    let (payer, account) = payer(Policy::default());
    for count in 1..=2 {
        let error = payer.pay(shop.get("/")).await.unwrap_err();
        assert!(
            matches!(&error, PayError::Spent(kept) if kept.transaction.as_deref() == Some("0xdead")),
            "{error}"
        );
        let history = payer.journal().history().unwrap();
        assert_eq!((history.len(), account.count()), (count, count));
        assert_eq!(history[count - 1].outcome, Outcome::Spent);
        assert_eq!(history[count - 1].transaction.as_deref(), Some("0xdead"));
    }
    payer.pay(shop.get("/")).await.unwrap();
    assert_eq!(account.count(), 3);
}

#[tokio::test]
async fn i13_cl06_a_servers_bare_word_that_a_payment_is_spent_does_not_make_the_next_call_sign_another() {
    let answers = [
        json!({"code": "payment_already_spent"}),
        json!({"error": "settlement still confirming", "transaction": "0x1"}),
        json!({"error": "payment_already_spent", "transaction": ""}),
    ];
    for body in answers {
        let text = body.to_string();
        let shop = Shop::answering(move |_, _| reply(409).body(text.clone())).await;
        let (payer, account) = payer(Policy::default());
        for _ in 0..5 {
            let error = payer.pay(shop.get("/")).await.unwrap_err();
            assert!(matches!(error, PayError::Refused(_) | PayError::Unknown(_)), "{error}");
        }
        assert_eq!((account.count(), payer.journal().live().unwrap().len()), (1, 1), "{body}");
        assert!(payer.journal().history().unwrap().is_empty());
    }
}

#[tokio::test]
async fn i13_cl06_what_was_settled_and_not_delivered_is_asked_for_again_with_the_same_payment() {
    for status in [408, 409, 425, 429, 500, 502, 503, 504] {
        let shop = Shop::answering(move |_, n| match n {
            0 => reply(status).settled("0xfeed"),
            1 => reply(402),
            _ => reply(200).settled("0xfeed").body("goods"),
        })
        .await;
        let (payer, account) = payer(Policy::default());
        let error = payer.pay(shop.get("/")).await.unwrap_err();
        let PayError::Undelivered(kept) = &error else { panic!("{status}: {error}") };
        assert_eq!(kept.transaction.as_deref(), Some("0xfeed"));
        for part in ["is settled", "0xfeed", "the next call", "does not pay twice"] {
            assert!(error.to_string().contains(part), "{part} in {error}");
        }
        let error = payer.pay(shop.get("/")).await.unwrap_err();
        assert!(
            matches!(&error, PayError::Undelivered(kept) if kept.transaction.as_deref() == Some("0xfeed"))
        );
        let live = payer.journal().live().unwrap();
        assert_eq!((live[0].state, live[0].transaction.as_deref()), (State::Settled, Some("0xfeed")));
        let paid = payer.pay(shop.get("/")).await.unwrap();
        assert!(paid.payment.unwrap().resent);
        let payments = shop.payments();
        assert_eq!((account.count(), payments.len()), (1, 3));
        assert!(payments.iter().all(|one| *one == payments[0]), "signed twice for one purchase");
    }
}

#[tokio::test]
async fn i13_what_was_settled_and_is_delivered_at_the_second_try_takes_one_call() {
    let shop =
        Shop::answering(|_, n| if n == 0 { reply(500).settled("0x1") } else { reply(200).settled("0x1") })
            .await;
    let (account, journal) = (Account::new(), Journal::temporary().unwrap());
    let payer = builder(&account, &journal, &Clock::new()).limits(limits(3)).build().unwrap();
    let paid = payer.pay(shop.get("/")).await.unwrap().payment.unwrap();
    assert_eq!((paid.sends, account.count(), shop.payments().len()), (2, 1, 2));
}

#[tokio::test]
async fn i12_what_was_settled_and_never_delivered_counts_as_spent_when_it_has_ended() {
    let shop = Shop::answering(|_, _| reply(500).settled("0x1")).await;
    let (account, journal, clock) = (Account::new(), Journal::temporary().unwrap(), Clock::new());
    let payer = builder(&account, &journal, &clock).build().unwrap();
    payer.pay(shop.get("/")).await.unwrap_err();
    clock.advance(60 + 121);
    assert!(payer.outstanding(&purchase(&format!("{}/", shop.origin))).await.unwrap().is_none());
    let [record] = &journal.history().unwrap()[..] else { panic!("no record") };
    assert_eq!((record.outcome, record.transaction.as_deref()), (Outcome::Settled, Some("0x1")));
}

#[tokio::test]
async fn i05_unclear_answers_are_unknown_and_keep_the_payment() {
    for status in [400, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504] {
        let shop = Shop::answering(move |_, _| reply(status).body("<html>")).await;
        let (payer, _) = payer(Policy::default());
        let error = payer.pay(shop.get("/")).await.unwrap_err();
        assert!(
            matches!(&error, PayError::Unknown(kept) if kept.answer.as_ref().unwrap().status == status),
            "{error}"
        );
        assert_eq!(payer.journal().live().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_failure_that_was_settled_is_handed_over_with_its_receipt_but_never_a_402() {
    let shop =
        Shop::answering(|_, n| if n == 0 { reply(404).settled("0x1") } else { reply(402).settled("0x2") })
            .await;
    let (payer, _) = payer(Policy::default());
    let paid = payer.pay(shop.get("/")).await.unwrap();
    assert_eq!(paid.response.status(), 404);
    assert!(paid.payment.unwrap().receipt.settlement().unwrap().success);
    let error = payer.pay(shop.get("/")).await.unwrap_err();
    assert!(
        matches!(&error, PayError::Unknown(kept) if kept.transaction.as_deref() == Some("0x2")),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_never_answers_a_payment_costs_a_bounded_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}/", listener.local_addr().unwrap());
    let account = Account::new();
    let journal = Journal::temporary().unwrap();
    let mut short = limits(3);
    short.total = std::time::Duration::from_millis(50);
    let payer = builder(&account, &journal, &Clock::new()).limits(short).build().unwrap();
    assert!(matches!(payer.pay(get(&origin)).await, Err(PayError::TimedOut)));
    drop(listener);
}
