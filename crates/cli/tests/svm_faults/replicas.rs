//! Several requests and several processes for the same payments (fx-Q1), processes that are told to stop (fx-S1), and a
//! fee payer that is retired (fx-S2).

use std::sync::Arc;

use tollway_protocol::Reason;

use crate::database::Database;
use crate::load::{Answer, Client, Load, Must, Purchase};
use crate::matrix::Row;
use crate::node::SEND;
use crate::oracle::{has_paid, is_told_again, judge};
use crate::world::{Settings, World};

const PAYMENTS: usize = 20;

/// So many copies of one payment at the same moment, spread over so many processes: one transaction, one success.
async fn copies(count: usize, replicas: usize) {
    let world = if replicas == 1 { World::new().await } else { World::shared().await };
    let mut all = Vec::new();
    for place in 0..replicas {
        all.push(world.start(place).await);
    }
    let client = Client::new(&world);
    let purchase = Purchase::new(&world).await;
    let asking: Vec<_> = (0..count).map(|copy| client.post(copy % replicas, &purchase)).collect();
    for asked in asking {
        let told = asked.await.unwrap();
        let is_right = told.is_paid() || is_told_again(&told) || matches!(told, Answer::Pending { .. });
        assert!(is_right, "{told:?}");
    }
    let given = world.node.given();
    assert!(given.iter().all(|one| one.transaction == purchase.payment.transaction), "{given:?}");
    let places: Vec<usize> = (0..replicas).collect();
    judge(&world, &places, &[purchase]).await;
    for replica in all {
        world.stop(replica).await;
    }
}

/// The first of two processes is told to stop under load: it ends in order, and the other one goes on.
async fn told_to_stop(sent: u64) {
    let world = World::shared().await;
    let (first, second) = (world.start(0).await, world.start(1).await);
    let load = Load::begin(&world, PAYMENTS, PAYMENTS / 2, &[0, 1]);
    world.node.until(SEND, sent).await;
    world.stop(first).await;
    let purchases = load.end().await;
    judge(&world, &[1], &purchases).await;
    world.stop(second).await;
}

/// What becomes of the process whose fee payer is retired.
#[derive(Debug, Clone, Copy)]
enum End {
    Told,
    Killed,
}

/// A fee payer is taken out of the configuration while a transaction of it is with the cluster, or was dropped there: it
/// still comes to its end, and nothing new is taken for it.
async fn retired(end: End, is_dropped: bool) {
    let ledger = Some(Database::shared().await.url().to_owned());
    let settings = Settings { drain_seconds: 2, settle_seconds: 2, ledger, ..Settings::default() };
    let world = World::with(settings).await;
    let old = world.start(0).await;
    let client = Client::new(&world);
    if is_dropped {
        world.chain.drop_next(1);
    } else {
        world.chain.hold();
    }
    let first = Purchase::new(&world).await;
    let asking = client.post(0, &first);
    world.node.until(SEND, 1).await;
    match end {
        End::Told => drop(old.terminate().await),
        End::Killed => old.kill().await,
    }
    let told = asking.await.unwrap();
    assert!(!told.is_final(), "{told:?}");
    let stale = Purchase::that_must(Must::Fail, world.pay().await);
    world.change(|settings| settings.fee_payers = vec![1]);
    let new = world.start(0).await;
    let told = client.settle(0, &stale).await;
    let is_unknown = matches!(told, Answer::Refused { reason: Reason::FeePayerUnknown, .. });
    assert!(is_unknown, "nothing new for it: {told:?}");
    let told = client.settle(0, &first).await;
    let is_known = matches!(told, Answer::Pending { .. }) || told.is_paid() || is_told_again(&told);
    assert!(is_known, "it is on its way: {told:?}");
    world.chain.release();
    let second = Purchase::new(&world).await;
    client.until_known(&[0], &second).await;
    client.until_known(&[0], &first).await;
    assert!(has_paid(&world, &first.payment.transaction));
    let all: Vec<Arc<Purchase>> = vec![first, second, stale];
    judge(&world, &[0], &all).await;
    world.stop(new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_q1_copies_of_a_solana_payment_are_one_transaction_and_one_success() {
    let mut row = Row::new("Solana fx-Q1 copies");
    for count in [2, 8, 50] {
        for replicas in [1, 2] {
            let (name, cell) = (format!("{count}, {replicas} processes"), copies(count, replicas));
            row = if (count, replicas) == (50, 2) { row.cell(name, cell) } else { row.long(name, cell) };
        }
    }
    row.run(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_s1_a_process_that_is_told_to_stop_under_load_costs_no_solana_payment() {
    let mut row = Row::new("Solana fx-S1 one of two processes").cell("told to stop", told_to_stop(4));
    for sent in 1..=10 {
        row = row.long(format!("told to stop after {} broadcasts", 2 * sent), told_to_stop(2 * sent));
    }
    row.run(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_s2_a_retired_fee_payer_s_transaction_still_comes_to_its_end() {
    Row::new("Solana fx-S2 fee payer retired")
        .long("stopped in order", retired(End::Told, false))
        .long("killed", retired(End::Killed, false))
        .cell("killed, and the transaction dropped", retired(End::Killed, true))
        .run(3)
        .await;
}
