//! What happens once: telling that a payment is settled, and making a claim.

use std::sync::Arc;

use tollway_protocol::Network;

use super::claims::is_conflict;
use super::fixture::{NOW, SIGNER, batch, caller, key, keyed, network, payment_of, transaction};
use super::journal::{failed, finish, leased, prepare, record, settled, sign, try_sign};
use super::shared::two;
use super::{Clock, Site};
use crate::{Batch, Journal, JournalState, Lease, LedgerError, MAX_CLAIM, Signing};

/// A transaction with one new payment, which claims something.
fn claiming(n: u64, nonce: u64, claim: &str) -> Batch {
    let transaction = transaction(nonce, &format!("{n}-{nonce}"));
    Batch { claims: vec![(key(n), claim.into())], ..batch(&[n], &[], transaction) }
}

/// The one that is given true among tasks.
async fn winners(tasks: Vec<tokio::task::JoinHandle<bool>>) -> Vec<usize> {
    let mut won = Vec::new();
    for (task, handle) in tasks.into_iter().enumerate() {
        if handle.await.unwrap() {
            won.push(task);
        }
    }
    won
}

/// Settles a payment in a transaction of its own.
async fn settle(ledger: &impl Journal, n: u64) {
    sign(ledger, &[n], &[], n, &format!("a{n}")).await;
    finish(ledger, n, settled(&format!("a{n}"), 5)).await.unwrap();
}

pub async fn fa02_one_of_fifty_parallel_callers_is_told<S: Site>(site: &S) {
    let ledger = Arc::new(site.open(&Clock::default()).await);
    settle(&*ledger, 1).await;
    settle(&*ledger, 2).await;
    assert!(!record(&*ledger, 1).await.told);
    let tasks = (0..50)
        .map(|_| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move { ledger.tell(&key(1), None).await.unwrap() })
        })
        .collect();
    assert_eq!(winners(tasks).await.len(), 1);
    assert!(!ledger.tell(&key(1), None).await.unwrap());
    // Each payment for itself.
    assert_eq!((record(&*ledger, 1).await.told, record(&*ledger, 2).await.told), (true, false));
    assert!(ledger.tell(&key(2), None).await.unwrap());
    assert!(ledger.open(&network()).await.unwrap().iter().all(|record| record.told));
}

pub async fn fa02_only_who_asks_about_a_settled_payment_is_told<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    is_conflict(ledger.tell(&key(1), None).await);
    prepare(&ledger, 1).await;
    is_conflict(ledger.tell(&key(1), None).await);
    sign(&ledger, &[], &[1], 1, "a1").await;
    is_conflict(ledger.tell(&key(1), None).await);
    ledger.sent(&network(), "0xa1").await.unwrap();
    is_conflict(ledger.tell(&key(1), None).await);
    prepare(&ledger, 2).await;
    finish(&ledger, 2, failed("unexpected_settle_error")).await.unwrap();
    is_conflict(ledger.tell(&key(2), None).await);
    assert_eq!((record(&ledger, 1).await.told, record(&ledger, 2).await.told), (false, false));
    finish(&ledger, 1, settled("a1", 5)).await.unwrap();
    assert!(ledger.tell(&key(1), None).await.unwrap());
}

pub async fn fa02_a_reorg_leaves_who_was_told<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    settle(&ledger, 1).await;
    assert!(ledger.tell(&key(1), None).await.unwrap());
    ledger.reopen(&[key(1)]).await.unwrap();
    is_conflict(ledger.tell(&key(1), None).await);
    assert!(record(&ledger, 1).await.told);
    sign(&ledger, &[], &[1], 9, "b1").await;
    finish(&ledger, 1, settled("b1", 6)).await.unwrap();
    assert!(!ledger.tell(&key(1), None).await.unwrap());
    assert_eq!(ledger.finalize(&network(), 9, &[key(1)]).await.unwrap(), 1);
    assert!(!ledger.tell(&key(1), None).await.unwrap());
}

