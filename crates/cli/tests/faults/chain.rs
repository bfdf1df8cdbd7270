//! The chain does what chains do (fx-X): transactions get stuck or lost, blocks are undone, payments are front-run or
//! can't be made any more, and gas gets dear.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall as _, sol};
use serde_json::json;
use tokio::task::JoinHandle;
use tollway_devnet::evm::{MINTER, Mining};
use tollway_evm::abi::Eip3009;
use tollway_evm::exact::Authorization;
use tollway_protocol::Reason;
use tollway_protocol::door::{UnixTime, hex_bytes};
use tollway_protocol::json::Object;

use crate::load::{self, Answer, Client, Load, Manner, Must, Purchase};
use crate::matrix::Row;
use crate::oracle::{Transfer, check, judge, settle_down, transfers};
use crate::patience::Patience;
use crate::rpc::SEND;
use crate::world::{Settings, Signed, World, cancellation, network, signer};

sol! {
    function transfer(address to, uint256 value) external returns (bool);
    function pause() external;
}

fn manual() -> Settings {
    Settings { mining: Mining::Manual, ..Settings::default() }
}

/// Posts a purchase; the answer comes later.
fn post(world: &World, purchase: &Arc<Purchase>) -> JoinHandle<()> {
    let (client, purchase) = (Client::new(world), purchase.clone());
    tokio::spawn(async move { client.buy(&purchase).await })
}

async fn normal(world: &World) -> Arc<Purchase> {
    Purchase::new(world, Manner::Normal).await
}

/// The transactions that wait for a block are dropped by the node: the same bytes come again.
async fn dropped() {
    let world = World::new(manual()).await;
    let facilitator = world.start().await;
    let first = normal(&world).await;
    let mut asking = vec![post(&world, &first)];
    world.node.until(SEND, 1).await;
    let lost = world.node.given()[0].clone();
    let second = normal(&world).await;
    asking.push(post(&world, &second));
    world.node.until(SEND, 2).await;
    world.chain.request("anvil_dropTransaction", &json!([lost.hash])).unwrap();
    world.node.until(SEND, 3).await;
    assert_eq!(world.node.given()[2].raw, lost.raw, "the same bytes");
    world.chain.set_mining(Mining::Auto).unwrap();
    for asked in asking {
        asked.await.unwrap();
    }
    judge(&world, &[first, second]).await;
    facilitator.stop().await;
}

