//! What goes wrong on the way: processes that die, forks, nodes that lie, payers that take their money away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use tollway_devnet::svm::USDC_DEVNET;
use tollway_ledger::{Journal, JournalState, SqliteLedger, sqlite};
use tollway_protocol::Reason;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome};
use tollway_protocol::wire::PaymentRequest;
use tollway_rpc::{Transport, Unanswered};
use tollway_svm::ExactFacilitator;
use tollway_svm::facilitator::Cluster;

use crate::common::{AMOUNT, Node, World, bind, config, facilitator, key, settle, world};
use crate::draft::price;

type Bend = Box<dyn FnMut(&str, &mut Value) + Send>;

/// A node behind a change of what it is asked or answers.
pub(crate) struct Bent {
    node: Arc<Node>,
    bend: Mutex<Bend>,
}

#[async_trait]
impl Transport for Bent {
    async fn ask(&self, body: Vec<u8>) -> Result<Vec<u8>, Unanswered> {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let mut answered: Value = serde_json::from_slice(&self.node.ask(body).await?).unwrap();
        let mut bend = self.bend.lock();
        match (&asked, &mut answered) {
            (Value::Array(asked), Value::Array(answered)) => {
                for (asked, answered) in asked.iter().zip(answered) {
                    bend(asked["method"].as_str().unwrap(), answered);
                }
            }
            (asked, answered) => bend(asked["method"].as_str().unwrap(), answered),
        }
        if answered.is_null() { Err(Unanswered("cut off")) } else { Ok(answered.to_string().into_bytes()) }
    }
}

/// The world's node, bent so.
pub(crate) fn bent_node(world: &World, bend: impl FnMut(&str, &mut Value) + Send + 'static) -> Arc<Bent> {
    Arc::new(Bent { node: world.node.clone(), bend: Mutex::new(Box::new(bend)) })
}

fn bent(world: &World, bend: impl FnMut(&str, &mut Value) + Send + 'static) -> ExactFacilitator {
    let node = bent_node(world, bend);
    facilitator(vec![node], vec![world.fee_payer.clone()], world.journal.clone())
}

fn paid(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Settled { transaction } => transaction,
        other => panic!("{other:?}"),
    }
}

