//! One of two replicas on one Postgres is killed at random moments, and each payment is posted to both at once.

use crate::load::Load;
use crate::matrix::Row;
use crate::oracle::judge;
use crate::random::Random;
use crate::world::World;

const PAYMENTS: usize = 200;
const BUYERS: usize = 16;
const KILLS: usize = 3;

async fn one_of_two_killed() {
    let mut random = Random::new();
    let world = World::shared().await;
    let (mut killed, other) = (world.start(0).await, world.start(1).await);
    let load = Load::begin(&world, PAYMENTS, BUYERS, &[0, 1]);
    for kill in 1..=KILLS {
        load.until(PAYMENTS / (KILLS + 1) * kill).await;
        random.moment(80).await;
        killed.kill().await;
        random.moment(200).await;
        killed = world.start(0).await;
    }
    let purchases = load.end().await;
    assert_eq!(purchases.len(), PAYMENTS);
    judge(&world, &[0, 1], &purchases).await;
    for replica in [killed, other] {
        let status = replica.terminate().await;
        assert!(status.success(), "{status}: {}", world.logs());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fa03_fa04_payments_posted_to_both_of_two_replicas_one_of_them_killed_are_settled_and_told_once() {
    let row = Row::new("Solana KF one of two processes");
    row.cell("200 payments, each at both, 3 kills", one_of_two_killed()).run(1).await;
}