/// All that waits is dropped, again and again, under load.
async fn forgetful() {
    let world = World::new(manual()).await;
    let facilitator = world.start().await;
    let load = Load::new(&world).await;
    let running = load.begin();
    for sent in 1..=3 {
        world.node.until(SEND, sent).await;
        world.chain.request("anvil_dropAllTransactions", &json!([])).unwrap();
    }
    world.chain.set_mining(Mining::Interval(Duration::from_millis(300))).unwrap();
    load::ended(running).await;
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

/// Gas gets dearer than what was bid, and nothing is mined until more is bid under the same nonce.
async fn stuck() {
    let world = World::new(manual()).await;
    let facilitator = world.start().await;
    let load = Load::new(&world).await;
    let running = load.begin();
    world.node.until(SEND, 1).await;
    let before = world.node.given()[0].clone();
    raise_base_fee(&world, 20);
    // More is bid after a while, as often as it takes: the block's price stays where it is until something is mined.
    let patience = Patience::for_("a transaction that bids enough");
    while world.mined_of(signer(0).address()) == 0 {
        raise_base_fee(&world, 20);
        world.chain.mine();
        patience.again().await;
    }
    world.chain.set_mining(Mining::Auto).unwrap();
    load::ended(running).await;
    judge(&world, &load.purchases).await;
    let ledger = world.ledger().await;
    let name = signer(0).address().to_string();
    let nonces = ledger.nonces(&network(), &name, 0).await.unwrap();
    assert_ne!(
        nonces[0].transaction.hash,
        before.hash.to_string(),
        "the first nonce has a dearer transaction"
    );
    facilitator.stop().await;
}

fn raise_base_fee(world: &World, gwei: u64) {
    let wei = U256::from(gwei) * U256::from(1_000_000_000u64);
    world.chain.request("anvil_setNextBlockBaseFeePerGas", &json!([wei])).unwrap();
}

/// The newest blocks are undone after the payers were told: what was in them is made again.
async fn reorg(depth: u64, keep: bool) {
    let world = World::new(Settings { finality: 20, ..Settings::default() }).await;
    let facilitator = world.start().await;
    let load = Load::new(&world).await;
    load::ended(load.begin()).await;
    let before = transfers(&world);
    assert!(!before.is_empty());
    world.chain.reorg(depth, keep).unwrap();
    let lost = before.len() - transfers(&world).len();
    assert!(keep || lost > 0, "the reorg undoes something");
    let patience = Patience::for_("what was undone is made again");
    while transfers(&world).len() < before.len() {
        patience.again().await;
    }
    judge(&world, &load.purchases).await;
    let after = transfers(&world);
    let again: Vec<&Transfer> = before.iter().filter(|transfer| !after.contains(transfer)).collect();
    assert!(again.is_empty(), "made again by other transactions than before: {again:?}");
    facilitator.stop().await;
}

/// What happens to a payment between its verification and the block.
#[derive(Debug, Clone, Copy)]
enum Spoiled {
    Drained,
    Cancelled,
    Paused,
}

/// A payment can't be made any more when its transaction is mined: it is not served, and the others are.
async fn spoiled(by: Spoiled) {
    let settings = Settings { window: 300, settle_seconds: 2, ..manual() };
    let world = World::new(settings).await;
    let facilitator = world.start().await;
    let must = if matches!(by, Spoiled::Paused) { Must::Fail } else { Must::Pay };
    let good = Purchase::that_must(&world, Manner::Normal, must).await;
    let bad = Purchase::that_must(&world, Manner::Normal, Must::Fail).await;
    let asking = [post(&world, &good), post(&world, &bad)];
    world.node.until(SEND, 2).await;
    spoil(&world, &bad.payments[0], by);
    world.chain.mine();
    for asked in asking {
        asked.await.unwrap();
    }
    assert!(!matches!(bad.last(0), Some(Answer::Paid { .. })), "it is not served: {:?}", bad.last(0));
    for purchase in [&good, &bad] {
        let told = purchase.last(0);
        let is_made = matches!(told, Some(Answer::Paid { .. }));
        // It could still be made as long as its time is not over: until then only a cancellation proves anything.
        let is_sure = matches!(by, Spoiled::Cancelled) || is_made;
        assert!(is_sure || !told.as_ref().is_some_and(Answer::is_final), "i05: {told:?}");
    }
    world.chain.set_mining(Mining::Auto).unwrap();
    world.chain.request("evm_increaseTime", &json!([800])).unwrap();
    world.chain.mine();
    settle_down(&world, &[good.clone(), bad.clone()]).await;
    check(&world, &[good, bad.clone()]).await;
    let payer = bad.payments[0].payer.to_string().to_lowercase();
    let reverts = world.ledger().await.reverts(&network(), &payer, UnixTime(0)).await.unwrap();
    assert_eq!(reverts, 1, "fa15: the lost gas counts against the payer");
    facilitator.stop().await;
}

fn spoil(world: &World, payment: &Signed, by: Spoiled) {
    let usdc = world.deployment.usdc;
    match by {
        Spoiled::Drained => {
            let call = transferCall { to: Address::repeat_byte(1), value: U256::from(100_000_000u64) };
            world.chain.call_for_good(payment.payer, usdc, call.abi_encode()).unwrap();
        }
        Spoiled::Paused => {
            world.chain.call_for_good(MINTER, usdc, pauseCall {}.abi_encode()).unwrap();
        }
        Spoiled::Cancelled => {
            world.by_stranger(usdc, cancellation(world, payment));
        }
    }
}

/// The call that makes the payment, as anyone may make it.
pub(crate) fn submission(payment: &Signed) -> Vec<u8> {
    let payload: Object = serde_json::from_value(payment.body["paymentPayload"]["payload"].clone()).unwrap();
    let signed = Authorization::decode(&payload).unwrap().transfer;
    Eip3009::transferWithAuthorization_1Call {
        from: signed.from,
        to: signed.to,
        value: signed.value,
        validAfter: signed.validAfter,
        validBefore: signed.validBefore,
        nonce: signed.nonce,
        signature: Bytes::from(hex_bytes(payment.signature(), 9000).unwrap()),
    }
    .abi_encode()
}

/// A stranger submits the payment before us: it is settled by the stranger's transaction.
async fn front_run_while_it_waits() {
    let world = World::new(manual()).await;
    let facilitator = world.start().await;
    let purchase = normal(&world).await;
    let asking = post(&world, &purchase);
    world.node.until(SEND, 1).await;
    let theirs = world.by_stranger(world.deployment.usdc, submission(&purchase.payments[0]));
    world.chain.mine();
    asking.await.unwrap();
    judge(&world, std::slice::from_ref(&purchase)).await;
    assert_eq!(purchase.last(0).unwrap().named(), Some(theirs.to_string().as_str()));
    facilitator.stop().await;
}

async fn front_run_before_the_settlement() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start().await;
    let purchase = normal(&world).await;
    let verdict = Client::new(&world).verify(&purchase.payments[0]).await;
    assert_eq!(verdict["isValid"], true, "{verdict}");
    let theirs = world.by_stranger(world.deployment.usdc, submission(&purchase.payments[0]));
    judge(&world, std::slice::from_ref(&purchase)).await;
    assert_eq!(purchase.last(0).unwrap().named(), Some(theirs.to_string().as_str()));
    facilitator.stop().await;
}

