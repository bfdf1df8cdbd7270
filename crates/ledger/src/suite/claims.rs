//! The seller's half.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::{Code, Network};

use super::fixture::{CLOSES, NOW, hash, network, payment, payment_of, request, settlement};
use super::{Clock, Site};
use crate::{Claim, Claimed, Claims, LedgerError, Paid};

/// Presents the `n`-th payment for `/a`.
pub(super) async fn present(ledger: &impl Claims, n: u64) -> Claim {
    ledger.claim(payment(n), request("/a"), CLOSES).await.unwrap()
}

pub(super) async fn take(ledger: &impl Claims, n: u64) -> Claimed {
    match present(ledger, n).await {
        Claim::New(claimed) | Claim::Resume(claimed) => claimed,
        other => panic!("{other:?}"),
    }
}

/// Settles the `n`-th payment in the transaction `aa`.
pub(super) async fn pay(ledger: &impl Claims, n: u64) -> Paid {
    let claimed = take(ledger, n).await;
    ledger.settling(&claimed).await.unwrap();
    ledger.settled(claimed, settlement(&payment(n), &hash("aa"))).await.unwrap()
}

#[allow(clippy::needless_pass_by_value, reason = "it reads better at the calls")]
pub(super) fn is_conflict<T: std::fmt::Debug>(result: Result<T, LedgerError>) {
    assert!(matches!(result, Err(LedgerError::Conflict { .. })), "{result:?}");
}

pub async fn i02_one_of_fifty_parallel_claims_wins<S: Site>(site: &S) {
    let ledger = Arc::new(site.open(&Clock::default()).await);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move { present(&*ledger, 1).await })
        })
        .collect();
    let (mut new, mut busy) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Claim::New(_) => new += 1,
            Claim::Busy { transaction: None } => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((new, busy), (1, 49));
}

pub async fn i02_same_payment_on_two_routes_is_taken_for_one<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let elsewhere = || async { ledger.claim(payment(1), request("/b"), CLOSES).await.unwrap() };
    let claimed = take(&ledger, 1).await;
    assert!(matches!(elsewhere().await, Claim::Elsewhere { transaction: None }));
    ledger.settling(&claimed).await.unwrap();
    assert!(matches!(elsewhere().await, Claim::Elsewhere { transaction: None }));
    ledger.pending(claimed, Some(&*hash("aa"))).await.unwrap();
    assert!(
        matches!(elsewhere().await, Claim::Elsewhere { transaction: Some(named) } if named == hash("aa"))
    );
    let paid = pay(&ledger, 1).await;
    assert!(matches!(elsewhere().await, Claim::Elsewhere { transaction: Some(_) }));
    ledger.deliver(paid).await.unwrap();
    assert!(matches!(elsewhere().await, Claim::Spent { transaction: Some(_) }));
}

pub async fn i02_a_payment_is_delivered_once_however_many_try<S: Site>(site: &S) {
    let ledger = Arc::new(site.open(&Clock::default()).await);
    let paid = pay(&*ledger, 1).await;
    ledger.undelivered(paid).await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move {
                match present(&*ledger, 1).await {
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
    assert!(matches!(present(&*ledger, 1).await, Claim::Spent { .. }));
}

pub async fn i02_a_stale_claim_can_not_act<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let stale = take(&ledger, 1).await;
    let left = stale.turn();
    ledger.abandon(&left).await.unwrap();
    let current = take(&ledger, 1).await;
    is_conflict(ledger.settling(&stale).await);
    is_conflict(ledger.pending(stale, Some(&*hash("bb"))).await);
    // Nor can what it left behind take the later claim with it.
    ledger.abandon(&left).await.unwrap();
    ledger.settling(&current).await.unwrap();
    let stale = ledger.settled(current, settlement(&payment(1), &hash("aa"))).await.unwrap();
    ledger.abandon(&stale.turn()).await.unwrap();
    let Claim::Paid(current) = present(&ledger, 1).await else { panic!("not paid") };
    is_conflict(ledger.deliver(stale).await);
    ledger.deliver(*current).await.unwrap();
}

pub async fn i02_the_same_key_signed_again_is_the_same_payment<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let again = || ledger.claim(payment_of(&network(), 1, 10_000, "0x02"), request("/a"), CLOSES);
    let claimed = take(&ledger, 1).await;
    assert!(matches!(again().await.unwrap(), Claim::Busy { .. }));
    ledger.abandon(&claimed.turn()).await.unwrap();
    let Claim::New(claimed) = again().await.unwrap() else { panic!("not new") };
    ledger.abandon(&claimed.turn()).await.unwrap();
    ledger.deliver(pay(&ledger, 1).await).await.unwrap();
    assert!(matches!(again().await.unwrap(), Claim::Spent { .. }));
}

