//! A server that is slow, or behind a network that is, and connections that run out.

use std::time::Duration;

use tollway_ledger::suite::fixture::{
    CLOSES, NOW, SIGNER, batch, key, network, payment, request, transaction, verified,
};
use tollway_ledger::suite::postgres_server::{PostgresServer, Sync};
use tollway_ledger::{
    Claim, Claims as _, Ending, Holder, Journal as _, PostgresLedger, PostgresOptions, Prepared, Signing,
};

use super::proxy::Proxy;
use super::{Schema, brief, unavailable};

async fn claim(ledger: &PostgresLedger, n: u64) -> Claim {
    ledger.claim(payment(n), request("/a"), CLOSES).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_p2_a_call_on_a_network_that_hangs_ends_and_leaves_nothing_held() {
    let server = PostgresServer::start(Sync::Off, &[]);
    let proxy = Proxy::start(&server).await;
    let options = PostgresOptions { limit: Duration::from_millis(500), ..brief() };
    let ledger = PostgresLedger::open(&proxy.url(), options).await.unwrap();
    let Claim::New(first) = claim(&ledger, 1).await else { panic!("not new") };
    // All connections but the one that renews the lease, which is not asked for anything here.
    proxy.hold();
    let message = unavailable(ledger.claim(payment(2), request("/a"), CLOSES).await.map(drop));
    assert!(message.contains("not known"), "{message}");
    // On a connection of its own: what was given up is ended before anything is taken.
    claim(&ledger, 3).await;
    // What hung in the network arrives now. Were it done, nobody would have the payment, and nobody could.
    proxy.release_the_dead().await;
    let second = match claim(&ledger, 2).await {
        Claim::New(second) => second,
        other => panic!("held by nobody: {other:?}"),
    };
    ledger.settling(&second).await.unwrap();
    ledger.settling(&first).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_p1_a_commit_whose_answer_is_lost_is_neither_success_nor_failure() {
    let server = PostgresServer::start(Sync::Off, &[]);
    let proxy = Proxy::start(&server).await;
    let options = PostgresOptions { limit: Duration::from_millis(500), ..brief() };
    let ledger = PostgresLedger::open(&proxy.url(), options).await.unwrap();
    let lease = ledger.lease(&network(), SIGNER).await.unwrap().unwrap();
    let sign = || ledger.sign(&lease, batch(&[1, 2], &[], transaction(7, "a1")), NOW);
    proxy.lose_the_next_commit();
    let message = unavailable(sign().await);
    assert!(message.contains("not known"), "{message}");
    // Whoever asks again finds the same transaction, and it is this process's to send.
    let Ok(Signing::Taken(taken)) = sign().await else { panic!("taken twice") };
    assert_eq!(taken.len(), 2);
    for record in taken {
        assert_eq!((record.transaction, record.holder), (Some(transaction(7, "a1")), Holder::This));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_p2_no_call_hangs_with_a_server_that_never_answers() {
    let server = PostgresServer::start(Sync::Off, &[]);
    let proxy = Proxy::start(&server).await;
    let options = PostgresOptions { limit: Duration::from_millis(300), ..brief() };
    let ledger = PostgresLedger::open(&proxy.url(), options.clone()).await.unwrap();
    let Claim::New(claimed) = claim(&ledger, 1).await else { panic!("not new") };
    ledger.settling(&claimed).await.unwrap();
    proxy.hold_all();
    // More than there are connections.
    let calls = (0..100).map(async |n| ledger.settlement(&key(n)).await);
    for refused in futures_util::future::join_all(calls).await {
        unavailable(refused);
    }
    unavailable(ledger.prepare(&[verified(1)], true, NOW).await);
    unavailable(PostgresLedger::open(&proxy.url(), options).await.map(drop));
    proxy.release();
    while ledger.healthy().await.is_err() {}
    ledger.settling(&claimed).await.unwrap();
    assert_eq!(ledger.prepare(&[verified(1)], true, NOW).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_p2_calls_that_find_no_connection_are_refused_and_the_lease_lives_on() {
    let schema = Schema::new();
    let server = PostgresServer::shared();
    let options = PostgresOptions {
        limit: Duration::from_millis(600),
        lease: Duration::from_secs(2),
        connections: 1,
        schema: schema.name.clone(),
        ..PostgresOptions::default()
    };
    let ledger = PostgresLedger::open(&schema.url, options.clone()).await.unwrap();
    let other = PostgresLedger::open(&schema.url, options).await.unwrap();
    let Claim::New(claimed) = claim(&ledger, 1).await else { panic!("not new") };

    let lock = format!("LOCK TABLE {}.claims IN ACCESS EXCLUSIVE MODE", schema.name);
    let (client, connection) =
        tokio_postgres::connect(&server.url("postgres"), tokio_postgres::NoTls).await.unwrap();
    let driving = tokio::spawn(connection);
    client.batch_execute(&format!("BEGIN; {lock}")).await.unwrap();
    let refused = (2..12).map(|n| ledger.claim(payment(n), request("/a"), CLOSES));
    for refused in futures_util::future::join_all(refused).await {
        unavailable(refused.map(drop));
    }
    client.batch_execute("ROLLBACK").await.unwrap();
    drop(client);
    driving.await.unwrap().unwrap();

    assert!(matches!(claim(&other, 1).await, Claim::Busy { .. }));
    ledger.settling(&claimed).await.unwrap();
    for n in 2..12 {
        assert!(matches!(claim(&other, n).await, Claim::New(_)), "{n} is held by a call that was refused");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_payments_cost_as_many_round_trips_as_one() {
    let server = PostgresServer::start(Sync::Off, &[]);
    let proxy = Proxy::start(&server).await;
    // One connection, so that each statement is planned once, and no renewal in between.
    let options = PostgresOptions {
        connections: 1,
        lease: Duration::from_secs(3_600),
        limit: Duration::from_secs(60),
        ..brief()
    };
    let ledger = PostgresLedger::open(&proxy.url(), options).await.unwrap();
    let lease = ledger.lease(&network(), SIGNER).await.unwrap().unwrap();
    let mut costs = Vec::new();
    for (nonce, count) in [(0_u64, 2_u64), (1, 2), (2, 100)] {
        let numbers: Vec<_> = (nonce * 1_000..nonce * 1_000 + count).collect();
        let verified: Vec<_> = numbers.iter().map(|n| verified(*n + 500)).collect();
        let hash = format!("0x{nonce}");
        let settled = |n: &u64| (key(*n), Ending::Settled { hash: hash.clone(), block: 5 });
        let endings: Vec<_> = numbers.iter().map(settled).collect();
        let before = proxy.answers();
        let prepared = ledger.prepare(&verified, true, NOW).await.unwrap();
        assert!(prepared.iter().all(|prepared| *prepared == Prepared::New));
        let signing =
            ledger.sign(&lease, batch(&numbers, &[], transaction(nonce, &nonce.to_string())), NOW).await;
        assert_eq!(signing, Ok(Signing::Done));
        ledger.sent(&network(), &hash).await.unwrap();
        let finished = ledger.finish(&network(), &[], &endings, NOW).await.unwrap();
        assert!(finished.iter().all(Result::is_ok));
        costs.push(proxy.answers() - before);
    }
    // An answer that is long arrives in pieces.
    assert!(costs[2] <= costs[1] + 10, "{costs:?}");
    assert!(costs[1] < 40, "{costs:?}");
}
