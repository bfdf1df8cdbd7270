//! The disk fails (fx-D): it is full under the ledger or under the log, it loses what it was given to keep, or it comes
//! back as it was before.

use std::path::Path;
use std::sync::Arc;

use tollway_protocol::Reason;

use crate::load::{self, Answer, Client, Load, Manner, Purchase};
use crate::matrix::Row;
use crate::oracle::{judge, transfers};
use crate::process::Facilitator;
use crate::rpc::SEND;
use crate::strace::{Broken, SYNCS, WRITES, files};
use crate::world::{Settings, World};

/// A fault under the ledger's files.
async fn broken(world: &World, facilitator: &Facilitator, calls: &str, error: &str) -> Broken {
    Broken::on(&files(&world.file()), facilitator.id(), calls, error).await
}

/// What was asked while nothing could be recorded: told so, and nothing left.
fn all_refused(load: &Load) {
    let mut later = 0;
    for (_, answer) in load.purchases.iter().flat_map(|purchase| purchase.answers()) {
        match answer {
            Answer::Later { .. } | Answer::Pending { transaction: None } => later += 1,
            Answer::Pending { .. } | Answer::Cut => {}
            other => panic!("with no disk to keep it: {other:?}"),
        }
    }
    assert!(later > 0, "somebody is told to come later");
}

/// The ledger's disk is full during a load: nothing leaves; with space again all goes on, without a restart.
async fn full_under_the_ledger() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start().await;
    let before = Purchase::new(&world, Manner::Normal).await;
    Client::new(&world).buy(&before).await;
    let sent = world.node.count(SEND);
    let fault = broken(&world, &facilitator, WRITES, "ENOSPC").await;
    let mut load = Load::new(&world).await;
    load::ended(load.begin()).await;
    all_refused(&load);
    assert_eq!(world.node.count(SEND), sent, "nothing is broadcast");
    fault.off().await;
    load.purchases.push(before);
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

/// It fills up in the middle of a load.
async fn full_in_the_middle() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start().await;
    let load = Load::new(&world).await;
    let running = load.begin();
    world.node.until(SEND, 2).await;
    let fault = broken(&world, &facilitator, WRITES, "ENOSPC").await;
    load::ended(running).await;
    fault.off().await;
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

/// A sync fails once: what the disk holds is not known any more, and the ledger stops until the next start.
async fn sync_fails_once() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start().await;
    let before = Purchase::new(&world, Manner::Normal).await;
    let client = Client::new(&world);
    client.buy(&before).await;
    let sent = world.node.count(SEND);
    let fault = broken(&world, &facilitator, SYNCS, "EIO:when=1").await;
    let mut load = Load::new(&world).await;
    load::ended(load.begin()).await;
    all_refused(&load);
    fault.off().await;
    // The disk is good again, and is not trusted.
    let after = Purchase::new(&world, Manner::Normal).await;
    client.buy(&after).await;
    let told = after.last(0);
    let (later, pending) =
        (Answer::Later { reason: Reason::StoreUnavailable }, Answer::Pending { transaction: None });
    assert!(told.as_ref().is_some_and(|told| [later, pending].contains(told)), "it has stopped: {told:?}");
    assert_eq!(world.node.count(SEND), sent, "nothing is broadcast");
    facilitator.kill();
    let next = world.start().await;
    load.purchases.extend([before, after]);
    judge(&world, &load.purchases).await;
    next.stop().await;
}

/// The log can't be written: payments go on.
async fn full_under_the_log() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start_logging_to(Path::new("/dev/full")).await;
    let load = Load::new(&world).await;
    load::ended(load.begin()).await;
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

/// The ledger comes back as it was before a load.
async fn older_copy() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start().await;
    let early = load_of(&world).await;
    facilitator.stop().await;
    world.node.check_against(None);
    let aside = world.home.path().join("aside.db");
    // It was stopped in order, so that all is in one file.
    std::fs::copy(world.file(), &aside).unwrap();
    let facilitator = world.start().await;
    let late = load_of(&world).await;
    let paid = transfers(&world).len();
    facilitator.kill();
    world.node.check_against(None);
    for file in files(&world.file()) {
        let _ = std::fs::remove_file(file);
    }
    std::fs::copy(&aside, world.file()).unwrap();
    let facilitator = world.start().await;
    assert_eq!(transfers(&world).len(), paid);
    let all: Vec<_> = early.into_iter().chain(late).collect();
    judge(&world, &all).await;
    facilitator.stop().await;
}

async fn load_of(world: &World) -> Vec<Arc<Purchase>> {
    let load = Load::new(world).await;
    load::ended(load.begin()).await;
    load.purchases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_d1_d2_with_a_full_disk_nothing_leaves_unrecorded_and_payments_go_on_without_a_log() {
    Row::all(
        vec![
            Row::new("fx-D1 disk full under the ledger")
                .cell("during a whole load", full_under_the_ledger())
                .cell("from the middle of a load on", full_in_the_middle()),
            Row::new("fx-D2 disk full under the log").cell("a load", full_under_the_log()),
        ],
        3,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_d3_after_a_failed_sync_nothing_is_recorded_or_sent_until_the_restart() {
    Row::new("fx-D3 a sync fails").cell("once", sync_fails_once()).run(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_d4_with_an_older_copy_of_the_ledger_nothing_is_paid_twice_or_denied() {
    Row::new("fx-D4 an older copy of the ledger").cell("from before a load", older_copy()).run(1).await;
}
