//! The facilitators' clocks are wrong, or jump (fx-T1), by libfaketime; clocks that only go forward go on as they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::process::Command;

use crate::database::Database;
use crate::load::{Load, Purchase};
use crate::matrix::Row;
use crate::oracle::{Excused, judge_but};
use crate::world::{Settings, World};

const PAYMENTS: usize = 12;
const WRONG: Excused = Excused { unheard: false, days: true, forgotten: false };
/// Where Debian has it, below a folder for the machine.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// Has the command's clock show what the file says, at every look.
pub(crate) fn set(command: &mut Command, shown: &Path) {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|folder| folder.path().join(LIBRARY));
    let found: Option<PathBuf> = folders.into_iter().find(|file| file.is_file());
    command.env("LD_PRELOAD", found.expect("no libfaketime on this machine: `apt-get install faketime`"));
    command.env("FAKETIME_TIMESTAMP_FILE", shown).env("FAKETIME_NO_CACHE", "1");
    command.env("DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

/// What the clock of a world's next facilitators shows, in seconds from the right time.
fn shows(world: &World, file: &str, seconds: i64) {
    let path = world.home.path().join(file);
    std::fs::write(&path, format!("{seconds:+}")).unwrap();
    world.change(|settings| settings.clock = Some(path));
}

/// Some of the payments were taken when a clock was one of so many seconds wrong.
async fn was_wrong_by(world: &World, purchases: &[Arc<Purchase>], seconds: &[i64]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let shown: Vec<u64> = seconds.iter().map(|wrong| now.checked_add_signed(*wrong).unwrap()).collect();
    let mut taken = Vec::new();
    for purchase in purchases {
        taken.push(world.recorded(&purchase.payment.key).await.unwrap().created.0);
    }
    let is_near = |one: &u64| shown.iter().any(|shown| one.abs_diff(*shown) < 300);
    assert!(taken.iter().any(is_near), "no clock was wrong: {taken:?} and it is {now}");
}

/// From the start until the end.
async fn wrong_by(seconds: i64) {
    let world = World::new().await;
    shows(&world, "clock", seconds);
    let facilitator = world.start(0).await;
    let purchases = Load::begin(&world, PAYMENTS, PAYMENTS / 2, &[0]).end().await;
    was_wrong_by(&world, &purchases, &[seconds]).await;
    judge_but(&world, &[0], &purchases, WRONG).await;
    world.stop(facilitator).await;
}

/// Under load, with transactions in the cluster's hands.
async fn jumps(before: i64, after: i64) {
    let world = World::new().await;
    shows(&world, "clock", before);
    let facilitator = world.start(0).await;
    let load = Load::begin(&world, PAYMENTS, PAYMENTS / 2, &[0]);
    load.until(2).await;
    world.chain.hold();
    shows(&world, "clock", after);
    world.chain.release();
    let purchases = load.end().await;
    was_wrong_by(&world, &purchases, &[after]).await;
    judge_but(&world, &[0], &purchases, WRONG).await;
    world.stop(facilitator).await;
}

/// Two processes on a ledger, each of whose clocks is wrong in its own way.
async fn two_differ(one: i64, other: i64) {
    let ledger = Some(Database::shared().await.url().to_owned());
    let world = World::with(Settings { ledger, ..Settings::default() }).await;
    shows(&world, "one", one);
    let first = world.start(0).await;
    shows(&world, "other", other);
    let second = world.start(1).await;
    let purchases = Load::begin(&world, PAYMENTS, PAYMENTS / 2, &[0, 1]).end().await;
    // Whose of the two it was that took a payment is left to them.
    was_wrong_by(&world, &purchases, &[one, other]).await;
    judge_but(&world, &[0, 1], &purchases, WRONG).await;
    world.stop(first).await;
    world.stop(second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_t1_a_facilitator_s_wrong_clock_costs_no_solana_payment_and_pays_none_twice() {
    const TEN_MINUTES: i64 = 600;
    const DAY: i64 = 86_400;
    let mut row = Row::new("Solana fx-T1 clock");
    for (seconds, name) in [(TEN_MINUTES, "10 min"), (DAY, "a day")] {
        row = row
            .long(format!("{name} fast"), wrong_by(seconds))
            .long(format!("{name} slow"), wrong_by(-seconds))
            .long(format!("jumps ahead by {name}"), jumps(0, seconds))
            .long(format!("jumps back by {name}"), jumps(0, -seconds))
            .long(format!("one of two {name} fast, the other slow"), two_differ(seconds, -seconds));
    }
    row.run(3).await;
}
