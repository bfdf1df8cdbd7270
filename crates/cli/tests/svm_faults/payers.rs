//! Who pays can't or is not alone (fx-X4 to fx-X6): the balance is drained after the verification, a stranger sends the
//! transaction, the fee payer is out of lamports.

use std::sync::Arc;

use tollway_devnet::svm::USDC_DEVNET;
use tollway_protocol::Reason;
use tollway_protocol::door::UnixTime;

use crate::lies::{Act, Call};
use crate::load::{Answer, Client, Load, Must, Purchase};
use crate::matrix::Row;
use crate::node::SEND;
use crate::nodes::PAYMENTS;
use crate::oracle::judge;
use crate::world::{LAMPORTS, Settings, World, network};

/// Between the trial and the slot the payer's money goes elsewhere.
async fn drained() {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    let client = Client::new(&world);
    let good = Purchase::new(&world).await;
    let bad = Purchase::that_must(Must::Fail, world.pay().await);
    let drain = world.drain(bad.payment.payer).await;
    let (chain, doomed) = (world.chain.clone(), bad.payment.clone());
    world.node.rule(move |call: &Call<'_>| {
        if call.method == SEND && chain.token_balance(USDC_DEVNET, doomed.payer) > 0 {
            drain.submit(&chain);
        }
        Act::Pass
    });
    let told = client.settle(0, &bad).await;
    let hash = bad.payment.transaction.clone();
    let named = matches!(&told, Answer::Refused { reason: Reason::TransactionFailed, transaction: Some(named), .. } if *named == hash);
    assert!(named, "told that it failed, and by which transaction: {told:?}");
    client.until_known(&[0], &good).await;
    let reverts =
        world.ledger().await.reverts(&network(), &bad.payment.payer.to_string(), UnixTime(0)).await.unwrap();
    assert_eq!(reverts, 1, "fa15: the lost fee counts against the payer");
    let record = world.recorded(&bad.payment.key).await.unwrap();
    assert!(record.fee_gwei.is_some_and(|fee| fee > 0), "the fee is counted: {record:?}");
    judge(&world, &[0], &[good, bad]).await;
    world.stop(facilitator).await;
}

/// The facilitator's node takes nothing; a stranger gives the cluster what was on the wire, again and again, and posts the
/// payment besides. Whether whoever began it is the one who is told.
async fn front_run(is_first_told: bool) {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    let client = Client::new(&world);
    let purchase = Purchase::new(&world).await;
    let (chain, theirs) = (world.chain.clone(), purchase.payment.clone());
    world.node.rule(move |call: &Call<'_>| {
        if call.method != SEND {
            return Act::Pass;
        }
        for _ in 0..3 {
            theirs.submit(&chain);
        }
        Act::Error("internal error")
    });
    let began = client.post(0, &purchase);
    world.node.until(SEND, 1).await;
    let strangers: Vec<_> = (0..10).map(|_| client.post(0, &purchase)).collect();
    let told = began.await.unwrap();
    let paid = Answer::Paid { transaction: purchase.payment.transaction.clone() };
    assert!(!is_first_told || told == paid, "fa02: {told:?}");
    for stranger in strangers {
        stranger.await.unwrap();
    }
    judge(&world, &[0], &[purchase]).await;
    world.stop(facilitator).await;
}

/// The node goes away at the broadcast, and a stranger's node has the transaction.
async fn front_run_while_away() {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    let client = Client::new(&world);
    let purchase = Purchase::new(&world).await;
    let gate = world.node.gate.clone();
    world.node.rule(move |call: &Call<'_>| {
        if call.method != SEND {
            return Act::Pass;
        }
        gate.shut();
        Act::Error("internal error")
    });
    client.is_pending(0, &purchase).await;
    purchase.payment.submit(&world.chain);
    world.node.mend();
    judge(&world, &[0], &[purchase]).await;
    world.stop(facilitator).await;
}

/// Without lamports nothing is taken; with them everything is.
async fn without_lamports() {
    let world = World::with(Settings { lamports: 0, ..Settings::default() }).await;
    let facilitator = world.start(0).await;
    let client = Client::new(&world);
    let (status, said) = client.ready(0).await;
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("lamports"), "{said}");
    let load = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]);
    load.answered(PAYMENTS).await;
    let told = load.told();
    let good = |one: &Answer| matches!(one, Answer::Later { .. });
    assert!(told.iter().all(good), "come later: {told:?}");
    no_half_states(&world, &load.purchases()).await;
    world.fund(0, LAMPORTS);
    let purchases = load.end().await;
    judge(&world, &[0], &purchases).await;
    let (status, said) = client.ready(0).await;
    assert_eq!(status, 200, "{said}");
    world.stop(facilitator).await;
}

async fn no_half_states(world: &Arc<World>, purchases: &[Arc<Purchase>]) {
    assert!(world.node.given().is_empty(), "nothing is broadcast");
    for purchase in purchases {
        assert_eq!(world.recorded(&purchase.payment.key).await, None, "no half states");
    }
}

/// There are lamports for some payments and not for all of them.
async fn too_few_lamports() {
    // What keeps an account there, and five transactions.
    let world = World::with(Settings { lamports: 890_880 + 55_000, ..Settings::default() }).await;
    let facilitator = world.start(0).await;
    let load = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]);
    load.refused(1).await;
    world.fund(0, LAMPORTS);
    let purchases = load.end().await;
    judge(&world, &[0], &purchases).await;
    world.stop(facilitator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_x4_x5_a_drained_solana_payment_is_not_served_and_a_stranger_s_broadcast_is_told_once() {
    let drained = Row::new("Solana fx-X4 revert after verify").cell("balance drained", self::drained());
    let front_run = Row::new("Solana fx-X5 a stranger sends it")
        .cell("and the node takes nothing", self::front_run(false))
        .long("while the node is away", front_run_while_away());
    let front_run = (1..=5).fold(front_run, |row, number| {
        let name = format!("and posts the payment besides, and is not told before who began it, {number}");
        row.long(name, self::front_run(true))
    });
    Row::all(vec![drained, front_run], 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_x6_without_lamports_no_solana_payment_is_taken_and_none_is_lost() {
    Row::new("Solana fx-X6 fee payer out of lamports")
        .cell("none", without_lamports())
        .cell("too few for all", too_few_lamports())
        .run(2)
        .await;
}
