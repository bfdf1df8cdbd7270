//! What each request costs before any chain is asked: headers, bodies, `bind`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use tollway_protocol::bind::{Effects, Move, PaymentKey, Presented, Window};
use tollway_protocol::door::{Address, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::{Network, Offer, Payment, PaymentRequest, header, json as bounded};

const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
const SELLER: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
const BUYER: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";

fn offer() -> Offer {
    Offer {
        scheme: "exact".into(),
        network: Network::eip155(84532),
        amount: 10_000.into(),
        asset: USDC.into(),
        pay_to: SELLER.into(),
        max_timeout_seconds: 60,
        extra: Object::new().with("name", "USDC").with("version", "2"),
        unknown: Object::new(),
    }
}

fn payment() -> Payment {
    let payload = Object::new().with("signature", format!("0x{}", "ab".repeat(65))).with(
        "authorization",
        json!({ "from": BUYER, "to": SELLER, "value": "10000", "validAfter": "0", "validBefore": "1795000060",
            "nonce": format!("0x{}", "11".repeat(32)) }),
    );
    Payment {
        x402_version: tollway_protocol::wire::Version,
        resource: None,
        accepted: offer(),
        payload,
        extensions: Object::new(),
        unknown: Object::new(),
    }
}

fn effects() -> Option<Effects> {
    let network = Network::eip155(84532);
    let address = |text| Address::on(&network, text).ok();
    Some(Effects {
        scheme: "exact".into(),
        payer: address(BUYER)?,
        moves: vec![Move {
            asset: address(USDC)?,
            from: address(BUYER)?,
            to: address(SELLER)?,
            amount: 10_000.into(),
        }],
        window: Window { opens: UnixTime(0), closes: UnixTime(u64::MAX) },
        key: PaymentKey::new(&network, &["asset", "payer", "nonce"]),
        network,
    })
}

fn codec(c: &mut Criterion) {
    let payment = payment();
    let value = header::encode(&payment);
    c.bench_function("header/encode payment", |b| b.iter(|| header::encode(black_box(&payment))));
    c.bench_function("header/decode payment", |b| {
        b.iter(|| header::decode::<Payment>(black_box(value.as_bytes())));
    });

    let request = PaymentRequest::new(payment.clone(), offer());
    let body = serde_json::to_vec(&request).unwrap_or_default();
    c.bench_function("body/decode verify request", |b| {
        b.iter(|| bounded::decode::<PaymentRequest>(black_box(&body), 64 * 1024));
    });

    let (offer, effects) = (offer(), effects());
    c.bench_function("bind/present, bind and judge", |b| {
        b.iter(|| {
            let presented = Presented::new(offer.clone(), payment.clone()).ok()?;
            presented.bind(black_box(effects.clone()?)).ok()?.at(UnixTime(1_795_000_000)).ok()
        });
    });
}

criterion_group!(benches, codec);
criterion_main!(benches);
