//! Budgets, reserved before signing, by however many calls and processes.

use std::process::Command;
use std::sync::Arc;

use serde_json::json;
use tollway_payer::journal::Outcome;
use tollway_payer::{Budget, Journal, PayError, Pinning, Policy, PolicyError, ResourceRule, Unfit};

use crate::common::*;

fn overdrawn(error: &PayError) -> bool {
    matches!(error, PayError::Policy(PolicyError::Budget(_)))
}

async fn all_at_once(payers: Vec<tollway_payer::Payer>, shop: Arc<Shop>) -> (usize, usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for (index, payer) in payers.into_iter().enumerate() {
        let shop = Arc::clone(&shop);
        tasks.spawn(async move { payer.pay(shop.get(&format!("/{index}"))).await });
    }
    let (mut paid, mut refused) = (0, 0);
    while let Some(result) = tasks.join_next().await {
        match result.unwrap() {
            Ok(_) => paid += 1,
            Err(error) if overdrawn(&error) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    (paid, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn i12_cl04_fifty_parallel_payments_on_a_budget_for_ten_are_ten() {
    let policy = Policy::default().budget(Budget::daily(&money("$0.10")).unwrap());
    let (payer, account) = payer(policy);
    let shop = Arc::new(Shop::selling(vec![offer("10000")]).await);
    assert_eq!(all_at_once(vec![payer; 50], Arc::clone(&shop)).await, (10, 40));
    assert_eq!((account.count(), shop.payments().len()), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn i12_cl04_two_journals_on_one_directory_share_the_budget() {
    let directory = tempfile::tempdir().unwrap();
    let (account, clock) = (Account::new(), Clock::new());
    let payers = (0..50).map(|_| {
        let journal = Journal::open(directory.path()).unwrap();
        let policy = Policy::default().budget(Budget::total(&money("$0.10")).unwrap());
        builder(&account, &journal, &clock).policy(policy).build().unwrap()
    });
    let shop = Arc::new(Shop::selling(vec![offer("10000")]).await);
    assert_eq!(all_at_once(payers.collect(), shop).await, (10, 40));
    assert_eq!(account.count(), 10);
}

/// Not a test of its own: what the other processes of the next test do.
#[tokio::test]
async fn in_another_process() {
    let (Ok(directory), Ok(origin)) = (std::env::var("PAYER_TEST_DIR"), std::env::var("PAYER_TEST_SHOP"))
    else {
        return;
    };
    let journal = Journal::open(directory).unwrap();
    let policy = Policy::default().budget(Budget::total(&money("$0.10")).unwrap());
    let payer = builder(&Account::new(), &journal, &Clock::new()).policy(policy).build().unwrap();
    for index in 0..10 {
        let url = format!("{origin}/{}/{index}", std::process::id());
        let request = reqwest::Request::new(reqwest::Method::GET, url::Url::parse(&url).unwrap());
        match payer.pay(request).await {
            Ok(_) => {}
            Err(error) => assert!(overdrawn(&error), "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i12_cl04_processes_share_the_budget() {
    let directory = tempfile::tempdir().unwrap();
    let shop = Shop::selling(vec![offer("10000")]).await;
    let children: Vec<_> = (0..3)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "budgets::in_another_process"])
                .env("PAYER_TEST_DIR", directory.path())
                .env("PAYER_TEST_SHOP", &shop.origin)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
        assert!(status.success());
    }
    assert_eq!(shop.payments().len(), 10);
    assert_eq!(Journal::open(directory.path()).unwrap().history().unwrap().len(), 10);
}

#[tokio::test]
async fn cl05_a_refused_payment_holds_its_budget_until_it_ends_and_counts_until_it_is_proven_unused() {
    let shop = Shop::answering(|seen, _| ask(seen, &[offer("10000")])).await;
    for release in [false, true] {
        let journal = Journal::temporary().unwrap();
        let (account, clock) = (Account::new(), Clock::new());
        let mut policy = Policy::default().budget(Budget::total(&money("$0.015")).unwrap());
        if release {
            policy = policy.release_unproven();
        }
        let payer = builder(&account, &journal, &clock).policy(policy).build().unwrap();
        assert!(matches!(payer.pay(shop.get("/a")).await, Err(PayError::Refused(_))));
        assert!(overdrawn(&payer.pay(shop.get("/b")).await.unwrap_err()), "it is live");
        clock.advance(60 + 119);
        assert!(overdrawn(&payer.pay(shop.get("/b")).await.unwrap_err()), "it has just ended");
        clock.advance(2);
        let after = payer.pay(shop.get("/b")).await.unwrap_err();
        assert_eq!(overdrawn(&after), !release, "{after}");
        let [unproven, ..] = &journal.history().unwrap()[..] else { panic!("no record") };
        assert_eq!(unproven.outcome, Outcome::Unproven);
        if !release {
            let at = tollway_protocol::door::UnixTime(1);
            assert!(journal.release(&unproven.id, at).unwrap());
            assert!(!journal.release(&unproven.id, at).unwrap(), "once");
            assert!(matches!(payer.pay(shop.get("/b")).await, Err(PayError::Refused(_))));
        }
    }
}

#[tokio::test]
async fn i12_a_daily_budget_slides_and_its_error_says_when_it_is_free_again() {
    let journal = Journal::temporary().unwrap();
    let (account, clock) = (Account::new(), Clock::new());
    let policy = Policy::default().budget(Budget::daily(&money("$0.01")).unwrap());
    let payer = builder(&account, &journal, &clock).policy(policy).build().unwrap();
    let shop = Shop::selling(vec![offer("10000")]).await;
    payer.pay(shop.get("/")).await.unwrap();
    let error = payer.pay(shop.get("/")).await.unwrap_err().to_string();
    for part in ["$0.01 asked", "budget of $0.01 a day", "$0.01 is spent", "Policy::budget", "wait until"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    clock.advance(86_401);
    payer.pay(shop.get("/")).await.unwrap();
}

#[tokio::test]
async fn i12_a_budget_for_each_host_does_not_touch_other_hosts() {
    let policy = Policy::default().budget(Budget::total(&money("$0.01")).unwrap().each_host());
    let (payer, _) = payer(policy);
    let shop = Shop::selling(vec![offer("10000")]).await;
    payer.pay(shop.get("/")).await.unwrap();
    assert!(overdrawn(&payer.pay(shop.get("/")).await.unwrap_err()));
    let mut other = shop.get("/");
    other.url_mut().set_host(Some("localhost")).unwrap();
    let error = payer.pay(other).await.unwrap_err();
    assert!(matches!(error, PayError::Declined(_)), "the offer names 127.0.0.1, but the budget let it pass");
}

#[tokio::test]
async fn cl11_a_changed_recipient_is_refused_unless_the_policy_allows_it() {
    let shop = Shop::open(|seen, before| match seen.payment() {
        None => ask(seen, &[with(offer("10000"), "payTo", if before == 0 { SELLER } else { MALLORY })]),
        Some(_) => reply(200).settled("0x1"),
    })
    .await;
    let journal = Journal::temporary().unwrap();
    let pay = |policy| builder(&Account::new(), &journal, &Clock::new()).policy(policy).build().unwrap();
    pay(Policy::default()).pay(shop.get("/")).await.unwrap();
    let error = pay(Policy::default()).pay(shop.get("/")).await.unwrap_err();
    let PayError::Declined(declined) = &error else { panic!("{error}") };
    assert!(matches!(&declined.rejected[0].why, Unfit::Policy(PolicyError::Recipient { pinned, asked, .. })
        if pinned == SELLER && asked == MALLORY));
    let allowed = Policy::default().allow_recipient(&shop.origin, MALLORY);
    pay(allowed).pay(shop.get("/")).await.unwrap();
    journal.forget_recipients(&shop.origin).unwrap();
    pay(Policy::default()).pay(shop.get("/")).await.unwrap();
    pay(Policy::default().pinning(Pinning::Follow)).pay(shop.get("/")).await.unwrap();
}

#[tokio::test]
async fn a_dry_run_signs_and_reserves_nothing() {
    let (payer, account) = payer(Policy::default());
    let shop = Shop::selling(vec![offer("20000"), offer("10000"), json!(null)]).await;
    let preview = payer.dry_run(shop.get("/")).await.unwrap();
    let tollway_payer::Preview::Pay(plan) = preview else { panic!("{preview:?}") };
    assert_eq!((plan.index, plan.worth.to_string().as_str(), plan.rejected.len()), (1, "0.01 USDC", 1));
    assert_eq!((account.count(), shop.payments().len()), (0, 0));
    assert!(payer.journal().live().unwrap().is_empty() && payer.journal().history().unwrap().is_empty());
}

#[tokio::test]
async fn i12_a_payment_left_behind_is_not_sent_outside_the_policy_of_now() {
    let shop = Shop::answering(|_, _| reply(500)).await;
    let (account, journal, clock) = (Account::new(), Journal::temporary().unwrap(), Clock::new());
    let with = |policy| builder(&account, &journal, &clock).policy(policy).build().unwrap();
    with(Policy::default()).pay(shop.get("/")).await.unwrap_err();
    let budget = Budget::total(&money("$0.015")).unwrap();
    let small = Policy::default().cap(&money("$0.001")).unwrap().budget(budget.clone());
    for strict in [
        small,
        Policy::default().networks([]),
        Policy::default().schemes(["upto"]),
        Policy::default().only_added_assets(),
        Policy::default().window(8, 30),
    ] {
        let payer = with(strict);
        let error = payer.pay(shop.get("/")).await.unwrap_err();
        let PayError::Withheld(withheld) = &error else { panic!("{error}") };
        assert_eq!((withheld.payment.payer.as_str(), withheld.payment.atomic), (PAYER, 10_000.into()));
        assert!(error.to_string().contains("was not sent again"), "{error}");
        let error = payer.dry_run(shop.get("/")).await.unwrap_err();
        assert!(matches!(error, PayError::Withheld(_)), "{error}");
    }
    assert_eq!((shop.payments().len(), account.count(), journal.live().unwrap().len()), (1, 1, 1));
    let error = with(Policy::default().budget(budget)).pay(shop.get("/other")).await.unwrap_err();
    assert!(overdrawn(&error), "it counts as long as it can execute: {error}");
    with(Policy::default()).pay(shop.get("/")).await.unwrap_err();
    assert_eq!((shop.payments().len(), account.count()), (2, 1), "allowed again, sent again");
}

#[tokio::test]
async fn i12_cl09_cl10_a_payment_left_behind_stays_when_its_origin_or_resource_is_not_allowed_any_more() {
    let (account, journal, clock) = (Account::new(), Journal::temporary().unwrap(), Clock::new());
    let with = |policy| builder(&account, &journal, &clock).policy(policy).build().unwrap();
    let plain = "http://shop.example/";
    drop(
        with(Policy::default().allow_insecure("shop.example")).prepare(&asked(plain), &purchase(plain)).await,
    );
    let error = with(Policy::default()).prepare(&asked(plain), &purchase(plain)).await.unwrap_err();
    assert!(matches!(&error, PayError::Withheld(kept) if matches!(kept.why, PolicyError::Insecure { .. })));
    let (named, bought) = (asked("https://other.example/"), purchase("https://shop.example/"));
    drop(with(Policy::default().resource(ResourceRule::Any)).prepare(&named, &bought).await.unwrap());
    let error = with(Policy::default()).prepare(&named, &bought).await.unwrap_err();
    assert!(matches!(&error, PayError::Withheld(kept) if matches!(kept.why, PolicyError::Resource { .. })));
    assert_eq!((account.count(), journal.live().unwrap().len()), (2, 2));
}
