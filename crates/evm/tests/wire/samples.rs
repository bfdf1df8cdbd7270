//! What the other files start from.

use serde_json::{Value, json};
use tollway_evm::keys::Key;
use tollway_evm::{ExactPayer, UptoPayer};
use tollway_protocol::bind::Presented;
use tollway_protocol::door::UnixTime;
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{PayerScheme, Signed};
use tollway_protocol::wire::{Payment, Version};
use tollway_protocol::{Offer, Secret};

pub(crate) const NOW: UnixTime = UnixTime(1_795_000_000);
pub(crate) const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
pub(crate) const SELLER: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
pub(crate) const FACILITATOR: &str = "0x857b06519E91e3A54538791bDbb0E22373e36b66";

pub(crate) fn key() -> Key {
    Key::from_bytes(&Secret::new([7; 32])).unwrap()
}

pub(crate) fn object(value: Value) -> Object {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn exact() -> Offer {
    serde_json::from_value(json!({
        "scheme": "exact", "network": "eip155:84532", "amount": "10000", "asset": USDC, "payTo": SELLER,
        "maxTimeoutSeconds": 60, "extra": { "name": "USDC", "version": "2", "assetTransferMethod": "permit2" },
    }))
    .unwrap()
}

pub(crate) fn upto() -> Offer {
    let mut offer = exact();
    offer.scheme = "upto".into();
    offer.extra = offer.extra.with("facilitatorAddress", FACILITATOR);
    offer
}

pub(crate) fn payment(offer: &Offer, payload: Object) -> Payment {
    Payment {
        x402_version: Version,
        resource: None,
        accepted: offer.clone(),
        payload,
        extensions: Object::new(),
        unknown: Object::new(),
    }
}

pub(crate) fn presented(offer: &Offer, payload: Object) -> Presented {
    Presented::new(offer.clone(), payment(offer, payload)).unwrap()
}

/// What our payer signs for `offer`.
pub(crate) async fn signed(offer: &Offer) -> Signed {
    match offer.scheme.as_str() {
        "upto" => UptoPayer::new(key()).sign(offer, NOW, [9; 32]).await.unwrap(),
        _ => ExactPayer::new(key()).sign(offer, NOW, [9; 32]).await.unwrap(),
    }
}

/// The payload with the member at `path` set to `value`, or taken away.
pub(crate) fn altered(payload: &Object, path: &str, value: Option<Value>) -> Object {
    let mut document = Value::Object(payload.0.clone());
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => drop(parent.insert(name.to_owned(), value)),
        None => drop(parent.remove(name).unwrap()),
    }
    serde_json::from_value(document).unwrap()
}
