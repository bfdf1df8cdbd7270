//! One of two replicas is killed at random moments, again and again.

use std::time::Duration;

use tollway_protocol::door::decimal_u64;

use crate::database::Database;
use crate::load::{Load, MIX};
use crate::oracle::judge;
use crate::world::World;

const KILLS: u32 = 20;
const BUYERS: usize = 32;

/// SplitMix64: one seed, one run of moments.
struct Random(u64);

impl Random {
    /// `TOLLWAY_SEED`, or one that no other run had.
    fn new() -> Self {
        let given = std::env::var("TOLLWAY_SEED").ok().map(|seed| decimal_u64(&seed).unwrap());
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or_else(|| u64::from(since.subsec_nanos()));
        eprintln!("TOLLWAY_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Waits for a while below `millis`, so that kills come at no particular moment: there is no event to wait for.
    async fn moment(&mut self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(self.below(millis))).await;
    }
}

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
