//! The node fails or lies (fx-N): away, slow, silent after it has acted, wrong about receipts, nonces and itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tollway_devnet::evm::Mining;
use tollway_protocol::Reason;

use crate::lies::first;
use crate::load::{self, Answer, Client, Load, Manner, Must, Purchase};
use crate::matrix::Row;
use crate::oracle::{judge, transfers};
use crate::rpc::{Act, Call, Node, RECEIPT, SEND};
use crate::world::{Settings, World};

/// A load under `rule`, which is mended when the load is over; then the three ledgers agree.
async fn under(settings: Settings, rule: impl FnMut(&Call<'_>) -> Act + Send + 'static) {
    let world = World::new(settings).await;
    let facilitator = world.start().await;
    world.node.rule(rule);
    let load = Load::new(&world).await;
    load::ended(load.begin()).await;
    world.node.mend();
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

async fn buy(world: &World, count: usize) -> Vec<Arc<Purchase>> {
    let (client, mut all) = (Client::new(world), Vec::new());
    for _ in 0..count {
        let purchase = Purchase::new(world, Manner::Normal).await;
        client.buy(&purchase).await;
        all.push(purchase);
    }
    all
}

async fn away_before() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start().await;
    world.node.gate.shut();
    let purchases = buy(&world, 3).await;
    for purchase in &purchases {
        let told = purchase.last(0);
        assert_eq!(told, Some(Answer::Later { reason: Reason::ChainUnreachable }), "503, and no more");
        let taken = world.ledger().await.settlement(&purchase.payments[0].key).await.unwrap();
        assert_eq!(taken, None, "nothing is taken");
    }
    assert!(world.node.given().is_empty(), "nothing is broadcast");
    world.node.mend();
    judge(&world, &purchases).await;
    facilitator.stop().await;
}

async fn away_after() {
    let world = World::new(Settings { mining: Mining::Manual, ..Settings::default() }).await;
    let facilitator = world.start().await;
    let purchase = Purchase::new(&world, Manner::Normal).await;
    let (client, asked) = (Client::new(&world), purchase.clone());
    let asking = tokio::spawn(async move { client.buy(&asked).await });
    world.node.until(SEND, 1).await;
    world.node.gate.shut();
    asking.await.unwrap();
    let hash = world.node.given()[0].hash.to_string();
    assert_eq!(purchase.last(0), Some(Answer::Pending { transaction: Some(hash) }), "pending, with its hash");
    world.node.mend();
    judge(&world, &[purchase]).await;
    facilitator.stop().await;
}

/// It goes away and comes back while a load runs.
async fn flapping() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start().await;
    let load = Load::new(&world).await;
    let running = load.begin();
    for sent in 1..=3 {
        world.node.until(SEND, sent).await;
        world.node.gate.shut();
        tokio::task::yield_now().await;
        world.node.gate.open();
    }
    load::ended(running).await;
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

/// Every answer takes longer than a settlement may: each caller is answered all the same.
async fn slow(settle_seconds: u64, delay: Duration) {
    let settings = Settings { settle_seconds, ..Settings::default() };
    let world = World::new(settings).await;
    let facilitator = world.start().await;
    let late = move |_: &Call<'_>| Act::Late(delay);
    world.node.rule(late);
    let load = Load::new(&world).await;
    load::ended(load.begin()).await;
    let told = load.purchases.iter().flat_map(|purchase| purchase.answers());
    let sure = told.filter(|(_, answer)| matches!(answer, Answer::Refused { .. })).collect::<Vec<_>>();
    assert_eq!(sure, [], "slowness refuses nobody");
    world.node.mend();
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_n1_n2_with_the_node_away_or_slow_nothing_is_lost() {
    let row = Row::new("fx-N1 node away")
        .cell("before the settlement", away_before())
        .cell("after the broadcast", away_after())
        .cell("now and then", flapping());
    let slow = Row::new("fx-N2 node slow")
        .cell("2.5 s", slow(2, Duration::from_millis(2500)))
        .cell("hangs at the broadcast", {
            let settings = Settings { settle_seconds: 2, ..Settings::default() };
            under(settings, first(SEND, 2, || Act::Hang))
        })
        .long("3 s", self::slow(2, Duration::from_secs(3)))
        .long("12 s", self::slow(2, Duration::from_secs(12)))
        .long("60 s", self::slow(2, Duration::from_secs(60)));
    Row::all(vec![row, slow], 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_n3_a_lost_or_wrong_answer_to_the_broadcast_loses_nothing_and_pays_nothing_twice() {
    let mut row = Row::new("fx-N3 answers to the broadcast");
    row = row.cell("the connection breaks", under(Settings::default(), first(SEND, 3, || Act::Lost)));
    let answers = ["already known", "nonce too low", "replacement transaction underpriced", "internal error"];
    for (mining, mined) in
        [(Mining::Auto, "at once"), (Mining::Interval(Duration::from_millis(300)), "in blocks")]
    {
        for text in answers {
            let settings = || Settings { mining, ..Settings::default() };
            let done = under(settings(), first(SEND, 3, move || Act::Refused(text)));
            let not = under(settings(), first(SEND, 3, move || Act::Error(text)));
            let (did, did_not) = (
                format!("{text}, and it has it, mined {mined}"),
                format!("{text}, and it does not, mined {mined}"),
            );
            let quick = mining == Mining::Auto && text != "internal error";
            row = if quick { row.cell(did, done) } else { row.long(did, done) };
            row = if quick { row.cell(did_not, not) } else { row.long(did_not, not) };
        }
    }
    row.run(4).await;
}

fn without_logs(mut receipt: Value) -> Value {
    if receipt.is_object() {
        receipt["logs"] = json!([]);
    }
    receipt
}

/// The receipts of the first `count` transactions are changed, 12 times each: more of them than a payer's reverts may be.
fn about(count: usize, change: fn(Value) -> Value) -> impl FnMut(&Call<'_>) -> Act + Send {
    let mut left: Vec<(Value, u32)> = Vec::new();
    move |call| {
        if call.method != RECEIPT {
            return Act::Pass;
        }
        let place = left.iter().position(|(of, _)| of == call.params).unwrap_or(left.len());
        if place == left.len() && place < count {
            left.push((call.params.clone(), 12));
        }
        match left.get_mut(place) {
            Some((_, times @ 1..)) => {
                *times -= 1;
                Act::Changed(Box::new(change))
            }
            _ => Act::Pass,
        }
    }
}

/// Receipts under the hash of whatever was asked for before.
fn another_s() -> impl FnMut(&Call<'_>) -> Act + Send {
    let mut left = 12;
    let mut other: Option<Value> = None;
    move |call| {
        if call.method != RECEIPT || left == 0 {
            return Act::Pass;
        }
        left -= 1;
        let asked = call.params.clone();
        match other.replace(asked.clone()).filter(|before| *before != asked) {
            // The same receipt, under the hash of another transaction.
            Some(before) => Act::Changed(Box::new(move |mut receipt| {
                if receipt.is_object() {
                    receipt["transactionHash"] = before[0].clone();
                }
                receipt
            })),
            None => Act::Pass,
        }
    }
}

/// One that says 1 for the id of its chain: nothing is settled over it, and everything when it is itself again.
async fn wrong_chain() {
    let world = World::new(Settings::default()).await;
    world.node.rule(|call| match call.method {
        "eth_chainId" => Act::Answer(json!("0x1")),
        _ => Act::Pass,
    });
    let facilitator = world.start().await;
    let purchases = buy(&world, 3).await;
    for purchase in &purchases {
        let told = purchase.last(0);
        assert_eq!(told, Some(Answer::Later { reason: Reason::ChainUnreachable }), "not over this node");
    }
    assert!(world.node.given().is_empty(), "nothing is broadcast");
    world.node.mend();
    judge(&world, &purchases).await;
    facilitator.stop().await;
}

/// A reverted status that is not the chain's is no proof of failure once the payment is made.
fn failed(mut receipt: Value) -> Value {
    if receipt.is_object() {
        receipt["status"] = json!("0x0");
        receipt["logs"] = json!([]);
    }
    receipt
}

async fn no_receipts_for(long: Duration) {
    let end = tokio::time::Instant::now() + long;
    under(Settings::default(), move |call| match call.method {
        RECEIPT if tokio::time::Instant::now() < end => Act::Answer(Value::Null),
        _ => Act::Pass,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_n4_a_node_that_lies_about_receipts_nonces_and_its_chain_is_not_believed() {
    let settings = Settings::default;
    let hasty = || Settings { settle_seconds: 2, ..Settings::default() };
    let stale = |call: &Call<'_>| match call.method {
        "eth_getTransactionCount" => Act::Answer(json!("0x0")),
        _ => Act::Pass,
    };
    Row::new("fx-N4 lies")
        .cell("no receipts, 30 times", under(settings(), first(RECEIPT, 30, || Act::Answer(Value::Null))))
        .cell(
            "16 transactions' receipts without logs, 12 times each",
            under(hasty(), about(16, without_logs)),
        )
        .cell("16 transactions' receipts of a failure, 12 times each", under(hasty(), about(16, failed)))
        .cell("another transaction's receipt, 12 times", under(settings(), another_s()))
        .cell("a page for people instead of answers, 40 times", {
            let mut left = 40;
            under(settings(), move |_| {
                left -= i32::from(left > 0);
                if left > 0 { Act::Page } else { Act::Pass }
            })
        })
        .cell("another chain's id", wrong_chain())
        .cell("a count of transactions that stands still", under(settings(), stale))
        .long("no receipts for 20 s", no_receipts_for(Duration::from_secs(20)))
        .run(4)
        .await;
}

/// A second node that has no receipts keeps what is dear waiting, and only that.
async fn disagreeing() {
    let mut world = World::new(Settings::default()).await;
    let second = Node::of(world.chain.clone()).await;
    let lies = Arc::new(AtomicBool::new(true));
    let lying = lies.clone();
    second.rule(move |call| match call.method {
        RECEIPT if lying.load(Ordering::SeqCst) => Act::Answer(Value::Null),
        _ => Act::Pass,
    });
    world.settings.network = format!(
        "rpc = [\"{}\", \"{}\"]\nagree_above = \"50000\"\n",
        world.node.gate.url(),
        second.gate.url()
    );
    let facilitator = world.start().await;
    let client = Client::new(&world);
    let cheap = Purchase::of(vec![world.sign(0, 500, 10_000).await], Manner::Normal, Must::Pay);
    let dear = Purchase::of(vec![world.sign(1, 501, 60_000).await], Manner::Normal, Must::Pay);
    client.buy(&cheap).await;
    assert!(
        matches!(cheap.last(0), Some(Answer::Paid { .. })),
        "below it one node is enough: {:?}",
        cheap.last(0)
    );
    client.buy(&dear).await;
    let told = dear.last(0);
    assert!(matches!(told, Some(Answer::Pending { transaction: Some(_) })), "two have to agree: {told:?}");
    assert_eq!(transfers(&world).len(), 2, "it was made all the same");
    lies.store(false, Ordering::SeqCst);
    judge(&world, &[cheap, dear]).await;
    facilitator.stop().await;
}

/// With the first node away the second one serves, and what is dear waits for both.
async fn one_of_two() {
    let mut world = World::new(Settings::default()).await;
    let second = Node::of(world.chain.clone()).await;
    world.settings.network = format!("rpc = [\"{}\", \"{}\"]\n", world.node.gate.url(), second.gate.url());
    let facilitator = world.start().await;
    let load = Load::new(&world).await;
    let running = load.begin();
    world.node.until(SEND, 2).await;
    world.node.gate.shut();
    load::ended(running).await;
    assert!(second.count(SEND) > 0, "the second one is asked");
    world.node.mend();
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_n5_two_nodes_that_disagree_keep_what_is_dear_waiting() {
    Row::new("fx-N5 two nodes")
        .cell("the second has no receipts", disagreeing())
        .cell("the first goes away under load", one_of_two())
        .run(4)
        .await;
}
