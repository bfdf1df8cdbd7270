//! Killed at each point of a settlement, and at each commit of one, started again, with its node or without, and asked
//! again.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;

use tollway_ledger::JournalState;

use crate::load::{Answer, Client, Purchase};
use crate::matrix::Row;
use crate::oracle::{is_told_again, judge};
use crate::world::World;

/// The most payments that it takes to be killed in every state.
const MOST: usize = 60;

/// What a dead process has left of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Nothing,
    Signed,
    Sent,
    Settled,
    Told,
}

async fn left(world: &World, purchase: &Purchase) -> Left {
    let Some(record) = world.recorded(&purchase.payment.key).await else { return Left::Nothing };
    match record.state {
        JournalState::Signed => Left::Signed,
        JournalState::Broadcast => Left::Sent,
        JournalState::Settled if record.told => Left::Told,
        JournalState::Settled => Left::Settled,
        state => panic!("{state:?}: {record:?}"),
    }
}

fn was_killed(world: &World, status: ExitStatus) {
    assert_eq!(status.signal(), Some(9), "{status}: {}", world.logs());
}

/// What came of a payment at a facilitator that was to be killed.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// The process was killed while it started.
    Early,
    /// The process was killed by the payment.
    Killed,
    /// The payment ended before that.
    Paid,
}

/// Starts a facilitator that is killed at `point`, and posts the payment to it.
async fn post_to_doomed(client: &Client, point: &str, purchase: &Purchase) -> Came {
    let world = &client.world;
    let mut doomed = match world.start_killed_at(0, Some(point)).await {
        Ok(doomed) => doomed,
        Err(status) => {
            was_killed(world, status);
            return Came::Early;
        }
    };
    let answer = client.settle(0, purchase).await;
    if answer == Answer::Cut {
        was_killed(world, doomed.ended().await);
        return Came::Killed;
    }
    assert!(answer.is_paid(), "{answer:?}");
    // It may be killed all the same by what it does when it stops.
    let status = doomed.terminate().await;
    assert!(status.success() || status.signal() == Some(9), "{status}: {}", world.logs());
    Came::Paid
}

/// Started again, it knows the payment, or settles it: with its node at once, and without its node when that is back.
async fn outlived(client: &Client, left: Left, purchase: &Purchase, node_is_away: bool) {
    let world = &client.world;
    world.node.away(node_is_away);
    let next = world.start(0).await;
    if node_is_away {
        let answer = client.settle(0, purchase).await;
        let is_right = match left {
            Left::Nothing => matches!(answer, Answer::Later { .. }),
            Left::Signed | Left::Sent => matches!(answer, Answer::Pending { transaction: Some(_) }),
            Left::Settled => answer.is_paid(),
            Left::Told => is_told_again(&answer),
        };
        assert!(is_right, "{left:?}, without a node: {answer:?}: {}", world.logs());
        world.node.away(false);
    }
    client.until_known(&[0], purchase).await;
    let status = next.terminate().await;
    assert!(status.success(), "{status}: {}", world.logs());
}

async fn end(world: &Arc<World>, purchases: &[Arc<Purchase>]) {
    let last = world.start(0).await;
    judge(world, &[0], purchases).await;
    let status = last.terminate().await;
    assert!(status.success(), "{status}: {}", world.logs());
}

/// Killed there once with its node and once without when it is started again.
async fn killed_at(point: &'static str, wanted: Left) {
    let client = Client::new(&World::new().await);
    let mut purchases = Vec::new();
    for node_is_away in [false, true] {
        let purchase = Purchase::new(&client.world).await;
        let came = post_to_doomed(&client, point, &purchase).await;
        assert_eq!(came, Came::Killed, "{point}: {}", client.world.logs());
        let left = left(&client.world, &purchase).await;
        assert_eq!(left, wanted, "{point}: {}", client.world.logs());
        outlived(&client, left, &purchase, node_is_away).await;
        purchases.push(purchase);
    }
    end(&client.world, &purchases).await;
}

async fn point(name: &str, cell: impl Future<Output = ()> + Send + 'static) {
    Row::new("Solana KF points").cell(name, cell).run(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_fa03_killed_when_a_solana_payment_is_parsed_it_settles_once_afterwards() {
    point("parsed", killed_at("settle.parsed", Left::Nothing)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_fa03_killed_when_a_solana_payment_is_verified_it_settles_once_afterwards() {
    point("verified", killed_at("settle.verified", Left::Nothing)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_fa03_killed_when_its_transaction_is_recorded_the_same_one_settles_afterwards() {
    point("recorded", killed_at("settle.signed", Left::Signed)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_fa03_killed_when_a_node_has_its_transaction_the_same_one_settles_afterwards() {
    point("sent", killed_at("settle.sent", Left::Signed)).await;
}

/// Killed at each commit that a process makes, the first, the second, and so on, until a payment ends before the next; and
/// over again when a state was left out, since what a process does besides makes commits too.
async fn killed_at_each(commit: &'static str, node_is_away: bool) {
    let client = Client::new(&World::new().await);
    let mut wanted = BTreeSet::from([Left::Nothing, Left::Signed, Left::Sent, Left::Settled]);
    if commit == "after_commit" {
        wanted.insert(Left::Told);
    }
    let (mut purchases, mut found) = (Vec::new(), BTreeSet::new());
    let (mut hit, mut first, mut is_through) = (1, 1, false);
    while !is_through || !found.is_superset(&wanted) {
        assert!(purchases.len() < MOST, "{commit} left {found:?}, not {wanted:?}: {}", client.world.logs());
        let purchase = Purchase::new(&client.world).await;
        purchases.push(purchase.clone());
        let came = post_to_doomed(&client, &format!("{commit}:{hit}"), &purchase).await;
        if came == Came::Paid {
            (hit, is_through) = (first, true);
            continue;
        }
        let left = left(&client.world, &purchase).await;
        hit += 1;
        match came {
            Came::Killed => drop(found.insert(left)),
            _ => first = hit,
        }
        outlived(&client, left, &purchase, node_is_away).await;
    }
    end(&client.world, &purchases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_fa03_killed_before_any_commit_of_a_solana_settlement_it_settles_once_afterwards() {
    point("before each commit", killed_at_each("before_commit", false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_fa03_killed_after_any_commit_of_a_solana_settlement_it_settles_once_afterwards() {
    point("after each commit", killed_at_each("after_commit", false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_fa03_killed_before_any_commit_and_without_a_node_a_solana_settlement_is_pending_not_failed() {
    point("before each commit, without a node", killed_at_each("before_commit", true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_fa03_killed_after_any_commit_and_without_a_node_a_solana_settlement_is_pending_not_failed() {
    point("after each commit, without a node", killed_at_each("after_commit", true)).await;
}
