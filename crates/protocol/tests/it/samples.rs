//! Documents that the other files start from.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tollway_protocol::bind::{Effects, Move, PaymentKey, Window};
use tollway_protocol::door::{Address, Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::{Network, Offer, Payment};

pub(crate) const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
pub(crate) const SELLER: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
pub(crate) const BUYER: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
pub(crate) const NOW: UnixTime = UnixTime(1_795_000_000);

pub(crate) fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn object(value: Value) -> Object {
    read(value)
}

pub(crate) fn offer_json() -> Value {
    json!({
        "scheme": "exact", "network": "eip155:84532", "amount": "10000", "asset": USDC, "payTo": SELLER,
        "maxTimeoutSeconds": 60, "extra": { "name": "USDC", "version": "2", "more": { "deep": [1, "two"] } },
    })
}

pub(crate) fn resource_json() -> Value {
    json!({
        "url": "https://shop.example/weather?city=Basel", "description": "Weather", "mimeType": "application/json",
        "serviceName": "Shop", "tags": ["weather", "europe"], "iconUrl": "https://shop.example/i.png",
    })
}

pub(crate) fn payload_json() -> Value {
    json!({
        "signature": format!("0x{}", "ab".repeat(65)),
        "authorization": {
            "from": BUYER, "to": SELLER, "value": "10000", "validAfter": "0", "validBefore": "1795000060",
            "nonce": format!("0x{}", "11".repeat(32)),
        },
    })
}

pub(crate) fn payment_json() -> Value {
    json!({
        "x402Version": 2, "resource": resource_json(), "accepted": offer_json(), "payload": payload_json(),
        "extensions": { "payment-identifier": { "info": { "required": true }, "schema": { "type": "object" } } },
    })
}

pub(crate) fn v1_offer_json() -> Value {
    json!({
        "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "10000", "asset": USDC, "payTo": SELLER,
        "resource": "https://shop.example/weather", "description": "Weather", "mimeType": "application/json",
        "outputSchema": { "input": { "type": "http", "method": "GET" } },
        "maxTimeoutSeconds": 60, "extra": { "name": "USDC", "version": "2" },
    })
}

pub(crate) fn v1_payment_json() -> Value {
    json!({ "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": payload_json() })
}

pub(crate) fn offer() -> Offer {
    read(offer_json())
}

pub(crate) fn payment_for(offer: &Offer) -> Payment {
    Payment { accepted: offer.clone(), ..read(payment_json()) }
}

/// Effects that bind to `offer`, an EVM one: signed by [`BUYER`], open for a minute at [`NOW`].
pub(crate) fn effects_of(offer: &Offer) -> Effects {
    let address = |text| Address::on(&offer.network, text).unwrap();
    Effects {
        scheme: offer.scheme.clone(),
        network: offer.network.clone(),
        payer: address(BUYER),
        moves: vec![Move {
            asset: address(&offer.asset),
            from: address(BUYER),
            to: address(&offer.pay_to),
            amount: offer.amount,
        }],
        window: Window { opens: UnixTime(0), closes: NOW.plus(60) },
        key: PaymentKey::new(&offer.network, &["asset", "payer", "nonce"]),
    }
}

pub(crate) fn base() -> Network {
    Network::eip155(8453)
}

pub(crate) fn amount(text: &str) -> Amount {
    Amount::atomic(text).unwrap()
}
