//! What was acknowledged survives a kill at any commit, and nothing is half there.
//!
//! The test binary starts itself as the process that is killed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, with helpers outside their functions")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tollway_ledger::suite::fixture::{
    BID, CLOSES, NOW, SIGNER, batch, hash, key, network, payment, request, settlement, transaction, verified,
};
use tollway_ledger::{
    Attempt, Claim, Claims as _, Ending, Holder, Journal as _, JournalState, Lease, LedgerError, Mined,
    Options, Prepared, Signing, SqliteLedger,
};

const PATH: &str = "TOLLWAY_LEDGER_CHILD";
const PAYMENTS: u64 = 400;
const IN_PARALLEL: u64 = 8;

/// The steps in a payment's life here, in their order.
const STEPS: [&str; 9] =
    ["claimed", "settling", "prepared", "signed", "replaced", "finished", "told", "settled", "delivered"];

fn acknowledge(n: u64, step: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ack {n} {step}").unwrap();
    out.flush().unwrap();
}

/// A payment that travels with each: taken with it, and settled with it.
const fn companion(n: u64) -> u64 {
    n + 10_000
}

async fn live(ledger: &SqliteLedger, lease: &Lease, n: u64) -> Result<(), LedgerError> {
    let Claim::New(claimed) = ledger.claim(payment(n), request("/a"), CLOSES).await? else {
        panic!("not new")
    };
    acknowledge(n, "claimed");
    ledger.settling(&claimed).await?;
    acknowledge(n, "settling");
    assert_eq!(ledger.prepare(&[verified(n)], true, NOW).await?, [Prepared::New]);
    acknowledge(n, "prepared");
    let first = batch(&[companion(n)], &[n], transaction(n, &format!("{n}-1")));
    assert_eq!(ledger.sign(lease, first, NOW).await?, Signing::Done);
    acknowledge(n, "signed");
    let second = batch(&[], &[n, companion(n)], transaction(n, &format!("{n}-2")));
    assert_eq!(ledger.sign(lease, second, NOW).await?, Signing::Done);
    acknowledge(n, "replaced");
    let mined = Mined { hash: format!("0x{n}-2"), block: n, fee_gwei: 10, reverted: Vec::new() };
    let ending = || Ending::Settled { hash: format!("0x{n}-2"), block: n };
    let endings = [(key(n), ending()), (key(companion(n)), ending())];
    assert_eq!(ledger.finish(&network(), &[mined], &endings, NOW).await?, [Ok(()), Ok(())]);
    acknowledge(n, "finished");
    assert_eq!(ledger.tell(&key(n), None).await, Ok(true));
    acknowledge(n, "told");
    let paid = ledger.settled(claimed, settlement(&payment(n), &hash(&format!("{n}-2")))).await?;
    acknowledge(n, "settled");
    ledger.deliver(paid).await?;
    acknowledge(n, "delivered");
    Ok(())
}

