//! The offline floor of a verification: what is left when the network, HTTP and the chain cost nothing.
//!
//! A request's JSON becomes a payment bound to its offer, and the payer's key is recovered from the
//! EIP-712 digest, with the token's domain at hand. One of each; a facilitator can't do less.

use std::hint::black_box;

use alloy_primitives::{Address, address};
use criterion::{Criterion, criterion_group, criterion_main};
use tollway_evm::exact::{Authorization, Domain};
use tollway_protocol::bind::{Presented, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::json;
use tollway_protocol::wire::PaymentRequest;

/// A payment signed by viem: the first of e2e/vectors/eip712-transfer-with-authorization.json.
const OFFER: &str = r#"{
    "scheme": "exact", "network": "eip155:84532", "amount": "10000",
    "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
    "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
    "maxTimeoutSeconds": 300, "extra": { "name": "USDC", "version": "2" } }"#;
const PAYLOAD: &str = r#"{
    "signature": "0xc4053504e320c7b7983e5b0e9768951eb8384592f3572e6e59bf556f4869c931238ccde27b87d90b5432466a06b3e28159475d540a1180c996c7b13dc8cb0e951c",
    "authorization": {
        "from": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        "to": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "value": "10000", "validAfter": "0", "validBefore": "1795251430",
        "nonce": "0xabababababababababababababababababababababababababababababababab" } }"#;
const USDC: Address = address!("0x036CbD53842c5426634e7929541eC2318f3dCF7e");
const NOW: UnixTime = UnixTime(1_795_251_000);

fn parse(body: &str) -> Option<PaymentRequest> {
    json::decode(black_box(body.as_bytes()), 65_536).ok()
}

fn present(request: PaymentRequest) -> Option<(Authorization, Verified)> {
    let presented = Presented::new(request.payment_requirements, request.payment_payload).ok()?;
    let (authorization, effects) = Authorization::effects(&presented).ok()?;
    Some((authorization, presented.bind(effects).ok()?.at(NOW).ok()?))
}

fn floor(criterion: &mut Criterion) {
    let body = format!(
        r#"{{"x402Version":2,"paymentPayload":{{"x402Version":2,"accepted":{OFFER},"payload":{PAYLOAD}}},"paymentRequirements":{OFFER}}}"#
    );
    let domain = Domain::new("USDC", "2", 84_532, USDC);
    let signed = |authorization: &Authorization| {
        let digest = Authorization::digest(&authorization.transfer, domain);
        authorization.signature.recover(&digest) == Some(authorization.transfer.from)
    };
    let request = parse(&body);
    let known = request.clone().and_then(present);
    assert!(
        known.as_ref().is_some_and(|(authorization, _)| signed(authorization)),
        "the payment is a good one"
    );
    let digest = known.as_ref().map(|(known, _)| Authorization::digest(&known.transfer, domain));

    let mut group = criterion.benchmark_group("verify offline");
    group.bench_function("parse the request", |b| b.iter(|| parse(&body)));
    group.bench_function("decode and bind", |b| b.iter(|| present(black_box(request.clone())?)));
    group.bench_function("digest", |b| {
        b.iter(|| known.as_ref().map(|(known, _)| Authorization::digest(black_box(&known.transfer), domain)));
    });
    group.bench_function("recover", |b| {
        b.iter(|| {
            known.as_ref().zip(digest).and_then(|((known, _), digest)| known.signature.recover(&digest))
        });
    });
    group.bench_function("all: the floor", |b| {
        b.iter(|| parse(&body).and_then(present).map(|(authorization, _)| signed(&authorization)));
    });
    group.finish();
}

criterion_group!(benches, floor);
criterion_main!(benches);
