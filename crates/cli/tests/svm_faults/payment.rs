//! Payments as they are posted, and the transactions that they become: a signature of Ed25519 is always the same, so that
//! both are known before anything is settled.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollway_devnet::svm::{Address, Chain, USDC_DEVNET};
use tollway_protocol::Offer;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::PayerScheme as _;
use tollway_protocol::wire::{Payment, PaymentRequest, Version};
use tollway_svm::ExactPayer;
use tollway_svm::keys::Key;
use tollway_svm::transaction::Transaction;

use crate::world::network;

/// A payment as it is posted, and what it is known by.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) body: Value,
    pub(crate) key: PaymentKey,
    /// The transaction that it becomes, if it becomes one.
    pub(crate) transaction: String,
    /// The same, with all signatures.
    pub(crate) raw: Vec<u8>,
    pub(crate) payer: Address,
    pub(crate) seller: Address,
    pub(crate) value: u64,
}

impl Signed {
    /// What the payer has signed, as it is posted.
    pub(crate) fn text(&self) -> &str {
        self.body["paymentPayload"]["payload"]["transaction"].as_str().unwrap()
    }

    /// Gives the chain the whole transaction, as anybody may who has seen it.
    pub(crate) fn submit(&self, chain: &Chain) {
        let options = json!({"encoding": "base64", "skipPreflight": true});
        chain.request("sendTransaction", &json!([STANDARD.encode(&self.raw), options])).unwrap();
    }
}

/// A payment of so much, whose transaction `fee_payer` will sign.
pub(crate) async fn sign(
    payer: &ExactPayer,
    fee_payer: Key,
    seller: Address,
    number: u64,
    value: u64,
) -> Signed {
    let offer = Offer {
        scheme: "exact".into(),
        network: network(),
        amount: Amount::from(value),
        asset: USDC_DEVNET.to_string(),
        pay_to: seller.to_string(),
        max_timeout_seconds: 60,
        extra: Object::new().with("feePayer", fee_payer.address().to_string()),
        unknown: Object::new(),
    };
    let mut nonce = [0; 32];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    let now = UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
    let signed = payer.sign(&offer, now, nonce).await.unwrap();
    let half = STANDARD.decode(signed.payload.str("transaction").unwrap()).unwrap();
    let half = Transaction::read(half).unwrap();
    let signature = fee_payer.sign(half.message());
    let payment = Payment {
        x402_version: Version,
        resource: None,
        accepted: offer.clone(),
        payload: signed.payload,
        extensions: Object::new(),
        unknown: Object::new(),
    };
    Signed {
        body: serde_json::to_value(PaymentRequest::new(payment, offer)).unwrap(),
        key: signed.effects.key,
        transaction: bs58::encode(signature).into_string(),
        raw: half.signed(0, signature).unwrap(),
        payer: payer.address(),
        seller,
        value,
    }
}
