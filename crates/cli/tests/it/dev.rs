//! `tollway dev`.

use std::collections::BTreeSet;
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::common::{Dev, ask, run, tollway};

#[tokio::test]
async fn dev_prints_one_line_that_scripts_can_use() {
    let dev = Dev::start().await;
    let members: BTreeSet<_> = dev.running.ready.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["asset", "facilitator", "paid", "payer", "rpc", "seller", "ws"]));
    assert_eq!(dev.running.text("/asset/eip155:84532"), "0x036cbd53842c5426634e7929541ec2318f3dcf7e");
    assert_eq!(dev.usdc(&dev.payer()).await, 100_000_000);
    let supported = format!("{}/supported", dev.running.text("/facilitator"));
    let supported: Value = reqwest::get(supported).await.unwrap().json().await.unwrap();
    assert_eq!(supported["kinds"][0]["network"], "eip155:84532");

    let (status, more) = dev.running.terminate().await;
    assert!(status.success(), "{status}");
    assert_eq!(more, Vec::<String>::new(), "nothing else on stdout");
}

#[tokio::test]
async fn i02_two_calls_of_pay_are_two_payments_and_each_settles_once() {
    let dev = Dev::start().await;
    let mut transactions = BTreeSet::new();
    for _ in 0..2 {
        let done = run(dev.paying(&["pay", &dev.weather(), "--json"])).await.ended_with(0);
        let body: Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!(body["city"], "Lisbon");
        let told = done.told();
        let [receipt] = told.as_slice() else { panic!("one line: {told:?}") };
        assert_eq!(receipt["success"], true);
        assert_eq!(receipt["network"], "eip155:84532");
        assert_eq!(receipt["amount"], "10000");
        assert_eq!(receipt["payer"].as_str().unwrap().to_lowercase(), dev.payer());
        transactions.insert(receipt["transaction"].as_str().unwrap().to_owned());
    }
    assert_eq!(transactions.len(), 2);
    assert_eq!(dev.usdc(&dev.payer()).await, 100_000_000 - 20_000);
    let receipt = ask(&dev.rpc(), "eth_getTransactionReceipt", json!([transactions.first()])).await;
    assert_eq!(receipt["status"], "0x1");
}

#[tokio::test]
async fn the_seller_can_use_a_chain_and_a_facilitator_outside() {
    let outside = Dev::start().await;
    let rpc = format!("eip155:84532={}", outside.rpc());
    let facilitator = outside.running.text("/facilitator");
    let dev = Dev::with(&["--rpc", &rpc, "--facilitator", &facilitator]).await;
    assert_eq!(dev.running.text("/facilitator"), facilitator);
    assert_eq!(dev.rpc(), outside.rpc());
    run(dev.paying(&["pay", &dev.weather()])).await.ended_with(0);
    assert_eq!(dev.usdc(&dev.payer()).await, 100_000_000 - 10_000);
}

#[tokio::test]
async fn what_dev_sells_through_permit2_is_paid_with_a_permit_for_which_pay_needs_a_node() {
    let dev = Dev::start().await;
    let (tides, report) = (dev.running.text("/paid/2"), dev.running.text("/paid/3"));
    let done = run(dev.paying(&["pay", "--json", &tides])).await.ended_with(4);
    let told = done.told();
    assert_eq!(told[0]["code"], "permit2_allowance_required", "{told:?}");
    assert!(told[0]["help"].as_str().unwrap().contains("--rpc"), "{told:?}");

    // Elsewhere, as the payment that was refused is sent again for as long as it is good.
    let journal = tempfile::tempdir().unwrap();
    let (journal, rpc) = (journal.path().to_str().unwrap(), format!("eip155:84532={}", dev.rpc()));
    for (url, price) in [(&tides, "20000"), (&report, "30000")] {
        let pay = ["pay", "--json", "--journal", journal, "--rpc", &rpc, url];
        let told = run(dev.paying(&pay)).await.ended_with(0).told();
        assert_eq!(told[0]["amount"], price, "{told:?}");
    }
    assert_eq!(dev.usdc(&dev.payer()).await, 100_000_000 - 50_000);
}

#[tokio::test]
async fn every_run_is_paid_at_the_same_account() {
    let (one, two) = (Dev::start().await, Dev::start().await);
    let mut accounts = BTreeSet::new();
    for dev in [&one, &two] {
        let done = run(dev.paying(&["pay", "--dry-run", "--json", &dev.weather()])).await.ended_with(0);
        let plan: Value = serde_json::from_str(&done.stdout).unwrap();
        accounts.insert(plan["payTo"].as_str().unwrap().to_owned());
    }
    assert_eq!(accounts.len(), 1);
}

#[tokio::test]
async fn a_port_in_use_and_an_unknown_network_are_named() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let done = run(tollway(home.path(), &["dev", "--json", "--port", &port])).await.ended_with(1);
    assert!(done.stderr.contains(&port) && done.stderr.contains("--port"), "{}", done.stderr);
    let other = ["dev", "--json", "--rpc", "eip155:1=http://127.0.0.1:1"];
    let done = run(tollway(home.path(), &other)).await.ended_with(1);
    assert!(done.stderr.contains("eip155:1") && done.stderr.contains("eip155:84532"), "{}", done.stderr);
}
