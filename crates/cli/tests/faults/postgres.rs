//! The ledger on Postgres, and Postgres fails (fx-P): away, slow, silent, older than it was, in contention.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::block_in_place;
use tollway_protocol::Reason;

use crate::load::{self, Answer, Client, Load, Manner, Purchase};
use crate::matrix::Row;
use crate::oracle::judge;
use crate::patience;
use crate::rpc::SEND;
use crate::store::Store;
use crate::world::{Settings, World};

/// A facilitator's settings, with its ledger there.
fn on(store: &Store) -> Settings {
    Settings { ledger: Some(store.url()), ..Settings::default() }
}

/// Away from before the payments until after them: nothing leaves, and verification goes on.
async fn away_before(outage: Duration) {
    let store = Store::new(&[]).await;
    let world = World::new(on(&store)).await;
    let facilitator = world.start().await;
    let before = Purchase::new(&world, Manner::Normal).await;
    let client = Client::new(&world);
    client.buy(&before).await;
    let sent = world.node.count(SEND);
    block_in_place(|| store.server.stop());
    let asked = Purchase::new(&world, Manner::Normal).await;
    let verdict = client.verify(&asked.payments[0]).await;
    assert_eq!(verdict["isValid"], true, "it changes nothing, so it goes on: {verdict}");
    client.buy(&asked).await;
    assert_eq!(asked.last(0), Some(Answer::Later { reason: Reason::StoreUnavailable }), "503, and no more");
    let mut load = Load::new(&world).await;
    load::ended(load.begin()).await;
    for (_, answer) in load.purchases.iter().flat_map(|purchase| purchase.answers()) {
        let good = matches!(answer, Answer::Later { .. } | Answer::Cut);
        assert!(good, "with no store: {answer:?}");
    }
    patience::lasts(outage).await;
    assert_eq!(world.node.count(SEND), sent, "nothing is broadcast");
    block_in_place(|| store.server.go());
    load.purchases.extend([before, asked]);
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

/// It goes away in the middle of a load and comes back.
async fn away_in_the_middle(sent: u64, outage: Duration) {
    let store = Store::new(&[]).await;
    let world = World::new(on(&store)).await;
    let facilitator = world.start().await;
    let load = Load::new(&world).await;
    let running = load.begin();
    world.node.until(SEND, sent).await;
    block_in_place(|| store.server.stop());
    load::ended(running).await;
    patience::lasts(outage).await;
    block_in_place(|| store.server.go());
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

/// The network to it is slow, or carries nothing for a while: callers are answered in time.
async fn slow(settle_seconds: u64, delay: Duration) {
    let store = Store::new(&[]).await;
    let world = World::new(Settings { settle_seconds, ..on(&store) }).await;
    let facilitator = world.start().await;
    store.gate.slow(delay);
    let load = Load::new(&world).await;
    load::ended(load.begin()).await;
    store.gate.slow(Duration::ZERO);
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

/// The door to it shuts and opens under load: connections break at any point.
async fn cut_off() {
    let store = Store::new(&[]).await;
    let world = World::new(on(&store)).await;
    let facilitator = world.start().await;
    let load = Load::new(&world).await;
    let running = load.begin();
    for sent in 1..=3 {
        world.node.until(SEND, sent).await;
        store.gate.shut();
        tokio::task::yield_now().await;
        store.gate.open();
    }
    load::ended(running).await;
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

/// A replica that is behind takes its place: what was acknowledged since is gone.
async fn older() {
    let store = Store::new(&[]).await;
    let world = World::new(on(&store)).await;
    let facilitator = world.start().await;
    let early = Load::new(&world).await;
    load::ended(early.begin()).await;
    facilitator.stop().await;
    world.node.check_against(None);
    block_in_place(|| {
        store.server.shut_down();
        store.server.set_aside();
        store.server.go();
    });
    let facilitator = world.start().await;
    let late = Load::new(&world).await;
    load::ended(late.begin()).await;
    let sent = world.node.count(SEND);
    world.node.check_against(None);
    block_in_place(|| {
        store.server.shut_down();
        store.server.put_back();
        store.server.go();
    });
    let after = Purchase::new(&world, Manner::Normal).await;
    Client::new(&world).buy(&after).await;
    let told = after.last(0);
    let is_stopped = matches!(told, Some(Answer::Later { .. } | Answer::Pending { transaction: None }));
    assert!(is_stopped, "it does not go on with what it did not write: {told:?}");
    assert_eq!(world.node.count(SEND), sent, "nothing is broadcast");
    facilitator.kill();
    let next = world.start().await;
    let all: Vec<Arc<Purchase>> = early.purchases.into_iter().chain(late.purchases).chain([after]).collect();
    judge(&world, &all).await;
    next.stop().await;
}

/// Two processes and every payment posted to both, in a database whose transactions fail for being concurrent.
async fn contended() {
    let store = Store::new(&["default_transaction_isolation=serializable"]).await;
    let world = World::new(Settings { signers: vec![0, 1], ..on(&store) }).await;
    let first = world.start().await;
    let second = world.replica(None).await;
    let load = Load::new(&world).await;
    let mirrored = Load::of(&world, second.url(), load.purchases.clone());
    let (one, other) = (load.begin(), mirrored.begin());
    load::ended(one).await;
    load::ended(other).await;
    judge(&world, &load.purchases).await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fx_p1_with_the_database_away_nothing_leaves_and_everything_is_settled_afterwards() {
    let mut row = Row::new("fx-P1 database away")
        .cell("during a whole load", away_before(Duration::ZERO))
        .cell("from the middle of a load on", away_in_the_middle(2, Duration::ZERO))
        .cell("its connections break under load", cut_off())
        .long("for 30 s", away_before(Duration::from_secs(30)));
    for sent in [1, 3, 5, 7] {
        let outage = Duration::from_secs(30);
        row = row.long(format!("for 30 s after {sent} broadcasts"), away_in_the_middle(sent, outage));
    }
    row.run(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fx_p2_p4_a_slow_or_contended_database_costs_nobody_a_payment() {
    let slowly = Row::new("fx-P2 database slow")
        .cell("1 s", slow(2, Duration::from_secs(1)))
        .long("3 s", slow(4, Duration::from_secs(3)))
        .long("6 s", slow(4, Duration::from_secs(6)))
        .long("60 s", slow(4, Duration::from_secs(60)));
    let contended = Row::new("fx-P4 contention").cell("two processes, every payment at both", contended());
    Row::all(vec![slowly, contended], 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fx_p3_an_older_copy_of_the_database_is_not_gone_on_with_and_nothing_is_paid_twice_or_denied() {
    Row::new("fx-P3 older copy of the database").cell("from before a load", older()).run(1).await;
}
