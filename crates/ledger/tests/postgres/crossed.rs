//! Transactions that cross each other.

use std::sync::Arc;

use tollway_ledger::suite::fixture::{NOW, key, network, verified};
use tollway_ledger::suite::postgres_server::PostgresServer;
use tollway_ledger::suite::{Clock, Site as _};
use tollway_ledger::{Ending, Journal as _, JournalState, Prepared};

use super::Schema;

fn settled(n: u64) -> (tollway_protocol::bind::PaymentKey, Ending) {
    (key(n), Ending::Settled { hash: format!("0x{n}"), block: 5 })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_p4_lists_in_crossing_orders_take_each_payment_once() {
    let (schema, clock) = (Schema::new(), Clock::default());
    let ledgers = [Arc::new(schema.open(&clock).await), Arc::new(schema.open(&clock).await)];
    for round in 0..10_u64 {
        let numbers: Vec<_> = (round * 100..round * 100 + 30).collect();
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let ledger = Arc::clone(&ledgers[task % 2]);
                let mut numbers = numbers.clone();
                if task % 3 == 0 {
                    numbers.reverse();
                }
                numbers.rotate_left(task * 3);
                tokio::spawn(async move {
                    let payments: Vec<_> = numbers.iter().copied().map(verified).collect();
                    let prepared = ledger.prepare(&payments, true, NOW).await.unwrap();
                    let endings: Vec<_> = numbers.iter().copied().map(settled).collect();
                    for finished in ledger.finish(&network(), &[], &endings, NOW).await.unwrap() {
                        finished.unwrap();
                    }
                    prepared.iter().filter(|prepared| **prepared == Prepared::New).count()
                })
            })
            .collect();
        let mut new = 0;
        for task in tasks {
            new += task.await.unwrap();
        }
        assert_eq!(new, numbers.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_p4_a_deadlock_is_tried_again_and_takes_effect_once() {
    let schema = Schema::new();
    let ledger = Arc::new(schema.open(&Clock::default()).await);
    ledger.prepare(&[verified(1), verified(2)], true, NOW).await.unwrap();
    let connect = async || {
        let url = PostgresServer::shared().url("postgres");
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&format!("SET search_path = {}", schema.name)).await.unwrap();
        client
    };
    let (client, watcher) = (connect().await, connect().await);
    let lock = "SELECT 1 FROM settlements WHERE key = $1 FOR UPDATE";
    // It never finds out itself: the ledger's transaction is the one that has to give way.
    client.batch_execute("SET deadlock_timeout = '1h'; BEGIN").await.unwrap();
    client.execute(lock, &[&key(2).as_str()]).await.unwrap();
    let finishing = {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { ledger.finish(&network(), &[], &[settled(2), settled(1)], NOW).await })
    };
    let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                   WHERE NOT l.granted AND a.query LIKE '%FOR UPDATE%' AND a.query LIKE '%is_others%'";
    while watcher.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
    client.execute(lock, &[&key(1).as_str()]).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(finishing.await.unwrap(), Ok(vec![Ok(()), Ok(())]));
    for n in [1, 2] {
        let record = ledger.settlement(&key(n)).await.unwrap().unwrap();
        assert_eq!((record.state, record.hash), (JournalState::Settled, Some(format!("0x{n}"))));
    }
    let crossed = "SELECT deadlocks > 0 FROM pg_stat_database WHERE datname = current_database()";
    while !watcher.query_one(crossed, &[]).await.unwrap().get::<_, bool>(0) {}
}
