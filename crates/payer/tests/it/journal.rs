//! The journal's files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollway_payer::journal::{Outcome, State};
use tollway_payer::{Budget, Journal, JournalError, PayError, Payer, Policy, Preview, ResourceRule};
use tollway_protocol::{Network, Settlement};

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

async fn honest_is_still_payable(payer: &Payer, after: &str) {
    let honest = Shop::selling(vec![offer("10000")]).await;
    let result = payer.pay(honest.get("/")).await;
    assert!(result.is_ok(), "{after}: {:?}", result.err());
    Journal::open(payer.journal().directory()).unwrap();
}

#[tokio::test]
async fn i19_an_offer_with_two_names_for_its_amount_does_not_damage_the_journal() {
    for more in ["amount", "payTo2", "x402Version", "unknown"] {
        let shop = Shop::open(move |seen, _| match seen.payment() {
            None => ask_v1(&with(v1_offer(&seen.url), more, "1")),
            Some(_) => reply(500),
        })
        .await;
        let (payer, _) = payer(Policy::default());
        payer.pay(shop.get("/")).await.unwrap_err();
        honest_is_still_payable(&payer, more).await;
    }
}

#[tokio::test]
async fn i19_i12_a_receipt_does_not_damage_the_history_whatever_is_in_it_and_counts() {
    let receipt = |more: Value| {
        let mut all =
            json!({"success": true, "transaction": "0x1", "network": "base-sepolia", "payer": PAYER});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        encode(&all)
    };
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let receipts = [
        receipt(json!({"amount": 1})),
        receipt(json!({"network": SEPOLIA, "transaction": "\n".repeat(4000)})),
        receipt(json!({"network": SEPOLIA, "extra": {"x": deep, "y": 9e15}, "odd": "x".repeat(8000)})),
    ];
    for (index, receipt) in receipts.into_iter().enumerate() {
        let name = if index == 0 { "x-payment-response" } else { "payment-response" };
        let shop = Shop::answering(move |_, _| reply(200).header(name, receipt.clone())).await;
        let budget = Budget::total(&money("$0.015")).unwrap();
        let (payer, _) = payer(Policy::default().budget(budget.each_host()));
        let paid = payer.pay(shop.get("/")).await.unwrap().payment.unwrap();
        assert_eq!(paid.unrecorded, None);
        let line = fs::read_to_string(payer.journal().directory().join("history.jsonl")).unwrap();
        assert!(line.len() < 2000 && !line.contains("odd") && !line.contains("extra"), "{line}");
        assert!(payer.pay(shop.get("/more")).await.is_err(), "it counts");
        assert!(matches!(payer.journal().history().unwrap()[..], [_]));
    }
}

#[tokio::test]
async fn i12_i19_a_settlement_with_a_member_twice_is_recorded_without_it() {
    let (payer, _) = payer(Policy::default());
    let url = "https://shop.example/";
    let flight = payer.prepare(&asked(url), &purchase(url)).await.unwrap();
    let mut settlement = Settlement::new(true, Network::new(SEPOLIA).unwrap());
    settlement.transaction = Some("0x1".to_owned());
    settlement.unknown.0.insert("success".to_owned(), json!("no"));
    flight.finish(Outcome::Settled, Some(settlement)).await.unwrap();
    let [record] = &payer.journal().history().unwrap()[..] else { panic!("no record") };
    assert_eq!(record.transaction.as_deref(), Some("0x1"));
    assert!(record.settlement.as_ref().unwrap().unknown.is_empty());
    Journal::open(payer.journal().directory()).unwrap();
}

#[tokio::test]
async fn i19_an_offer_that_grows_when_it_is_written_down_does_not_damage_the_journal() {
    let shop = Shop::open(|seen, _| {
        if seen.payment().is_some() {
            return reply(500);
        }
        if seen.url.len() < 10_000 {
            return reply(302).header("location", format!("/{}", "a".repeat(20_000)));
        }
        let long = format!("\"version\":\"2\",\"x\":[{}9e15]", "9e15,".repeat(12_900));
        let offer = v1_offer("?").to_string().replace("\"version\":\"2\"", &long);
        reply(402).body(format!("{{\"x402Version\":1,\"accepts\":[{offer}]}}"))
    })
    .await;
    let (payer, _) = payer(Policy::default().resource(ResourceRule::Any));
    payer.pay(shop.get("/")).await.unwrap_err();
    honest_is_still_payable(&payer, "after an offer that expands past the longest live file").await;
}

