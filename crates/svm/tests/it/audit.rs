//! The ledger beside the chain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tollway_devnet::svm::USDC_DEVNET;
use tollway_ledger::{Journal, SqliteLedger};
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::Outcome;
use tollway_rpc::{Transport, Unanswered};
use tollway_svm::ExactFacilitator;
use tollway_svm::facilitator::{Audit, DifferenceKind, Sum};

use crate::common::{AMOUNT, Node, World, facilitator, world};
use crate::draft::base64;

/// Payments that are settled, each with a memo of its own; their transactions.
async fn settled(world: &World, count: u8) -> Vec<String> {
    let mut transactions = Vec::new();
    for n in 0..count {
        let memo = format!("{n:032x}");
        match world.settle(&world.request(&world.draft_with(&memo))).await {
            Outcome::Settled { transaction } => transactions.push(transaction),
            other => panic!("{other:?}"),
        }
    }
    // Nothing is too young to be told of.
    world.chain.advance(40);
    transactions
}

async fn audit(facilitator: &ExactFacilitator) -> Audit {
    facilitator.audit(UnixTime(0)).await.unwrap()
}

fn kinds(audit: &Audit) -> Vec<DifferenceKind> {
    audit.differences.iter().map(|found| found.kind).collect()
}

fn sum(world: &World, ledger: u64, chain: u64, unknown: u64) -> Vec<Sum> {
    vec![Sum {
        pay_to: world.seller.to_string(),
        asset: USDC_DEVNET.to_string(),
        ledger: ledger.into(),
        chain: chain.into(),
        unknown: unknown.into(),
    }]
}

#[tokio::test]
async fn i11_what_the_ledger_has_is_on_the_chain_and_nothing_else_of_ours_is() {
    let world = world();
    let nothing = audit(&world.facilitator).await;
    assert_eq!((nothing.settled, nothing.differences.len(), nothing.unknown), (0, 0, 0));
    settled(&world, 3).await;
    // Whoever likes sends our fee payer something: that is not our transaction.
    let fee_payer = world.fee_payer.address().to_string();
    world.chain.request("requestAirdrop", &json!([fee_payer, 1_000])).unwrap();
    world.chain.advance(2);
    let found = audit(&world.facilitator).await;
    assert_eq!((found.settled, found.transactions, found.open), (3, 4, 0));
    assert!(found.differences.is_empty() && found.unknowns.is_empty(), "{found:?}");
    assert_eq!(found.sums, sum(&world, 3 * AMOUNT, 3 * AMOUNT, 0));
    // What was taken before is not asked about, and known all the same.
    let later = UnixTime(crate::common::now().0 + 60);
    let found = world.facilitator.audit(later).await.unwrap();
    assert_eq!((found.settled, found.differences, found.unknown), (0, vec![], 0));
}

#[tokio::test]
async fn i11_a_payment_that_the_ledger_lost_is_found_by_its_fee_payer() {
    let world = world();
    let transactions = settled(&world, 1).await;
    // A ledger that was restored from a copy of before.
    let empty: Arc<dyn Journal> = Arc::new(SqliteLedger::memory().unwrap());
    let restored = facilitator(vec![world.node.clone()], vec![world.fee_payer.clone()], empty);
    let found = audit(&restored).await;
    assert_eq!(kinds(&found), [DifferenceKind::UnknownTransaction]);
    let [difference] = found.differences.as_slice() else { panic!("{found:?}") };
    assert_eq!(difference.transaction.as_ref(), transactions.first());
    assert!(difference.detail.contains(&format!("brought {} {AMOUNT}", world.seller)), "{difference:?}");
    assert_eq!((found.settled, found.sums), (0, sum(&world, 0, AMOUNT, 0)));
}

#[tokio::test]
async fn i11_another_program_s_use_of_a_fee_payer_s_key_is_found() {
    let world = world();
    settled(&world, 1).await;
    let draft = world.draft_with("ffffffffffffffffffffffffffffffff");
    let bytes = draft.signed(&[&world.fee_payer, &world.payer]);
    let sent = world
        .chain
        .request("sendTransaction", &json!([base64(&bytes), {"encoding": "base64", "skipPreflight": true}]))
        .unwrap();
    world.chain.advance(2);
    let found = audit(&world.facilitator).await;
    assert_eq!(kinds(&found), [DifferenceKind::UnknownTransaction]);
    assert_eq!(found.differences.first().unwrap().transaction.as_deref(), sent.as_str());
    assert_eq!(found.sums, sum(&world, AMOUNT, 2 * AMOUNT, 0));
}

