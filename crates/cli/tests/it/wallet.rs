//! `tollway wallet`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::common::{Dev, files, run, tollway};

/// The address of the key of 32 times 0x11.
const ADDRESS: &str = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A";

fn wallet(home: &Path, args: &[&str]) -> tokio::process::Command {
    let mut command = tollway(home, &[&["wallet"], args].concat());
    command.env("TOLLWAY_PASSPHRASE", "correct horse");
    command
}

#[tokio::test]
async fn a_new_wallet_has_an_address_and_is_never_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let new = run(wallet(home.path(), &["new"])).await.ended_with(0);
    let address = run(tollway(home.path(), &["wallet", "address"])).await.ended_with(0);
    assert_eq!(new.stdout, address.stdout, "and without the passphrase");
    assert!(address.stdout.starts_with("0x") && address.stdout.trim().len() == 42, "{}", address.stdout);

    let before = files(home.path());
    for again in ["new", "import"] {
        let done = run(wallet(home.path(), &[again])).await.ended_with(1);
        assert!(done.stderr.contains("not overwritten"), "{}", done.stderr);
    }
    assert_eq!(files(home.path()), before);
    let mode = std::fs::metadata(home.path().join("keystore")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_key_is_imported_from_the_environment_or_stdin_and_is_not_readable_on_disk() {
    let home = tempfile::tempdir().unwrap();
    let key = "11".repeat(32);
    let mut from_env = wallet(home.path(), &["import"]);
    from_env.env("TOLLWAY_PRIVATE_KEY", &key);
    assert_eq!(run(from_env).await.ended_with(0).stdout.trim(), ADDRESS);

    let other = home.path().join("other");
    let mut command = wallet(home.path(), &["import", "--json", "--keystore", other.to_str().unwrap()]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("0x{key}\n").as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["address"].as_str().unwrap().to_lowercase(), ADDRESS.to_lowercase());
    let kept = files(home.path());
    assert_eq!(kept.len(), 2);
    for (path, text) in kept {
        assert!(!text.contains(&key), "{path}");
    }
}

#[tokio::test]
async fn i16_a_wrong_key_is_refused_without_being_repeated() {
    let home = tempfile::tempdir().unwrap();
    for wrong in ["s3cret", &"00".repeat(32), &"ff".repeat(32)] {
        let mut command = wallet(home.path(), &["import"]);
        command.env("TOLLWAY_PRIVATE_KEY", wrong);
        let done = run(command).await.ended_with(1);
        assert!(!done.stderr.contains(wrong), "{}", done.stderr);
    }
    assert_eq!(files(home.path()), Vec::new());
}

#[tokio::test]
async fn without_a_terminal_a_passphrase_must_be_in_the_environment() {
    let home = tempfile::tempdir().unwrap();
    let done = run(tollway(home.path(), &["wallet", "new"])).await.ended_with(1);
    assert!(done.stderr.contains("TOLLWAY_PASSPHRASE"), "{}", done.stderr);
    assert_eq!(files(home.path()), Vec::new());
}

#[tokio::test]
async fn the_balance_is_what_the_chain_says() {
    let dev = Dev::start().await;
    let args = ["wallet", "balance", "--rpc", &dev.rpc(), "--network", "base-sepolia", "--json"];
    let done = run(dev.paying(&args)).await.ended_with(0);
    let line: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(line["balances"]["USDC"], "100");
    assert_eq!(line["balances"]["coin"], "0");
    let args = ["wallet", "balance", "--rpc", &dev.rpc(), "--network", "base"];
    let done = run(dev.paying(&args)).await.ended_with(1);
    assert!(done.stderr.contains("84532") && done.stderr.contains("8453"), "{}", done.stderr);
}
