//! The node lies (fx-N4): of what became of transactions, of blockhashes, of itself; or two nodes disagree (fx-N5).

use std::sync::Arc;

use serde_json::{Value, json};
use tollway_protocol::Reason;

use crate::lies::{Act, Call, first};
use crate::load::{Answer, Client, Load, Purchase};
use crate::matrix::Row;
use crate::node::{Node, SEND, STATUSES};
use crate::nodes::{PAYMENTS, refused_early, under};
use crate::oracle::judge;
use crate::world::{Settings, World};

const VALID: &str = "isBlockhashValid";
const TRY: &str = "simulateTransaction";

/// The first `count` answers about transactions, each status of them changed.
fn statuses(count: u64, change: fn(&mut Value)) -> impl FnMut(&Call<'_>) -> Act + Send {
    first(STATUSES, count, move || {
        Act::Changed(Box::new(move |mut answer| {
            answer["value"].as_array_mut().unwrap().iter_mut().for_each(change);
            answer
        }))
    })
}

/// One whose genesis is another cluster's: nothing is settled over it, and everything when it is itself again.
async fn another_cluster() {
    let world = World::new().await;
    world.node.rule(|call| match call.method {
        "getGenesisHash" => Act::Answer(json!("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d")),
        _ => Act::Pass,
    });
    let facilitator = world.start(0).await;
    let purchases = refused_early(&world, &Reason::ChainUnreachable).await;
    let (status, said) = Client::new(&world).ready(0).await;
    assert_eq!(status, 503, "{said}");
    world.node.mend();
    judge(&world, &[0], &purchases).await;
    world.stop(facilitator).await;
}

/// Says that it was tried, and that the chain has it already.
fn already(call: &Call<'_>) -> Act {
    match call.method {
        TRY => Act::Changed(Box::new(|mut answer| {
            answer["value"]["err"] = json!("AlreadyProcessed");
            answer
        })),
        _ => Act::Pass,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_n4_a_solana_node_that_lies_about_transactions_blockhashes_and_its_cluster_is_not_believed() {
    let settings = Settings::default;
    let hasty = || Settings { settle_seconds: 2, ..Settings::default() };
    Row::new("Solana fx-N4 lies")
        .cell("no statuses, 60 times", under(settings(), statuses(60, |one| *one = Value::Null)))
        .cell("statuses that can't be read, 60 times", {
            under(settings(), statuses(60, |one| *one = json!({"slot": "?", "err": 7})))
        })
        .cell("a page for people instead of answers, 40 times", {
            let mut left = 40;
            under(settings(), move |_| {
                left -= i32::from(left > 0);
                if left > 0 { Act::Page } else { Act::Pass }
            })
        })
        .cell("a failure that is another transaction's, where two nodes have to agree", {
            under_agreement(|second| second.rule(statuses(u64::MAX, another_s)))
        })
        .cell("another cluster", another_cluster())
        .long(
            "statuses that do not say whether it failed, 60 times",
            under(settings(), statuses(60, |one| drop(one.as_object_mut().map(|one| one.remove("err"))))),
        )
        .long("the statuses of one transaction more, 60 times", {
            let more = || {
                Act::Changed(Box::new(|mut answer: Value| {
                    answer["value"].as_array_mut().unwrap().push(Value::Null);
                    answer
                }))
            };
            under(settings(), first(STATUSES, 60, more))
        })
        .cell("the chain has it already, says the trial", under(settings(), already))
        .long("no statuses, 1000 times", under(hasty(), statuses(1000, |one| *one = Value::Null)))
        .run(4)
        .await;
}

fn another_s(status: &mut Value) {
    if status.is_object() {
        status["err"] = json!({"InstructionError": [2, {"Custom": 1}]});
        status["status"] = json!({"Err": status["err"]});
    }
}

/// A world with a second node, which comes first or not, and more of the network's table.
async fn two(second_is_first: bool, more: &str) -> (Arc<World>, Node) {
    let world = World::with(Settings { settle_seconds: 2, ..Settings::default() }).await;
    let second = Node::of(world.chain.clone()).await;
    let (one, other) = (world.node.url(), second.url());
    let (one, other) = if second_is_first { (other, one) } else { (one, other) };
    world.change(|settings| settings.network = format!("rpc = [\"{one}\", \"{other}\"]\n{more}"));
    (world, second)
}

/// For every payment two nodes have to say the same.
const AGREE: &str = "agree_above = \"1\"\n";

/// The first of two nodes, which have to agree, is made to lie: nobody is told what is not so, and all is settled when it
/// is honest again.
async fn under_agreement(lie: impl FnOnce(&Node) + Send) {
    let (world, second) = two(true, AGREE).await;
    let facilitator = world.start(0).await;
    lie(&second);
    let load = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]);
    load.answered(PAYMENTS).await;
    let told = load.told();
    let good = |one: &Answer| matches!(one, Answer::Pending { .. });
    assert!(told.iter().all(good), "not known yet: {told:?}");
    second.mend();
    let purchases = load.end().await;
    judge(&world, &[0], &purchases).await;
    world.stop(facilitator).await;
}

