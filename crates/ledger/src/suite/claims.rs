//! The seller's half.

use std::sync::Arc;
use std::task::{Context, Waker};

use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::{Code, Network};

use super::fixture::{CLOSES, NOW, network, payment, payment_of, request, settlement};
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

/// Settles the `n`-th payment in `0xaa`.
pub(super) async fn pay(ledger: &impl Claims, n: u64) -> Paid {
    let claimed = take(ledger, n).await;
    ledger.settling(&claimed).await.unwrap();
    ledger.settled(claimed, settlement(&payment(n), "0xaa")).await.unwrap()
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
    ledger.pending(claimed, Some("0xaa")).await.unwrap();
    assert!(matches!(elsewhere().await, Claim::Elsewhere { transaction: Some(hash) } if hash == "0xaa"));
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
    let key = payment(1).key().clone();
    let stale = take(&ledger, 1).await;
    ledger.abandon(&key).await.unwrap();
    let current = take(&ledger, 1).await;
    is_conflict(ledger.settling(&stale).await);
    is_conflict(ledger.pending(stale, Some("0xbb")).await);
    ledger.settling(&current).await.unwrap();
    let stale = ledger.settled(current, settlement(&payment(1), "0xaa")).await.unwrap();
    ledger.abandon(&key).await.unwrap();
    let Claim::Paid(current) = present(&ledger, 1).await else { panic!("not paid") };
    is_conflict(ledger.deliver(stale).await);
    ledger.deliver(*current).await.unwrap();
}

pub async fn i02_the_same_key_signed_again_is_the_same_payment<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let again = || ledger.claim(payment_of(&network(), 1, 10_000, "0x02"), request("/a"), CLOSES);
    let _claimed = take(&ledger, 1).await;
    assert!(matches!(again().await.unwrap(), Claim::Busy { .. }));
    ledger.abandon(payment(1).key()).await.unwrap();
    ledger.deliver(pay(&ledger, 1).await).await.unwrap();
    assert!(matches!(again().await.unwrap(), Claim::Spent { .. }));
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
    assert!(matches!(present(&ledger, 1).await, Claim::Busy { transaction: Some(hash) } if hash == "0xaa"));
    ledger.undelivered(paid).await.unwrap();
    let Claim::Paid(paid) = present(&ledger, 1).await else { panic!("not paid") };
    assert_eq!(*paid.settlement(), settlement(&payment(1), "0xaa"));
    assert_eq!(*paid.payment(), payment(1));
    let delivery = ledger.deliver(*paid).await.unwrap();
    assert_eq!(*delivery.settlement(), settlement(&payment(1), "0xaa"));
}

pub async fn i05_a_pending_payment_resumes<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let claimed = take(&ledger, 1).await;
    ledger.settling(&claimed).await.unwrap();
    ledger.pending(claimed, Some("0xaa")).await.unwrap();
    let Claim::Resume(claimed) = present(&ledger, 1).await else { panic!("not resumed") };
    assert_eq!((claimed.payment(), claimed.request()), (&payment(1), request("/a")));
    assert_eq!(claimed.transaction(), Some("0xaa"), "i18: what was told once can be told again");
    assert!(matches!(present(&ledger, 1).await, Claim::Busy { transaction: Some(hash) } if hash == "0xaa"));
    // What is known stays known when nothing new is said.
    ledger.settling(&claimed).await.unwrap();
    ledger.pending(claimed, None).await.unwrap();
    let _claimed = take(&ledger, 1).await;
    assert!(matches!(present(&ledger, 1).await, Claim::Busy { transaction: Some(hash) } if hash == "0xaa"));
}

pub async fn a_delivered_payment_is_spent_and_names_its_transaction<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    ledger.deliver(pay(&ledger, 1).await).await.unwrap();
    for _ in 0..2 {
        let claim = present(&ledger, 1).await;
        assert!(matches!(claim, Claim::Spent { transaction: Some(hash) } if hash == "0xaa"));
    }
    ledger.abandon(payment(1).key()).await.unwrap();
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
    ledger.release(claimed).await.unwrap();
    assert!(matches!(present(&ledger, 1).await, Claim::New(_)));
}

pub async fn abandoning_gives_back_in_each_state<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let key = payment(1).key().clone();
    ledger.abandon(&key).await.unwrap();
    let _claimed = take(&ledger, 1).await;
    ledger.abandon(&key).await.unwrap();
    let Claim::New(claimed) = present(&ledger, 1).await else { panic!("not new") };
    ledger.settling(&claimed).await.unwrap();
    ledger.abandon(&key).await.unwrap();
    let Claim::Resume(claimed) = present(&ledger, 1).await else { panic!("not resumed") };
    let _paid = ledger.settled(claimed, settlement(&payment(1), "0xaa")).await.unwrap();
    ledger.abandon(&key).await.unwrap();
    let Claim::Paid(paid) = present(&ledger, 1).await else { panic!("not paid") };
    ledger.deliver(*paid).await.unwrap();
    ledger.abandon(&key).await.unwrap();
    assert!(matches!(present(&ledger, 1).await, Claim::Spent { .. }));
}

/// Starts a call and drops it before its answer; says if it was answered even so.
fn cut_off<T>(call: impl Future<Output = T>) -> bool {
    let mut call = std::pin::pin!(call);
    call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
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
    let key = payment(1).key().clone();
    if cut_off(ledger.claim(payment(1), request("/a"), CLOSES)) {
        ledger.abandon(&key).await.unwrap();
    }
    let Claim::New(claimed) = present_until_free(&ledger).await else { panic!("not new") };
    ledger.settling(&claimed).await.unwrap();
    if cut_off(ledger.settled(claimed, settlement(&payment(1), "0xaa"))) {
        ledger.abandon(&key).await.unwrap();
    }
    let paid = match present_until_free(&ledger).await {
        Claim::Paid(paid) => *paid,
        // The call was cut off before it was queued.
        Claim::Resume(claimed) => ledger.settled(claimed, settlement(&payment(1), "0xaa")).await.unwrap(),
        other => panic!("{other:?}"),
    };
    // Its permission to deliver reached nobody, so that the payment has bought nothing yet.
    if cut_off(ledger.deliver(paid)) {
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
    let good = settlement(&payment(1), "0xaa");
    let mut bad = vec![good.clone(); 6];
    bad[0].success = false;
    bad[1].error_reason = Some(Code::new("settlement_pending"));
    bad[2].network = Network::eip155(1);
    bad[3].payer = Some("0x209693bc6afc0c5328ba36faf03c514ef312287c".into());
    bad[4].amount = Some(Amount::from(9_999));
    bad[5].transaction = None;
    let claimed = take(&ledger, 1).await;
    for (n, answer) in bad.iter().enumerate() {
        assert!(claimed.check(answer).is_err(), "{n}");
    }
    ledger.settling(&claimed).await.unwrap();
    ledger.abandon(payment(1).key()).await.unwrap();
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
    ledger.pending(resumed, Some("0xbb")).await.unwrap();
    ledger.undelivered(pay(&ledger, 3).await).await.unwrap();
    let _held = take(&ledger, 4).await;
    let Claim::New(forever) = ledger.claim(payment(5), request("/a"), never).await.unwrap() else {
        panic!("not new")
    };
    let paid = ledger.settled(forever, settlement(&payment(5), "0xaa")).await.unwrap();
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
