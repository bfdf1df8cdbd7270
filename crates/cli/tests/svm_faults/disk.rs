//! The disk fails (fx-D): it is full under the ledger, it loses what it was given to keep, or it comes back as it was
//! before.

use std::sync::Arc;

use crate::load::{Answer, Client, Load, Must, Purchase};
use crate::matrix::Row;
use crate::node::SEND;
use crate::oracle::{Excused, has_paid, judge_but};
use crate::patience::Patience;
use crate::strace::{Broken, SYNCS, WRITES, files};
use crate::world::World;

const PAYMENTS: usize = 8;
const UNHEARD: Excused = Excused { unheard: true, days: false, forgotten: false };

/// What was told while nothing could be recorded: come later, and nothing else.
fn all_refused(told: &[Answer]) {
    let later = told.iter().filter(|one| matches!(one, Answer::Later { .. })).count();
    let good = |one: &Answer| matches!(one, Answer::Later { .. } | Answer::Pending { transaction: None });
    assert!(told.iter().all(good), "with no disk to keep it: {told:?}");
    let pending = told.iter().filter(|one| matches!(one, Answer::Pending { .. })).count();
    assert!(later + pending > 0, "somebody is told to come later: {told:?}");
}

/// A purchase that is made, so that the facilitator has done all that it does first.
async fn one(world: &Arc<World>) -> Arc<Purchase> {
    let purchase = Purchase::new(world).await;
    Client::new(world).until_known(&[0], &purchase).await;
    purchase
}

/// The ledger's disk is full during a load: nothing leaves; with space again all goes on, without a restart.
async fn full_under_the_ledger() {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    let before = one(&world).await;
    let sent = world.node.count(SEND);
    let fault = Broken::on(&files(&world.file()), facilitator.id(), WRITES, "ENOSPC").await;
    let load = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]);
    load.answered(PAYMENTS).await;
    all_refused(&load.told());
    assert_eq!(world.node.count(SEND), sent, "nothing is broadcast");
    fault.off().await;
    let mut purchases = load.end().await;
    purchases.push(before);
    judge_but(&world, &[0], &purchases, UNHEARD).await;
    world.stop(facilitator).await;
}

/// It fills up in the middle of a load.
async fn full_in_the_middle(sent: u64) {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    let load = Load::begin(&world, PAYMENTS, PAYMENTS / 2, &[0]);
    world.node.until(SEND, sent).await;
    let fault = Broken::on(&files(&world.file()), facilitator.id(), WRITES, "ENOSPC").await;
    load.refused(1).await;
    fault.off().await;
    let purchases = load.end().await;
    judge_but(&world, &[0], &purchases, UNHEARD).await;
    world.stop(facilitator).await;
}

/// A sync fails once: what the disk holds is not known any more, and the ledger stops until the next start.
async fn sync_fails_once() {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    let before = one(&world).await;
    let sent = world.node.count(SEND);
    let fault = Broken::on(&files(&world.file()), facilitator.id(), SYNCS, "EIO:when=1").await;
    let load = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]);
    load.answered(PAYMENTS).await;
    fault.off().await;
    // The disk is good again, and is not trusted.
    let after = Purchase::new(&world).await;
    let told = Client::new(&world).settle(0, &after).await;
    let is_stopped = matches!(told, Answer::Later { .. } | Answer::Pending { transaction: None });
    assert!(is_stopped, "it has stopped: {told:?}");
    all_refused(&load.told());
    assert_eq!(world.node.count(SEND), sent, "nothing is broadcast");
    facilitator.kill().await;
    let next = world.start(0).await;
    let mut purchases = load.end().await;
    purchases.extend([before, after]);
    judge_but(&world, &[0], &purchases, UNHEARD).await;
    world.stop(next).await;
}

/// The ledger comes back as it was before a load, of which some payments are in blocks and told, and one is recorded, sent
/// and held by the cluster. So many slots later everybody asks again.
async fn older_copy(slots: u64) {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    let early = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]).end().await;
    world.stop(facilitator).await;
    world.node.check_against(None);
    let aside = world.home.path().join("aside.db");
    // It was stopped in order, so that all is in one file.
    std::fs::copy(world.file(), &aside).unwrap();
    let facilitator = world.start(0).await;
    let late = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]).end().await;
    let client = Client::new(&world);
    world.chain.hold();
    let held = Purchase::new(&world).await;
    client.is_pending(0, &held).await;
    facilitator.kill().await;
    world.node.check_against(None);
    for file in files(&world.file()) {
        let _ = std::fs::remove_file(file);
    }
    std::fs::copy(&aside, world.file()).unwrap();
    let facilitator = world.start(0).await;
    world.chain.release();
    let landed = Patience::for_("what the cluster held lands");
    while !has_paid(&world, &held.payment.transaction) {
        landed.again().await;
    }
    world.chain.advance(slots);
    let lost: Vec<_> = late.into_iter().chain([held]).collect();
    for purchase in &lost {
        client.settle(0, purchase).await;
    }
    let all: Vec<_> = early.into_iter().chain(lost).collect();
    judge_but(&world, &[0], &all, Excused { forgotten: true, ..UNHEARD }).await;
    assert!(all.iter().all(|one| one.must == Must::Pay));
    world.stop(facilitator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_d1_with_a_full_disk_no_solana_transaction_leaves_unrecorded() {
    let mut row = Row::new("Solana fx-D1 disk full under the ledger")
        .cell("during a whole load", full_under_the_ledger())
        .long("from the middle of a load on", full_in_the_middle(2));
    for sent in [1, 4, 6] {
        row = row.long(format!("after {sent} broadcasts"), full_in_the_middle(sent));
    }
    row.run(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_d3_after_a_failed_sync_no_solana_transaction_leaves_until_the_restart() {
    Row::new("Solana fx-D3 a sync fails").cell("once", sync_fails_once()).run(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_d4_with_an_older_copy_of_the_ledger_no_solana_payment_is_paid_twice_or_denied() {
    Row::new("Solana fx-D4 an older copy of the ledger")
        .cell("while blockhashes live", older_copy(0))
        .cell("when they are dead", older_copy(800))
        .run(2)
        .await;
}
