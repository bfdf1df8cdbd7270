//! A payment goes to the origin that was judged, and nowhere else.

use std::sync::Arc;

use tollway_payer::{PayError, Policy, ResourceRule, pay};

use crate::common::*;

#[tokio::test]
async fn cl09_i14_a_redirect_of_a_paid_request_is_not_followed_whatever_the_client() {
    for status in [301, 302, 303, 307, 308] {
        let thief = Arc::new(Shop::open(|_, _| reply(200)).await);
        let target = format!("{}/steal", thief.origin);
        let shop = Shop::answering(move |_, _| reply(status).header("location", &target)).await;
        let client = reqwest::Client::new();
        let (payer, _) = payer(Policy::default());
        let error = pay(&client, &payer, shop.get("/")).await.unwrap_err();
        assert!(matches!(error, PayError::Unknown(_)), "{error}");
        let wrapped = reqwest_middleware::ClientBuilder::new(client).with(payer.clone()).build();
        assert!(wrapped.get(&shop.origin).send().await.is_err());
        let follows = || reqwest::Client::builder().redirect(reqwest::redirect::Policy::limited(9));
        let (account, journal) = (Account::new(), tollway_payer::Journal::temporary().unwrap());
        let own = builder(&account, &journal, &Clock::new()).http(follows).build().unwrap();
        assert!(matches!(own.pay(shop.get("/")).await, Err(PayError::Unknown(_))));
        assert!(thief.seen().is_empty(), "{status}");
    }
}

#[tokio::test]
async fn cl09_after_a_redirect_the_policy_judges_where_the_request_ended() {
    let seller = Shop::selling(vec![offer("10000")]).await;
    let port = url::Url::parse(&seller.origin).unwrap().port().unwrap();
    let target = format!("http://localhost:{port}/paywall");
    let start = Shop::open(move |_, _| reply(302).header("location", &target)).await;
    let (payer, account) = payer(Policy::default());
    let mut request = start.get("/");
    request.headers_mut().insert("authorization", http::HeaderValue::from_static("Bearer s"));
    let error = pay(&reqwest::Client::new(), &payer, request).await.unwrap_err().to_string();
    assert!(error.contains(&format!("not for the URL requested at http://localhost:{port}")), "{error}");
    assert_eq!((account.count(), seller.payments().len()), (0, 0));
}

#[tokio::test]
async fn cl09_credentials_for_the_first_origin_do_not_reach_the_second_with_the_payment() {
    let seller = Shop::selling(vec![offer("10000")]).await;
    let target = format!("{}/paywall", seller.origin);
    let start = Shop::open(move |_, _| reply(302).header("location", &target)).await;
    let (payer, _) = payer(Policy::default());
    let mut request = start.get("/");
    request.headers_mut().insert("authorization", http::HeaderValue::from_static("Bearer s"));
    request.headers_mut().insert("x-mine", http::HeaderValue::from_static("kept"));
    pay(&reqwest::Client::new(), &payer, request).await.unwrap();
    let paid = &seller.seen()[1];
    assert!(paid.payment().is_some() && paid.header("authorization").is_none());
    assert_eq!(paid.header("x-mine").as_deref(), Some("kept"));
    assert!(start.payments().is_empty());
}

#[tokio::test]
async fn the_payers_own_client_follows_redirects_within_the_origin_only() {
    let other = Arc::new(Shop::selling(vec![offer("10000")]).await);
    let away = format!("{}/x", other.origin);
    let shop = Shop::open(move |seen, _| match (seen.url.rsplit('/').next().unwrap(), seen.payment()) {
        ("start", None) => reply(307).header("location", "/end"),
        ("away", None) => reply(307).header("location", &away),
        ("round", None) => reply(307).header("location", "/round"),
        (_, None) => ask(seen, &[offer("10000")]),
        (_, Some(_)) => reply(200).settled("0x1"),
    })
    .await;
    let (payer, _) = payer(Policy::default());
    let mut request = shop.get("/start");
    *request.method_mut() = reqwest::Method::POST;
    *request.body_mut() = Some("order".into());
    payer.pay(request).await.unwrap();
    let paid = shop.seen().pop().unwrap();
    assert_eq!((paid.method.as_str(), paid.body.as_slice()), ("POST", &b"order"[..]));
    assert!(paid.url.ends_with("/end"));
    let returned = payer.pay(shop.get("/away")).await.unwrap();
    assert_eq!((returned.response.status().as_u16(), returned.payment.is_none()), (307, true));
    assert!(other.seen().is_empty());
    assert_eq!(payer.pay(shop.get("/round")).await.unwrap().response.status(), 307);
}

#[tokio::test]
async fn cl09_a_redirected_post_is_not_paid_for_since_its_method_may_have_changed() {
    let shop = Shop::open(|seen, _| match seen.url.ends_with("/end") {
        true => ask(seen, &[offer("10000")]),
        false => reply(302).header("location", "/end"),
    })
    .await;
    let (payer, account) = payer(Policy::default());
    let mut request = shop.get("/start");
    *request.method_mut() = reqwest::Method::POST;
    let error = pay(&reqwest::Client::new(), &payer, request).await.unwrap_err();
    assert!(matches!(error, PayError::Redirected { .. }), "{error}");
    assert_eq!(account.count(), 0);
}

/// A proxy that sells, and what it saw.
async fn proxy() -> Shop {
    Shop::open(|seen, _| match seen.payment() {
        None => ask(seen, &[offer("10000")]),
        Some(_) => reply(200).settled("0x1"),
    })
    .await
}

#[tokio::test]
async fn cl09_plain_http_to_loopback_never_leaves_through_a_proxy() {
    let (proxy, shop) = (proxy().await, Shop::selling(vec![offer("10000")]).await);
    let through = proxy.origin.clone();
    let (account, journal) = (Account::new(), tollway_payer::Journal::temporary().unwrap());
    let payer = builder(&account, &journal, &Clock::new())
        .policy(Policy::default().resource(ResourceRule::Any))
        .http(move || {
            let mut headers = http::HeaderMap::new();
            headers.insert("x-mine", http::HeaderValue::from_static("kept"));
            let proxy = reqwest::Proxy::all(&through).unwrap();
            reqwest::Client::builder().default_headers(headers).proxy(proxy)
        })
        .build()
        .unwrap();
    payer.pay(shop.get("/")).await.unwrap();
    let mut named = shop.get("/named");
    named.url_mut().set_host(Some("localhost")).unwrap();
    payer.pay(named).await.unwrap();
    assert_eq!((proxy.seen().len(), shop.payments().len()), (0, 2));
    assert!(shop.seen().iter().all(|seen| seen.header("x-mine").as_deref() == Some("kept")));
    // Names below localhost are nobody's in particular: they are asked like any other host, and not paid.
    let below =
        reqwest::Request::new(reqwest::Method::GET, url::Url::parse("http://shop.localhost/").unwrap());
    let error = payer.pay(below).await.unwrap_err().to_string();
    assert!(error.contains("is not https"), "{error}");
    assert_eq!((proxy.seen().len(), proxy.payments().len()), (1, 0));
}