pub async fn fa02_a_claim_is_taken_by_one_of_fifty_parallel_transactions<S: Site>(site: &S) {
    let ledger = Arc::new(site.open(&Clock::default()).await);
    let lease = leased(&*ledger).await;
    let tasks = (0..50)
        .map(|n| {
            let (ledger, lease) = (Arc::clone(&ledger), lease.clone());
            tokio::spawn(async move {
                ledger.sign(&lease, claiming(n, n, "memo"), NOW).await == Ok(Signing::Done)
            })
        })
        .collect();
    let [winner] = winners(tasks).await[..] else { panic!("not one") };
    let winner = winner as u64;
    let open = ledger.open(&network()).await.unwrap();
    assert_eq!(open, [record(&*ledger, winner).await]);
    // Nothing of the others was recorded.
    assert_eq!(ledger.next_nonce(&network(), SIGNER).await.unwrap(), Some(winner + 1));
    let signing = ledger.sign(&lease, claiming(60, 60, "memo"), NOW).await.unwrap();
    assert_eq!(signing, Signing::Claimed(open));
    assert_eq!(ledger.settlement(&key(60)).await.unwrap(), None);
}

pub async fn fa02_a_failed_settlement_frees_its_claim_and_a_settled_one_keeps_it<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let sign_for = async |n: u64| try_sign(&ledger, claiming(n, n, "memo")).await.unwrap();
    assert_eq!(sign_for(1).await, Signing::Done);
    finish(&ledger, 1, failed("invalid_transaction_state")).await.unwrap();
    assert_eq!(sign_for(2).await, Signing::Done);
    // Also while it is on its way, settled, taken back by a reorg and final.
    let holds = async || {
        let held = Signing::Claimed(vec![record(&ledger, 2).await]);
        assert_eq!(sign_for(3).await, held);
    };
    holds().await;
    ledger.sent(&network(), "0x2-2").await.unwrap();
    holds().await;
    finish(&ledger, 2, settled("2-2", 5)).await.unwrap();
    holds().await;
    ledger.reopen(&[key(2)]).await.unwrap();
    holds().await;
    // A replacement goes on with the claim.
    sign(&ledger, &[], &[2], 2, "b2").await;
    holds().await;
    finish(&ledger, 2, settled("b2", 6)).await.unwrap();
    assert_eq!(ledger.finalize(&network(), 9, &[key(2)]).await.unwrap(), 1);
    holds().await;
    // One that is taken back and then fails frees it too.
    assert_eq!(try_sign(&ledger, claiming(4, 4, "other")).await.unwrap(), Signing::Done);
    finish(&ledger, 4, settled("4-4", 5)).await.unwrap();
    ledger.reopen(&[key(4)]).await.unwrap();
    finish(&ledger, 4, failed("invalid_transaction_state")).await.unwrap();
    assert_eq!(try_sign(&ledger, claiming(5, 5, "other")).await.unwrap(), Signing::Done);
}

pub async fn fa02_claims_are_compared_byte_by_byte_on_one_network<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let longest = "m".repeat(MAX_CLAIM);
    // The texts that another store might take for one: by case, by blanks, by form, by what it can't keep.
    let texts =
        ["memo", "Memo", "memo ", "", "\0", "memo\0", "\u{fffd}", "\u{e9}", "e\u{301}", "1", &longest];
    for (n, text) in (0..).zip(texts) {
        assert_eq!(try_sign(&ledger, claiming(n, n, text)).await.unwrap(), Signing::Done, "{text:?}");
    }
    for (n, text) in (0..).zip(texts) {
        let held = Signing::Claimed(vec![record(&ledger, n).await]);
        assert_eq!(try_sign(&ledger, claiming(99, 99, text)).await.unwrap(), held);
    }
    let elsewhere = Network::eip155(1);
    let lease = ledger.lease(&elsewhere, SIGNER).await.unwrap().unwrap();
    let same = payment_of(&elsewhere, 1, 10_000, "0x01").at(NOW).unwrap();
    let claims = vec![(same.key().clone(), "memo".to_owned())];
    let there = Batch { new: vec![same], claims, ..batch(&[], &[], transaction(0, "e0")) };
    assert_eq!(ledger.sign(&lease, there, NOW).await.unwrap(), Signing::Done);
}

