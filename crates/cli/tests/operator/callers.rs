//! Keys, lists and look-ups, with the real binary.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::common::{Running, run, tollway};
use crate::world::{World, answer, post};

/// A fresh key, and the table for the configuration.
async fn key(world: &World, name: &str) -> (String, String) {
    let done = run(tollway(world.home.path(), &["facilitator", "key", "--name", name])).await.ended_with(0);
    let (first, table) = done.stdout.split_once("\n\n").unwrap();
    (first.trim_start_matches("key:").trim().to_owned(), table.to_owned())
}

#[tokio::test]
async fn a_new_key_opens_the_facilitator_and_its_hash_does_not() {
    let world = World::new().await;
    let (key, table) = key(&world, "shop").await;
    assert!(key.starts_with("twk_") && key.len() == 68 && !table.contains(&key), "{table}");
    let running = world.start(&table).await;
    let paid = world.payment(1).await;
    let (status, refused) = answer(post(&running, "/settle", &paid.request)).await;
    assert_eq!((status, &refused["errorReason"]), (401, &json!("facilitator_unavailable")));
    let hash = table.split('"').nth(3).unwrap();
    assert_eq!(answer(post(&running, "/settle", &paid.request).bearer_auth(hash)).await.0, 401);
    let (status, settled) = answer(post(&running, "/settle", &paid.request).bearer_auth(&key)).await;
    assert_eq!((status, &settled["success"]), (200, &json!(true)), "{settled}");

    let lookup = |key: &str| {
        let key = utf8_percent_encode(key, NON_ALPHANUMERIC);
        reqwest::Client::new().get(format!("{}/settlements/{key}", running.text("/url")))
    };
    assert_eq!(answer(lookup(paid.key.as_str())).await.0, 401);
    let (status, state) = answer(lookup(paid.key.as_str()).header("x-api-key", &key)).await;
    assert_eq!((status, &state["state"]), (200, &json!("settled")), "{state}");
    assert_eq!(state["transaction"], settled["transaction"]);
    let other = world.payment(2).await;
    let (status, state) = answer(lookup(other.key.as_str()).header("x-api-key", &key)).await;
    assert_eq!((status, &state["state"]), (200, &json!("unknown")), "cl7: absent is unknown: {state}");
    let (status, _) = running.terminate().await;
    assert!(status.success());
}

#[tokio::test]
async fn fa26_a_payer_from_a_file_is_refused_and_what_was_settled_before_stays_settled() {
    let world = World::new().await;
    let before = world.start("").await;
    let paid = world.payment(1).await;
    let (_, settled) = answer(post(&before, "/settle", &paid.request)).await;
    assert_eq!(settled["success"], json!(true), "{settled}");
    assert!(before.terminate().await.0.success());

    let list = world.home.path().join("denied.txt");
    std::fs::write(&list, format!("# refused\n{}\n", world.payer.address())).unwrap();
    let running = world.start(&format!("[[deny]]\npayer_file = {list:?}\n")).await;
    let new = world.payment(2).await;
    for path in ["/verify", "/settle"] {
        let (status, refused) = answer(post(&running, path, &new.request)).await;
        let reason = refused.get("errorReason").or(refused.get("invalidReason"));
        assert_eq!((status, reason), (200, Some(&json!("payment_not_allowed"))), "{refused}");
    }
    let (_, again) = answer(post(&running, "/settle", &paid.request)).await;
    assert_eq!(
        (&again["success"], &again["transaction"]),
        (&json!(true), &settled["transaction"]),
        "i18: {again}"
    );
}

#[tokio::test]
async fn files_and_variables_that_keys_need_are_asked_for_by_name() {
    let world = World::new().await;
    let file = world.home.path().join("key.sha256");
    let more = format!(
        "[[keys]]\nname = \"a\"\nhash_file = {file:?}\n[[keys]]\nname = \"b\"\nkey_env = \"B_KEY\"\n"
    );
    let mut missing = world.command(&more);
    missing.arg("--check");
    let done = run(missing).await.ended_with(1);
    assert!(done.stderr.contains("B_KEY"), "{}", done.stderr);
    let check = || {
        let mut command = world.command(&more);
        command.arg("--check").env("B_KEY", "k".repeat(40));
        command
    };
    let done = run(check()).await.ended_with(1);
    assert!(done.stderr.contains("keys[0].hash_file"), "{}", done.stderr);
    std::fs::write(&file, "twk_a-key-and-no-hash").unwrap();
    let done = run(check()).await.ended_with(1);
    assert!(done.stderr.contains("64 hex digits") && !done.stderr.contains("twk_"), "{}", done.stderr);
    std::fs::write(&file, format!("{}\n", "ab".repeat(32))).unwrap();
    let done = run(check()).await.ended_with(0);
    assert!(done.stdout.contains("2 API keys") && !done.stdout.contains("abab"), "{}", done.stdout);
}

#[tokio::test]
async fn fa29_with_no_descriptors_left_it_waits_and_then_serves_again() {
    let world = World::new().await;
    let config = world.config("");
    let mut command = Command::new("sh");
    let script = "ulimit -n 48; exec \"$0\" facilitator --config \"$1\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_tollway"), config.to_str().unwrap()]);
    command.env("FACILITATOR_KEY", format!("0x{}", "21".repeat(32))).env("TOLLWAY_HOME", world.home.path());
    command.kill_on_drop(true);
    let running = Running::start(command).await;
    let address = running.text("/url").trim_start_matches("http://").to_owned();
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(TcpStream::connect(&address).await.unwrap());
    }
    // It takes the first ones and runs out of descriptors: the last one waits in the system's queue.
    let mut last = held.pop().unwrap();
    last.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    held[0].write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut first = String::new();
    held[0].read_to_string(&mut first).await.unwrap();
    assert!(first.ends_with("{\"status\":\"alive\"}"), "{first}");
    drop(held);
    let mut text = String::new();
    last.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("{\"status\":\"alive\"}"), "{text}");
    assert!(running.terminate().await.0.success());
}
