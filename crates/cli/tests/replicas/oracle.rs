//! Three ledgers that have to agree: the chain's logs, what payers were told, and the replicas' own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};
use tollway_ledger::{Attempt, Journal, JournalState};

use crate::load::{Answer, Client, Purchase};
use crate::world::{Patience, World, network};

const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
const USED: &str = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5";

/// A transfer to the seller, as the chain has it.
#[derive(Debug)]
struct Transfer {
    transaction: B256,
    block: u64,
}

fn logs(world: &World, topics: &Value) -> Vec<Value> {
    let filter = json!([{ "address": world.deployment.usdc, "fromBlock": "0x0", "toBlock": "latest", "topics": topics }]);
    world.chain.request("eth_getLogs", &filter).unwrap().as_array().unwrap().clone()
}

fn word(value: &Value) -> B256 {
    serde_json::from_value(value.clone()).unwrap()
}

fn number(value: &Value) -> u64 {
    serde_json::from_value::<U256>(value.clone()).unwrap().to()
}

/// Every transfer to the seller, by payer and value, which no two payments share.
fn transfers(world: &World) -> BTreeMap<(Address, u64), Vec<Transfer>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for log in logs(world, &json!([TRANSFER, null, world.seller.into_word()])) {
        let payer = Address::from_word(word(&log["topics"][1]));
        let value = U256::from_be_bytes(word(&log["data"]).0).to();
        let transfer =
            Transfer { transaction: word(&log["transactionHash"]), block: number(&log["blockNumber"]) };
        all.entry((payer, value)).or_default().push(transfer);
    }
    all
}

/// How often each authorization was used.
fn uses(world: &World) -> BTreeMap<(B256, B256), usize> {
    let mut all = BTreeMap::new();
    for log in logs(world, &json!([USED])) {
        *all.entry((word(&log["topics"][1]), word(&log["topics"][2]))).or_default() += 1;
    }
    all
}

/// What is wrong, collected.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.0.push(what());
        }
    }
}

/// Every transaction that is recorded: of the payments, and the latest under each nonce.
pub(crate) async fn recorded(
    world: &World,
    ledger: &dyn Journal,
    purchases: &[Arc<Purchase>],
) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for account in world.signers() {
        let rows = ledger.nonces(&network(), &account.to_string(), 0).await.unwrap();
        all.extend(rows.into_iter().map(|row| row.transaction.hash));
    }
    for purchase in purchases {
        let history = ledger.history(&purchase.payment.key).await.unwrap();
        all.extend(history.into_iter().map(|attempt| attempt.transaction.hash));
    }
    all
}

/// When all faults are over and every buyer knows the outcome: both replicas are asked once more, what is open becomes
/// final, and the three ledgers agree.
///
/// # Panics
/// With all that is wrong, and the replicas' logs.
pub(crate) async fn judge(world: &Arc<World>, purchases: &[Arc<Purchase>]) {
    let client = Client::new(world);
    for purchase in purchases {
        for replica in [0, 1] {
            client.settle(replica, purchase).await;
        }
    }
    let ledger = world.database.ledger().await;
    let patience = Patience::for_("nothing is open");
    let mut open = ledger.open(&network()).await.unwrap();
    while !open.is_empty() && !patience.is_over() {
        patience.again().await;
        open = ledger.open(&network()).await.unwrap();
    }
    let mut wrong = Wrong::default();
    wrong.unless(open.is_empty(), || format!("open: {open:?}"));
    let (mut made, uses) = (transfers(world), uses(world));
    for purchase in purchases {
        let payment = &purchase.payment;
        let transfers = made.remove(&(payment.payer, payment.value)).unwrap_or_default();
        let used = uses.get(&(payment.payer.into_word(), payment.nonce)).copied().unwrap_or(0);
        let about = |what: &str| {
            format!("{what}: {:?} {}: {transfers:?} {:?}", purchase.manner, payment.key, purchase.answers())
        };
        wrong.unless(transfers.len() == 1 && used == 1, || about("not paid exactly once"));
        if let [transfer] = transfers.as_slice() {
            of_answers(purchase, transfer, &mut wrong);
            of_record(&ledger, purchase, transfer, &mut wrong).await;
        }
    }
    wrong.unless(made.is_empty(), || format!("transfers that nobody asked for: {made:?}"));
    let recorded = recorded(world, &ledger, purchases).await;
    for given in world.node.given() {
        let known = recorded.contains(&given.hash.to_string());
        wrong.unless(known, || format!("{given:?} left and is not recorded"));
    }
    of_chain(world, &recorded, &mut wrong);
    wrong.unless(!world.logs().contains("panicked"), || "a panic".to_owned());
    if !wrong.0.is_empty() {
        panic!("{} wrong (logs in {:?}):\n{}", wrong.0.len(), world.keep_logs(), wrong.0.join("\n"));
    }
    eprintln!("{} payments in {} transactions", purchases.len(), world.mined());
}