pub async fn fa02_a_batch_whose_claims_break_the_rules_is_refused<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    prepare(&ledger, 1).await;
    let refused = [
        // One claim of two payments, two claims of one, and the same one twice.
        vec![(2, "memo"), (3, "memo")],
        vec![(2, "memo"), (2, "other")],
        vec![(2, "memo"), (2, "memo")],
        // Of a payment that was taken before, and of one that is not there at all.
        vec![(1, "memo")],
        vec![(2, "memo"), (9, "other")],
    ];
    let with = |claims: Vec<(u64, &str)>| {
        let claims = claims.into_iter().map(|(n, text)| (key(n), text.to_owned())).collect();
        Batch { claims, ..batch(&[2, 3], &[1], transaction(0, "a1")) }
    };
    for claims in refused {
        is_conflict(try_sign(&ledger, with(claims)).await);
    }
    is_conflict(try_sign(&ledger, with(vec![(2, &"m".repeat(MAX_CLAIM + 1))])).await);
    for n in [2, 3] {
        assert_eq!(ledger.settlement(&key(n)).await.unwrap(), None);
    }
    assert_eq!(record(&ledger, 1).await.state, JournalState::Prepared);
    // Nothing was claimed by any of these.
    let signing = try_sign(&ledger, with(vec![(3, "memo"), (2, "other")])).await.unwrap();
    assert_eq!(signing, Signing::Done);
    let (second, third) = (record(&ledger, 2).await, record(&ledger, 3).await);
    let both = Batch {
        claims: vec![(key(5), "other".into()), (key(6), "new".into()), (key(4), "memo".into())],
        ..batch(&[4, 5, 6], &[], transaction(1, "b1"))
    };
    assert_eq!(try_sign(&ledger, both).await.unwrap(), Signing::Claimed(vec![second, third]));
}

pub async fn fa02_held_claims_are_told_after_what_was_taken_and_before_a_conflict<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let first = try_sign(&ledger, claiming(1, 0, "memo")).await.unwrap();
    assert_eq!(first, Signing::Done);
    let lease = leased(&ledger).await;
    let stale = Lease::new(network(), SIGNER.into(), lease.turn() + 1);
    // All at once: a lease that is not ours, what was taken, a claim that is held, a nonce that is another's, no budget.
    let wrong = |n, nonce, claim| Batch { budget_gwei: 0, ..claiming(n, nonce, claim) };
    assert_eq!(ledger.sign(&stale, wrong(1, 0, "memo"), NOW).await.unwrap(), Signing::Lost);
    let before = vec![record(&ledger, 1).await];
    let tried = async |batch| ledger.sign(&lease, batch, NOW).await;
    assert_eq!(tried(wrong(1, 0, "memo")).await.unwrap(), Signing::Taken(before.clone()));
    assert_eq!(tried(wrong(2, 0, "memo")).await.unwrap(), Signing::Claimed(before.clone()));
    assert_eq!(tried(wrong(2, 1, "memo")).await.unwrap(), Signing::Claimed(before));
    is_conflict(tried(wrong(2, 0, "other")).await);
    assert_eq!(tried(wrong(2, 1, "other")).await.unwrap(), Signing::OverBudget);
    // What did not come about claims nothing.
    assert_eq!(try_sign(&ledger, claiming(3, 1, "other")).await.unwrap(), Signing::Done);
}

pub async fn fa02_two_processes_tell_a_payment_once<S: Site>(site: &S) {
    let ledgers = two(site).await;
    for n in 0..10 {
        settle(&*ledgers[0], n).await;
        let tasks = (0..20)
            .map(|task| {
                let ledger = Arc::clone(&ledgers[task % 2]);
                tokio::spawn(async move { ledger.tell(&key(n), None).await.unwrap() })
            })
            .collect();
        assert_eq!(winners(tasks).await.len(), 1);
        for ledger in &ledgers {
            assert!(record(&**ledger, n).await.told);
        }
    }
}

/// Signs in one process, from an account of that process's own.
async fn sign_from(ledger: &impl Journal, process: usize, n: u64, claim: &str) -> Result<bool, LedgerError> {
    let signer = format!("0x{process}f");
    let lease = ledger.lease(&network(), &signer).await?.unwrap();
    let mut batch = claiming(n, n, claim);
    batch.transaction.signer = signer;
    match ledger.sign(&lease, batch, NOW).await? {
        Signing::Done => Ok(true),
        Signing::Claimed(held) => {
            assert_eq!(held.len(), 1);
            assert_ne!(held[0].key, key(n));
            Ok(false)
        }
        other => panic!("{other:?}"),
    }
}

