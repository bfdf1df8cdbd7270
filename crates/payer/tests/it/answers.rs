//! What a paying call gives back.

use serde_json::json;
use tollway_payer::journal::{Outcome, State};
use tollway_payer::{MAX_BODY, PayError, Policy, Purchased, pay};

use crate::common::*;

#[tokio::test]
async fn a_paid_answer_comes_with_its_receipt_and_the_offer_is_echoed_as_it_was_given() {
    let (payer, account) = payer(Policy::default());
    let shop = Shop::selling(vec![offer("10000")]).await;
    let paid = payer.pay(shop.get("/data?q=1")).await.unwrap();
    let purchased = paid.payment.unwrap();
    let settlement = purchased.receipt.settlement().unwrap();
    assert_eq!((settlement.success, settlement.transaction.as_deref()), (true, Some("0xabc")));
    assert_eq!((purchased.payment.amount.as_str(), purchased.payment.asset.as_str()), ("0.01", "USDC"));
    assert_eq!((purchased.sends, purchased.resent, account.count()), (1, false, 1));
    assert_eq!(paid.response.text().await.unwrap(), "goods");

    let sent = decode(&shop.seen()[1].header("payment-signature").unwrap());
    assert_eq!(sent["x402Version"], 2);
    assert_eq!(sent["accepted"], offer("10000"), "unknown members too");
    assert_eq!(sent["resource"], json!({"url": format!("{}/data?q=1", shop.origin), "novel": 7}));
    assert_eq!(sent["extensions"]["mystery"], json!({"info": {"a": 1}}));
    assert!(sent["extensions"]["payment-identifier"]["info"]["id"].as_str().unwrap().starts_with("pay_"));
    assert!(payer.journal().live().unwrap().is_empty());
    let [record] = &payer.journal().history().unwrap()[..] else { panic!() };
    assert_eq!((record.outcome, record.transaction.as_deref()), (Outcome::Settled, Some("0xabc")));
}

#[tokio::test]
async fn an_answer_that_costs_nothing_is_returned_as_it_is() {
    let (payer, account) = payer(Policy::default());
    let shop = Shop::open(|_, _| reply(404).body("no")).await;
    let paid = pay(&reqwest::Client::new(), &payer, shop.get("/")).await.unwrap();
    assert_eq!((paid.response.status().as_u16(), paid.payment.is_none(), account.count()), (404, true, 0));
}

#[tokio::test]
async fn paid_without_a_receipt_is_told_apart() {
    let (payer, _) = payer(Policy::default());
    let receipts = [
        reply(200),
        reply(200).header("payment-response", "%%%"),
        reply(200).header(
            "payment-response",
            encode(&json!({"success": true, "transaction": "0x1", "network": "eip155:1"})),
        ),
    ];
    let shop = Shop::answering(move |_, n| receipts[n].clone()).await;
    let missing = payer.pay(shop.get("/")).await.unwrap().payment.unwrap();
    assert_eq!(missing.receipt, tollway_payer::Receipt::Missing);
    for _ in 0..2 {
        let odd = payer.pay(shop.get("/")).await.unwrap().payment.unwrap();
        assert!(matches!(odd.receipt, tollway_payer::Receipt::Unreadable(_)));
    }
    assert!(payer.journal().history().unwrap().iter().all(|record| record.outcome == Outcome::Served));
}

#[tokio::test]
async fn cl01_i14_a_second_402_is_an_error_with_the_servers_reason_and_the_payment_is_kept() {
    let failed = json!({"success": false, "errorReason": "insufficient_funds", "errorMessage": "too\u{7} poor",
                        "transaction": "", "network": SEPOLIA});
    let shop = Shop::answering(move |seen, _| {
        ask(seen, &[offer("10000")]).header("payment-response", encode(&failed))
    })
    .await;
    let (payer, account) = payer(Policy::default());
    let error = payer.pay(shop.get("/")).await.unwrap_err();
    let PayError::Refused(kept) = &error else { panic!("{error}") };
    assert_eq!(kept.code.as_ref().unwrap().as_str(), "insufficient_funds");
    assert_eq!(kept.said.as_deref(), Some("too poor"));
    assert!(error.to_string().contains("0.01 USDC"), "{error}");
    assert_eq!((account.count(), shop.seen().len()), (1, 2), "one payment, sent once");
    assert_eq!(payer.journal().live().unwrap()[0].state, State::Refused);
}

#[tokio::test]
async fn cl18_a_server_that_always_asks_gets_one_payment_a_call() {
    let shop = Shop::open(|seen, _| ask(seen, &[offer("10000")])).await;
    let (payer, account) = payer(Policy::default());
    for _ in 0..3 {
        assert!(matches!(payer.pay(shop.get("/")).await, Err(PayError::Refused(_))));
    }
    assert_eq!((account.count(), shop.payments().len()), (1, 3), "the same one each time");
}

#[tokio::test]
async fn x402rs_36_a_foreign_402_keeps_its_status_headers_and_body() {
    let shop =
        Shop::open(|_, _| reply(402).header("www-authenticate", "L402").body("x".repeat(100_000))).await;
    let (payer, _) = payer(Policy::default());
    let error = payer.pay(shop.get("/")).await.unwrap_err();
    let answer = error.answer().unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len(), answer.truncated), (402, MAX_BODY, true));
    assert_eq!(answer.headers["www-authenticate"], "L402");
}

