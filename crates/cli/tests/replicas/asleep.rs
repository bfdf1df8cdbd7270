//! A replica that stops for longer than its lease, as one on a machine that is suspended, and goes on.

use crate::database::Database;
use crate::load::{Load, MIX};
use crate::oracle::judge;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fa04_a_replica_that_wakes_up_after_its_lease_does_not_send_beside_the_one_that_took_it_over() {
    let world = World::new(1, Database::shared().await).await;
    let replicas = [world.start(0).await, world.start(1).await];
    let load = Load::begin(&world, 16, MIX);
    load.until_more(16).await;
    // The account goes from the first to the second, and back.
    for (asleep, heir) in [(0, 1), (1, 0)] {
        let sent = world.node.given().iter().filter(|given| given.by == heir).count();
        replicas[asleep].freeze();
        world.node.until_given(heir, sent + 2).await;
        replicas[asleep].thaw();
        load.until_more(16).await;
    }
    let purchases = load.end().await;
    judge(&world, &purchases).await;
    for replica in replicas {
        let status = replica.terminate().await;
        assert!(status.success(), "{status}: {}", world.logs());
    }
}