/// Not a test: the process that is killed.
#[test]
fn child() {
    let Ok(path) = std::env::var(PATH) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let ledger = Arc::new(SqliteLedger::open(path).unwrap());
        let lease = ledger.lease(&network(), SIGNER).await.unwrap().unwrap();
        let tasks: Vec<_> = (0..IN_PARALLEL)
            .map(|lane| {
                let (ledger, lease) = (Arc::clone(&ledger), lease.clone());
                tokio::spawn(async move {
                    for n in (lane..PAYMENTS).step_by(usize::try_from(IN_PARALLEL).unwrap()) {
                        live(&ledger, &lease, n).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Runs the child until it is killed at `point`; the last step that each payment was told of.
fn killed_at(point: &str, path: &Path) -> BTreeMap<u64, usize> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env("TOLLWAY_CRASH", point)
        .env(PATH, path)
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(9), "{point}: {}", String::from_utf8_lossy(&output.stderr));
    let mut told = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        // The test harness may have begun a line.
        let Some((_, ack)) = line.split_once("ack ") else { continue };
        let [n, step] = ack.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let step = STEPS.iter().position(|s| *s == step).unwrap();
        told.insert(tollway_protocol::door::decimal_u64(n).unwrap(), step);
    }
    told
}

fn later() -> Options {
    let clock = Options::default().clock;
    Options { clock: Arc::new(move || clock() + 60_000), lease: Duration::from_secs(5) }
}

/// Checks one payment: it may be at most one step further than it was told.
async fn check(ledger: &SqliteLedger, n: u64, told: Option<usize>) {
    let key = payment(n).key().clone();
    let at = |step: &str| STEPS.iter().position(|s| *s == step).unwrap();
    let next = told.map_or(0, |told| told + 1);
    let within = |step: &str, there: bool| {
        let step = at(step);
        if told.is_some_and(|told| told >= step) {
            assert!(there, "payment {n} lost {} and was told {told:?}", STEPS[step]);
        } else if step > next {
            assert!(!there, "payment {n} has {} and was told {told:?}", STEPS[step]);
        }
    };

    let record = ledger.settlement(&key).await.unwrap();
    within("prepared", record.is_some());
    let history = ledger.history(&key).await.unwrap();
    within("signed", !history.is_empty());
    // What travels together is taken, signed and settled together.
    let friend = ledger.settlement(&self::key(companion(n))).await.unwrap();
    assert_eq!(friend.is_some(), !history.is_empty(), "payment {n}");
    assert_eq!(ledger.history(&self::key(companion(n))).await.unwrap(), history);
    if let (Some(friend), Some(record)) = (&friend, &record) {
        assert_eq!((friend.state, &friend.hash, friend.block), (record.state, &record.hash, record.block));
        assert_eq!((friend.fee_gwei, friend.holder), (record.fee_gwei, Holder::Nobody));
    }
    within("replaced", history.len() == 2);
    let latest = history.iter().filter(|a| !a.replaced).count();
    assert_eq!(latest, usize::from(!history.is_empty()), "payment {n}");
    for (i, Attempt { transaction: found, .. }) in history.iter().enumerate() {
        assert_eq!(*found, transaction(n, &format!("{n}-{}", i + 1)));
    }
    let state = record.as_ref().map(|record| record.state);
    within("finished", state == Some(JournalState::Settled));
    within("told", record.as_ref().is_some_and(|record| record.told));
    let fee = record.as_ref().and_then(|record| record.fee_gwei);
    assert_eq!(fee, (state == Some(JournalState::Settled)).then_some(5), "payment {n}");
    if let Some(record) = record {
        let expected = match history.len() {
            _ if record.state == JournalState::Settled => JournalState::Settled,
            0 => JournalState::Prepared,
            _ => JournalState::Signed,
        };
        assert_eq!(record.state, expected);
        assert_eq!(record.hash, history.last().map(|a| a.transaction.hash.clone()));
        serde_json::from_str::<tollway_protocol::PaymentRequest>(&record.request).unwrap();
    }

    let claim = ledger.claim(payment(n), request("/b"), CLOSES).await.unwrap();
    if told.is_some() {
        assert!(matches!(claim, Claim::Elsewhere { .. } | Claim::Spent { .. }), "{claim:?}");
    } else if matches!(claim, Claim::New(_)) {
        return;
    }
    let claim = ledger.claim(payment(n), request("/a"), CLOSES).await.unwrap();
    within("settling", !matches!(claim, Claim::New(_)));
    within("settled", matches!(claim, Claim::Paid(_) | Claim::Spent { .. }));
    within("delivered", matches!(claim, Claim::Spent { .. }));
    match claim {
        Claim::Paid(paid) => {
            assert_eq!(*paid.settlement(), settlement(&payment(n), &hash(&format!("{n}-2"))));
            ledger.deliver(*paid).await.unwrap();
        }
        Claim::Spent { transaction } => assert_eq!(transaction, Some(hash(&format!("{n}-2")))),
        Claim::New(_) | Claim::Resume(_) => {}
        other => panic!("{other:?}"),
    }
}

fn survives(point: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let told = killed_at(point, &path);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let ledger = SqliteLedger::open_with(&path, later()).unwrap();
        for n in 0..PAYMENTS {
            check(&ledger, n, told.get(&n).copied()).await;
        }
        let unfinished = ledger.take_over(&network(), u32::MAX).await.unwrap();
        assert!(unfinished.len() <= 2 * usize::try_from(IN_PARALLEL).unwrap());
        // The budget is what was bid and not mined yet, and what was mined.
        let nonces = ledger.nonces(&network(), SIGNER, 0).await.unwrap();
        let costs = nonces.iter().map(|attempt| if attempt.block.is_some() { 10 } else { BID });
        assert_eq!(ledger.spent_gwei(&network(), NOW).await.unwrap(), costs.sum::<u64>());
        assert!(ledger.lease(&network(), SIGNER).await.unwrap().is_some());
    });
    let connection = rusqlite::Connection::open(&path).unwrap();
    let whole: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    let dangling = connection.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap();
    assert!(!dangling);
}

#[test]
fn rs09_fa03_a_kill_before_a_commit_loses_nothing_acknowledged() {
    for nth in [1, 2, 7, 40] {
        survives(&format!("before_commit:{nth}"));
    }
}

#[test]
fn rs09_fa03_a_kill_after_a_commit_loses_nothing_acknowledged() {
    for nth in [1, 2, 7, 40] {
        survives(&format!("after_commit:{nth}"));
    }
}
