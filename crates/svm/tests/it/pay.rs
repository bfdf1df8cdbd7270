//! The payer's transactions.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use solana_address::Address;
use tollway_protocol::Network;
use tollway_protocol::scheme::{Outcome, PayerScheme};
use tollway_protocol::wire::Offer;
use tollway_svm::ExactPayer;
use tollway_svm::pay::{Mint, Reader};

use crate::common::{AMOUNT, World, now, request, world};

struct Chain(tollway_devnet::svm::Chain);

#[async_trait]
impl Reader for Chain {
    async fn mint(&self, _network: &Network, mint: &Address) -> Result<Mint, String> {
        Err(format!("{mint} was not to be asked for"))
    }

    async fn blockhash(&self, _network: &Network) -> Result<[u8; 32], String> {
        let latest = self.0.request("getLatestBlockhash", &json!([{"commitment": "confirmed"}])).unwrap();
        let text = latest["value"]["blockhash"].as_str().unwrap().to_owned();
        Ok(tollway_svm::programs::address(&text).unwrap().to_bytes())
    }
}

fn payer(world: &World) -> ExactPayer {
    ExactPayer::new(world.payer.clone()).reading(Arc::new(Chain(world.chain.clone())))
}

async fn pays(world: &World, offer: &serde_json::Value, entropy: u8) -> Outcome {
    let read: Offer = serde_json::from_value(offer.clone()).unwrap();
    let signed = payer(world).sign(&read, now(), [entropy; 32]).await.unwrap();
    let payload = serde_json::to_value(&signed.payload).unwrap();
    world.settle(&request(offer, &payload)).await
}

#[tokio::test]
async fn what_a_payer_signs_is_settled() {
    let world = world();
    for entropy in [1, 2] {
        let outcome = pays(&world, &world.offer(), entropy).await;
        assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
    }
    assert_eq!(world.earned(), 2 * AMOUNT);
}

#[tokio::test]
async fn the_seller_s_memo_of_256_bytes_is_carried() {
    let world = world();
    let mut offer = world.offer();
    offer["extra"]["memo"] = json!("é".repeat(128));
    let outcome = pays(&world, &offer, 1).await;
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
}

#[tokio::test]
async fn cl15_an_offer_that_can_not_be_paid_is_not_signed() {
    let world = world();
    let cases = [
        ("/extra/feePayer", json!(null), "extra.feePayer is missing"),
        ("/extra/feePayer", json!(world.payer.address().to_string()), "this wallet's own account"),
        ("/payTo", json!("0x11"), "payTo"),
        ("/asset", json!("1111"), "asset"),
        ("/amount", json!("18446744073709551616"), "64 bits"),
        ("/network", json!("eip155:1"), "does not pay"),
        ("/scheme", json!("upto"), "does not pay"),
    ];
    for (member, value, why) in cases {
        let mut offer = world.offer();
        *offer.pointer_mut(member).unwrap() = value;
        let read: Offer = serde_json::from_value(offer).unwrap();
        let error = payer(&world).check(&read).unwrap_err().to_string();
        assert!(error.contains(why), "{member}: {error}");
    }
}