/// Waits until the journal says so of the payment.
async fn journal_says(world: &World, request: &PaymentRequest, is: impl Fn(&tollway_ledger::Record) -> bool) {
    let bound = bind(&world.facilitator, request).unwrap();
    loop {
        let record = world.journal.settlement(bound.key()).await.unwrap();
        if record.is_some_and(|record| is(&record)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn fa22_an_answer_to_a_broadcast_that_is_lost_is_not_a_failure() {
    let world = world();
    let lost = bent(&world, |method, answer| {
        if method == "sendTransaction" {
            *answer = Value::Null;
        }
    });
    let outcome = settle(&lost, &world.request(&world.draft())).await;
    paid(&outcome);
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn fa22_a_broadcast_that_is_refused_in_words_is_looked_for_all_the_same() {
    let world = world();
    let refusing = bent(&world, |method, answer| {
        if method == "sendTransaction" {
            *answer = serde_json::json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32002, "message": "AlreadyProcessed"}});
        }
    });
    let outcome = settle(&refusing, &world.request(&world.draft())).await;
    paid(&outcome);
}

#[tokio::test]
async fn fa22_a_node_of_another_cluster_is_not_used() {
    let world = world();
    let other = bent(&world, |method, answer| {
        if method == "getGenesisHash" {
            answer["result"] = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d".into();
        }
    });
    let outcome = settle(&other, &world.request(&world.draft())).await;
    let Outcome::NotSettled { refusal, transaction: None } = outcome else { panic!("{outcome:?}") };
    assert_eq!(refusal.reason, Reason::ChainUnreachable);
    assert!(refusal.message.contains("another cluster"), "{refusal}");
    assert!(other.ready().await.unwrap_err().problem.contains("another cluster"));
}

#[tokio::test]
async fn fa22_no_status_is_no_proof_that_a_transaction_did_not_land() {
    let world = world();
    // The node says of every transaction that it is in no block, while the blockhash lives.
    let mut left = 50;
    let blind = bent(&world, move |method, answer| {
        if method == "getSignatureStatuses" && left > 0 {
            left -= 1;
            answer["result"]["value"] = serde_json::json!([null]);
        }
    });
    let outcome = settle(&blind, &world.request(&world.draft())).await;
    paid(&outcome);
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn fa21_a_settlement_that_a_fork_takes_back_is_sent_again_with_the_same_bytes() {
    let world = world();
    let request = world.request(&world.draft());
    // Its blockhash is older than the fork.
    world.chain.advance(8);
    let outcome = world.settle(&request).await;
    world.node.runs.store(false, Ordering::SeqCst);
    world.chain.drop_next(1);
    world.chain.fork(4).unwrap();
    assert_eq!(world.earned(), 0);
    world.node.runs.store(true, Ordering::SeqCst);
    journal_says(&world, &request, |record| record.state == JournalState::Settled && record.is_final).await;
    assert_eq!(world.earned(), AMOUNT);
    let bound = bind(&world.facilitator, &request).unwrap();
    let record = world.journal.settlement(bound.key()).await.unwrap().unwrap();
    assert_eq!(record.hash.as_deref(), Some(paid(&outcome)));
}

#[tokio::test]
async fn what_is_settled_becomes_final() {
    let world = world();
    let request = world.request(&world.draft());
    paid(&world.settle(&request).await);
    journal_says(&world, &request, |record| record.is_final).await;
}

#[tokio::test]
async fn fa05_another_process_finishes_what_a_dead_one_signed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let open = || {
        let options = sqlite::Options { lease: Duration::from_millis(300), ..Default::default() };
        Arc::new(SqliteLedger::open_with(&path, options).unwrap())
    };
    let world = world();
    let request = world.request(&world.draft());
    // No node gets it before the process dies.
    world.chain.drop_next(1);
    world.node.runs.store(false, Ordering::SeqCst);
    let journal: Arc<dyn Journal> = open();
    let first = facilitator(vec![world.node.clone()], vec![world.fee_payer.clone()], journal.clone());
    let bound = bind(&first, &request).unwrap();
    let begun = first.settle(bound.clone(), Duration::from_secs(1)).await;
    assert!(matches!(begun, Outcome::Pending { transaction: Some(_), .. }), "{begun:?}");
    // Its last handle: the lease is given back, as it runs out when a process is killed.
    drop((first, journal));
    world.node.runs.store(true, Ordering::SeqCst);
    let journal: Arc<dyn Journal> = open();
    let second = facilitator(vec![world.node.clone()], vec![world.fee_payer.clone()], journal.clone());
    second.recover().await;
    let outcome = second.settle(bound, Duration::from_secs(30)).await;
    let Outcome::Pending { transaction: Some(hash), .. } = begun else { unreachable!() };
    assert_eq!(paid(&outcome), hash);
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn fa24_the_day_s_fees_have_a_bound() {
    let world = world();
    let cluster = Cluster::new(tollway_svm::facilitator::ClusterConfig {
        lamports_per_day: 25_000,
        ..config(vec![world.node.clone()])
    });
    let keys = vec![world.fee_payer.clone()];
    let bounded = ExactFacilitator::new(cluster.unwrap(), keys, world.journal.clone()).unwrap();
    for (n, memo) in ["0".repeat(32), "1".repeat(32), "2".repeat(32)].iter().enumerate() {
        let outcome = settle(&bounded, &world.request(&world.draft_with(memo))).await;
        match outcome {
            Outcome::Settled { .. } => assert!(n < 2),
            Outcome::NotSettled { refusal, transaction: None } => {
                assert_eq!((n, refusal.reason), (2, Reason::FacilitatorUnavailable));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(world.earned(), 2 * AMOUNT);
}

/// Two payments of all that the payer has.
fn two_of_all(world: &World) -> (PaymentRequest, PaymentRequest) {
    let all = 1_000_000u64;
    let mut offer = world.offer();
    offer["amount"] = all.to_string().into();
    let request = |memo: &str| {
        let mut draft = world.draft_with(memo);
        draft.calls[2].data[1..9].copy_from_slice(&all.to_le_bytes());
        let bytes = draft.signed(&[&world.payer]);
        crate::common::request(&offer, &serde_json::json!({"transaction": crate::draft::base64(&bytes)}))
    };
    (request(&"a".repeat(32)), request(&"b".repeat(32)))
}

#[tokio::test]
async fn fa15_a_payer_s_money_is_promised_once() {
    let world = world();
    let (a, b) = two_of_all(&world);
    world.node.runs.store(false, Ordering::SeqCst);
    let first = world.facilitator.settle(bind(&world.facilitator, &a).unwrap(), Duration::from_secs(1)).await;
    assert!(matches!(first, Outcome::Pending { transaction: Some(_), .. }), "{first:?}");
    let second = world.settle(&b).await;
    let Outcome::NotSettled { refusal, transaction: None } = second else { panic!("{second:?}") };
    assert!(matches!(refusal.reason, Reason::FacilitatorUnavailable | Reason::SimulationFailed), "{refusal}");
    world.node.runs.store(true, Ordering::SeqCst);
    paid(&world.settle(&a).await);
}

#[tokio::test]
async fn fa15_a_payer_that_takes_its_money_away_pays_nothing_and_is_told_the_transaction() {
    let world = world();
    let (a, b) = two_of_all(&world);
    // Another facilitator, with a ledger of its own: both find the money there.
    let other = facilitator(
        vec![world.node.clone()],
        vec![world.fee_payer.clone()],
        Arc::new(SqliteLedger::memory().unwrap()),
    );
    world.chain.hold();
    world.node.runs.store(false, Ordering::SeqCst);
    for (facilitator, request) in [(&world.facilitator, &a), (&other, &b)] {
        let begun = facilitator.settle(bind(facilitator, request).unwrap(), Duration::from_secs(1)).await;
        assert!(matches!(begun, Outcome::Pending { transaction: Some(_), .. }), "{begun:?}");
    }
    world.chain.release();
    world.node.runs.store(true, Ordering::SeqCst);
    let outcomes = [world.settle(&a).await, settle(&other, &b).await];
    let settled = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Settled { .. })).count();
    assert_eq!(settled, 1, "{outcomes:?}");
    let failed = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::NotSettled { refusal, transaction: Some(_) } => Some(&refusal.reason),
        _ => None,
    });
    assert_eq!(failed, Some(&Reason::TransactionFailed));
    assert_eq!(world.earned(), 1_000_000);
}

#[tokio::test]
async fn fa22_a_node_that_lags_proves_nothing() {
    let world = world();
    // It says that it knows neither transactions nor blockhashes: as of a slot long ago.
    let mut left = 40;
    let lagging = bent(&world, move |method, answer| match method {
        "getSignatureStatuses" if left > 0 => {
            left -= 1;
            answer["result"]["value"] = serde_json::json!([null]);
            answer["result"]["context"]["slot"] = 100_000.into();
        }
        "isBlockhashValid" if left > 0 => {
            answer["result"] = serde_json::json!({"context": {"slot": 1}, "value": false});
        }
        _ => {}
    });
    let outcome = settle(&lagging, &world.request(&world.draft())).await;
    paid(&outcome);
    assert_eq!(world.earned(), AMOUNT);
}

#[tokio::test]
async fn fa21_a_settlement_is_not_taken_back_on_the_word_of_a_node_that_lags() {
    let world = world();
    let mut left = 0;
    let (news, settled) = std::sync::mpsc::channel();
    let lagging = bent(&world, move |method, answer| {
        if settled.try_recv().is_ok() {
            left = 10;
        }
        if method == "getSignatureStatuses" && left > 0 {
            left -= 1;
            answer["result"]["value"] = serde_json::json!([null]);
            answer["result"]["context"]["slot"] = 1.into();
        }
    });
    let request = world.request(&world.draft());
    paid(&settle(&lagging, &request).await);
    news.send(()).unwrap();
    journal_says(&world, &request, |record| {
        assert_eq!(record.state, JournalState::Settled);
        record.is_final
    })
    .await;
}

#[tokio::test]
async fn fa02_who_began_a_settlement_is_told_before_those_who_read_it_on_the_wire() {
    let world = Arc::new(world());
    let request = world.request(&world.draft());
    world.node.runs.store(false, Ordering::SeqCst);
    let (first_world, first_request) = (world.clone(), request.clone());
    let first = tokio::spawn(async move { first_world.settle(&first_request).await });
    journal_says(&world, &request, |record| record.hash.is_some()).await;
    let strangers = (0..10).map(|_| {
        let (world, request) = (world.clone(), request.clone());
        tokio::spawn(async move { world.settle(&request).await })
    });
    let strangers: Vec<_> = strangers.collect();
    tokio::task::yield_now().await;
    world.node.runs.store(true, Ordering::SeqCst);
    paid(&first.await.unwrap());
    for stranger in strangers {
        let outcome = stranger.await.unwrap();
        assert!(matches!(&outcome, Outcome::NotSettled { transaction: Some(_), .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn i11_what_the_ledger_has_is_what_the_seller_has() {
    let world = Arc::new(world());
    let posts = (0..50).map(|n: u32| {
        let world = world.clone();
        let request = world.request(&world.draft_with(&format!("{n:032x}")));
        tokio::spawn(async move { world.settle(&request).await })
    });
    for outcome in futures_util::future::join_all(posts).await {
        paid(&outcome.unwrap());
    }
    assert_eq!(world.earned(), 50 * AMOUNT);
    let records = world.journal.page(&tollway_ledger::Filter::default(), 0, 100).await.unwrap();
    assert_eq!(records.iter().filter(|record| record.state == JournalState::Settled).count(), 50);
    let fees: u64 = records.iter().filter_map(|record| record.fee_gwei).sum();
    let spent = crate::common::RICH - world.chain.balance(world.fee_payer.address());
    assert_eq!(fees, spent);
}

#[tokio::test]
async fn several_fee_payers_are_offered_in_turn_and_each_pays_for_its_own() {
    let world = world();
    let other = key(7);
    world.chain.fund(other.address(), crate::common::RICH).unwrap();
    let keys = vec![world.fee_payer.clone(), other.clone()];
    let two = facilitator(vec![world.node.clone()], keys, world.journal.clone());
    let offered = |minutes: u64| two.fee_payer(tollway_protocol::door::UnixTime(minutes * 60));
    assert_eq!(offered(0), offered(9));
    assert_ne!(offered(0), offered(10));
    assert_eq!(offered(0), offered(20));
    assert!([offered(0), offered(10)].contains(&two.kind().extra.str("feePayer").unwrap().to_owned()));
    let mut draft = world.draft();
    draft.signers[0] = other.address();
    draft.calls[1].data = price(4_000_000);
    let mut offer = world.offer();
    offer["extra"]["feePayer"] = other.address().to_string().into();
    let bytes = draft.signed(&[&world.payer]);
    let request =
        crate::common::request(&offer, &serde_json::json!({"transaction": crate::draft::base64(&bytes)}));
    paid(&settle(&two, &request).await);
    // Four lamports for each of 40,000 compute units.
    assert_eq!(world.chain.balance(other.address()), crate::common::RICH - 10_000 - 160_000);
    assert_eq!(world.chain.token_balance(USDC_DEVNET, world.seller), AMOUNT);
}
