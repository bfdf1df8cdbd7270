//! One of two replicas is killed at random moments, again and again.

use crate::database::Database;
use crate::load::{Load, MIX};
use crate::oracle::judge;
use crate::random::Random;
use crate::world::World;

const KILLS: u32 = 20;
const BUYERS: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fa03_two_replicas_on_one_postgres_killed_twenty_times_lose_nothing_and_settle_nothing_twice() {
    let mut random = Random::new();
    let world = World::new(2, Database::shared().await).await;
    let mut replicas = [Some(world.start(0).await), Some(world.start(1).await)];
    let load = Load::begin(&world, BUYERS, MIX);
    load.until_more(BUYERS).await;
    for _ in 0..KILLS {
        random.moment(1200).await;
        let place = usize::from(random.below(2) == 1);
        replicas[place].take().unwrap().kill().await;
        random.moment(300).await;
        replicas[place] = Some(world.start(place).await);
    }
    load.until_more(BUYERS).await;
    let purchases = load.end().await;
    judge(&world, &purchases).await;
    for replica in replicas.into_iter().flatten() {
        let status = replica.terminate().await;
        assert!(status.success(), "{status}: {}", world.logs());
    }
}