pub async fn fa02_two_processes_take_a_claim_once<S: Site>(site: &S) {
    let ledgers = two(site).await;
    for round in 0..5 {
        let claim = format!("memo {round}");
        let tasks = (0..20)
            .map(|task| {
                let (ledger, claim) = (Arc::clone(&ledgers[task % 2]), claim.clone());
                let n = round * 100 + task as u64;
                tokio::spawn(async move { sign_from(&*ledger, task % 2, n, &claim).await.unwrap() })
            })
            .collect();
        assert_eq!(winners(tasks).await.len(), 1);
        assert_eq!(ledgers[1].open(&network()).await.unwrap().len() as u64, round + 1);
    }
}

pub async fn fa02_claims_and_who_was_told_survive_a_restart<S: Site>(site: &S) {
    let clock = Clock::default();
    let first = site.open(&clock).await;
    assert_eq!(try_sign(&first, claiming(1, 1, "memo")).await.unwrap(), Signing::Done);
    assert_eq!(try_sign(&first, claiming(2, 2, "other")).await.unwrap(), Signing::Done);
    finish(&first, 2, settled("2-2", 5)).await.unwrap();
    assert!(first.tell(&key(2), None).await.unwrap());
    drop(first);
    let second = site.open(&clock).await;
    for (n, claim) in [(1, "memo"), (2, "other")] {
        let held = Signing::Claimed(vec![record(&second, n).await]);
        assert_eq!(try_sign(&second, claiming(3, 3, claim)).await.unwrap(), held);
    }
    assert!(record(&second, 2).await.told);
    assert!(!second.tell(&key(2), None).await.unwrap());
    finish(&second, 1, failed("invalid_transaction_state")).await.unwrap();
    drop(second);
    let third = site.open(&clock).await;
    assert_eq!(try_sign(&third, claiming(3, 3, "memo")).await.unwrap(), Signing::Done);
    assert_eq!(third.tell(&key(2), None).await, Ok(false));
}

pub async fn fa02_who_began_with_a_key_is_told_again_and_nobody_else<S: Site>(site: &S) {
    let clock = Clock::default();
    let first = site.open(&clock).await;
    let (ours, theirs) = (caller(1), caller(2));
    let keyed = vec![keyed(1, Some(ours.clone()))];
    let batch = Batch { new: keyed, ..batch(&[], &[], transaction(1, "a")) };
    assert_eq!(try_sign(&first, batch).await.unwrap(), Signing::Done);
    finish(&first, 1, settled("a", 5)).await.unwrap();
    // Whoever else comes first, with a key or without.
    assert!(!first.tell(&key(1), None).await.unwrap());
    assert!(!first.tell(&key(1), Some(&theirs)).await.unwrap());
    assert!(first.tell(&key(1), Some(&ours)).await.unwrap());
    assert!(record(&first, 1).await.told);
    drop(first);
    let second = site.open(&clock).await;
    assert!(second.tell(&key(1), Some(&ours)).await.unwrap());
    second.reopen(&[key(1)]).await.unwrap();
    is_conflict(second.tell(&key(1), Some(&ours)).await);
    finish(&second, 1, settled("a", 7)).await.unwrap();
    assert!(!second.tell(&key(1), Some(&theirs)).await.unwrap());
    assert!(second.tell(&key(1), Some(&ours)).await.unwrap());
}

pub async fn fa02_the_first_who_is_told_of_a_payment_without_a_key_may_name_one<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    for n in [1, 2] {
        settle(&ledger, n).await;
    }
    assert!(ledger.tell(&key(1), Some(&caller(1))).await.unwrap());
    assert!(!ledger.tell(&key(1), Some(&caller(2))).await.unwrap());
    assert!(!ledger.tell(&key(1), None).await.unwrap());
    assert!(ledger.tell(&key(1), Some(&caller(1))).await.unwrap());
    // One who named none has no way to be known again.
    assert!(ledger.tell(&key(2), None).await.unwrap());
    assert!(!ledger.tell(&key(2), Some(&caller(1))).await.unwrap());
}