pub async fn i20_only_the_very_same_payment_resumes_what_may_have_been_charged<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let forged = || ledger.claim(payment_of(&network(), 1, 10_000, "0x02"), request("/a"), CLOSES);
    let claimed = take(&ledger, 1).await;
    ledger.settling(&claimed).await.unwrap();
    ledger.pending(claimed, Some(&*hash("aa"))).await.unwrap();
    assert!(matches!(forged().await.unwrap(), Claim::Elsewhere { transaction: Some(_) }));
    ledger.undelivered(pay(&ledger, 1).await).await.unwrap();
    assert!(matches!(forged().await.unwrap(), Claim::Elsewhere { transaction: Some(_) }));
    let Claim::Paid(paid) = present(&ledger, 1).await else { panic!("not paid") };
    ledger.deliver(*paid).await.unwrap();
    // Whoever's signature was verified last is the payer's: what was merely claimed before it gave nothing away.
    let Claim::New(claimed) =
        ledger.claim(payment_of(&network(), 2, 10_000, "0x02"), request("/a"), CLOSES).await.unwrap()
    else {
        panic!("not new")
    };
    ledger.abandon(&claimed.turn()).await.unwrap();
    ledger.undelivered(pay(&ledger, 2).await).await.unwrap();
    assert!(matches!(present(&ledger, 2).await, Claim::Paid(_)));
}

pub async fn i03_what_may_have_been_charged_is_recalled_with_its_offer<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let key = payment(1).key().clone();
    assert_eq!(ledger.recall(&key).await.unwrap(), None);
    let claimed = take(&ledger, 1).await;
    assert_eq!(ledger.recall(&key).await.unwrap(), None, "nothing can have been charged");
    ledger.settling(&claimed).await.unwrap();
    let recalled = ledger.recall(&key).await.unwrap().unwrap();
    assert_eq!((&recalled.offer, recalled.transaction), (payment(1).offer(), None));
    let paid = ledger.settled(claimed, settlement(&payment(1), &hash("aa"))).await.unwrap();
    assert_eq!(ledger.recall(&key).await.unwrap().unwrap().transaction, Some(hash("aa")));
    ledger.deliver(paid).await.unwrap();
    let recalled = ledger.recall(&key).await.unwrap().unwrap();
    assert_eq!((&recalled.offer, recalled.transaction), (payment(1).offer(), Some(hash("aa"))));
}

pub async fn i02_the_same_key_with_other_terms_is_another_payment<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let dearer = || ledger.claim(payment_of(&network(), 1, 90_000, "0x02"), request("/a"), CLOSES);
    let paid = pay(&ledger, 1).await;
    ledger.undelivered(paid).await.unwrap();
    assert!(matches!(dearer().await.unwrap(), Claim::Elsewhere { transaction: Some(_) }));
    assert!(matches!(present(&ledger, 1).await, Claim::Paid(_)));
}

pub async fn i03_a_settled_payment_is_paid_when_it_comes_back<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let paid = pay(&ledger, 1).await;
    assert!(
        matches!(present(&ledger, 1).await, Claim::Busy { transaction: Some(named) } if named == hash("aa"))
    );
    ledger.undelivered(paid).await.unwrap();
    let Claim::Paid(paid) = present(&ledger, 1).await else { panic!("not paid") };
    assert_eq!(*paid.settlement(), settlement(&payment(1), &hash("aa")));
    assert_eq!(paid.payment().presented(), payment(1).presented());
    let delivery = ledger.deliver(*paid).await.unwrap();
    assert_eq!(*delivery.settlement(), settlement(&payment(1), &hash("aa")));
}

pub async fn i05_a_pending_payment_resumes<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let claimed = take(&ledger, 1).await;
    ledger.settling(&claimed).await.unwrap();
    ledger.pending(claimed, Some(&*hash("aa"))).await.unwrap();
    let Claim::Resume(claimed) = present(&ledger, 1).await else { panic!("not resumed") };
    let presented = claimed.payment().presented();
    assert_eq!((presented, claimed.request()), (payment(1).presented(), request("/a")));
    assert_eq!(claimed.transaction(), Some(&*hash("aa")), "i18: what was told once can be told again");
    assert!(
        matches!(present(&ledger, 1).await, Claim::Busy { transaction: Some(named) } if named == hash("aa"))
    );
    // What is known stays known when nothing new is said.
    ledger.settling(&claimed).await.unwrap();
    ledger.pending(claimed, None).await.unwrap();
    let _claimed = take(&ledger, 1).await;
    assert!(
        matches!(present(&ledger, 1).await, Claim::Busy { transaction: Some(named) } if named == hash("aa"))
    );
}