/// Every success names the one transaction, and nobody was refused or told of success too early.
fn of_answers(purchase: &Purchase, transfer: &Transfer, wrong: &mut Wrong) {
    let answers = purchase.answers();
    let about = |what: &str| format!("{what}: {} {transfer:?} {answers:?}", purchase.payment.key);
    for (_, answer) in &answers {
        match answer {
            Answer::Paid { transaction, head } => {
                let same = *transaction == transfer.transaction.to_string();
                wrong.unless(same, || about("another transaction was told"));
                wrong.unless(*head >= transfer.block, || about("told before it was so"));
            }
            Answer::Refused { .. } => wrong.0.push(about("refused, and it is paid")),
            Answer::Pending { .. } | Answer::Later { .. } | Answer::Cut => {}
        }
    }
    for replica in [0, 1] {
        let last = answers.iter().rev().find(|(of, _)| *of == replica).map(|(_, answer)| answer);
        wrong.unless(matches!(last, Some(Answer::Paid { .. })), || about("a replica does not deliver it"));
    }
}

/// The ledger has it settled by that transaction, sent under one nonce, and every hash that was told.
async fn of_record(ledger: &dyn Journal, purchase: &Purchase, transfer: &Transfer, wrong: &mut Wrong) {
    let key = &purchase.payment.key;
    let record = ledger.settlement(key).await.unwrap();
    let history = ledger.history(key).await.unwrap();
    let about =
        |what: &str| format!("{what}: {key} {record:?} {history:?} {transfer:?} {:?}", purchase.answers());
    let hash = transfer.transaction.to_string();
    let settled = record.as_ref().is_some_and(|record| {
        record.state == JournalState::Settled && record.is_final && record.hash.as_deref() == Some(&hash)
    });
    wrong.unless(settled, || about("not recorded as settled by it"));
    let nonce = |attempt: &Attempt| (attempt.transaction.signer.clone(), attempt.transaction.nonce);
    let nonces: BTreeSet<_> = history.iter().map(nonce).collect();
    wrong.unless(nonces.len() == 1, || about("sent under several nonces"));
    for (_, answer) in purchase.answers() {
        let Answer::Pending { transaction: Some(told) } = &answer else { continue };
        let known = history.iter().any(|attempt| attempt.transaction.hash == *told);
        wrong.unless(known, || about(&format!("{told} was told and is not in its history")));
    }
}

/// No transaction of the accounts reverted, and each was recorded.
fn of_chain(world: &World, recorded: &BTreeSet<String>, wrong: &mut Wrong) {
    let ours = world.signers();
    for height in 0..=world.chain.block_number() {
        let block =
            world.chain.request("eth_getBlockByNumber", &json!([format!("{height:#x}"), true])).unwrap();
        for transaction in block["transactions"].as_array().unwrap() {
            let from: Address = serde_json::from_value(transaction["from"].clone()).unwrap();
            if !ours.contains(&from) {
                continue;
            }
            let hash = transaction["hash"].as_str().unwrap();
            wrong.unless(recorded.contains(hash), || format!("{hash} is mined and not recorded"));
            let receipt = world.chain.request("eth_getTransactionReceipt", &json!([hash])).unwrap();
            wrong.unless(receipt["status"] == "0x1", || format!("{hash} reverted: {receipt}"));
        }
    }
}
