//! Claims and journal entries that reach the disk, one at a time and 64 at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tollway_ledger::suite::fixture::{CLOSES, NOW, payment, request, transaction, verified};
use tollway_ledger::{Claims as _, Journal as _, SqliteLedger};

static NEXT: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy)]
enum Half {
    Claims,
    Journal,
}

async fn once(ledger: &SqliteLedger, half: Half) -> bool {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    match half {
        Half::Claims => ledger.claim(payment(n), request("/a"), CLOSES).await.is_ok(),
        Half::Journal => {
            ledger.prepare(&verified(n), NOW).await.is_ok()
                && ledger.signed(payment(n).key(), transaction(n, &n.to_string())).await.is_ok()
        }
    }
}

async fn many(ledger: &Arc<SqliteLedger>, half: Half, at_once: u64, times: u64) -> Duration {
    let start = Instant::now();
    let left = Arc::new(AtomicU64::new(times));
    let tasks: Vec<_> = (0..at_once)
        .map(|_| {
            let (ledger, left) = (Arc::clone(ledger), Arc::clone(&left));
            tokio::spawn(async move {
                let take = |left: u64| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    assert!(once(&ledger, half).await);
                }
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await.is_ok());
    }
    start.elapsed()
}

fn ledger(criterion: &mut Criterion) {
    let (Ok(folder), Ok(runtime)) =
        (tempfile::tempdir(), tokio::runtime::Builder::new_multi_thread().worker_threads(2).build())
    else {
        return;
    };
    let Ok(ledger) = SqliteLedger::open(folder.path().join("ledger.db")) else { return };
    let ledger = Arc::new(ledger);
    let mut group = criterion.benchmark_group("ledger");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for (name, half, calls) in [("claim", Half::Claims, 1), ("prepare and sign", Half::Journal, 2)] {
        group.throughput(Throughput::Elements(calls));
        for at_once in [1, 64] {
            group.bench_with_input(BenchmarkId::new(name, at_once), &at_once, |bencher, &at_once| {
                bencher.iter_custom(|times| runtime.block_on(many(&ledger, half, at_once, times)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, ledger);
criterion_main!(benches);