pub async fn a_delivered_payment_is_spent_and_names_its_transaction<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let paid = pay(&ledger, 1).await;
    let turn = paid.turn();
    ledger.deliver(paid).await.unwrap();
    for _ in 0..2 {
        let claim = present(&ledger, 1).await;
        assert!(matches!(claim, Claim::Spent { transaction: Some(named) } if named == hash("aa")));
    }
    ledger.abandon(&turn).await.unwrap();
    assert!(matches!(present(&ledger, 1).await, Claim::Spent { .. }));
}

pub async fn a_released_payment_is_free_for_any_request<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let claimed = take(&ledger, 1).await;
    ledger.release(claimed).await.unwrap();
    let Claim::New(claimed) = ledger.claim(payment(1), request("/b"), CLOSES).await.unwrap() else {
        panic!("not free")
    };
    ledger.settling(&claimed).await.unwrap();
    let name = |claimed: &Claimed| claimed.payment().idempotency_key().unwrap().clone();
    let named = name(&claimed);
    ledger.release(claimed).await.unwrap();
    assert_eq!(ledger.recall(payment(1).key()).await.unwrap(), None);
    // A copy of its request may have been on its way to the facilitator: it goes by the same name.
    let Claim::New(claimed) = present(&ledger, 1).await else { panic!("not free") };
    assert_eq!(name(&claimed), named);
    let elsewhere = ledger.claim(payment(1), request("/b"), CLOSES).await.unwrap();
    assert!(matches!(elsewhere, Claim::Elsewhere { .. }), "{elsewhere:?}");
    ledger.release(claimed).await.unwrap();
    assert!(matches!(present(&ledger, 1).await, Claim::New(_)));
}

pub async fn abandoning_gives_back_in_each_state<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    ledger.abandon(&take(&ledger, 1).await.turn()).await.unwrap();
    let Claim::New(claimed) = present(&ledger, 1).await else { panic!("not new") };
    ledger.settling(&claimed).await.unwrap();
    ledger.abandon(&claimed.turn()).await.unwrap();
    let Claim::Resume(claimed) = present(&ledger, 1).await else { panic!("not resumed") };
    let paid = ledger.settled(claimed, settlement(&payment(1), &hash("aa"))).await.unwrap();
    ledger.abandon(&paid.turn()).await.unwrap();
    let Claim::Paid(paid) = present(&ledger, 1).await else { panic!("not paid") };
    let turn = paid.turn();
    ledger.deliver(*paid).await.unwrap();
    ledger.abandon(&turn).await.unwrap();
    assert!(matches!(present(&ledger, 1).await, Claim::Spent { .. }));
}

