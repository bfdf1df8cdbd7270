//! Several nodes: one that can't answer, one that is frozen, and one that lies about what is worth much.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tollway_ledger::JournalState;
use tollway_protocol::Reason;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome};
use tollway_protocol::wire::PaymentRequest;
use tollway_rpc::{Transport, Unanswered};
use tollway_svm::ExactFacilitator;
use tollway_svm::facilitator::{Cluster, ClusterConfig, ClusterError};

use crate::common::{AMOUNT, Node, World, bind, config, facilitator, settle, world};
use crate::faults::{Bent, bent_node};

/// What a node is asked, as it is asked.
pub(crate) struct Asked(UnboundedReceiver<String>);

impl Asked {
    pub(crate) async fn until(&mut self, method: &str) {
        while self.0.recv().await.unwrap() != method {}
    }
}

/// The world's node, and what it is asked.
pub(crate) fn heard(world: &World) -> (Arc<Bent>, Asked) {
    let (sender, receiver) = unbounded_channel();
    let node = bent_node(world, move |method, _| {
        let _ = sender.send(method.to_owned());
    });
    (node, Asked(receiver))
}

/// Settles meanwhile.
pub(crate) fn begin(facilitator: &ExactFacilitator, request: &PaymentRequest) -> JoinHandle<Outcome> {
    let (facilitator, bound) = (facilitator.clone(), bind(facilitator, request).unwrap());
    tokio::spawn(async move { facilitator.settle(bound, Duration::from_secs(300)).await })
}

fn of(world: &World, nodes: Vec<Arc<dyn Transport>>) -> ExactFacilitator {
    facilitator(nodes, vec![world.fee_payer.clone()], world.journal.clone())
}

pub(crate) fn paid(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Settled { transaction } => transaction,
        other => panic!("{other:?}"),
    }
}

async fn state(world: &World, request: &PaymentRequest) -> JournalState {
    let bound = bind(&world.facilitator, request).unwrap();
    world.journal.settlement(bound.key()).await.unwrap().unwrap().state
}

#[tokio::test]
async fn fa22_a_node_that_says_it_can_t_answer_is_passed_over() {
    for error in [
        json!({"code": 429, "message": "Too many requests for a specific RPC call"}),
        json!({"code": -32005, "message": "Node is behind by 42 slots", "data": {"numSlotsBehind": 42}}),
        json!({"code": -32603, "message": "Internal error"}),
    ] {
        let world = world();
        let told = error.clone();
        let unwell = bent_node(&world, move |method, answer| {
            if method != "getGenesisHash" {
                *answer = json!({"jsonrpc": "2.0", "id": answer["id"], "error": told});
            }
        });
        let two = of(&world, vec![unwell.clone(), world.node.clone()]);
        let request = world.request(&world.draft());
        paid(&settle(&two, &request).await);
        assert_eq!(world.earned(), AMOUNT, "{error}");

        let one = of(&world, vec![unwell]);
        let outcome = settle(&one, &world.request(&world.draft_with(&"f".repeat(32)))).await;
        let Outcome::NotSettled { refusal, transaction: None } = outcome else { panic!("{outcome:?}") };
        assert_eq!(refusal.reason, Reason::ChainUnreachable, "nothing is said of the payment: {error}");
    }
}

