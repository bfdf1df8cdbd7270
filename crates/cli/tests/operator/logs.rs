//! What becomes of payments when the log can't be written (fault fx-D2).

use std::fs::OpenOptions;
use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::common::{json_lines, run};
use crate::world::World;

#[tokio::test]
async fn fx_d2_a_full_disk_under_the_log_stops_no_payment() {
    let world = World::new().await;
    let mut command = world.command("");
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    command.env("RUST_LOG", "trace").stderr(Stdio::from(full)).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = stdout.next_line().await.unwrap().expect("it ended before it was ready");
    let url = serde_json::from_str::<serde_json::Value>(&ready).unwrap()["url"].as_str().unwrap().to_owned();
    for nonce in 1..=3 {
        let request = world.payment(nonce).await.request;
        let answer =
            reqwest::Client::new().post(format!("{url}/settle")).json(&request).send().await.unwrap();
        let settled: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(settled["success"], json!(true), "{settled}");
    }
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_log_that_is_no_terminal_is_json() {
    let world = World::new().await;
    let mut command = world.command("");
    command.arg("--check").env("TOLLWAY_NO_SUCH_SETTING", "1");
    let done = run(command).await.ended_with(0);
    let lines = json_lines(&done.stderr);
    let warned = lines.iter().find(|line| line["variable"] == "TOLLWAY_NO_SUCH_SETTING").expect("no warning");
    assert_eq!((&warned["level"], lines.len()), (&json!("WARN"), done.stderr.lines().count()));
}
