//! Builds that share a store.

use tollway_ledger::suite::fixture::{
    CLOSES, NOW, SIGNER, batch, key, network, payment, request, transaction,
};
use tollway_ledger::suite::postgres_server::PostgresServer;
use tollway_ledger::suite::{Clock, Site as _};
use tollway_ledger::{Claim, Claims as _, Journal as _, LedgerError, PostgresLedger, Signing};

use super::Schema;

fn execute(schema: &Schema, sql: &str) -> Vec<String> {
    let sql = format!("SET search_path = {}; {sql}", schema.name);
    PostgresServer::shared().execute("postgres", &sql)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_may_make_the_tables_at_once() {
    for _ in 0..3 {
        let (schema, clock) = (Schema::new(), Clock::default());
        let ledgers = (0..12).map(|_| schema.open(&clock));
        for ledger in futures_util::future::join_all(ledgers).await {
            ledger.healthy().await.unwrap();
        }
        assert_eq!(execute(&schema, "SELECT count(*) FROM schema"), ["1"]);
    }
}

/// As a newer build would leave it: with a column and a table that this one doesn't know.
const EXTENDED: &str = "
    ALTER TABLE settlements ADD COLUMN memo text NOT NULL DEFAULT 'none';
    ALTER TABLE claims ADD COLUMN memo text;
    CREATE TABLE memos (id bigint);
    UPDATE schema SET version = version + 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_build_that_only_adds_leaves_this_one_at_work() {
    let (schema, clock) = (Schema::new(), Clock::default());
    let running = schema.open(&clock).await;
    let lease = running.lease(&network(), SIGNER).await.unwrap().unwrap();
    assert_eq!(running.sign(&lease, batch(&[1], &[], transaction(0, "a")), NOW).await, Ok(Signing::Done));
    execute(&schema, EXTENDED);
    // Also the statements that were planned before.
    assert_eq!(running.sign(&lease, batch(&[2], &[], transaction(1, "b")), NOW).await, Ok(Signing::Done));
    assert!(matches!(running.claim(payment(1), request("/a"), CLOSES).await.unwrap(), Claim::New(_)));
    let started = schema.open(&clock).await;
    assert_eq!(started.open(&network()).await.unwrap().len(), 2);
    started.claim(payment(2), request("/a"), CLOSES).await.unwrap();
    assert_eq!(execute(&schema, "SELECT version > compatible_from FROM schema"), ["t"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_is_too_old_is_refused_and_one_that_runs_stops() {
    let (schema, clock) = (Schema::new(), Clock::default());
    let running = schema.open(&clock).await;
    execute(&schema, "UPDATE schema SET version = 99, compatible_from = 99");
    let opened = PostgresLedger::open(&schema.url, schema.options(&clock)).await;
    let Err(LedgerError::Damaged(message)) = opened else { panic!("{opened:?}") };
    assert!(message.contains("version 99"), "{message}");
    assert!(matches!(running.healthy().await, Err(LedgerError::Damaged(_))));
    assert!(matches!(running.settlement(&key(1)).await, Err(LedgerError::Damaged(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_gone_are_never_made_anew_under_a_running_process() {
    let schema = Schema::new();
    let running = schema.open(&Clock::default()).await;
    execute(&schema, &format!("DROP SCHEMA {} CASCADE", schema.name));
    let claim = running.claim(payment(1), request("/a"), CLOSES).await;
    assert!(matches!(claim, Err(LedgerError::Damaged(_))), "{claim:?}");
    assert!(matches!(running.healthy().await, Err(LedgerError::Damaged(_))));
    let there = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{}'", schema.name);
    assert_eq!(execute(&schema, &there), ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_wait_for_the_disk_whatever_the_database_says() {
    let server = PostgresServer::shared();
    let url = server.database();
    let name = url.rsplit('/').next().unwrap();
    server.execute("postgres", &format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    let ledger = PostgresLedger::open(&url, super::brief()).await.unwrap();
    ledger.claim(payment(1), request("/a"), CLOSES).await.unwrap();
    // A trigger sees what the ledger's own session has.
    server.execute(
        name,
        "CREATE TABLE public.seen (setting text);
         CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN INSERT INTO public.seen VALUES (current_setting(''synchronous_commit'')); RETURN NEW; END';
         CREATE TRIGGER see AFTER INSERT ON tollway.claims FOR EACH ROW EXECUTE FUNCTION public.see()",
    );
    ledger.claim(payment(2), request("/a"), CLOSES).await.unwrap();
    assert_eq!(server.execute(name, "SELECT setting FROM public.seen"), ["on"]);
}