/// A node that stands still from now on: it knows no transaction and no blockhash since, and passes nothing on.
fn frozen(world: &World) -> impl FnMut(&Call<'_>) -> Act + Send + use<> {
    let slot = world.chain.slot();
    let at = move |value: Value| Act::Answer(json!({"context": {"slot": slot}, "value": value}));
    move |call| match call.method {
        STATUSES => at(call.params[0].as_array().unwrap().iter().map(|_| Value::Null).collect()),
        VALID => at(json!(false)),
        TRY => at(json!({"err": "BlockhashNotFound", "logs": [], "accounts": null, "unitsConsumed": 0})),
        SEND => Act::Error("Node is behind by 1000 slots"),
        _ => Act::Pass,
    }
}

/// One of two stands still; what is asked for meanwhile is settled, at the latest when it goes on.
async fn one_is_frozen(it_is_first: bool) {
    let (world, second) = two(it_is_first, "").await;
    let facilitator = world.start(0).await;
    world.chain.advance(5);
    second.rule(frozen(&world));
    world.chain.advance(5);
    let load = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]);
    load.answered(PAYMENTS).await;
    second.mend();
    let purchases = load.end().await;
    judge(&world, &[0], &purchases).await;
    world.stop(facilitator).await;
}

/// The one that is asked first says that a blockhash is dead, and no node has the transaction yet; the other knows better.
async fn one_says_dead() {
    let (world, second) = two(true, AGREE).await;
    let facilitator = world.start(0).await;
    let client = Client::new(&world);
    world.chain.hold();
    let purchase = Purchase::new(&world).await;
    client.is_pending(0, &purchase).await;
    second.rule(|call| match call.method {
        VALID => Act::Changed(Box::new(|mut answer| {
            answer["value"] = json!(false);
            answer
        })),
        _ => Act::Pass,
    });
    world.chain.advance(200);
    second.until(VALID, 2).await;
    client.is_pending(0, &purchase).await;
    second.mend();
    world.chain.release();
    judge(&world, &[0], &[purchase]).await;
    world.stop(facilitator).await;
}

/// With the first node away the second one serves.
async fn one_goes_away() {
    let (world, second) = two(false, "").await;
    let facilitator = world.start(0).await;
    let load = Load::begin(&world, PAYMENTS, PAYMENTS / 2, &[0]);
    world.node.until(SEND, 2).await;
    world.node.away(true);
    let purchases = load.end().await;
    assert!(second.count(TRY) > 0, "the second one is asked");
    judge(&world, &[0], &purchases).await;
    world.stop(facilitator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_n5_with_two_solana_nodes_that_disagree_nobody_is_told_what_is_not_so() {
    Row::new("Solana fx-N5 two nodes")
        .cell("the first says that a blockhash is dead that lives, and they have to agree", one_says_dead())
        .long("the second stands still", one_is_frozen(false))
        .cell("the first stands still", one_is_frozen(true))
        .cell("the first goes away under load", one_goes_away())
        .run(4)
        .await;
}
