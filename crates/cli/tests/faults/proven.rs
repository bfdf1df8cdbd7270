//! The judge is judged: each of these lies is found out.

use std::sync::Arc;

use alloy_primitives::Bytes;
use serde_json::json;
use tollway_protocol::Reason;

use crate::chain::submission;
use crate::load::{Answer, Manner, Must, Purchase};
use crate::oracle::check;
use crate::rpc::SEND;
use crate::world::{Settings, World, lock};

/// What the judge says of a world in which one thing is wrong.
async fn verdict(world: Arc<World>, purchase: Arc<Purchase>) -> String {
    let judging = tokio::spawn(async move { check(&world, &[purchase]).await });
    let panic = judging.await.expect_err("nothing is found").into_panic();
    panic.downcast_ref::<String>().unwrap().clone()
}

async fn world() -> (Arc<World>, Arc<Purchase>) {
    let world = World::new(Settings::default()).await;
    let purchase = Purchase::that_must(&world, Manner::Normal, Must::Agree).await;
    (Arc::new(world), purchase)
}

fn told(purchase: &Purchase, answer: Answer) {
    lock(&purchase.answers).push((0, answer));
}

#[tokio::test]
async fn a_payment_that_is_lost_or_told_without_a_transfer_is_found() {
    let (world, _) = world().await;
    let lost = Purchase::new(&world, Manner::Normal).await;
    assert!(verdict(world.clone(), lost).await.contains("L: not paid"));
    let unpaid = Purchase::that_must(&world, Manner::Normal, Must::Agree).await;
    told(&unpaid, Answer::Paid { transaction: "0x1".into(), was_made: true });
    assert!(verdict(world, unpaid).await.contains("U: told paid"));
}

#[tokio::test]
async fn a_payment_that_is_refused_and_made_or_made_by_another_transaction_is_found() {
    let (world, refused) = world().await;
    let made = world.by_stranger(world.deployment.usdc, submission(&refused.payments[0]));
    told(&refused, Answer::Refused { reason: Reason::Expired, transaction: None });
    assert!(verdict(world.clone(), refused.clone()).await.contains("S5: told refused"));
    lock(&refused.answers).clear();
    told(&refused, Answer::Paid { transaction: "0x1".into(), was_made: true });
    assert!(verdict(world.clone(), refused.clone()).await.contains("S6: another transaction"));
    lock(&refused.answers).clear();
    told(&refused, Answer::Paid { transaction: made.to_string(), was_made: false });
    assert!(verdict(world, refused).await.contains("S1: told paid before"));
}

#[tokio::test]
async fn a_transfer_that_nobody_asked_for_and_a_transaction_that_was_not_recorded_are_found() {
    let (world, purchase) = world().await;
    let other = world.pay().await;
    world.by_stranger(world.deployment.usdc, submission(&other));
    assert!(verdict(world.clone(), purchase.clone()).await.contains("U: transfers that nobody asked for"));
    world.node.check_against(Some(world.ledger().await));
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": SEND, "params": [Bytes::from_static(&[2])] });
    reqwest::Client::new().post(world.node.gate.url()).json(&call).send().await.unwrap();
    assert!(verdict(world, purchase).await.contains("S9: "));
}
