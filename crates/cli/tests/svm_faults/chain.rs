//! The cluster does what clusters do (fx-X1 to fx-X3): it halts, drops transactions, and takes slots back.

use std::time::Duration;

use crate::load::{Answer, Client, Load, Must, Purchase};
use crate::matrix::Row;
use crate::node::SEND;
use crate::nodes::PAYMENTS;
use crate::oracle::{has_paid, judge};
use crate::patience::{self, Patience};
use crate::world::{Settings, World};

/// How the cluster makes no progress.
#[derive(Debug, Clone, Copy)]
enum Stuck {
    /// No slots are made.
    Halted,
    /// Slots are made, and transactions are in none of them.
    Full,
}

/// Nothing gets on: everybody is told that it is pending, and all is settled when it goes on.
async fn stuck(how: Stuck, outage: Duration) {
    let settings = Settings { settle_seconds: 2, blockhash_age: 3000, ..Settings::default() };
    let world = World::with(settings).await;
    let facilitator = world.start(0).await;
    match how {
        Stuck::Halted => world.chain.pause(),
        Stuck::Full => world.chain.hold(),
    }
    let load = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]);
    load.answered(PAYMENTS).await;
    patience::lasts(outage).await;
    let told = load.told();
    let good = |one: &Answer| matches!(one, Answer::Pending { .. });
    assert!(told.iter().all(good), "pending, and no more: {told:?}");
    world.chain.resume();
    world.chain.release();
    let purchases = load.end().await;
    judge(&world, &[0], &purchases).await;
    world.stop(facilitator).await;
}

/// A transaction is dropped: the same bytes come again.
async fn dropped() {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    world.chain.drop_next(1);
    let purchase = Purchase::new(&world).await;
    Client::new(&world).until_known(&[0], &purchase).await;
    let given = world.node.given();
    assert!(given.len() > 1 && given.iter().all(|one| one.raw == given[0].raw), "the same bytes: {given:?}");
    judge(&world, &[0], &[purchase]).await;
    world.stop(facilitator).await;
}

/// The next `each` are dropped, three times under load.
async fn forgetful(each: u64) {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    let load = Load::begin(&world, PAYMENTS, PAYMENTS / 2, &[0]);
    for sent in 1..=3 {
        world.node.until(SEND, sent * 3).await;
        world.chain.drop_next(each);
    }
    let purchases = load.end().await;
    world.chain.drop_next(0);
    judge(&world, &[0], &purchases).await;
    world.stop(facilitator).await;
}

/// Payments land in one slot, which is taken back with all after it when it is so many deep: told or not, they land again.
async fn fork(depth: u64) {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    world.chain.hold();
    let load = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]);
    load.answered(PAYMENTS).await;
    // Their blockhashes are older than the fork.
    world.chain.advance(8);
    world.chain.pause();
    world.chain.release();
    if depth > 1 {
        world.chain.advance(depth - 1);
        load.until(PAYMENTS).await;
    }
    let before = landed(&world, &load);
    assert!(before > 0, "something has landed");
    world.chain.fork(depth).unwrap();
    assert_eq!(landed(&world, &load), 0, "the fork takes it back");
    world.chain.resume();
    // Far enough from the fork for that to be seen.
    world.chain.advance(33);
    let again = Patience::for_("what was taken back lands again");
    while landed(&world, &load) < before {
        again.again().await;
    }
    let purchases = load.end().await;
    judge(&world, &[0], &purchases).await;
    world.stop(facilitator).await;
}

fn landed(world: &World, load: &Load) -> usize {
    load.purchases().iter().filter(|one| has_paid(world, &one.payment.transaction)).count()
}

/// The block of its blockhash is taken back with the payment: it can never land again, and that is recorded.
async fn fork_for_good(depth: u64) {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    world.chain.pause();
    world.chain.advance(1);
    let purchase = Purchase::that_must(Must::BeTakenBack, world.pay().await);
    let client = Client::new(&world);
    let asking = client.post(0, &purchase);
    let landed = Patience::for_("it lands");
    while !has_paid(&world, &purchase.payment.transaction) {
        landed.again().await;
    }
    world.chain.advance(depth - 2);
    assert!(asking.await.unwrap().is_paid(), "it is confirmed");
    world.chain.fork(depth).unwrap();
    assert!(!has_paid(&world, &purchase.payment.transaction));
    world.chain.resume();
    world.chain.advance(33);
    let taken_back = Patience::for_("the ledger takes it back");
    let is_settled = async || {
        let record = world.recorded(&purchase.payment.key).await.unwrap();
        record.state == tollway_ledger::JournalState::Settled
    };
    while is_settled().await {
        taken_back.again().await;
    }
    // Until its blockhash would be dead.
    world.chain.advance(160);
    let other = Purchase::new(&world).await;
    client.until_known(&[0], &other).await;
    judge(&world, &[0], &[purchase, other]).await;
    world.stop(facilitator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_x1_x2_what_a_solana_cluster_delays_or_drops_is_settled_once_in_the_end() {
    let stuck = Row::new("Solana fx-X1 stuck")
        .cell("no slots", self::stuck(Stuck::Halted, Duration::ZERO))
        .cell("in no slot", self::stuck(Stuck::Full, Duration::ZERO))
        .long("no slots for 30 s", self::stuck(Stuck::Halted, Duration::from_secs(30)))
        .long("in no slot for 30 s", self::stuck(Stuck::Full, Duration::from_secs(30)));
    let dropped = Row::new("Solana fx-X2 dropped")
        .cell("one", self::dropped())
        .long("two, three times, under load", forgetful(2))
        .long("six, three times, under load", forgetful(6));
    Row::all(vec![stuck, dropped], 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_x3_what_a_solana_fork_takes_back_lands_again_or_is_recorded_as_taken_back() {
    Row::new("Solana fx-X3 fork")
        .cell("depth 2", fork(2))
        .long("depth 1", fork(1))
        .long("depth 3", fork(3))
        .cell("depth 3, its blockhash with it", fork_for_good(3))
        .long("depth 6", fork(6))
        .long("depth 4, its blockhash with it", fork_for_good(4))
        .run(4)
        .await;
}