#[tokio::test]
async fn i11_a_settled_payment_that_a_fork_took_away_is_found() {
    let world = world();
    let Outcome::Settled { transaction } = world.settle(&world.request(&world.draft())).await else {
        panic!("not settled")
    };
    // Before the watcher looks again: a facilitator that only reads.
    let reader = facilitator(vec![world.node.clone()], vec![world.fee_payer.clone()], world.journal.clone());
    drop(world.facilitator);
    let depth = world.chain.slot() - world.chain.request("getSlot", &json!([])).unwrap().as_u64().unwrap();
    world.chain.fork(depth - 1).unwrap();
    // No node knows it; none is far enough to say so.
    let early = audit(&reader).await;
    assert_eq!((early.differences.len(), early.unknown), (0, 1), "{early:?}");
    world.chain.advance(40);
    let found = audit(&reader).await;
    assert_eq!((kinds(&found), found.unknown), (vec![DifferenceKind::NotOnChain], 0), "{found:?}");
    assert_eq!(found.differences.first().unwrap().transaction, Some(transaction));
    let (pay_to, asset) = (world.seller.to_string(), USDC_DEVNET.to_string());
    assert_eq!(found.sums, [Sum { pay_to, asset, ledger: AMOUNT.into(), chain: 0, unknown: 0 }]);
}

#[tokio::test]
async fn i11_a_transaction_that_brought_another_amount_is_a_difference() {
    let world = world();
    settled(&world, 1).await;
    let reader = bent(&world, |method, answer| {
        if method == "getTransaction" {
            for held in answer["result"]["meta"]["postTokenBalances"].as_array_mut().unwrap() {
                let amount = &mut held["uiTokenAmount"]["amount"];
                let less = amount.as_str().unwrap().len() > 5;
                *amount = json!(if less { amount.as_str().unwrap().to_owned() } else { "9999".to_owned() });
            }
        }
    });
    let found = audit(&reader).await;
    assert_eq!(kinds(&found), [DifferenceKind::NotOnChain], "{found:?}");
    let detail = &found.differences.first().unwrap().detail;
    assert!(detail.contains("9999") && detail.contains("10000"), "{detail}");
    assert_eq!(found.sums, sum(&world, AMOUNT, 9_999, 0));
}

#[tokio::test]
async fn i11_what_a_node_has_not_kept_is_unknown_and_neither_good_nor_different() {
    let world = world();
    let transactions = settled(&world, 2).await;
    world.chain.advance(400);
    // The blocks of that time are gone.
    let forgetful = |method: &str, answer: &mut Value| match method {
        "getSignatureStatuses" => answer["result"]["value"] = json!([null, null]),
        "getFirstAvailableBlock" => answer["result"] = json!(1_300),
        "getSignaturesForAddress" => answer["result"] = json!([]),
        _ => {}
    };
    let found = audit(&bent(&world, forgetful)).await;
    assert!(found.differences.is_empty(), "{found:?}");
    // Two payments, and what else the fee payer may have signed at that time.
    assert_eq!((found.settled, found.unknown), (2, 3), "{found:?}");
    let named: Vec<_> = found.unknowns.iter().filter_map(|one| one.transaction.clone()).collect();
    assert_eq!(named, transactions);
    assert_eq!(found.sums, sum(&world, 2 * AMOUNT, 0, 2 * AMOUNT));
    // Another node has them.
    let both = facilitator(
        vec![bending(&world, forgetful), world.node.clone()],
        vec![world.fee_payer.clone()],
        world.journal.clone(),
    );
    let found = audit(&both).await;
    assert_eq!((found.differences.len(), found.unknown), (0, 0), "{found:?}");
    assert_eq!(found.sums, sum(&world, 2 * AMOUNT, 2 * AMOUNT, 0));
}

