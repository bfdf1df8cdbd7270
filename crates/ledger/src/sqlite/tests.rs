//! How the store's failures are met.

use tollway_protocol::Network;

use super::*;
use crate::Journal as _;

async fn fill(ledger: &SqliteLedger) -> Result<(), LedgerError> {
    let grow = "CREATE TABLE IF NOT EXISTS ballast (a); INSERT INTO ballast VALUES (zeroblob(1000000))";
    ledger.write(move |db, _| Ok(db.execute_batch(grow)?)).await
}

/// Keeps the writer busy from before `calls` are queued until all of them are, so that they share a group.
async fn grouped<T>(ledger: &SqliteLedger, calls: impl Future<Output = T>) -> T {
    let (go, wait) = std::sync::mpsc::channel();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let hold = ledger.write(move |_, _| {
        begun.send(()).unwrap();
        wait.recv().unwrap();
        Ok(())
    });
    let calls = async {
        begins.await.unwrap();
        tokio::join!(calls, async { go.send(()).unwrap() }).0
    };
    tokio::join!(hold, calls).1
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, LedgerError>) -> String {
    match result {
        Err(LedgerError::Unavailable(message)) => message,
        other => panic!("{other:?}"),
    }
}

async fn fail_with(ledger: &SqliteLedger, code: i32) -> String {
    let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    unavailable(ledger.write::<()>(move |_, _| Err(error.into())).await)
}

#[tokio::test]
async fn fx_d1_a_full_disk_refuses_and_recovers_when_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path().join("ledger.db")).unwrap();
    // The limit goes with the connection, as the full disk does when there is space again.
    ledger.write(|db, _| Ok(db.pragma_update(None, "max_page_count", 60)?)).await.unwrap();
    assert!(unavailable(fill(&ledger).await).contains("full"));
    fill(&ledger).await.unwrap();
    ledger.healthy().await.unwrap();
}

#[tokio::test]
async fn fx_d1_a_full_memory_ledger_keeps_what_it_has() {
    let ledger = SqliteLedger::memory().unwrap();
    ledger.write(|db, _| Ok(db.execute_batch("CREATE TABLE ballast (a)")?)).await.unwrap();
    ledger.write(|db, _| Ok(db.pragma_update(None, "max_page_count", 60)?)).await.unwrap();
    assert!(unavailable(fill(&ledger).await).contains("full"));
    ledger.write(|db, _| Ok(db.execute_batch("INSERT INTO ballast VALUES (1)")?)).await.unwrap();
}

#[tokio::test]
async fn fx_d3_a_failed_sync_stops_the_ledger_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path).unwrap();
    assert!(fail_with(&ledger, ffi::SQLITE_IOERR_FSYNC).await.contains("restart"));
    for _ in 0..2 {
        assert!(unavailable(ledger.healthy().await).contains("restart"));
    }
    drop(ledger);
    SqliteLedger::open(&path).unwrap().healthy().await.unwrap();
}

#[tokio::test]
async fn fx_d3_a_failed_write_reopens_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path().join("ledger.db")).unwrap();
    fail_with(&ledger, ffi::SQLITE_IOERR_WRITE).await;
    ledger.healthy().await.unwrap();
}

#[tokio::test]
async fn i19_a_store_that_is_gone_refuses_every_call_and_is_never_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (home, away) = (folder.path().join("home"), folder.path().join("away"));
    std::fs::create_dir(&home).unwrap();
    let path = home.join("ledger.db");
    let ledger = SqliteLedger::open(&path).unwrap();
    std::fs::rename(&home, &away).unwrap();
    fail_with(&ledger, ffi::SQLITE_IOERR_WRITE).await;
    unavailable(ledger.healthy().await);
    unavailable(ledger.next_nonce(&Network::eip155(1), "0x0").await);
    std::fs::create_dir(&home).unwrap();
    unavailable(ledger.healthy().await);
    // Another ledger in its place is not taken for it.
    drop(SqliteLedger::open(&path).unwrap());
    assert!(matches!(ledger.healthy().await, Err(LedgerError::Damaged(_))));
    std::fs::remove_dir_all(&home).unwrap();
    std::fs::rename(&away, &home).unwrap();
    ledger.healthy().await.unwrap();
}

