//! The database goes away under load, and comes back.

use std::collections::BTreeSet;

use serde_json::json;
use tollway_protocol::Reason;

use crate::database::Database;
use crate::load::{Answer, Client, Load, MIX, Manner, Purchase};
use crate::oracle::{judge, recorded};
use crate::world::World;

/// So many blocks it is away: for longer than a lease.
const BLOCKS: u64 = 30;

/// What a replica does without its database: no settlement, verdicts as ever, and it says that it is not ready.
async fn check(client: &Client, replica: usize) {
    let fresh = Purchase::new(&client.world, Manner::To(replica)).await;
    let told = client.settle(replica, &fresh).await;
    assert_eq!(told, Answer::Later { reason: Reason::StoreUnavailable });
    let (status, verdict) = client.verify(replica, &fresh.payment.body).await;
    assert_eq!((status, &verdict["isValid"]), (200, &json!(true)), "{verdict}");
    let mut forged = fresh.payment.body.clone();
    forged["paymentPayload"]["payload"]["authorization"]["to"] =
        json!("0x00000000000000000000000000000000000000ff");
    let (status, verdict) = client.verify(replica, &forged).await;
    assert_eq!((status, &verdict["isValid"]), (200, &json!(false)), "{verdict}");
    let (status, said) = client.get(replica, "/readyz").await;
    assert_eq!(status, 503, "{said}");
    assert_eq!(client.get(replica, "/healthz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_s1_with_the_database_away_nothing_is_settled_or_sent_and_verdicts_go_on() {
    let world = World::new(2, Database::own().await).await;
    let replicas = [world.start(0).await, world.start(1).await];
    let load = Load::begin(&world, 16, MIX);
    load.until_more(16).await;

    world.database.stop().await;
    let before = world.node.given().len();
    let until = world.chain.block_number() + BLOCKS;
    while world.chain.block_number() < until {
        for replica in [0, 1] {
            check(&load.client, replica).await;
        }
    }
    // Asleep, so that nothing is recorded before we look.
    replicas.iter().for_each(crate::replica::Replica::freeze);
    let away: BTreeSet<String> =
        world.node.given()[before..].iter().map(|given| given.hash.to_string()).collect();
    world.database.go().await;
    let ledger = world.database.ledger().await;
    let recorded = recorded(&world, &ledger, &load.purchases()).await;
    drop(ledger);
    let unrecorded: Vec<_> = away.difference(&recorded).collect();
    assert!(unrecorded.is_empty(), "sent without a record: {unrecorded:?}");
    assert!(world.mined() <= u64::try_from(recorded.len()).unwrap(), "more is mined than was recorded");
    replicas.iter().for_each(crate::replica::Replica::thaw);

    for replica in [0, 1] {
        load.client.until_ready(replica).await;
    }
    load.until_more(16).await;
    let purchases = load.end().await;
    judge(&world, &purchases).await;
    for replica in replicas {
        let status = replica.terminate().await;
        assert!(status.success(), "{status}: {}", world.logs());
    }
}
