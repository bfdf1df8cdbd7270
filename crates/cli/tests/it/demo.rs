//! `tollway demo`.

use serde_json::{Value, json};

use crate::common::{json_lines, run, tollway};

#[tokio::test]
async fn the_demo_tells_seven_steps_on_each_chain_and_moves_exactly_the_price() {
    let home = tempfile::tempdir().unwrap();
    let done = run(tollway(home.path(), &["demo"])).await.ended_with(0);
    let lines = json_lines(&done.stdout);
    assert_eq!(lines.len(), done.stdout.lines().count(), "nothing but JSON lines without a terminal");
    let (last, steps) = lines.split_last().unwrap();
    assert_eq!(*last, json!({ "done": true }));
    let names: Vec<_> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    let all = ["ask", "choose", "sign", "pay", "settle", "answer", "balances"];
    assert_eq!(names, [all, all].concat());
    let (evm, solana) = steps.split_at(all.len());
    for (steps, network) in [(evm, "eip155:84532"), (solana, "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1")] {
        assert!(steps.iter().all(|step| step["network"] == network), "{steps:?}");
        told(steps);
    }
    let seen = |steps: &[Value], name: &str| by_name(steps, name).clone();
    let authorization = &seen(evm, "pay")["PAYMENT-SIGNATURE"]["payload"]["authorization"];
    assert_eq!(seen(evm, "sign")["message"], *authorization);
    let (sign, settle) = (seen(solana, "sign"), seen(solana, "settle"));
    assert_eq!((&sign["signedByThePayer"], &sign["signedByTheFeePayer"]), (&json!(true), &json!(false)));
    assert_eq!(sign["transferChecked"]["amount"], 10000);
    assert_eq!(sign["transferChecked"]["authority"], seen(solana, "choose")["payer"]);
    assert_eq!(sign["transferChecked"]["feePayer"], settle["feePaidBy"]);
    assert!(settle["feeLamports"].as_u64() >= Some(10_000), "two signatures: {settle}");
}

fn by_name<'a>(steps: &'a [Value], name: &str) -> &'a Value {
    &steps.iter().find(|step| step["name"] == name).unwrap()["seen"]
}

/// What is told of each chain alike.
fn told(steps: &[Value]) {
    let seen = |name: &str| by_name(steps, name);
    assert_eq!(seen("ask")["status"], 402);
    assert_eq!(seen("ask")["PAYMENT-REQUIRED"]["accepts"].as_array().unwrap().len(), 2);
    assert_eq!(seen("ask")["PAYMENT-REQUIRED"]["accepts"][0]["amount"], "10000");
    assert_eq!(seen("settle")["rpcRoundTrips"], 1);
    assert_eq!(seen("answer")["status"], 200);
    assert_eq!(seen("answer")["PAYMENT-RESPONSE"]["transaction"], seen("settle")["transaction"]);
    assert_eq!(seen("answer")["PAYMENT-RESPONSE"]["success"], true);
    let balances = seen("balances");
    for (member, value) in [
        ("price", "0.01"),
        ("payerBefore", "1"),
        ("payerAfter", "0.99"),
        ("sellerBefore", "0"),
        ("sellerAfter", "0.01"),
    ] {
        assert_eq!(balances[member], value, "{member}");
    }
}

#[tokio::test]
async fn i16_no_whole_signature_is_shown() {
    let home = tempfile::tempdir().unwrap();
    for format in ["text", "json"] {
        let done = run(tollway(home.path(), &["demo", "--format", format])).await.ended_with(0);
        let longest = done.stdout.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max().unwrap();
        assert!(longest <= 64, "{format}: {longest} digits in a row");
        assert!(!done.stdout.contains('\u{1b}'), "colours on a terminal only");
    }
}
