//! A rolling deployment: a replica is asked to stop while both are busy.

use tollway_ledger::{Journal as _, Lease};

use crate::database::Database;
use crate::load::{Load, Manner};
use crate::oracle::judge;
use crate::world::{World, network};

/// The lease of the account, for a process of our own.
async fn take(world: &World) -> Option<Lease> {
    let ledger = world.database.ledger().await;
    let signer = world.signers()[0].to_string();
    let lease = ledger.lease(&network(), &signer).await.unwrap();
    if let Some(lease) = &lease {
        ledger.give_back(lease).await.unwrap();
    }
    lease
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fa03_a_replica_that_is_told_to_stop_finishes_and_gives_its_account_back_at_once() {
    let world = World::new(1, Database::shared().await).await;
    let (first, second) = (world.start(0).await, world.start(1).await);
    let load = Load::begin(&world, 40, &[Manner::To(1)]);
    load.until_more(16).await;

    // The one with the account goes, though the other one never stops leaving payments to it.
    let status = first.terminate().await;
    assert!(status.success(), "{status}: {}", world.logs());
    load.until_more(16).await;
    let next = world.start(0).await;
    load.until_more(16).await;

    // The account is free at once, and not when a lease runs out: nobody else is awake to take it.
    next.freeze();
    assert!(take(&world).await.is_none(), "the account is another's");
    let status = second.terminate().await;
    assert!(status.success(), "{status}: {}", world.logs());
    assert!(take(&world).await.is_some(), "the account is still the one's that stopped");
    next.thaw();
    let last = world.start(1).await;
    load.until_more(16).await;

    let purchases = load.end().await;
    judge(&world, &purchases).await;
    for replica in [next, last] {
        let status = replica.terminate().await;
        assert!(status.success(), "{status}: {}", world.logs());
    }
}