#[tokio::test]
async fn i19_a_purchase_too_long_for_the_journal_is_refused_before_it_is_signed_or_written() {
    let (payer, account) = payer(Policy::default().resource(ResourceRule::Any));
    for length in [242_000, 255_000, 300_000] {
        let url = format!("https://shop.example/{}", "a".repeat(length));
        let error = payer.prepare(&asked("https://shop.example/"), &purchase(&url)).await.unwrap_err();
        assert!(matches!(error, PayError::Journal(JournalError::NotWritten { .. })), "{error}");
    }
    assert_eq!((account.count(), payer.journal().live().unwrap().len()), (0, 0));
    assert_eq!(fs::read_dir(payer.journal().directory().join("live")).unwrap().count(), 0);
    let url = format!("https://shop.example/{}", "a".repeat(241_000 - 1_000));
    let flight = payer.prepare(&asked("https://shop.example/"), &purchase(&url)).await.unwrap();
    let long = Some("\u{1f600}\"".repeat(100_000));
    flight.keep(State::Unknown, long.clone(), long).await.unwrap();
    honest_is_still_payable(&payer, "after purchases with URLs of any length").await;
}

#[tokio::test]
async fn cl11_spellings_of_one_recipient_are_one_recipient() {
    let shop = Shop::open(|seen, n| match seen.payment() {
        None => {
            let mut to = MALLORY.replace("666666", "abcdef").into_bytes();
            for (at, byte) in to.iter_mut().skip(2).enumerate() {
                if (n / 2) >> (at % 6) & 1 == 1 {
                    byte.make_ascii_uppercase();
                }
            }
            ask(seen, &[with(offer("1"), "payTo", String::from_utf8(to).unwrap())])
        }
        Some(_) => reply(200).settled("0x1"),
    })
    .await;
    let (payer, _) = payer(Policy::default());
    for n in 0..8 {
        payer.pay(shop.get(&format!("/{n}"))).await.unwrap();
    }
    let text = fs::read(payer.journal().directory().join("recipients.json")).unwrap();
    let kept: Value = serde_json::from_slice(&text).unwrap();
    let one = MALLORY.replace("666666", "abcdef");
    assert_eq!(kept, json!({format!("{} {SEPOLIA}", shop.origin): [one]}));
}

#[tokio::test]
async fn a_journal_that_another_process_holds_does_not_hold_up_the_async_thread() {
    let (payer, _) = payer(Policy::default());
    let shop = Shop::selling(vec![offer("10000")]).await;
    let url = format!("{}/", shop.origin);
    let (asked, purchase) = (asked(&url), purchase(&url));
    let lock = fs::File::open(payer.journal().directory().join("lock")).unwrap();
    lock.lock().unwrap();
    // On one thread: what blocked it would be over before anything else ran.
    let others = tokio::task::yield_now;
    let mut plan = Box::pin(payer.plan(&asked, &purchase));
    let mut outstanding = Box::pin(payer.outstanding(&purchase));
    let mut preview = Box::pin(payer.dry_run(shop.get("/")));
    tokio::select! { biased; _ = &mut plan => panic!("it is locked"), () = others() => {} }
    tokio::select! { biased; _ = &mut outstanding => panic!("it is locked"), () = others() => {} }
    tokio::select! { biased; _ = &mut preview => panic!("it is locked"), () = others() => {} }
    lock.unlock().unwrap();
    assert_eq!(plan.await.unwrap().index, 0);
    assert!(outstanding.await.unwrap().is_none());
    assert!(matches!(preview.await.unwrap(), Preview::Pay(_)));
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