#[tokio::test]
async fn one_failed_call_of_a_group_leaves_the_others() {
    let ledger = SqliteLedger::memory().unwrap();
    ledger.write(|db, _| Ok(db.execute_batch("CREATE TABLE t (a)")?)).await.unwrap();
    let add = |a: i64| {
        ledger.write(move |db, _| {
            db.execute("INSERT INTO t VALUES (?1)", [a])?;
            if a == 2 { Err(LedgerError::Damaged("two".into()).into()) } else { Ok(()) }
        })
    };
    let calls = async { tokio::join!(add(1), add(2), add(3)) };
    let (one, two, three) = grouped(&ledger, calls).await;
    assert_eq!((one, two, three), (Ok(()), Err(LedgerError::Damaged("two".into())), Ok(())));
    let sum =
        ledger.read(|db| Ok(db.query_row("SELECT sum(a) FROM t", [], |row| row.get::<_, i64>(0))?)).await;
    assert_eq!(sum, Ok(4));
}

#[tokio::test]
async fn a_lost_group_is_answered_and_its_claims_go_back() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path().join("ledger.db")).unwrap();
    let key = PaymentKey::stored("k".into());
    let broken = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None);
    let held = ledger.write_held(Left { key, turn: 5, delivering: false }, |_, _| Ok(()));
    let calls = async { tokio::join!(held, ledger.write::<()>(move |_, _| Err(broken.into()))) };
    let (held, _) = grouped(&ledger, calls).await;
    unavailable(held);
    assert_eq!(ledger.lost.take().iter().map(|left| left.turn).collect::<Vec<_>>(), [5]);
}

#[cfg(feature = "suite")]
#[tokio::test]
async fn i15_a_store_that_is_away_keeps_no_note_of_the_claims_that_it_did_not_take() {
    use crate::suite::fixture::{CLOSES, payment, request};
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path().join("ledger.db")).unwrap();
    let claim = |n| ledger.claim(payment(n), request("/a"), CLOSES);
    // Refused together with a call that fails before the commit, by the full disk, and by a store that has stopped.
    let broken = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    let full = broken(ffi::SQLITE_FULL);
    let calls = async { tokio::join!(claim(1), ledger.write::<()>(move |_, _| Err(full.into()))) };
    let (refused, _) = grouped(&ledger, calls).await;
    unavailable(refused.map(drop));
    assert!(ledger.lost.take().is_empty());
    fail_with(&ledger, ffi::SQLITE_IOERR_FSYNC).await;
    for n in 0..10 {
        unavailable(claim(n).await.map(drop));
    }
    assert!(ledger.lost.take().is_empty());
}

#[cfg(feature = "suite")]
#[tokio::test]
async fn rs10_what_is_abandoned_while_the_store_is_away_goes_back_when_it_returns() {
    use crate::suite::fixture::{CLOSES, payment, request};
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path().join("ledger.db")).unwrap();
    let claim = || async { ledger.claim(payment(1), request("/a"), CLOSES).await.unwrap() };
    let left = claim().await.turn().unwrap();
    let full = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None);
    let calls =
        async { tokio::join!(ledger.abandon(&left), ledger.write::<()>(move |_, _| Err(full.into()))) };
    let (abandoned, _) = grouped(&ledger, calls).await;
    unavailable(abandoned);
    let Claim::New(claimed) = claim().await else { panic!("held until the restart") };
    // It was that claim's turn and no later one's.
    ledger.abandon(&left).await.unwrap();
    ledger.settling(&claimed).await.unwrap();
}
