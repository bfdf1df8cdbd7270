//! What a verification costs before a node is asked, beside the one signature check that it can't do without.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use solana_signature::Signature;
use tollway_ledger::SqliteLedger;
use tollway_protocol::bind::{Bound, Presented};
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::{FacilitatorScheme as _, PayerScheme as _};
use tollway_protocol::wire::{Offer, PaymentRequest};
use tollway_protocol::{Network, Secret, json};
use tollway_svm::facilitator::{Cluster, ClusterConfig};
use tollway_svm::keys::Key;
use tollway_svm::transaction::Transaction;
use tollway_svm::{ExactFacilitator, ExactPayer, SvmPayment};

const NETWORK: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

fn key(seed: u8) -> Key {
    Key::from_seed(&Secret::new([seed; 32]))
}

/// A request to verify, as it comes.
async fn body() -> Option<String> {
    let offer = serde_json::json!({
        "scheme": "exact", "network": NETWORK, "amount": "10000", "maxTimeoutSeconds": 60,
        "asset": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
        "payTo": "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4",
        "extra": {
            "feePayer": key(1).address().to_string(),
            "recentBlockhash": "EkSnNWid2cvwEVnVx9aBqawnmiCNiDgp3gUdkDPTKN1N",
        },
    });
    let read: Offer = serde_json::from_value(offer.clone()).ok()?;
    let signed = ExactPayer::new(key(2)).sign(&read, UnixTime(1_795_251_000), [7; 32]).await.ok()?;
    let payment = serde_json::json!({"x402Version": 2, "accepted": offer, "payload": signed.payload});
    let request =
        serde_json::json!({"x402Version": 2, "paymentPayload": payment, "paymentRequirements": offer});
    Some(request.to_string())
}

fn judge(facilitator: &ExactFacilitator, request: PaymentRequest) -> Option<Bound> {
    let presented = Presented::new(request.payment_requirements, request.payment_payload).ok()?;
    let effects = facilitator.effects(&presented).ok()?;
    let bound = presented.bind(effects).ok()?;
    facilitator.examine(&bound).ok()?;
    Some(bound)
}

fn facilitator() -> Option<ExactFacilitator> {
    let config =
        ClusterConfig::new(Network::new(NETWORK).ok()?, Secret::new("http://127.0.0.1:1".to_owned()));
    let journal = Arc::new(SqliteLedger::memory().ok()?);
    ExactFacilitator::new(Cluster::new(config).ok()?, vec![key(1)], journal).ok()
}

fn verify(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (Some(body), Some(facilitator)) = (runtime.ok().and_then(|r| r.block_on(body())), facilitator())
    else {
        return;
    };
    let Ok(request) = json::decode::<PaymentRequest>(body.as_bytes(), 65_536) else { return };
    assert!(judge(&facilitator, request.clone()).is_some(), "the payment is a good one");
    let decode = SvmPayment::decode(
        &request.payment_requirements,
        &request.payment_payload.payload,
        &tollway_svm::layout::Limits::default(),
    );
    let Ok(SvmPayment { transaction, transfer, .. }) = decode else { return };

    let mut group = criterion.benchmark_group("verify, before a node is asked");
    group.bench_function("ed25519 alone", |b| {
        let signature = Signature::from(transaction.signature(1).unwrap_or([0; 64]));
        b.iter(|| {
            let payer = black_box(&transfer.payer);
            assert!(signature.verify(payer.as_ref(), black_box(transaction.message())));
        });
    });
    group.bench_function("read the transaction", |b| {
        b.iter(|| Transaction::read(black_box(transaction.bytes().to_vec())));
    });
    group.bench_function("rules and signature", |b| {
        b.iter_batched(
            || request.clone(),
            |request| judge(&facilitator, request),
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
