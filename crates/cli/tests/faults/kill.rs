//! Killed with SIGKILL at every point of a settlement (KF1 to KF12), under load, and started again.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use serde_json::Value;
use tollway_devnet::evm::Mining;

use crate::load::{self, Load};
use crate::matrix::Row;
use crate::oracle::judge;
use crate::patience;
use crate::process::{Facilitator, signal};
use crate::rpc::{Act, RECEIPT};
use crate::store::database;
use crate::world::{Settings, World};

/// Where it is killed.
#[derive(Debug, Clone, Copy)]
enum Point {
    /// At a point of a settlement.
    At(&'static str),
    /// At a point of the ledger's.
    Commit(&'static str),
    /// While it asks for a receipt that is not there.
    Waiting,
    /// When the first bytes of an answer are out.
    Replying,
}

/// A point of the ledger's is passed so often while the process starts.
const STARTING: u32 = 4;

/// The most purchases besides the load that it takes to reach a point so often.
const MOST_MORE: usize = 60;

async fn cell(point: Point, hit: u32, mining: Mining, pause: Duration) {
    killed(point, hit, pause, Settings { mining, ..Settings::default() }).await;
}

/// As [`cell`], with the ledger on Postgres.
async fn on_postgres(point: Point, hit: u32) {
    let ledger = Some(database());
    killed(point, hit, Duration::ZERO, Settings { mining: BLOCKS, ledger, ..Settings::default() }).await;
}

async fn killed(point: Point, hit: u32, pause: Duration, settings: Settings) {
    let world = World::new(settings).await;
    let mut doomed = doom(&world, point, hit).await;
    let mut load = Load::new(&world).await;
    let mut running = load.begin();
    if let Point::Waiting = point {
        world.node.until(RECEIPT, u64::from(hit)).await;
        doomed.kill();
    }
    // It dies while the load runs, or of the purchases after it.
    tokio::select! {
        status = doomed.ended() => assert_eq!(status.signal(), Some(9), "{status}: {}", world.logs()),
        () = async { while running.join_next().await.transpose().unwrap().is_some() {} } => {}
    }
    for _ in 0..MOST_MORE {
        if !doomed.lives() {
            break;
        }
        load.one_more(&world).await;
    }
    assert_eq!(doomed.ended().await.signal(), Some(9), "{point:?} is not reached {hit} times");
    world.node.mend();
    patience::lasts(pause).await;
    let next = world.start().await;
    load::ended(running).await;
    judge(&world, &load.purchases).await;
    next.stop().await;
}

/// Starts one that will be killed.
async fn doom(world: &World, point: Point, hit: u32) -> Facilitator {
    match point {
        Point::At(name) => world.start_killed_at(Some(&format!("{name}:{hit}"))).await,
        Point::Commit(name) => world.start_killed_at(Some(&format!("{name}:{}", STARTING + hit))).await,
        Point::Waiting => {
            world.node.rule(|call| match call.method {
                RECEIPT => Act::Answer(Value::Null),
                _ => Act::Pass,
            });
            world.start().await
        }
        Point::Replying => {
            let doomed = world.start().await;
            let id = doomed.id();
            world.front.tear(hit, move || signal("-KILL", id));
            doomed
        }
    }
}

const BLOCKS: Mining = Mining::Interval(Duration::from_millis(300));

/// The cells of one point: the quick one, and all of them when all are run.
fn row(name: &'static str, point: Point, quick: (u32, Mining)) -> Row {
    let mut row = Row::new(name);
    for hit in [1, 2, 7] {
        for (mining, mined) in [(Mining::Auto, "at once"), (BLOCKS, "in blocks")] {
            let title = |pause: u64| format!("hit {hit}, mined {mined}, restart after {pause} s");
            let at_once = cell(point, hit, mining, Duration::ZERO);
            row = if quick == (hit, mining) {
                row.cell(title(0), at_once)
            } else {
                row.long(title(0), at_once)
            };
            row = row.long(title(30), cell(point, hit, mining, Duration::from_secs(30)));
        }
        row = row.long(format!("hit {hit}, the ledger on Postgres"), on_postgres(point, hit));
    }
    row
}

/// Cells wait for leases to run out most of the time.
const AT_ONCE: usize = 6;

async fn rows(rows: Vec<Row>) {
    Row::all(rows, AT_ONCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kf1_kf2_kf3_killed_before_anything_is_recorded_every_payment_is_settled_once() {
    rows(vec![
        row("KF1 parsed", Point::At("settle.parsed"), (2, BLOCKS)),
        row("KF2 verified", Point::At("settle.verified"), (7, Mining::Auto)),
        row("KF2 taken", Point::At("settle.before_journal"), (1, BLOCKS)),
        row("KF3 not committed", Point::Commit("before_commit"), (2, Mining::Auto)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kf4_kf5_kf6_killed_when_a_payment_is_recorded_it_is_settled_once() {
    rows(vec![
        row("KF4 committed", Point::Commit("after_commit"), (7, BLOCKS)),
        row("KF5 nonce", Point::At("settle.nonce"), (2, Mining::Auto)),
        row("KF6 signed", Point::At("settle.after_journal"), (1, BLOCKS)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kf7_kf8_kf9_killed_around_the_broadcast_every_payment_is_settled_once() {
    rows(vec![
        row("KF7 broadcasting", Point::At("settle.broadcasting"), (2, BLOCKS)),
        row("KF8 broadcast", Point::At("settle.after_broadcast"), (7, Mining::Auto)),
        row("KF9 waiting", Point::Waiting, (2, BLOCKS)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kf10_kf11_kf12_killed_between_the_receipt_and_the_answer_every_payment_is_settled_once() {
    rows(vec![
        row("KF10 receipt", Point::At("settle.after_receipt"), (1, Mining::Auto)),
        row("KF11 stored", Point::At("settle.stored"), (2, BLOCKS)),
        row("KF11 unanswered", Point::At("settle.before_answer"), (7, Mining::Auto)),
        row("KF12 in the answer", Point::Replying, (2, Mining::Auto)),
    ])
    .await;
}
