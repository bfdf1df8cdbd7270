//! The ledger on Postgres, and Postgres fails (fx-P): away, slow, silent.

use std::time::Duration;

use tokio::task::block_in_place;

use crate::load::{Answer, Client, Load, Purchase};
use crate::matrix::Row;
use crate::node::SEND;
use crate::oracle::{Excused, judge_but};
use crate::patience;
use crate::store::Store;
use crate::world::{Settings, World};

const PAYMENTS: usize = 10;
const UNHEARD: Excused = Excused { unheard: true, days: false, forgotten: false };
/// An age that no outage here outlives.
const OLD: u64 = 3000;

fn on(store: &Store) -> Settings {
    Settings { ledger: Some(store.url()), blockhash_age: OLD, ..Settings::default() }
}

/// Away from before the payments until after them: nothing leaves, and verification goes on.
async fn away_before(outage: Duration) {
    let store = Store::new(&[]).await;
    let world = World::with(on(&store)).await;
    let facilitator = world.start(0).await;
    let client = Client::new(&world);
    let before = Purchase::new(&world).await;
    client.until_known(&[0], &before).await;
    let sent = world.node.count(SEND);
    block_in_place(|| store.server.stop());
    assert!(client.verify(0, &*Purchase::new(&world).await).await, "it changes nothing, so it goes on");
    let load = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]);
    load.answered(PAYMENTS).await;
    patience::lasts(outage).await;
    let told = load.told();
    let good = |answer: &Answer| matches!(answer, Answer::Later { .. });
    assert!(told.iter().all(good), "503, and no more: {told:?}");
    assert_eq!(world.node.count(SEND), sent, "nothing is broadcast");
    block_in_place(|| store.server.go());
    let mut purchases = load.end().await;
    purchases.push(before);
    judge_but(&world, &[0], &purchases, UNHEARD).await;
    world.stop(facilitator).await;
}

/// It goes away in the middle of a load and comes back.
async fn away_in_the_middle(sent: u64, outage: Duration) {
    let store = Store::new(&[]).await;
    let world = World::with(on(&store)).await;
    let facilitator = world.start(0).await;
    let load = Load::begin(&world, PAYMENTS, PAYMENTS / 2, &[0]);
    world.node.until(SEND, sent).await;
    block_in_place(|| store.server.stop());
    load.refused(1).await;
    patience::lasts(outage).await;
    block_in_place(|| store.server.go());
    let purchases = load.end().await;
    judge_but(&world, &[0], &purchases, UNHEARD).await;
    world.stop(facilitator).await;
}

/// It goes away when a transaction is in the cluster's hands and in no block: the ending is recorded when it is back.
async fn away_after() {
    let store = Store::new(&[]).await;
    let world = World::with(on(&store)).await;
    let facilitator = world.start(0).await;
    let client = Client::new(&world);
    world.chain.hold();
    let purchase = Purchase::new(&world).await;
    let asking = client.post(0, &purchase);
    world.node.until(SEND, 1).await;
    block_in_place(|| store.server.stop());
    world.chain.release();
    let told = asking.await.unwrap();
    assert!(matches!(told, Answer::Pending { .. }), "landed and not recorded: {told:?}");
    block_in_place(|| store.server.go());
    client.until_known(&[0], &purchase).await;
    judge_but(&world, &[0], &[purchase], UNHEARD).await;
    world.stop(facilitator).await;
}

/// The network to it is slow: callers are answered in time.
async fn slow(settle_seconds: u64, delay: Duration) {
    let store = Store::new(&[]).await;
    let world = World::with(Settings { settle_seconds, ..on(&store) }).await;
    let facilitator = world.start(0).await;
    store.gate.slow(delay);
    let load = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]);
    load.answered(PAYMENTS).await;
    store.gate.slow(Duration::ZERO);
    let purchases = load.end().await;
    judge_but(&world, &[0], &purchases, UNHEARD).await;
    world.stop(facilitator).await;
}

/// The door to it shuts and opens under load: connections break at any point.
async fn cut_off() {
    let store = Store::new(&[]).await;
    let world = World::with(on(&store)).await;
    let facilitator = world.start(0).await;
    let load = Load::begin(&world, PAYMENTS, PAYMENTS / 2, &[0]);
    for sent in 1..=3 {
        world.node.until(SEND, sent).await;
        store.gate.shut();
        tokio::task::yield_now().await;
        store.gate.open();
    }
    let purchases = load.end().await;
    judge_but(&world, &[0], &purchases, UNHEARD).await;
    world.stop(facilitator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fx_p1_with_the_database_away_no_solana_transaction_leaves_and_all_is_settled_afterwards() {
    let mut row = Row::new("Solana fx-P1 database away")
        .long("before the payments", away_before(Duration::ZERO))
        .cell("from the middle of a load on", away_in_the_middle(2, Duration::ZERO))
        .cell("after the broadcast", away_after())
        .long("its connections break under load", cut_off())
        .long("before the payments, for 30 s", away_before(Duration::from_secs(30)));
    for sent in [1, 3, 5, 7] {
        let outage = Duration::from_secs(30);
        row = row.long(format!("for 30 s after {sent} broadcasts"), away_in_the_middle(sent, outage));
    }
    row.run(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fx_p2_a_slow_database_costs_nobody_a_solana_payment() {
    Row::new("Solana fx-P2 database slow")
        .cell("1 s", slow(2, Duration::from_secs(1)))
        .long("3 s", slow(4, Duration::from_secs(3)))
        .long("6 s", slow(4, Duration::from_secs(6)))
        .long("60 s", slow(4, Duration::from_secs(60)))
        .run(3)
        .await;
}
