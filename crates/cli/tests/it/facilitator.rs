//! `tollway facilitator`.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::common::{Dev, Running, run, tollway};

fn config(home: &Path, text: &str) -> PathBuf {
    let path = home.join("facilitator.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn facilitator(home: &Path, text: &str, more: &[&str]) -> Command {
    let path = config(home, text);
    let mut command = tollway(home, &[&["facilitator", "--config", path.to_str().unwrap()], more].concat());
    command.env("FACILITATOR_KEY", format!("0x{}", "21".repeat(32))).current_dir(home);
    command
}

const GOOD: &str = r#"listen = "127.0.0.1:0"
ledger = "facilitator.db"

[[network]]
id = "eip155:84532"
rpc = "http://127.0.0.1:1/secret-path"
signer = { key_env = "FACILITATOR_KEY" }
"#;

#[tokio::test]
async fn a_good_configuration_is_called_good_and_shows_no_secret() {
    let home = tempfile::tempdir().unwrap();
    let done = run(facilitator(home.path(), GOOD, &["--check"])).await.ended_with(0);
    assert!(done.stdout.contains("good") && done.stdout.contains("eip155:84532"), "{}", done.stdout);
    assert!(!done.stdout.contains("secret-path") && !done.stdout.contains("2121"), "{}", done.stdout);
    assert!(!home.path().join("facilitator.db").exists(), "a check makes no ledger");
}

#[tokio::test]
async fn a_bad_configuration_is_told_with_line_and_key() {
    let home = tempfile::tempdir().unwrap();
    for (from, to, said) in [
        ("ledger =", "ledgr =", "line 2, column 1: ledgr"),
        ("\"127.0.0.1:0\"", "7", "line 1, column 10: listen"),
        ("\"eip155:84532\"", "\"base sepolia\"", "line 5, column 6: network[0].id"),
        ("signer =", "confirmations = 0\nsigner =", "line 7: network[0].confirmations"),
        ("signer =", "gas = { max_fee_gwei = 0 }\nsigner =", "line 7: network[0].gas.max_fee_gwei"),
        ("[[network]]", "[[network]", "line 4"),
        ("FACILITATOR_KEY", "NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE is not set"),
    ] {
        let text = GOOD.replace(from, to);
        let done = run(facilitator(home.path(), &text, &["--check"])).await.ended_with(1);
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
        let served = run(facilitator(home.path(), &text, &[])).await.ended_with(1);
        assert!(served.stderr.contains(said), "it does not serve either: {}", served.stderr);
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let home = tempfile::tempdir().unwrap();
    let done = run(tollway(home.path(), &["facilitator", "--config", "nowhere.toml"])).await.ended_with(1);
    assert!(done.stderr.contains("nowhere.toml"), "{}", done.stderr);
}

#[tokio::test]
async fn it_serves_says_where_and_stops_when_asked() {
    let dev = Dev::start().await;
    let home = tempfile::tempdir().unwrap();
    let text = GOOD.replace("http://127.0.0.1:1/secret-path", &dev.rpc());
    let running = Running::start(facilitator(home.path(), &text, &[])).await;
    let url = running.text("/url");
    assert_eq!(running.ready["ready"], true);
    assert_eq!(running.ready["kinds"][0]["scheme"], "exact");
    let get = async |path: &str| reqwest::get(format!("{url}{path}")).await.unwrap();
    assert_eq!(get("/healthz").await.status(), 200);
    let unready = get("/readyz").await;
    assert_eq!(unready.status(), 503, "its account has no ether");
    assert!(unready.text().await.unwrap().contains("fund it"));
    assert_eq!(get("/supported").await.json::<Value>().await.unwrap()["kinds"][0]["network"], "eip155:84532");
    assert!(get("/metrics").await.text().await.unwrap().contains("tollway_facilitator_http_responses_total"));
    let (status, more) = running.terminate().await;
    assert!(status.success() && more.is_empty(), "{status} {more:?}");
}

#[tokio::test]
async fn an_environment_variable_overrides_the_file() {
    let home = tempfile::tempdir().unwrap();
    let mut command = facilitator(home.path(), GOOD, &["--check"]);
    command.env("TOLLWAY_NETWORK_EIP155_84532_RPC", "https://else.example/key");
    let done = run(command).await.ended_with(0);
    assert!(
        done.stdout.contains("https://else.example,") && !done.stdout.contains("/key"),
        "{}",
        done.stdout
    );
    let mut command = facilitator(home.path(), GOOD, &["--check"]);
    command.env("TOLLWAY_LIMITS_SETTLE_SECONDS", "soon");
    let done = run(command).await.ended_with(1);
    assert!(
        done.stderr.contains("TOLLWAY_LIMITS_SETTLE_SECONDS") && !done.stderr.contains("soon"),
        "{}",
        done.stderr
    );
}
