//! Several processes on one store: the seller's half.

use std::sync::Arc;

use super::claims::{is_conflict, pay, present, take};
use super::fixture::{CLOSES, hash, payment, settlement};
use super::{Clock, LEASE_MILLIS, Site};
use crate::{Claim, Claims as _};

pub(super) async fn two<S: Site>(site: &S) -> [Arc<S::Ledger>; 2] {
    let clock = Clock::default();
    [Arc::new(site.open(&clock).await), Arc::new(site.open(&clock).await)]
}

pub async fn rs04_two_processes_claim_a_payment_once<S: Site>(site: &S) {
    let ledgers = two(site).await;
    for n in 0..10 {
        let tasks: Vec<_> = (0..20)
            .map(|task| {
                let ledger = Arc::clone(&ledgers[task % 2]);
                tokio::spawn(async move { matches!(present(&*ledger, n).await, Claim::New(_)) })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            won += u32::from(task.await.unwrap());
        }
        assert_eq!(won, 1);
    }
}

pub async fn rs04_two_processes_deliver_a_payment_once<S: Site>(site: &S) {
    let ledgers = two(site).await;
    for n in 0..10 {
        let paid = pay(&*ledgers[0], n).await;
        ledgers[0].undelivered(paid).await.unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|task| {
                let ledger = Arc::clone(&ledgers[task % 2]);
                tokio::spawn(async move {
                    match present(&*ledger, n).await {
                        Claim::Paid(paid) => ledger.deliver(*paid).await.is_ok(),
                        Claim::Busy { .. } | Claim::Spent { .. } => false,
                        other => panic!("{other:?}"),
                    }
                })
            })
            .collect();
        let mut delivered = 0;
        for task in tasks {
            delivered += u32::from(task.await.unwrap());
        }
        assert_eq!(delivered, 1);
    }
}

pub async fn rs09_a_dead_process_s_claims_are_taken_over_as_they_are<S: Site>(site: &S) {
    let clock = Clock::default();
    let dead = site.open(&clock).await;
    let _claimed = take(&dead, 1).await;
    let settling = take(&dead, 2).await;
    dead.settling(&settling).await.unwrap();
    let _settled = pay(&dead, 3).await;
    dead.deliver(pay(&dead, 4).await).await.unwrap();

    let next = site.open(&clock.ahead(LEASE_MILLIS + 1)).await;
    let other = next.claim(payment(2), super::fixture::request("/b"), CLOSES).await.unwrap();
    assert!(matches!(other, Claim::Elsewhere { .. }));
    assert!(matches!(present(&next, 1).await, Claim::New(_)));
    let Claim::Resume(resumed) = present(&next, 2).await else { panic!("not resumed") };
    assert_eq!(resumed.payment().presented(), payment(2).presented());
    let Claim::Paid(paid) = present(&next, 3).await else { panic!("not paid") };
    assert_eq!(*paid.settlement(), settlement(&payment(3), &hash("aa")));
    next.deliver(*paid).await.unwrap();
    assert!(matches!(present(&next, 4).await, Claim::Spent { .. }));
    for n in [1, 2] {
        assert!(matches!(present(&next, n).await, Claim::Busy { .. }));
    }
}

pub async fn rs09_a_live_process_keeps_its_claims<S: Site>(site: &S) {
    let clock = Clock::default();
    let first = site.open(&clock).await;
    let claimed = take(&first, 1).await;
    let second = site.open(&clock.ahead(LEASE_MILLIS - 1)).await;
    assert!(matches!(present(&second, 1).await, Claim::Busy { .. }));
    second.abandon(&claimed.turn()).await.unwrap();
    first.settling(&claimed).await.unwrap();
    assert!(matches!(present(&second, 1).await, Claim::Busy { .. }));
    first.pending(claimed, None).await.unwrap();
    assert!(matches!(present(&second, 1).await, Claim::Resume(_)));
}

pub async fn rs09_a_process_that_ended_leaves_its_claims_at_once<S: Site>(site: &S) {
    let clock = Clock::default();
    let first = site.open(&clock).await;
    let _paid = pay(&first, 1).await;
    drop(first);
    let second = site.open(&clock).await;
    assert!(matches!(present(&second, 1).await, Claim::Paid(_)));
}

pub async fn rs09_a_process_that_was_only_asleep_can_not_act<S: Site>(site: &S) {
    let clock = Clock::default();
    let asleep = site.open(&clock).await;
    let claimed = take(&asleep, 1).await;
    let paid = pay(&asleep, 2).await;
    let awake = site.open(&clock.ahead(LEASE_MILLIS + 1)).await;
    let taken = take(&awake, 1).await;
    let Claim::Paid(delivering) = present(&awake, 2).await else { panic!("not paid") };
    is_conflict(asleep.settling(&claimed).await);
    is_conflict(asleep.release(claimed).await);
    is_conflict(asleep.deliver(paid).await);
    awake.settling(&taken).await.unwrap();
    awake.deliver(*delivering).await.unwrap();
}

pub async fn rs33_a_live_process_s_claims_are_not_forgotten<S: Site>(site: &S) {
    let clock = Clock::default();
    let first = site.open(&clock).await;
    let claimed = take(&first, 1).await;
    let neighbour = site.open(&clock).await;
    assert_eq!(neighbour.forget(CLOSES.plus(1)).await.unwrap(), 0);
    first.settling(&claimed).await.unwrap();
    let _claimed = take(&first, 2).await;
    // By this one's clock the first is dead: what it merely claimed was never charged.
    let later = site.open(&clock.ahead(LEASE_MILLIS + 1)).await;
    assert_eq!(later.forget(CLOSES.plus(1)).await.unwrap(), 1);
    assert!(matches!(present(&later, 1).await, Claim::Resume(_)));
}