#[tokio::test]
async fn cl03_only_v2_is_paid_when_both_are_offered_and_an_invalid_header_is_not_rescued() {
    let v1 = |seen: &Seen| {
        json!({"x402Version": 1, "accepts": [{"scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "1",
            "resource": seen.url, "description": "", "mimeType": "", "payTo": SELLER, "maxTimeoutSeconds": 60,
            "asset": USDC, "extra": {"name": "USDC", "version": "2"}}]})
        .to_string()
    };
    let both = Shop::open(move |seen, _| match seen.payment() {
        None => ask(seen, &[offer("10000")]).body(v1(seen)),
        Some(_) => reply(200),
    })
    .await;
    let (payer, account) = payer(Policy::default());
    payer.pay(both.get("/")).await.unwrap();
    let paid = &both.seen()[1];
    assert!(paid.header("x-payment").is_none());
    assert_eq!(decode(&paid.header("payment-signature").unwrap())["accepted"]["amount"], "10000");
    let broken = Shop::open(move |seen, _| reply(402).header("payment-required", "e30").body(v1(seen))).await;
    let error = payer.pay(broken.get("/")).await.unwrap_err();
    assert!(matches!(error, PayError::NotAsked { why: tollway_payer::NotAsked::Invalid(_), .. }));
    assert_eq!(account.count(), 1);
}

#[tokio::test]
async fn a_v1_server_gets_a_v1_payment_and_its_receipt_is_read() {
    let shop = Shop::open(|seen, _| match seen.header("x-payment") {
        None => reply(402).body(
            json!({"x402Version": 1, "error": "X-PAYMENT header is required", "accepts": [{"scheme": "exact",
                "network": "base-sepolia", "maxAmountRequired": "10000", "resource": seen.url, "description": "d",
                "mimeType": "m", "outputSchema": null, "payTo": SELLER, "maxTimeoutSeconds": 60, "asset": USDC,
                "extra": {"name": "USDC", "version": "2"}}]})
            .to_string(),
        ),
        Some(_) => reply(200).header(
            "x-payment-response",
            encode(&json!({"success": true, "transaction": "0x1", "network": "base-sepolia", "payer": PAYER})),
        ),
    })
    .await;
    let (payer, _) = payer(Policy::default());
    let purchased = payer.pay(shop.get("/")).await.unwrap().payment.unwrap();
    assert_eq!(purchased.receipt.settlement().unwrap().transaction.as_deref(), Some("0x1"));
    let sent = decode(&shop.seen()[1].header("x-payment").unwrap());
    assert_eq!((&sent["x402Version"], &sent["network"]), (&json!(1), &json!("base-sepolia")));
    assert!(sent.get("accepted").is_none() && shop.seen()[1].header("payment-signature").is_none());
}

#[tokio::test]
async fn the_middleware_pays_and_tells_what_in_the_responses_extensions() {
    let (payer, _) = payer(Policy::default());
    let shop = Shop::selling(vec![offer("10000")]).await;
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(payer).build();
    let response = client.post(format!("{}/x", shop.origin)).body("order").send().await.unwrap();
    assert_eq!(response.extensions().get::<Purchased>().unwrap().payment.amount, "0.01");
    assert_eq!(response.status(), 200);
    let seen = shop.seen();
    assert!(seen.iter().all(|one| one.method == "POST" && one.body == b"order"), "{seen:?}");
}

#[tokio::test]
async fn cl01_the_middlewares_error_is_typed() {
    let (payer, _) = payer(Policy::default());
    let shop = Shop::selling(vec![offer("2000000")]).await;
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(payer).build();
    let Err(reqwest_middleware::Error::Middleware(error)) = client.get(&shop.origin).send().await else {
        panic!("a 402 passed for a success")
    };
    assert!(matches!(error.downcast_ref::<PayError>(), Some(PayError::Declined(_))));
}

#[tokio::test]
async fn a_streamed_body_is_refused_before_anything_is_signed() {
    let (payer, account) = payer(Policy::default());
    let shop = Shop::selling(vec![offer("10000")]).await;
    let mut request = shop.get("/");
    *request.method_mut() = reqwest::Method::POST;
    let body = http_body_util::Full::new(bytes::Bytes::from_static(b"order"));
    *request.body_mut() = Some(reqwest::Body::wrap(body));
    assert!(matches!(payer.pay(request).await, Err(PayError::StreamedBody)));
    assert_eq!(account.count(), 0);
}

#[tokio::test]
async fn cl18_a_request_that_carries_a_payment_is_not_sent() {
    let (payer, _) = payer(Policy::default());
    let shop = Shop::selling(vec![offer("10000")]).await;
    for name in ["payment-signature", "x-payment"] {
        let mut request = shop.get("/");
        request.headers_mut().insert(name, http::HeaderValue::from_static("e30="));
        assert!(matches!(payer.pay(request).await, Err(PayError::AlreadyPaying)));
    }
    assert!(shop.seen().is_empty());
}

#[tokio::test]
async fn i16_debug_texts_and_errors_have_no_payment_query_or_credentials() {
    let shop = Shop::answering(|_, n| if n == 0 { reply(500) } else { reply(200).settled("0x1") }).await;
    let (payer, _) = payer(Policy::default());
    let request = || {
        let mut request = shop.get("/path?key=hunter2");
        request.url_mut().set_password(Some("pa55")).unwrap();
        request
    };
    let error = payer.pay(request()).await.unwrap_err();
    let mut shown = format!("{error} {error:?} {payer:?} {:?}", payer.journal().live().unwrap());
    let paid = payer.pay(request()).await.unwrap();
    shown.push_str(&format!("{paid:?}"));
    let dead = reqwest::Request::new(
        reqwest::Method::GET,
        url::Url::parse("http://u:pa55@127.0.0.1:1/?key=hunter2").unwrap(),
    );
    let unsent = payer.pay(dead).await.unwrap_err();
    shown.push_str(&format!("{unsent} {unsent:?}"));
    for secret in ["hunter2", "pa55", "/path", &shop.payments()[0]] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