/// Starts a call and drops it before its answer, unless that is there at once.
fn cut_off<T>(call: impl Future<Output = T>) -> Option<T> {
    match std::pin::pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// Presents the payment until the cut-off call's hold is gone: with the commit after its own.
async fn present_until_free(ledger: &impl Claims) -> Claim {
    for _ in 0..1_000 {
        match present(ledger, 1).await {
            Claim::Busy { .. } => tokio::task::yield_now().await,
            claim => return claim,
        }
    }
    panic!("it is held for good")
}

pub async fn rs10_a_dropped_call_gives_its_payment_back<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    if let Some(claim) = cut_off(ledger.claim(payment(1), request("/a"), CLOSES)) {
        ledger.abandon(&claim.unwrap().turn().unwrap()).await.unwrap();
    }
    let Claim::New(claimed) = present_until_free(&ledger).await else { panic!("not new") };
    ledger.settling(&claimed).await.unwrap();
    if let Some(paid) = cut_off(ledger.settled(claimed, settlement(&payment(1), &hash("aa")))) {
        ledger.abandon(&paid.unwrap().turn()).await.unwrap();
    }
    let paid = match present_until_free(&ledger).await {
        Claim::Paid(paid) => *paid,
        // The call was cut off before it was queued.
        Claim::Resume(claimed) => {
            ledger.settled(claimed, settlement(&payment(1), &hash("aa"))).await.unwrap()
        }
        other => panic!("{other:?}"),
    };
    // Its permission to deliver reached nobody, so that the payment has bought nothing yet.
    if cut_off(ledger.deliver(paid)).is_some() {
        return;
    }
    for _ in 0..1_000 {
        match present(&ledger, 1).await {
            Claim::Paid(paid) => {
                ledger.deliver(*paid).await.unwrap();
                return;
            }
            Claim::Busy { .. } | Claim::Spent { .. } => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
    panic!("it was lost");
}

pub async fn rs32_answers_about_something_else_settle_nothing<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let good = settlement(&payment(1), &hash("aa"));
    let mut bad = vec![good.clone(); 10];
    bad[0].success = false;
    bad[1].error_reason = Some(Code::new("settlement_pending"));
    bad[2].network = Network::eip155(1);
    bad[3].payer = Some("0x209693bc6afc0c5328ba36faf03c514ef312287c".into());
    bad[4].amount = Some(Amount::from(9_999));
    bad[5].transaction = None;
    bad[6].transaction = Some("0xaa".into());
    bad[7].transaction = Some(format!("{}00", hash("aa")));
    bad[8].transaction = Some(hash("aa").replace("0x", "ok"));
    bad[9].transaction = Some(hash("aa").replace("0x00", "0x\r\n"));
    let claimed = take(&ledger, 1).await;
    for (n, answer) in bad.iter().enumerate() {
        assert!(claimed.check(answer).is_err(), "{n}");
    }
    ledger.settling(&claimed).await.unwrap();
    ledger.abandon(&claimed.turn()).await.unwrap();
    for answer in bad {
        let claimed = take(&ledger, 1).await;
        is_conflict(ledger.settled(claimed, answer).await);
    }
    let Claim::Resume(claimed) = present(&ledger, 1).await else { panic!("not resumed") };
    // What the answer leaves out is no difference.
    let mut plain = good;
    (plain.payer, plain.amount) = (None, None);
    ledger.settled(claimed, plain).await.unwrap();
}

pub async fn rs33_only_what_can_not_settle_any_more_is_forgotten<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let never = UnixTime(u64::MAX);
    ledger.deliver(pay(&ledger, 1).await).await.unwrap();
    let resumed = take(&ledger, 2).await;
    ledger.settling(&resumed).await.unwrap();
    ledger.pending(resumed, Some(&*hash("bb"))).await.unwrap();
    ledger.undelivered(pay(&ledger, 3).await).await.unwrap();
    let _held = take(&ledger, 4).await;
    let Claim::New(forever) = ledger.claim(payment(5), request("/a"), never).await.unwrap() else {
        panic!("not new")
    };
    let paid = ledger.settled(forever, settlement(&payment(5), &hash("aa"))).await.unwrap();
    ledger.deliver(paid).await.unwrap();
    assert_eq!(ledger.forget(NOW).await.unwrap(), 0);
    assert_eq!(ledger.forget(CLOSES).await.unwrap(), 0);
    assert!(matches!(present(&ledger, 1).await, Claim::Spent { .. }));
    assert_eq!(ledger.forget(CLOSES.plus(1)).await.unwrap(), 1);
    assert_eq!(ledger.forget(UnixTime(1 << 60)).await.unwrap(), 0);
    assert!(matches!(present(&ledger, 2).await, Claim::Resume(_)));
    assert!(matches!(present(&ledger, 3).await, Claim::Paid(_)));
    assert!(matches!(present(&ledger, 4).await, Claim::Busy { .. }));
    assert!(matches!(present(&ledger, 5).await, Claim::Spent { .. }));
}

pub async fn i03_a_claim_keeps_its_name_until_it_is_released<S: Site>(site: &S) {
    let clock = Clock::default();
    let name = |claimed: &Claimed| claimed.payment().idempotency_key().unwrap().clone();
    let first = site.open(&clock).await;
    let (one, other) = (take(&first, 1).await, take(&first, 2).await);
    assert_ne!(name(&one), name(&other));
    let released = name(&one);
    first.release(one).await.unwrap();
    let again = take(&first, 1).await;
    let named = name(&again);
    assert_ne!(named, released);
    assert_eq!(again.payment().to_request().idempotency_key, Some(named.clone()));
    first.settling(&again).await.unwrap();
    drop((again, first));
    let second = site.open(&clock).await;
    let Claim::Resume(resumed) = present(&second, 1).await else { panic!("it may have been charged") };
    assert_eq!(name(&resumed), named);
}