#[tokio::test]
async fn i11_a_node_without_history_leaves_everything_unknown() {
    let world = world();
    settled(&world, 1).await;
    let found = audit(&bent(&world, |method, answer| {
        if ["getTransaction", "getSignaturesForAddress", "getFirstAvailableBlock"].contains(&method) {
            let message = "Transaction history is not available from this node";
            *answer =
                json!({"jsonrpc": "2.0", "id": answer["id"], "error": {"code": -32011, "message": message}});
        }
    }))
    .await;
    assert_eq!((found.differences.len(), found.unknown), (0, 2), "{found:?}");
    assert_eq!(found.sums, sum(&world, AMOUNT, 0, AMOUNT));
}

#[tokio::test]
async fn i11_a_chain_that_does_not_answer_is_an_error_and_no_comparison() {
    let world = world();
    settled(&world, 1).await;
    let error = bent(&world, |_, answer| *answer = Value::Null).audit(UnixTime(0)).await.unwrap_err();
    assert!(error.to_string().contains("can't be compared"), "{error}");
}

#[tokio::test]
async fn i11_a_running_facilitator_compares_every_five_minutes_and_says_so_in_gauges() {
    let world = world();
    let gauges = Gauges::default();
    let _recording = metrics::set_default_local_recorder(&gauges);
    settled(&world, 1).await;
    let empty: Arc<dyn Journal> = Arc::new(SqliteLedger::memory().unwrap());
    let restored = facilitator(vec![world.node.clone()], vec![world.fee_payer.clone()], empty);
    drop(world.facilitator);
    world.node.runs.store(false, Ordering::SeqCst);
    tokio::time::pause();
    restored.keep_auditing();
    for kind in [("unknown_transaction", 1.0), ("not_on_chain", 0.0), ("not_in_ledger", 0.0)] {
        assert_eq!(gauges.comes("tollway_svm_unreconciled", Some(kind.0)).await, kind.1, "{kind:?}");
    }
    for name in ["tollway_svm_uncompared", "tollway_svm_oldest_open_seconds"] {
        assert_eq!(gauges.comes(name, None).await, 0.0, "{name}");
    }
}

type Bend = Box<dyn FnMut(&str, &mut Value) + Send>;

/// A node behind a change of what it answers.
struct Bent(Arc<Node>, Mutex<Bend>);

fn bending(world: &World, bend: impl FnMut(&str, &mut Value) + Send + 'static) -> Arc<dyn Transport> {
    Arc::new(Bent(world.node.clone(), Mutex::new(Box::new(bend))))
}

fn bent(world: &World, bend: impl FnMut(&str, &mut Value) + Send + 'static) -> ExactFacilitator {
    facilitator(vec![bending(world, bend)], vec![world.fee_payer.clone()], world.journal.clone())
}

#[async_trait]
impl Transport for Bent {
    async fn ask(&self, body: Vec<u8>) -> Result<Vec<u8>, Unanswered> {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let mut answered: Value = serde_json::from_slice(&self.0.ask(body).await?).unwrap();
        let mut bend = self.1.lock();
        match (&asked, &mut answered) {
            (Value::Array(asked), Value::Array(answered)) => {
                asked
                    .iter()
                    .zip(answered)
                    .for_each(|(asked, one)| bend(asked["method"].as_str().unwrap(), one));
            }
            (asked, answered) => bend(asked["method"].as_str().unwrap(), answered),
        }
        if answered.is_null() { Err(Unanswered("cut off")) } else { Ok(answered.to_string().into_bytes()) }
    }
}

/// A gauge's name and `kind`.
type Name = (String, Option<String>);

#[derive(Default)]
struct Gauges(Arc<Mutex<BTreeMap<Name, f64>>>);

impl Gauges {
    /// A gauge's value, once there is one.
    async fn comes(&self, name: &str, kind: Option<&str>) -> f64 {
        let key = (name.to_owned(), kind.map(str::to_owned));
        loop {
            if let Some(value) = self.0.lock().get(&key) {
                return *value;
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }
}

struct One(Arc<Mutex<BTreeMap<Name, f64>>>, Name);

impl GaugeFn for One {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        self.0.lock().insert(self.1.clone(), value);
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let kind = key.labels().find(|label| label.key() == "kind").map(|label| label.value().to_owned());
        Gauge::from_arc(Arc::new(One(self.0.clone(), (key.name().to_owned(), kind))))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
