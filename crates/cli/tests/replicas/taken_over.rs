//! One account, which one replica has: the other settles through it, and inherits it.

use std::sync::Arc;

use tokio::task::JoinSet;
use tollway_ledger::{Journal as _, JournalState, Record};
use tollway_protocol::door::hex_array;

use crate::database::Database;
use crate::load::{Answer, Client, Manner, Purchase};
use crate::node::Given;
use crate::oracle::judge;
use crate::world::{Patience, World};

/// Posts payments to the replica that has no account, each by a buyer of its own who asks until it is known.
async fn post(client: &Client, count: usize, asking: &mut JoinSet<()>) -> Vec<Arc<Purchase>> {
    let mut purchases = Vec::new();
    for _ in 0..count {
        let purchase = Purchase::new(&client.world, Manner::To(1)).await;
        let (client, asked) = (client.clone(), purchase.clone());
        asking.spawn(async move { client.buy(&asked).await });
        purchases.push(purchase);
    }
    purchases
}

/// Waits until every payment has a record that is `enough`.
async fn until_recorded(world: &World, purchases: &[Arc<Purchase>], enough: impl Fn(&Record) -> bool) {
    let ledger = world.database.ledger().await;
    let patience = Patience::for_("records");
    for purchase in purchases {
        while !ledger.settlement(&purchase.payment.key).await.unwrap().is_some_and(|record| enough(&record)) {
            patience.again().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fa03_fa04_a_replica_without_an_account_settles_through_the_other_and_inherits_account_and_journal() {
    let world = World::new(1, Database::shared().await).await;
    let (first, second) = (world.start(0).await, world.start(1).await);
    let client = Client::new(&world);

    // Through the other one.
    let mut asking = JoinSet::new();
    let mut all = post(&client, 6, &mut asking).await;
    asking.join_all().await;
    let by_first = world.node.given();
    assert!(by_first.iter().all(|given| given.by == 0), "{by_first:?}");
    for purchase in &all {
        assert!(
            matches!(purchase.answers().last(), Some((_, Answer::Paid { .. }))),
            "{:?}",
            purchase.answers()
        );
    }

    // Some are recorded and get lost on their way; of some nothing is signed. Then it dies.
    world.node.lose(0, true);
    let mut asking = JoinSet::new();
    let signed = post(&client, 4, &mut asking).await;
    until_recorded(&world, &signed, |record| record.transaction.is_some()).await;
    world.node.until_given(0, by_first.len() + 1).await;
    first.freeze();
    let unsigned = post(&client, 3, &mut asking).await;
    until_recorded(&world, &unsigned, |record| record.state == JournalState::Prepared).await;
    let dead = world.node.given();
    assert!(dead.iter().all(|given| given.by == 0), "{dead:?}");
    first.kill().await;
    while let Some(done) = asking.join_next().await {
        done.unwrap();
    }

    // The heir sent the very same transactions, and the rest by its own.
    let ledger = world.database.ledger().await;
    for purchase in &signed {
        let history = ledger.history(&purchase.payment.key).await.unwrap();
        assert_eq!(history.len(), 1, "{history:?}");
        let hash = hex_array::<32>(&history[0].transaction.hash).unwrap().into();
        assert!(world.node.given().contains(&Given { by: 1, hash }), "{hash} is not sent again");
    }
    all.extend(signed);
    all.extend(unsigned);
    drop(ledger);
    let again = world.start(0).await;
    judge(&world, &all).await;
    for replica in [second, again] {
        let status = replica.terminate().await;
        assert!(status.success(), "{status}: {}", world.logs());
    }
}
