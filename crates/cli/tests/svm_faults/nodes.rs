//! The node fails (fx-N1 to fx-N3): away, slow, silent, or its answer to the broadcast is lost.

use std::sync::Arc;
use std::time::Duration;

use tollway_protocol::Reason;

use crate::lies::{Act, Call, first};
use crate::load::{Answer, Client, Load, Purchase};
use crate::matrix::Row;
use crate::node::SEND;
use crate::oracle::judge;
use crate::world::{Settings, World};

pub(crate) const PAYMENTS: usize = 10;

/// Payments that are all posted at the same moment under `rule`, which is mended when each of them has an answer; then
/// the three ledgers agree.
pub(crate) async fn under(settings: Settings, rule: impl FnMut(&Call<'_>) -> Act + Send + 'static) {
    let world = World::with(settings).await;
    let facilitator = world.start(0).await;
    world.node.rule(rule);
    let load = Load::begin(&world, PAYMENTS, PAYMENTS, &[0]);
    load.answered(PAYMENTS).await;
    world.node.mend();
    let purchases = load.end().await;
    judge(&world, &[0], &purchases).await;
    world.stop(facilitator).await;
}

/// Nothing is taken and nothing leaves while `wrong` is true of the node.
pub(crate) async fn refused_early(world: &Arc<World>, reason: &Reason) -> Vec<Arc<Purchase>> {
    let (client, mut all) = (Client::new(world), Vec::new());
    for _ in 0..3 {
        let purchase = Purchase::new(world).await;
        let told = client.settle(0, &purchase).await;
        assert_eq!(told, Answer::Later { reason: reason.clone() }, "503, and no more");
        assert_eq!(world.recorded(&purchase.payment.key).await, None, "nothing is taken");
        all.push(purchase);
    }
    assert!(world.node.given().is_empty(), "nothing is broadcast");
    all
}

async fn away_before() {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    world.node.away(true);
    let purchases = refused_early(&world, &Reason::ChainUnreachable).await;
    world.node.mend();
    judge(&world, &[0], &purchases).await;
    world.stop(facilitator).await;
}

async fn away_after() {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    world.chain.hold();
    let purchase = Purchase::new(&world).await;
    let client = Client::new(&world);
    let asking = client.post(0, &purchase);
    world.node.until(SEND, 1).await;
    world.node.away(true);
    let told = asking.await.unwrap();
    assert!(matches!(told, Answer::Pending { .. }), "{told:?}");
    client.is_pending(0, &purchase).await;
    world.chain.release();
    world.node.mend();
    judge(&world, &[0], &[purchase]).await;
    world.stop(facilitator).await;
}

/// It goes away and comes back while a load runs.
async fn flapping() {
    let world = World::new().await;
    let facilitator = world.start(0).await;
    let load = Load::begin(&world, PAYMENTS, PAYMENTS / 2, &[0]);
    for sent in 1..=3 {
        world.node.until(SEND, sent).await;
        world.node.away(true);
        tokio::task::yield_now().await;
        world.node.away(false);
    }
    let purchases = load.end().await;
    judge(&world, &[0], &purchases).await;
    world.stop(facilitator).await;
}

/// Settings of somebody in a hurry, with payments that outlive the slowest node.
fn hasty() -> Settings {
    Settings { settle_seconds: 2, blockhash_age: 3000, ..Settings::default() }
}

/// Every answer is so late: every caller is answered before its deadline.
async fn slow(delay: Duration) {
    under(hasty(), move |_| Act::Late(delay)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_n1_n2_with_a_solana_node_away_or_slow_nothing_is_lost() {
    let away = Row::new("Solana fx-N1 node away")
        .cell("before the settlement", away_before())
        .cell("after the broadcast", away_after())
        .cell("now and then", flapping());
    let slow = Row::new("Solana fx-N2 node slow")
        .cell("2.5 s", self::slow(Duration::from_millis(2500)))
        .cell("hangs at the broadcast", under(hasty(), first(SEND, 2, || Act::Hang)))
        .long("hangs at every broadcast", under(hasty(), first(SEND, 1000, || Act::Hang)))
        .long("3 s", self::slow(Duration::from_secs(3)))
        .long("12 s", self::slow(Duration::from_secs(12)))
        .long("60 s", self::slow(Duration::from_secs(60)));
    Row::all(vec![away, slow], 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_n3_a_lost_or_wrong_answer_to_the_solana_broadcast_loses_nothing_and_pays_nothing_twice() {
    let settings = Settings::default;
    let mut row = Row::new("Solana fx-N3 answers to the broadcast")
        .cell("the connection breaks", under(settings(), first(SEND, 5, || Act::Lost)));
    let texts = [
        "Transaction simulation failed: This transaction has already been processed",
        "Transaction simulation failed: Blockhash not found",
        "Node is behind by 42 slots",
        "internal error",
    ];
    for (number, text) in texts.into_iter().enumerate() {
        let done = under(settings(), first(SEND, 5, move || Act::Refused(text)));
        let not = under(settings(), first(SEND, 5, move || Act::Error(text)));
        let (did, did_not) = (format!("{text}, and it has it"), format!("{text}, and it does not"));
        row = if number == 0 { row.cell(did, done) } else { row.long(did, done) };
        row = row.long(did_not, not);
    }
    row.run(4).await;
}
