//! Settlement on a cluster that executes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tollway_protocol::Reason;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome};

use crate::common::{AMOUNT, RICH, bind, facilitator, settle, world};

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
