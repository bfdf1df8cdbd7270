//! Several requests and several processes for the same payments (fx-Q1), processes that are told to stop (fx-S1) or die,
//! and a sending account that is retired (fx-S2).

use serde_json::json;
use tokio::task::JoinSet;
use tollway_devnet::evm::Mining;

use crate::load::{self, Answer, Client, Load, Manner, Must, Purchase};
use crate::matrix::Row;
use crate::oracle::judge;
use crate::process::signal;
use crate::rpc::SEND;
use crate::world::{Settings, World, signer};

/// So many copies of one payment at the same moment, spread over so many processes: one transaction, and everybody is
/// told of it.
async fn copies(count: usize, replicas: usize) {
    let world = World::new(Settings::default()).await;
    let mut all = vec![world.start().await];
    for _ in 1..replicas {
        all.push(world.replica(None).await);
    }
    let clients: Vec<_> = all.iter().map(|replica| Client::at(&world, replica.url())).collect();
    let purchase = Purchase::of(vec![world.pay().await], Manner::Parallel, Must::Pay);
    let mut asking = JoinSet::new();
    for copy in 0..count {
        let (client, purchase) = (clients[copy % clients.len()].clone(), purchase.clone());
        asking.spawn(async move { client.ask(&purchase, 0).await });
    }
    load::ended(asking).await;
    let told = purchase.answers();
    assert!(told.iter().all(|(_, answer)| matches!(answer, Answer::Paid { .. })), "{told:?}");
    let (_, first) = &told[0];
    assert!(told.iter().all(|(_, answer)| answer == first), "all are told alike: {told:?}");
    assert_eq!(world.node.given().len(), 1, "one broadcast");
    judge(&world, &[purchase]).await;
    for replica in all {
        replica.stop().await;
    }
}

/// What becomes of the first process under load, with a second one beside it.
#[derive(Debug, Clone, Copy)]
enum End {
    Told,
    Killed,
}

async fn one_of_two(end: End, sent: u64) {
    let world = World::new(Settings::default()).await;
    let mut first = world.start().await;
    let second = world.replica(None).await;
    let (load, other) = (Load::new(&world).await, Load::at(&world, second.url()).await);
    let running = (load.begin(), other.begin());
    world.node.until(SEND, sent).await;
    match end {
        End::Told => {
            signal("-TERM", first.id());
            let status = first.ended().await;
            assert!(status.success(), "{status}: {}", world.logs());
        }
        End::Killed => {
            first.kill();
            first.ended().await;
        }
    }
    world.front.lead_to(second.address());
    load::ended(running.0).await;
    load::ended(running.1).await;
    let all: Vec<_> = load.purchases.into_iter().chain(other.purchases).collect();
    judge(&world, &all).await;
    second.stop().await;
}

/// Its account is taken out of the configuration while a transaction of it waits: that one is still seen through.
async fn retired(lost: bool, killed: bool) {
    let settings = Settings { mining: Mining::Manual, drain_seconds: 2, ..Settings::default() };
    let mut world = World::new(settings).await;
    let mut old = world.start().await;
    let first = Purchase::new(&world, Manner::Normal).await;
    let (client, asked) = (Client::new(&world), first.clone());
    let asking = tokio::spawn(async move { client.buy(&asked).await });
    world.node.until(SEND, 1).await;
    let sent = world.node.given()[0].clone();
    if killed {
        old.kill();
    } else {
        signal("-TERM", old.id());
    }
    old.ended().await;
    asking.await.unwrap();
    if lost {
        world.chain.request("anvil_dropTransaction", &json!([sent.hash])).unwrap();
    }
    world.settings.signers = vec![1];
    let new = world.start().await;
    let second = Purchase::new(&world, Manner::Normal).await;
    let (client, asked) = (Client::new(&world), second.clone());
    let asking = tokio::spawn(async move { client.buy(&asked).await });
    world.node.until(SEND, if lost { 3 } else { 2 }).await;
    world.chain.set_mining(Mining::Auto).unwrap();
    asking.await.unwrap();
    judge(&world, &[first.clone(), second.clone()]).await;
    assert_eq!(first.last(0).unwrap().named(), Some(sent.hash.to_string().as_str()), "the same transaction");
    assert_eq!(world.mined_of(signer(0).address()), 1);
    assert_eq!(world.mined_of(signer(1).address()), 1);
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_q1_copies_of_a_payment_are_one_transaction_and_one_answer() {
    let mut row = Row::new("fx-Q1 copies");
    for count in [2, 8, 50] {
        for replicas in [1, 2] {
            row = row.cell(format!("{count}, {replicas} processes"), copies(count, replicas));
        }
    }
    row.run(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_s1_a_process_that_stops_or_dies_under_load_costs_nothing() {
    let mut row = Row::new("fx-S1 one of two processes")
        .cell("told to stop", one_of_two(End::Told, 2))
        .cell("killed", one_of_two(End::Killed, 2));
    for sent in 1..=10 {
        row = row
            .long(format!("told to stop after {sent} broadcasts"), one_of_two(End::Told, sent))
            .long(format!("killed after {sent} broadcasts"), one_of_two(End::Killed, sent));
    }
    row.run(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_s2_a_retired_account_s_transaction_is_still_seen_through() {
    Row::new("fx-S2 account retired")
        .cell("stopped in order", retired(false, false))
        .cell("killed", retired(false, true))
        .cell("killed, and the transaction dropped", retired(true, true))
        .run(3)
        .await;
}
