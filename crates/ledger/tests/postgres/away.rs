//! The server goes away and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tollway_ledger::suite::fixture::{
    CLOSES, NOW, SIGNER, batch, hash, key, network, payment, request, settlement, transaction, verified,
};
use tollway_ledger::suite::postgres_server::{PostgresServer, Sync};
use tollway_ledger::{
    Claim, Claims as _, Journal as _, JournalState, LedgerError, PostgresLedger, Prepared, RequestId, Signing,
};

use super::{brief, unavailable};

async fn open(server: &PostgresServer) -> PostgresLedger {
    PostgresLedger::open(&server.url("postgres"), brief()).await.unwrap()
}

/// Asks until the store can be used again.
async fn well_again(ledger: &PostgresLedger) {
    for _ in 0..1_000 {
        if ledger.healthy().await.is_ok() {
            return;
        }
    }
    panic!("it did not come back: {:?}", ledger.healthy().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_p1_every_call_is_refused_while_the_database_is_away_and_served_when_it_is_back() {
    let server = PostgresServer::start(Sync::On, &[]);
    let ledger = open(&server).await;
    let Claim::New(claimed) = ledger.claim(payment(1), request("/a"), CLOSES).await.unwrap() else {
        panic!("not new")
    };
    ledger.settling(&claimed).await.unwrap();
    let lease = ledger.lease(&network(), SIGNER).await.unwrap().unwrap();
    let signing = ledger.sign(&lease, batch(&[1, 2], &[], transaction(7, "a1")), NOW).await.unwrap();
    assert_eq!(signing, Signing::Done);
    server.stop();

    unavailable(ledger.claim(payment(2), request("/a"), CLOSES).await.map(drop));
    unavailable(ledger.settling(&claimed).await);
    unavailable(ledger.recall(&key(1)).await);
    unavailable(ledger.prepare(&[verified(3)], true, NOW).await);
    unavailable(ledger.sign(&lease, batch(&[3], &[], transaction(8, "b1")), NOW).await);
    unavailable(ledger.sent(&network(), "0xa1").await);
    unavailable(ledger.finish(&network(), &[], &[], NOW).await);
    unavailable(ledger.settlement(&key(1)).await);
    unavailable(ledger.take_over(&network(), 10).await);
    unavailable(ledger.lease(&network(), SIGNER).await);
    unavailable(ledger.healthy().await);
    unavailable(ledger.settled(claimed, settlement(&payment(1), &hash("aa"))).await.map(drop));

    server.go();
    well_again(&ledger).await;
    assert_eq!(ledger.settlement(&key(3)).await.unwrap(), None, "nothing that was refused is there");
    let record = ledger.settlement(&key(1)).await.unwrap().unwrap();
    assert_eq!((record.state, record.transaction), (JournalState::Signed, Some(transaction(7, "a1"))));
    assert_eq!(
        ledger.lease(&network(), SIGNER).await.unwrap(),
        Some(lease.clone()),
        "it is still this process's"
    );
    ledger.sent(&network(), "0xa1").await.unwrap();
    // What the failed call held went back.
    let Claim::Resume(claimed) = ledger.claim(payment(1), request("/a"), CLOSES).await.unwrap() else {
        panic!("not resumed")
    };
    let paid = ledger.settled(claimed, settlement(&payment(1), &hash("aa"))).await.unwrap();
    ledger.deliver(paid).await.unwrap();
    assert!(matches!(ledger.claim(payment(2), request("/a"), CLOSES).await.unwrap(), Claim::New(_)));
}

/// What a payment was told, in the order of a payment's life.
#[derive(Debug, Default)]
struct Told {
    claimed: AtomicU64,
    prepared: AtomicU64,
}

fn request_of(n: u64) -> RequestId {
    request(&format!("/{n}"))
}

/// Goes on with new payments until a call fails.
async fn live(ledger: &PostgresLedger, first: u64, told: &Told) -> LedgerError {
    for n in first..first + 1_000 {
        match ledger.claim(payment(n), request_of(n), CLOSES).await {
            Ok(Claim::New(claimed)) => {
                if let Err(error) = ledger.pending(claimed, Some(&hash("aa"))).await {
                    return error;
                }
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => return error,
        }
        told.claimed.store(n + 1, Ordering::SeqCst);
        match ledger.prepare(&[verified(n)], true, NOW).await {
            Ok(prepared) => assert_eq!(prepared, [Prepared::New]),
            Err(error) => return error,
        }
        told.prepared.store(n + 1, Ordering::SeqCst);
    }
    panic!("the server was never stopped")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_p1_what_was_acknowledged_survives_a_stop_in_the_middle_of_everything() {
    const LANES: u64 = 8;
    let server = PostgresServer::start(Sync::On, &[]);
    let ledger = Arc::new(open(&server).await);
    for round in 0..3_u64 {
        let told: Arc<Vec<Told>> = Arc::new((0..LANES).map(|_| Told::default()).collect());
        let first = move |lane: u64| (round * LANES + lane) * 10_000;
        let tasks: Vec<_> = (0..LANES)
            .map(|lane| {
                let (ledger, told) = (Arc::clone(&ledger), Arc::clone(&told));
                let at = usize::try_from(lane).unwrap();
                tokio::spawn(async move { live(&ledger, first(lane), &told[at]).await })
            })
            .collect();
        let started = |lane: u64| {
            told[usize::try_from(lane).unwrap()].prepared.load(Ordering::SeqCst) > first(lane) + 5
        };
        while !(0..LANES).all(started) {
            tokio::task::yield_now().await;
        }
        server.stop();
        for task in tasks {
            assert!(matches!(task.await.unwrap(), LedgerError::Unavailable(_)));
        }
        server.go();
        well_again(&ledger).await;
        for (lane, told) in (0..LANES).zip(&*told) {
            let (claimed, prepared) =
                (told.claimed.load(Ordering::SeqCst), told.prepared.load(Ordering::SeqCst));
            for n in first(lane)..=claimed {
                let record = ledger.settlement(&key(n)).await.unwrap();
                assert!(record.is_some() || n >= prepared, "{n} was prepared and is lost");
                // Nothing is held by a call that failed, whether it took effect or not.
                match ledger.claim(payment(n), request_of(n), CLOSES).await.unwrap() {
                    Claim::Resume(_) => {}
                    Claim::New(_) => assert!(n >= claimed, "{n} was claimed and is lost"),
                    other => panic!("{n}: {other:?}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rs09_a_process_that_ends_while_the_database_is_away_is_dead_when_its_lease_is_over() {
    let server = PostgresServer::start(Sync::Off, &[]);
    let ledger = open(&server).await;
    let held = ledger.claim(payment(1), request("/a"), CLOSES).await.unwrap();
    server.stop();
    drop((held, ledger));
    server.go();
    let next = open(&server).await;
    assert!(matches!(next.claim(payment(1), request("/a"), CLOSES).await.unwrap(), Claim::Busy { .. }));
    server.execute("postgres", "UPDATE tollway.instances SET alive_until = alive_until - 60000");
    assert!(matches!(next.claim(payment(1), request("/a"), CLOSES).await.unwrap(), Claim::New(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rs09_a_process_that_was_away_for_longer_than_its_lease_can_not_act_on_what_was_taken_over() {
    let server = PostgresServer::start(Sync::Off, &[]);
    let away = open(&server).await;
    let Claim::New(claimed) = away.claim(payment(1), request("/a"), CLOSES).await.unwrap() else {
        panic!("not new")
    };
    let lease = away.lease(&network(), SIGNER).await.unwrap().unwrap();
    // By the database's clock its time is over; nobody asked what time it is here.
    server.execute("postgres", "UPDATE tollway.instances SET alive_until = alive_until - 60000");
    let next = open(&server).await;
    assert!(matches!(next.claim(payment(1), request("/a"), CLOSES).await.unwrap(), Claim::New(_)));
    assert!(next.lease(&network(), SIGNER).await.unwrap().is_some());
    assert!(matches!(away.settling(&claimed).await, Err(LedgerError::Conflict { .. })));
    let signing = away.sign(&lease, batch(&[1], &[], transaction(0, "a1")), NOW).await;
    assert_eq!(signing, Ok(Signing::Lost));
    assert_eq!(away.settlement(&key(1)).await.unwrap(), None);
    // It lives again, and takes what is free.
    away.healthy().await.unwrap();
    assert!(matches!(away.claim(payment(2), request("/a"), CLOSES).await.unwrap(), Claim::New(_)));
}
