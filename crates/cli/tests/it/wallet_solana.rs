//! `tollway wallet` with Solana's account, and recovery phrases.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::common::{Done, files, run, tollway};

const PHRASE: &str =
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
const EVM: &str = "0x9858EfFD232B4033E47d90003D41EC34EcaEda94";
const SOLANA: &str = "HAgk14JpMQLgt6rVgv7cBQFJWFto5Dqxi472uT3DKpqk";

fn wallet(home: &Path, args: &[&str]) -> tokio::process::Command {
    let mut command = tollway(home, &[&["wallet"], args].concat());
    command.env("TOLLWAY_PASSPHRASE", "correct horse");
    command
}

/// With this on stdin.
async fn given(mut command: tokio::process::Command, text: &str) -> Done {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Both addresses, as `wallet address` has them.
async fn addresses(home: &Path) -> (Value, Value) {
    let done = run(tollway(home, &["wallet", "address", "--json"])).await.ended_with(0);
    let mut line: Value = serde_json::from_str(&done.stdout).unwrap();
    (line["address"].take(), line["solana"]["address"].take())
}

#[tokio::test]
async fn a_recovery_phrase_is_taken_back_from_stdin_for_both_accounts() {
    let home = tempfile::tempdir().unwrap();
    let done = given(wallet(home.path(), &["import"]), PHRASE).await.ended_with(0);
    assert_eq!(done.stdout.trim(), EVM, "one address on stdout");
    assert!(done.stderr.contains(SOLANA), "{}", done.stderr);
    let (evm, solana) = addresses(home.path()).await;
    assert_eq!((evm.as_str().unwrap().to_lowercase(), solana.as_str()), (EVM.to_lowercase(), Some(SOLANA)));
    let shown = run(tollway(home.path(), &["wallet", "address", "--solana"])).await.ended_with(0);
    assert_eq!(shown.stdout.trim(), SOLANA);
}

#[tokio::test]
async fn i16_a_new_phrase_is_shown_once_and_is_in_no_file() {
    let home = tempfile::tempdir().unwrap();
    for (args, count) in [(vec!["new", "--mnemonic"], 12), (vec!["new", "--mnemonic", "24"], 24)] {
        let store = home.path().join(count.to_string());
        let place = ["--keystore", store.to_str().unwrap()];
        let done = run(wallet(home.path(), &[args.as_slice(), &place].concat())).await.ended_with(0);
        let phrase = done.stderr.lines().find(|line| line.starts_with("  ")).unwrap().trim();
        assert_eq!(phrase.split(' ').count(), count);
        assert!(!done.stdout.contains(phrase), "{}", done.stdout);
        for (path, text) in files(home.path()) {
            let found = phrase.split(' ').filter(|word| text.contains(&format!("{word} "))).count();
            assert_eq!(found, 0, "{path}");
        }
        let other = tempfile::tempdir().unwrap();
        let again = given(wallet(other.path(), &["import"]), phrase).await.ended_with(0);
        assert_eq!(again.stdout, done.stdout, "it is the phrase of these keys");
    }
}

#[tokio::test]
async fn solanas_key_is_added_to_a_wallet_that_has_the_other_one_with_the_same_passphrase() {
    let home = tempfile::tempdir().unwrap();
    let mut import = wallet(home.path(), &["import"]);
    import.env("TOLLWAY_PRIVATE_KEY", "11".repeat(32));
    run(import).await.ended_with(0);
    assert_eq!(addresses(home.path()).await.1, Value::Null);
    let mut other = wallet(home.path(), &["new", "--solana"]);
    other.env("TOLLWAY_PASSPHRASE", "another one");
    let done = run(other).await.ended_with(1);
    assert!(done.stderr.contains("TOLLWAY_PASSPHRASE"), "{}", done.stderr);
    assert_eq!(files(home.path()).len(), 1, "nothing was written");
    let new = run(wallet(home.path(), &["new", "--solana"])).await.ended_with(0);
    assert_eq!(addresses(home.path()).await.1, Value::String(new.stdout.trim().to_owned()));
    let again = run(wallet(home.path(), &["new", "--solana"])).await.ended_with(1);
    assert!(
        again.stderr.contains("keystore-solana") && again.stderr.contains("not overwritten"),
        "{}",
        again.stderr
    );
}

#[tokio::test]
async fn a_key_is_told_by_its_form() {
    let base58 = "29d2S7vB453rNYFdR5Ycwt7y9haRT5fwVwL9zTmBhfV2";
    for (text, address) in [
        (base58, "F25s3DdjXdCxYBhh2z8FBusVEMT4b9bGNFVKJi3wFoF4"),
        (&"11".repeat(32), "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let done = given(wallet(home.path(), &["import"]), text).await.ended_with(0);
        assert_eq!(done.stdout.trim(), address);
    }
    for wrong in ["[1,2,3]", "s3cret words", "zz", base58.replace('2', "0").as_str()] {
        let home = tempfile::tempdir().unwrap();
        let done = given(wallet(home.path(), &["import"]), wrong).await.ended_with(1);
        assert!(!done.stderr.contains(wrong), "{}", done.stderr);
        assert_eq!(files(home.path()), Vec::new());
    }
}
