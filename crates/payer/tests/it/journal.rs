//! The journal's files.

use std::fs;
use std::path::{Path, PathBuf};

use tollway_payer::{Journal, JournalError, PayError, Payer};

use crate::common::*;

async fn with_a_live_payment(directory: &Path) -> (Shop, Payer, Account) {
    let shop = Shop::answering(|_, n| if n == 0 { reply(500) } else { reply(200).settled("0x1") }).await;
    let account = Account::new();
    let journal = Journal::open(directory).unwrap();
    let payer = builder(&account, &journal, &Clock::new()).build().unwrap();
    let mut request = shop.get("/x?q=1");
    request.url_mut().set_password(Some("pa55")).unwrap();
    assert!(matches!(payer.pay(request).await, Err(PayError::Unknown(_))));
    (shop, payer, account)
}

fn live_file(directory: &Path) -> PathBuf {
    let files: Vec<_> =
        fs::read_dir(directory.join("live")).unwrap().map(|item| item.unwrap().path()).collect();
    let [one] = files.as_slice() else { panic!("{files:?}") };
    one.clone()
}

#[tokio::test]
async fn i16_the_files_are_private_and_hold_no_url_credentials() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let _kept = with_a_live_payment(directory.path()).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.path()), 0o700);
    assert_eq!(mode(&directory.path().join("live")), 0o700);
    let live = live_file(directory.path());
    for path in
        [live.clone(), directory.path().join("recipients.json"), directory.path().join("history.jsonl")]
    {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    let text = fs::read_to_string(&live).unwrap();
    assert!(!text.contains("pa55") && text.contains("/x?q=1"), "{text}");
}

#[tokio::test]
async fn i19_a_damaged_live_file_stops_all_payments_and_is_named() {
    for damage in ["", "{", "{}", "null"] {
        let directory = tempfile::tempdir().unwrap();
        let (shop, payer, account) = with_a_live_payment(directory.path()).await;
        let file = live_file(directory.path());
        fs::write(&file, damage).unwrap();
        let error = payer.pay(shop.get("/another")).await.unwrap_err();
        assert!(
            matches!(&error, PayError::Journal(JournalError::Corrupt { path, .. }) if *path == file),
            "{error}"
        );
        assert!(matches!(Journal::open(directory.path()), Err(JournalError::Corrupt { .. })));
        assert_eq!(account.count(), 1);
    }
}

#[tokio::test]
async fn i19_a_live_file_under_another_name_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let _kept = with_a_live_payment(directory.path()).await;
    let file = live_file(directory.path());
    fs::rename(&file, file.with_file_name("renamed.json")).unwrap();
    assert!(matches!(Journal::open(directory.path()), Err(JournalError::Corrupt { .. })));
}

#[tokio::test]
async fn i19_a_damaged_history_or_recipients_file_stops_all_payments() {
    for name in ["history.jsonl", "recipients.json"] {
        let directory = tempfile::tempdir().unwrap();
        let (shop, payer, _) = with_a_live_payment(directory.path()).await;
        fs::write(directory.path().join(name), "{\"id\": 1}\nnonsense\n").unwrap();
        let error = payer.pay(shop.get("/another")).await.unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn i19_a_history_that_lost_lines_stops_all_payments() {
    let directory = tempfile::tempdir().unwrap();
    let (shop, payer, _) = with_a_live_payment(directory.path()).await;
    payer.pay(shop.get("/another")).await.unwrap();
    fs::write(directory.path().join("history.jsonl"), "").unwrap();
    let error = payer.pay(shop.get("/another")).await.unwrap_err();
    assert!(error.to_string().contains("shorter than it was"), "{error}");
}

#[tokio::test]
async fn i13_a_crash_between_history_and_removal_counts_once_and_sends_nothing_again() {
    let directory = tempfile::tempdir().unwrap();
    let (shop, payer, account) = with_a_live_payment(directory.path()).await;
    let file = live_file(directory.path());
    let bytes = fs::read(&file).unwrap();
    assert!(payer.pay(shop.get("/x?q=1")).await.unwrap().payment.unwrap().resent);
    fs::write(&file, bytes).unwrap();
    assert!(payer.journal().live().unwrap().is_empty());
    assert!(!payer.pay(shop.get("/x?q=1")).await.unwrap().payment.unwrap().resent);
    assert_eq!(account.count(), 2);
}

#[tokio::test]
async fn i13_a_history_line_cut_by_a_crash_is_dropped_because_its_payment_is_still_live() {
    let directory = tempfile::tempdir().unwrap();
    let (shop, payer, _) = with_a_live_payment(directory.path()).await;
    payer.pay(shop.get("/another")).await.unwrap();
    let path = directory.path().join("history.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], b"{\"id\":\"cut"].concat()).unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    assert_eq!((journal.history().unwrap().len(), journal.live().unwrap().len()), (1, 1));
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[tokio::test]
async fn a_temporary_journal_is_gone_with_its_last_clone() {
    let journal = Journal::temporary().unwrap();
    let (path, clone) = (journal.directory().to_owned(), journal.clone());
    drop(journal);
    assert!(path.exists());
    drop(clone);
    assert!(!path.exists());
}