/// Without money for gas nothing is taken; with it again everything is.
async fn out_of_gas() {
    let world = World::new(Settings::default()).await;
    let facilitator = world.start().await;
    let account = signer(0).address();
    world.chain.set_balance(account, U256::ZERO);
    let load = Load::new(&world).await;
    load::ended(load.begin()).await;
    for purchase in &load.purchases {
        let later = |answer: &Answer| matches!(answer, Answer::Later { .. });
        assert!(purchase.answers().iter().all(|(_, answer)| later(answer)), "{:?}", purchase.answers());
        let taken = world.ledger().await.settlement(&purchase.payments[0].key).await.unwrap();
        assert_eq!(taken, None, "no half states");
    }
    assert!(world.node.given().is_empty(), "nothing is broadcast");
    world.deployment.fund(account);
    judge(&world, &load.purchases).await;
    facilitator.stop().await;
}

/// Gas costs more than the operator allows: refused before anything is taken.
async fn too_dear() {
    let mut world = World::new(Settings::default()).await;
    world.settings.network = "[network.gas]\nmax_fee_gwei = 50\n".into();
    let facilitator = world.start().await;
    let before = normal(&world).await;
    Client::new(&world).buy(&before).await;
    raise_base_fee(&world, 100);
    world.chain.mine();
    let purchase = normal(&world).await;
    let client = Client::new(&world);
    // What is known of the price is good for a moment.
    let fresh = Patience::for_("the price is looked at again");
    let seen = world.node.count("eth_feeHistory");
    let mut refused = Vec::new();
    while world.node.count("eth_feeHistory") == seen {
        let tried = normal(&world).await;
        client.buy(&tried).await;
        refused.push(tried);
        fresh.again().await;
    }
    client.buy(&purchase).await;
    let told = purchase.last(0);
    assert_eq!(told, Some(Answer::Later { reason: Reason::FacilitatorUnavailable }), "refused early");
    let taken = world.ledger().await.settlement(&purchase.payments[0].key).await.unwrap();
    assert_eq!(taken, None, "no half states");
    // Empty blocks make it cheaper.
    world.chain.request("anvil_mine", &json!([30])).unwrap();
    refused.extend([before, purchase]);
    judge(&world, &refused).await;
    facilitator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_x1_x2_x6_what_is_stuck_dropped_or_too_dear_is_settled_once_in_the_end() {
    Row::all(
        vec![
            Row::new("fx-X1 stuck").long("gas gets 20 times as dear", stuck()),
            Row::new("fx-X2 dropped")
                .cell("one", dropped())
                .cell("all, three times, under load", forgetful()),
            Row::new("fx-X6 gas")
                .cell("no money for gas", out_of_gas())
                .cell("dearer than allowed", too_dear()),
        ],
        4,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_x3_what_a_reorg_undoes_is_made_again_by_the_same_transactions() {
    let mut row = Row::new("fx-X3 reorg");
    for depth in 1..=3 {
        for (keep, what) in [(false, "forgotten"), (true, "kept")] {
            let name = format!("depth {depth}, transactions {what}");
            let quick = keep == (depth == 1);
            let cell = reorg(depth, keep);
            row = if quick { row.cell(name, cell) } else { row.long(name, cell) };
        }
    }
    row.run(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx_x4_x5_a_spoiled_payment_is_not_served_and_a_front_run_one_is() {
    Row::all(
        vec![
            Row::new("fx-X4 revert after verify")
                .cell("balance drained", spoiled(Spoiled::Drained))
                .cell("authorization cancelled", spoiled(Spoiled::Cancelled))
                .cell("token paused for a while", spoiled(Spoiled::Paused)),
            Row::new("fx-X5 front-run")
                .cell("while it waits for a block", front_run_while_it_waits())
                .cell("between verify and settle", front_run_before_the_settlement()),
        ],
        5,
    )
    .await;
}
