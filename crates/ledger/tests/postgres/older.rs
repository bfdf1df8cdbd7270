//! A server that has lost what it acknowledged.

use tollway_ledger::suite::fixture::{CLOSES, payment, request};
use tollway_ledger::suite::postgres_server::{PostgresServer, Sync};
use tollway_ledger::{Claim, Claims as _, Journal as _, LedgerError, PostgresLedger};

use super::brief;

async fn open(server: &PostgresServer) -> PostgresLedger {
    PostgresLedger::open(&server.url("postgres"), brief()).await.unwrap()
}

/// Asks until the answer is other than that the store is away.
async fn first_answer(ledger: &PostgresLedger) -> Result<(), LedgerError> {
    loop {
        match ledger.healthy().await {
            Err(LedgerError::Unavailable(_)) => {}
            other => return other,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_p3_an_older_copy_of_the_database_is_refused_until_the_restart() {
    let server = PostgresServer::start(Sync::Off, &[]);
    let ledger = open(&server).await;
    server.shut_down();
    server.set_aside();
    server.go();
    first_answer(&ledger).await.unwrap();
    let Claim::New(_) = ledger.claim(payment(1), request("/a"), CLOSES).await.unwrap() else {
        panic!("not new")
    };
    server.shut_down();
    server.put_back();
    server.go();
    let Err(LedgerError::Damaged(message)) = first_answer(&ledger).await else {
        panic!("it was not noticed")
    };
    assert!(message.contains("has lost"), "{message}");
    // For good: also what could be done there now is not.
    let claim = ledger.claim(payment(2), request("/a"), CLOSES).await;
    assert!(matches!(claim, Err(LedgerError::Damaged(_))), "{claim:?}");
    drop(ledger);
    let next = open(&server).await;
    assert!(matches!(next.claim(payment(2), request("/a"), CLOSES).await.unwrap(), Claim::New(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_p3_a_copy_from_before_this_process_is_refused_too() {
    let server = PostgresServer::start(Sync::Off, &[]);
    drop(open(&server).await);
    server.shut_down();
    server.set_aside();
    server.go();
    let ledger = open(&server).await;
    server.shut_down();
    server.put_back();
    server.go();
    assert!(matches!(first_answer(&ledger).await, Err(LedgerError::Damaged(_))));
}
