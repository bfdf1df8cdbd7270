//! Claims and journal entries that reach the disk, one at a time and 64 at once; and batches of 50.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tollway_ledger::suite::fixture::{
    CLOSES, NOW, SIGNER, batch, key, network, payment, request, transaction,
};
use tollway_ledger::{Claims as _, Ending, Journal as _, Lease, Mined, Signing, SqliteLedger};

static NEXT: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy)]
enum Half {
    Claims,
    Journal,
    Batches,
}

/// How many payments a batch has.
const MEMBERS: u64 = 50;

async fn once(ledger: &SqliteLedger, lease: &Lease, half: Half) -> bool {
    let n = NEXT.fetch_add(MEMBERS, Ordering::Relaxed);
    match half {
        Half::Claims => ledger.claim(payment(n), request("/a"), CLOSES).await.is_ok(),
        Half::Journal => settle(ledger, lease, &[n]).await,
        Half::Batches => settle(ledger, lease, &(n..n + MEMBERS).collect::<Vec<_>>()).await,
    }
}

/// Takes, signs, sends and settles payments in one transaction.
async fn settle(ledger: &SqliteLedger, lease: &Lease, payments: &[u64]) -> bool {
    let Some(first) = payments.first() else { return false };
    let transaction = transaction(*first, &first.to_string());
    let hash = transaction.hash.clone();
    let signing = ledger.sign(lease, batch(payments, &[], transaction), NOW).await;
    let sent = ledger.sent(&network(), &hash).await;
    let ending = |n: &u64| (key(*n), Ending::Settled { hash: hash.clone(), block: 1 });
    let endings: Vec<_> = payments.iter().map(ending).collect();
    let mined = Mined { hash: hash.clone(), block: 1, fee_gwei: 1, reverted: Vec::new() };
    let told = ledger.finish(&network(), &[mined], &endings, NOW).await;
    signing == Ok(Signing::Done) && sent.is_ok() && told.is_ok_and(|told| told.iter().all(Result::is_ok))
}

async fn many(ledger: &Arc<SqliteLedger>, lease: &Lease, half: Half, at_once: u64, times: u64) -> Duration {
    let start = Instant::now();
    let left = Arc::new(AtomicU64::new(times));
    let tasks: Vec<_> = (0..at_once)
        .map(|_| {
            let (ledger, left, lease) = (Arc::clone(ledger), Arc::clone(&left), lease.clone());
            tokio::spawn(async move {
                let take = |left: u64| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    assert!(once(&ledger, &lease, half).await);
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
    let Ok(Some(lease)) = runtime.block_on(ledger.lease(&network(), SIGNER)) else { return };
    let mut group = criterion.benchmark_group("ledger");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for (name, half, payments) in
        [("claim", Half::Claims, 1), ("settle one", Half::Journal, 1), ("settle 50", Half::Batches, MEMBERS)]
    {
        group.throughput(Throughput::Elements(payments));
        for at_once in [1, 64] {
            group.bench_with_input(BenchmarkId::new(name, at_once), &at_once, |bencher, &at_once| {
                bencher.iter_custom(|times| runtime.block_on(many(&ledger, &lease, half, at_once, times)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, ledger);
criterion_main!(benches);
