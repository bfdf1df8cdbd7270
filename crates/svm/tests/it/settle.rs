//! Settlement on a cluster that executes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tollway_ledger::{Journal as _, SqliteLedger};
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome};
use tollway_protocol::wire::PaymentRequest;
use tollway_protocol::{IdempotencyKey, Reason};

use crate::common::{AMOUNT, RICH, bind, facilitator, key, network, now, settle, world};

fn transaction(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Settled { transaction } => transaction,
        Outcome::NotSettled { transaction, .. } | Outcome::Pending { transaction, .. } => {
            transaction.as_deref().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn refused(outcome: &Outcome) -> &Reason {
    match outcome {
        Outcome::NotSettled { refusal, .. } => &refusal.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_payment_is_verified_in_one_round_trip_and_settled() {
    let world = world();
    let request = world.request(&world.draft());
    // The cluster's identity and its mints are asked for once.
    world.verify(&request).await.unwrap();
    let before = world.facilitator.round_trips();
    world.verify(&request).await.unwrap();
    assert_eq!(world.facilitator.round_trips() - before, 1);
    let outcome = world.settle(&request).await;
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
    assert_eq!(world.earned(), AMOUNT);
    // Two signatures, and 40,000 compute units at a millionth of a lamport each.
    assert_eq!(world.chain.balance(world.fee_payer.address()), RICH - 10_001);
}

#[tokio::test]
async fn fa02_of_twenty_callers_with_one_payment_one_is_told_success_and_the_others_the_hash() {
    let world = Arc::new(world());
    let request = world.request(&world.draft());
    let posts = (0..20).map(|_| {
        let (world, request) = (world.clone(), request.clone());
        tokio::spawn(async move { world.settle(&request).await })
    });
    let outcomes: Vec<Outcome> =
        futures_util::future::join_all(posts).await.into_iter().map(Result::unwrap).collect();
    let (told, others): (Vec<_>, Vec<_>) =
        outcomes.iter().partition(|outcome| matches!(outcome, Outcome::Settled { .. }));
    assert_eq!(told.len(), 1);
    for other in others {
        assert_eq!(*refused(other), Reason::AlreadyUsed);
        assert_eq!(transaction(other), transaction(told[0]));
    }
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn fa02_two_replicas_on_one_ledger_tell_success_once() {
    let world = world();
    let other = facilitator(vec![world.node.clone()], vec![world.fee_payer.clone()], world.journal.clone());
    let request = world.request(&world.draft());
    let (a, b) = tokio::join!(world.settle(&request), settle(&other, &request));
    let told = [&a, &b].into_iter().filter(|outcome| matches!(outcome, Outcome::Settled { .. })).count();
    assert_eq!(told, 1, "{a:?} {b:?}");
    assert_eq!(transaction(&a), transaction(&b));
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn fa02_a_payment_signed_twice_under_two_blockhashes_is_settled_once() {
    let world = world();
    let first = world.request(&world.draft());
    world.chain.advance(3);
    let second = world.request(&world.draft());
    assert_ne!(first, second);
    let settled = world.settle(&first).await;
    assert!(matches!(settled, Outcome::Settled { .. }), "{settled:?}");
    let refusal = world.settle(&second).await;
    assert_eq!(*refused(&refusal), Reason::AlreadyUsed);
    assert_eq!(transaction(&refusal), transaction(&settled));
    assert_eq!(world.earned(), AMOUNT);
}

fn named(request: &PaymentRequest, key: &str) -> PaymentRequest {
    PaymentRequest { idempotency_key: Some(IdempotencyKey::read(key).unwrap()), ..request.clone() }
}

#[tokio::test]
async fn i03_who_began_a_settlement_is_told_again_by_its_key_and_nobody_else_ever() {
    let world = world();
    let other = facilitator(vec![world.node.clone()], vec![world.fee_payer.clone()], world.journal.clone());
    let request = world.request(&world.draft());
    let (ours, theirs) = (named(&request, "the-seller-s-own-key"), named(&request, "a-stranger-s-own-key"));
    world.node.runs.store(false, Ordering::SeqCst);
    let bound = bind(&world.facilitator, &ours).unwrap();
    let early = world.facilitator.settle(bound, Duration::from_secs(1)).await;
    assert!(matches!(early, Outcome::Pending { transaction: Some(_), .. }), "{early:?}");
    world.node.runs.store(true, Ordering::SeqCst);
    // Everybody can read the payment by now, and whoever began it has hung up.
    for stranger in [&theirs, &request] {
        for facilitator in [&other, &world.facilitator] {
            let refusal = settle(facilitator, stranger).await;
            assert_eq!(*refused(&refusal), Reason::AlreadyUsed);
            assert_eq!(transaction(&refusal), transaction(&early));
        }
    }
    for facilitator in [&other, &world.facilitator, &other] {
        let told = settle(facilitator, &ours).await;
        assert!(matches!(told, Outcome::Settled { .. }), "{told:?}");
        assert_eq!(transaction(&told), transaction(&early));
    }
    assert_eq!(*refused(&settle(&other, &theirs).await), Reason::AlreadyUsed);
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn fa02_who_began_without_a_key_is_told_before_those_who_come_to_another_replica() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    let ledger = || Arc::new(SqliteLedger::open(folder.path().join("ledger.db")).unwrap());
    let replica = |ledger| facilitator(vec![world.node.clone()], vec![world.fee_payer.clone()], ledger);
    let journal = ledger();
    let (ours, theirs) = (replica(ledger()), replica(journal.clone()));
    let request = world.request(&world.draft());
    world.node.runs.store(false, Ordering::SeqCst);
    let began = tokio::spawn({
        let (ours, request) = (ours.clone(), request.clone());
        async move { settle(&ours, &request).await }
    });
    // Once it is recorded the payment can be read by all.
    let bound = bind(&theirs, &request).unwrap();
    while journal.settlement(bound.key()).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let strangers = (0..20).map(|_| settle(&theirs, &request));
    let strangers = async {
        world.node.runs.store(true, Ordering::SeqCst);
        futures_util::future::join_all(strangers).await
    };
    let (began, strangers) = tokio::join!(began, strangers);
    let began = began.unwrap();
    assert!(matches!(began, Outcome::Settled { .. }), "{began:?}");
    for stranger in strangers {
        assert_eq!(*refused(&stranger), Reason::AlreadyUsed);
        assert_eq!(transaction(&stranger), transaction(&began));
    }
}

#[tokio::test]
async fn fa22_a_settlement_goes_on_when_its_fee_payer_is_ours_no_more() {
    let world = world();
    let request = world.request(&world.draft());
    let bound = bind(&world.facilitator, &request).unwrap();
    world.node.runs.store(false, Ordering::SeqCst);
    let early = world.facilitator.settle(bound, Duration::from_secs(1)).await;
    assert!(matches!(early, Outcome::Pending { transaction: Some(_), .. }), "{early:?}");
    world.node.runs.store(true, Ordering::SeqCst);
    let next = facilitator(vec![world.node.clone()], vec![key(9)], world.journal.clone());
    let told = settle(&next, &request).await;
    assert!(matches!(told, Outcome::Settled { .. }), "{told:?}");
    assert_eq!(transaction(&told), transaction(&early));
    // What was not begun is not.
    world.chain.advance(3);
    let fresh = world.request(&world.draft_with("ffeeddccbbaa99887766554433221100"));
    assert_eq!(*refused(&settle(&next, &fresh).await), Reason::FeePayerUnknown);
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn i10_what_a_node_drops_is_sent_again_with_the_same_bytes() {
    let world = world();
    world.chain.drop_next(2);
    let outcome = world.settle(&world.request(&world.draft())).await;
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn i05_what_never_lands_is_pending_until_its_blockhash_is_dead_and_then_failed() {
    let world = world();
    world.chain.drop_next(u64::MAX);
    let request = world.request(&world.draft());
    let bound = bind(&world.facilitator, &request).unwrap();
    world.node.runs.store(false, Ordering::SeqCst);
    let early = world.facilitator.settle(bound, Duration::from_secs(1)).await;
    world.node.runs.store(true, Ordering::SeqCst);
    assert!(matches!(early, Outcome::Pending { transaction: Some(_), .. }), "{early:?}");
    // The chain makes a slot at each look: the blockhash dies while this waits.
    let late = world.settle(&request).await;
    assert_eq!(*refused(&late), Reason::TransactionFailed, "{late:?}");
    assert_eq!(transaction(&late), transaction(&early));
    assert_eq!(world.earned(), 0);
    // What it was bid is the day's to spend again.
    assert_eq!(world.journal.spent_gwei(&network(), now()).await.unwrap(), 0);
}

#[tokio::test]
async fn fa23_no_clock_decides_on_solana() {
    let world = world();
    let request = world.request(&world.draft());
    for now in [0, 1, u64::MAX / 2] {
        let bound = bind(&world.facilitator, &request).unwrap();
        let verified = bound.at(tollway_protocol::door::UnixTime(now)).unwrap();
        world.facilitator.verify(&verified).await.unwrap();
    }
}