/// A node that stands still from when the test says so: it answers, as of the slot that it had.
fn freezing(world: &World) -> (Arc<Bent>, Arc<AtomicBool>, Arc<AtomicU64>) {
    let (frozen, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (is_frozen, count) = (frozen.clone(), asked.clone());
    let mut slot = 0;
    let node = bent_node(world, move |method, answer| {
        let result = &mut answer["result"];
        if !is_frozen.load(Ordering::SeqCst) {
            slot = result["context"]["slot"].as_u64().unwrap_or(slot);
            return;
        }
        if result["context"].is_object() {
            result["context"]["slot"] = slot.into();
        }
        match method {
            "getSlot" => *result = slot.into(),
            "getSignatureStatuses" => {
                count.fetch_add(1, Ordering::SeqCst);
                result["value"] = json!([null]);
            }
            "simulateTransaction" => result["value"] = json!({"err": "BlockhashNotFound", "logs": []}),
            "isBlockhashValid" => result["value"] = false.into(),
            _ => {}
        }
    });
    (node, frozen, asked)
}

#[tokio::test]
async fn fa22_a_frozen_node_judges_no_payment_while_another_is_ahead() {
    let world = world();
    let (first, frozen, asked) = freezing(&world);
    frozen.store(true, Ordering::SeqCst);
    world.chain.advance(100);
    let two = of(&world, vec![first.clone(), world.node.clone()]);
    paid(&settle(&two, &world.request(&world.draft())).await);
    assert_eq!((world.earned(), asked.load(Ordering::SeqCst)), (AMOUNT, 0), "it is not asked first");
    // Alone it is believed, as ever.
    let one = of(&world, vec![first]);
    let outcome = settle(&one, &world.request(&world.draft_with(&"f".repeat(32)))).await;
    let Outcome::NotSettled { refusal, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(refusal.reason, Reason::SimulationFailed);
}

#[tokio::test]
async fn fa22_a_node_that_freezes_while_a_settlement_is_under_way_is_passed_over() {
    let world = world();
    let (first, frozen, asked) = freezing(&world);
    let config =
        ClusterConfig { measure: Duration::from_millis(20), ..config(vec![first, world.node.clone()]) };
    let keys = vec![world.fee_payer.clone()];
    let two = ExactFacilitator::new(Cluster::new(config).unwrap(), keys, world.journal.clone()).unwrap();
    let request = world.request(&world.draft());
    two.verify(&bind(&two, &request).unwrap().at(crate::common::now()).unwrap()).await.unwrap();
    // It has judged the payment; from now on it knows of nothing new.
    let (freezes, is_frozen) = (world.chain.clone(), frozen.clone());
    world.node.runs.store(false, Ordering::SeqCst);
    let settling = begin(&two, &request);
    recorded(&world, &request).await;
    is_frozen.store(true, Ordering::SeqCst);
    freezes.advance(100);
    world.node.runs.store(true, Ordering::SeqCst);
    paid(&settling.await.unwrap());
    assert_eq!(world.earned(), AMOUNT);
    let before = asked.load(Ordering::SeqCst);
    paid(&settle(&two, &world.request(&world.draft_with(&"f".repeat(32)))).await);
    assert_eq!(asked.load(Ordering::SeqCst), before, "it is asked last");
}

/// Waits until the payment's transaction is in the journal.
async fn recorded(world: &World, request: &PaymentRequest) {
    let bound = bind(&world.facilitator, request).unwrap();
    while world.journal.settlement(bound.key()).await.unwrap().is_none_or(|record| record.hash.is_none()) {
        tokio::task::yield_now().await;
    }
}

/// A facilitator for which what costs `above` or more takes two nodes.
fn agreeing(world: &World, nodes: Vec<Arc<dyn Transport>>, above: u64) -> ExactFacilitator {
    let config = ClusterConfig { agree_above: Some(above), ..config(nodes) };
    let keys = vec![world.fee_payer.clone()];
    ExactFacilitator::new(Cluster::new(config).unwrap(), keys, world.journal.clone()).unwrap()
}

/// A node that answers so for statuses while it lies.
fn lying(world: &World, status: Value) -> (Arc<Bent>, Arc<AtomicBool>) {
    let lies = Arc::new(AtomicBool::new(true));
    let lying = lies.clone();
    let node = bent_node(world, move |method, answer| {
        if method == "getSignatureStatuses" && lying.load(Ordering::SeqCst) {
            answer["result"]["value"] = json!([status]);
        }
    });
    (node, lies)
}

#[tokio::test]
async fn fx_n5_what_one_node_alone_calls_confirmed_is_not_settled_above_the_threshold() {
    let world = world();
    let confirmed = json!({"slot": 12, "err": null, "confirmationStatus": "confirmed"});
    let (liar, lies) = lying(&world, confirmed);
    let (honest, mut asked) = heard(&world);
    let two = agreeing(&world, vec![liar, honest], AMOUNT);
    // No block ever has it.
    world.chain.drop_next(u64::MAX);
    world.node.runs.store(false, Ordering::SeqCst);
    let request = world.request(&world.draft());
    let settling = begin(&two, &request);
    for _ in 0..3 {
        asked.until("getSignatureStatuses").await;
    }
    assert_eq!((state(&world, &request).await, world.earned()), (JournalState::Broadcast, 0));
    // It is sent again all the while: now a block takes it.
    world.chain.drop_next(0);
    asked.until("sendTransaction").await;
    lies.store(false, Ordering::SeqCst);
    world.node.runs.store(true, Ordering::SeqCst);
    paid(&settling.await.unwrap());
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn fx_n5_what_one_node_alone_calls_failed_has_not_failed_above_the_threshold() {
    let world = world();
    let failed = json!({"slot": 12, "err": {"InstructionError": [2, {"Custom": 1}]}, "confirmationStatus": "confirmed"});
    let (liar, lies) = lying(&world, failed);
    let (honest, mut asked) = heard(&world);
    let two = agreeing(&world, vec![liar, honest], AMOUNT);
    let request = world.request(&world.draft());
    let settling = begin(&two, &request);
    for _ in 0..3 {
        asked.until("getSignatureStatuses").await;
    }
    assert_eq!(state(&world, &request).await, JournalState::Broadcast);
    lies.store(false, Ordering::SeqCst);
    paid(&settling.await.unwrap());
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn fx_n5_what_one_node_alone_calls_dead_is_not_dead_above_the_threshold() {
    for (above, is_told) in [(AMOUNT + 1, true), (AMOUNT, false)] {
        let world = world();
        // It has neither the transaction nor its blockhash, and is 200 slots on.
        let liar = bent_node(&world, |method, answer| {
            let result = &mut answer["result"];
            if !matches!(method, "getSignatureStatuses" | "isBlockhashValid") {
                return;
            }
            let slot = result["context"]["slot"].as_u64().unwrap();
            result["context"]["slot"] = (slot + 200).into();
            result["value"] = if method == "isBlockhashValid" { false.into() } else { json!([null]) };
        });
        let (honest, mut asked) = heard(&world);
        let two = agreeing(&world, vec![liar, honest], above);
        world.node.runs.store(false, Ordering::SeqCst);
        world.chain.drop_next(u64::MAX);
        let request = world.request(&world.draft());
        let settling = begin(&two, &request);
        if !is_told {
            for _ in 0..3 {
                asked.until("isBlockhashValid").await;
            }
            assert_eq!(state(&world, &request).await, JournalState::Broadcast);
            // Both see it die.
            world.chain.advance(200);
        }
        let outcome = settling.await.unwrap();
        let Outcome::NotSettled { refusal, transaction: Some(_) } = outcome else { panic!("{outcome:?}") };
        assert_eq!(refusal.reason, Reason::TransactionFailed);
    }
}

#[tokio::test]
async fn fx_n5_above_the_threshold_two_nodes_must_agree() {
    let world = world();
    // The second knows of no transaction.
    let (second, lies) = lying(&world, Value::Null);
    let below = agreeing(&world, vec![world.node.clone(), second.clone()], AMOUNT + 1);
    paid(&settle(&below, &world.request(&world.draft())).await);
    let (first, mut asked) = heard(&world);
    let two = agreeing(&world, vec![first, second], AMOUNT);
    let dear = world.request(&world.draft_with(&"f".repeat(32)));
    let settling = begin(&two, &dear);
    asked.until("sendTransaction").await;
    for _ in 0..6 {
        asked.until("getSignatureStatuses").await;
    }
    assert_eq!(world.earned(), 2 * AMOUNT, "it was made all the same");
    assert_eq!(state(&world, &dear).await, JournalState::Broadcast);
    lies.store(false, Ordering::SeqCst);
    paid(&settling.await.unwrap());
    assert_eq!(world.earned(), 2 * AMOUNT);
}

/// A node that answers what is asked at the start, and hangs when it is asked for more.
struct Hangs(Arc<Node>);

#[async_trait]
impl Transport for Hangs {
    async fn ask(&self, body: Vec<u8>) -> Result<Vec<u8>, Unanswered> {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        if matches!(asked["method"].as_str(), Some("getGenesisHash" | "getSlot")) {
            return self.0.ask(body).await;
        }
        std::future::pending().await
    }
}

#[tokio::test]
async fn fx_n5_of_three_nodes_two_are_enough_and_one_that_hangs_keeps_nobody_waiting() {
    let world = world();
    let hangs = Arc::new(Hangs(world.node.clone()));
    let nodes: Vec<Arc<dyn Transport>> = vec![world.node.clone(), hangs, world.node.clone()];
    let config =
        ClusterConfig { agree_above: Some(AMOUNT), rpc_timeout: Duration::from_secs(3_600), ..config(nodes) };
    let keys = vec![world.fee_payer.clone()];
    let three = ExactFacilitator::new(Cluster::new(config).unwrap(), keys, world.journal.clone()).unwrap();
    paid(&settle(&three, &world.request(&world.draft())).await);
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn two_nodes_that_must_agree_are_two() {
    let world = world();
    let one = ClusterConfig { agree_above: Some(AMOUNT), ..config(vec![world.node.clone()]) };
    assert_eq!(Cluster::new(one).err(), Some(ClusterError::OneNode));
}
