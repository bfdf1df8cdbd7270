//! Threats to the facilitator as a whole that are no faults of its surroundings.

use std::sync::Arc;

use serde_json::{Value, json};
use tollway_devnet::evm::Mining;

use crate::load::{self, Answer, Client, Load, Manner, Must, Purchase};
use crate::oracle::judge;
use crate::rpc::SEND;
use crate::world::{Settings, Signed, World, signer};

async fn normal(world: &World) -> Arc<Purchase> {
    Purchase::new(world, Manner::Normal).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fa04_fa07_asked_again_before_the_block_it_names_the_same_transaction_and_sends_nothing() {
    let settings = Settings { mining: Mining::Manual, settle_seconds: 2, ..Settings::default() };
    let world = World::new(settings).await;
    let facilitator = world.start().await;
    let (purchase, client) = (normal(&world).await, Client::new(&world));
    for _ in 0..3 {
        client.ask(&purchase, 0).await;
    }
    let hash = world.node.given()[0].hash.to_string();
    let pending = (0, Answer::Pending { transaction: Some(hash.clone()) });
    assert_eq!(purchase.answers(), vec![pending; 3]);
    judge(&world, std::slice::from_ref(&purchase)).await;
    assert_eq!(purchase.last(0).unwrap().named(), Some(hash.as_str()));
    assert!(world.node.given().iter().all(|given| given.hash.to_string() == hash), "the same bytes");
    assert_eq!(world.mined_of(signer(0).address()), 1);
    facilitator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fa08_verifying_changes_nothing() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start().await;
    let (purchase, client) = (normal(&world).await, Client::new(&world));
    for _ in 0..2 {
        let verdict = client.verify(&purchase.payments[0]).await;
        assert_eq!(verdict["isValid"], true, "{verdict}");
    }
    let ledger = world.ledger().await;
    assert_eq!(ledger.settlement(&purchase.payments[0].key).await.unwrap(), None);
    assert_eq!((world.node.count(SEND), world.chain.block_number()), (0, 0));
    judge(&world, &[purchase]).await;
    facilitator.stop().await;
}

fn changed(payment: &Signed, change: impl FnOnce(&mut Value)) -> Signed {
    let mut changed = payment.clone();
    change(&mut changed.body);
    changed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fa09_fa27_nothing_but_a_good_settlement_spends_gas() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start().await;
    let (purchase, client) = (normal(&world).await, Client::new(&world));
    let good = &purchase.payments[0];
    let http = reqwest::Client::new();
    for path in ["/", "/verify", "/settle", "/supported", "/healthz", "/readyz", "/metrics", "/settlements/x"]
    {
        for method in [reqwest::Method::GET, reqwest::Method::POST, reqwest::Method::DELETE] {
            let sent =
                http.request(method.clone(), format!("{}{path}", world.front.url())).send().await.unwrap();
            let (status, text) = (sent.status().as_u16(), sent.text().await.unwrap());
            assert!(status < 500, "{method} {path}: {status} {text}");
        }
    }
    let authorization = "/paymentPayload/payload/authorization";
    let set = |pointer: String, value: Value| {
        changed(good, move |body| *body.pointer_mut(&pointer).unwrap() = value)
    };
    let bad = [
        set("/paymentPayload/payload/signature".into(), json!(format!("0x{}1b", "11".repeat(64)))),
        set(format!("{authorization}/value"), json!("1")),
        set(format!("{authorization}/to"), json!("0x0000000000000000000000000000000000000001")),
        set(format!("{authorization}/validBefore"), json!("1")),
        set("/paymentRequirements/amount".into(), json!("1")),
        set("/paymentRequirements/network".into(), json!("eip155:1")),
        set("/paymentRequirements/scheme".into(), json!("nothing")),
        set("/paymentRequirements/asset".into(), json!("0x0000000000000000000000000000000000000001")),
    ];
    for payment in &bad {
        let answer = client.settle(payment).await;
        assert!(matches!(answer, Answer::Refused { transaction: None, .. }), "{answer:?}: {}", payment.body);
    }
    assert_eq!(world.node.count(SEND), 0, "nothing is broadcast");
    assert_eq!(world.mined_of(signer(0).address()), 0);
    judge(&world, &[purchase]).await;
    facilitator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fa28_no_url_in_a_payment_is_fetched() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let plain = world.pay().await;
    let with_urls = changed(&plain, |body| {
        let names =
            ["callback", "callbackUrl", "webhook", "paymasterUrl", "gasStation", "facilitator", "did"];
        for place in ["/paymentRequirements/extra", "/paymentPayload/accepted/extra"] {
            let extra = body.pointer_mut(place).unwrap();
            for name in names {
                extra[name] = json!(url);
            }
        }
        body["paymentPayload"]["resource"] =
            json!({ "url": url, "description": url, "mimeType": "text/html" });
        body["paymentPayload"]["extensions"] = json!({ "callback": { "info": { "url": url } } });
    });
    let purchase = Purchase::of(vec![with_urls], Manner::Normal, Must::Pay);
    let client = Client::new(&world);
    let verdict = client.verify(&purchase.payments[0]).await;
    assert_eq!(verdict["isValid"], true, "{verdict}");
    judge(&world, &[purchase]).await;
    facilitator.stop().await;
    // Whoever had called would be waiting there.
    let called = listener.accept();
    assert!(called.is_err(), "somebody has called: {called:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fa31_s18_no_answer_log_or_figure_has_a_secret_in_it_whatever_fails() {
    const SECRET: &str = "sEcReTaPiKeY";
    let mut world = World::new(Settings::default()).await;
    let address = world.node.gate.address();
    world.settings.network = format!("rpc = \"http://user:{SECRET}@{address}/?key={SECRET}\"\n");
    let facilitator = world.start().await;
    let load = Load::new(&world).await;
    let running = load.begin();
    world.node.until(SEND, 2).await;
    world.node.gate.shut();
    load::ended(running).await;
    let http = reqwest::Client::new();
    let mut told = String::new();
    for path in ["/readyz", "/healthz", "/metrics", "/supported"] {
        told += &http.get(format!("{}{path}", world.front.url())).send().await.unwrap().text().await.unwrap();
    }
    let failed = normal(&world).await;
    let sent = http.post(format!("{}/settle", world.front.url())).json(&failed.payments[0].body).send().await;
    told += &sent.unwrap().text().await.unwrap();
    world.node.mend();
    let mut all = load.purchases;
    all.push(failed);
    // Keys and signatures are looked for in the logs of every cell; here also the node's URL, and in what is told.
    judge(&world, &all).await;
    told += &world.logs();
    assert!(told.contains("tollway_"), "there are figures: {told}");
    assert!(!told.contains(SECRET), "{told}");
    for purchase in &all {
        assert!(!told.contains(purchase.payments[0].signature().trim_start_matches("0x")), "a signature");
    }
    facilitator.stop().await;
}
