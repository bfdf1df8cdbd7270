//! One facilitator is killed at random moments under load, again and again, and started again over the same file.

use crate::load::{Answer, Load};
use crate::matrix::Row;
use crate::oracle::judge;
use crate::random::Random;
use crate::world::World;

const PAYMENTS: usize = 1000;
const BUYERS: usize = 24;
const KILLS: usize = 5;

async fn killed_five_times() {
    let mut random = Random::new();
    let world = World::new().await;
    let mut facilitator = world.start(0).await;
    let load = Load::begin(&world, PAYMENTS, BUYERS, &[0]);
    for kill in 1..=KILLS {
        load.until(PAYMENTS / (KILLS + 1) * kill).await;
        random.moment(80).await;
        facilitator.kill().await;
        assert!(load.known() < PAYMENTS, "kill {kill} came too late");
        random.moment(200).await;
        facilitator = world.start(0).await;
    }
    let purchases = load.end().await;
    assert_eq!(purchases.len(), PAYMENTS);
    let cut = purchases.iter().filter(|one| one.answers().contains(&Answer::Cut)).count();
    assert!(cut >= KILLS, "{cut} payments were under way at {KILLS} kills");
    judge(&world, &[0], &purchases).await;
    let status = facilitator.terminate().await;
    assert!(status.success(), "{status}: {}", world.logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_fa03_a_thousand_payments_through_one_fee_payer_and_five_kills_none_is_lost_none_doubled() {
    Row::new("Solana KF under load").cell("1000 payments, 5 kills", killed_five_times()).run(1).await;
}
