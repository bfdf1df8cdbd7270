//! Three ledgers that have to agree: the chain's logs, what payers were told, and the facilitator's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollway_devnet::evm::Mining;
use tollway_ledger::{Journal, JournalState};
use tollway_protocol::door::hex_array;

use crate::load::{Answer, Client, Must, Purchase};
use crate::patience::Patience;
use crate::world::{SIGNERS, Signed, World, signer};

const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
const USED: &str = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5";

/// A transfer to the seller, as the chain has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) payer: Address,
    pub(crate) value: u64,
    pub(crate) transaction: B256,
}

/// Every transfer of the token to the seller.
pub(crate) fn transfers(world: &World) -> Vec<Transfer> {
    let logs = logs(world, &json!([TRANSFER, null, world.seller.into_word()]));
    logs.iter()
        .map(|log| Transfer {
            payer: Address::from_word(word(&log["topics"][1])),
            value: U256::from_be_bytes(word(&log["data"]).0).to(),
            transaction: word(&log["transactionHash"]),
        })
        .collect()
}

/// The transactions that used the authorization.
fn uses(world: &World, payment: &Signed) -> Vec<B256> {
    let topics = json!([USED, payment.payer.into_word(), payment.nonce]);
    logs(world, &topics).iter().map(|log| word(&log["transactionHash"])).collect()
}

fn logs(world: &World, topics: &Value) -> Vec<Value> {
    let filter = json!([{ "address": world.deployment.usdc, "fromBlock": "0x0", "toBlock": "latest", "topics": topics }]);
    world.chain.request("eth_getLogs", &filter).unwrap().as_array().unwrap().clone()
}

fn word(value: &Value) -> B256 {
    hex_array::<32>(value.as_str().unwrap()).unwrap().into()
}

/// When all faults are over: asks again for every payment without a final answer until it has one, and once more for
/// each that was paid; makes blocks until all that was paid is final.
pub(crate) async fn settle_down(world: &World, purchases: &[Arc<Purchase>]) {
    if world.chain.mining() == Mining::Manual || world.settings.confirmations > 1 {
        world.chain.set_mining(Mining::Interval(std::time::Duration::from_millis(300))).unwrap();
    }
    let client = Client::new(world);
    let mut asking = JoinSet::new();
    for purchase in purchases {
        for which in 0..purchase.payments.len() {
            let (client, purchase) = (client.clone(), purchase.clone());
            asking.spawn(async move {
                let patience = Patience::for_("a final answer");
                loop {
                    client.ask(&purchase, which).await;
                    if purchase.last(which).is_some_and(|answer| answer.is_final()) {
                        break;
                    }
                    patience.again().await;
                }
                // Whatever it was, it stays.
                client.ask(&purchase, which).await;
            });
        }
    }
    crate::load::ended(asking).await;
    world.chain.set_mining(Mining::Auto).unwrap();
    world.chain.request("anvil_mine", &json!([world.settings.finality + 2])).unwrap();
}

/// What is wrong, collected.
struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.0.push(what());
        }
    }
}

/// Compares the three ledgers.
///
/// # Panics
/// With all that is wrong.
pub(crate) async fn check(world: &World, purchases: &[Arc<Purchase>]) {
    let ledger = world.ledger().await;
    let mut wrong = Wrong(Vec::new());
    let mut all = transfers(world);
    for purchase in purchases {
        let ours = |transfer: &Transfer| {
            purchase.payments.iter().any(|paid| (paid.payer, paid.value) == (transfer.payer, transfer.value))
        };
        let (made, others): (Vec<_>, Vec<_>) = all.into_iter().partition(ours);
        all = others;
        of_purchase(world, &**ledger, purchase, &made, &mut wrong).await;
    }
    wrong.unless(all.is_empty(), || format!("U: transfers that nobody asked for: {all:?}"));
    broadcasts(world, &mut wrong);
    logs_of(world, purchases, &mut wrong);
    assert!(wrong.0.is_empty(), "{} wrong:\n{}", wrong.0.len(), wrong.0.join("\n"));
}

async fn of_purchase(
    world: &World,
    ledger: &dyn Journal,
    purchase: &Purchase,
    made: &[Transfer],
    wrong: &mut Wrong,
) {
    let first = &purchase.payments[0];
    let about = |what: &str| {
        format!("{what}: {:?} {} {:?}: {made:?}", purchase.manner, first.key, purchase.answers())
    };
    let before = wrong.0.len();
    // 2: none settled twice.
    wrong.unless(made.len() <= 1, || about("2: more than one transfer"));
    let used = uses(world, first);
    wrong.unless(used.len() == made.len(), || about("2: uses and transfers differ"));
    match purchase.must {
        Must::Pay => wrong.unless(made.len() == 1, || about("L: not paid")),
        Must::Fail => wrong.unless(made.is_empty(), || about("U: paid")),
        Must::Agree => {}
    }
    let answers = purchase.answers();
    for (which, answer) in &answers {
        let transfer = made.iter().find(|transfer| transfer.value == purchase.payments[*which].value);
        match (answer, transfer) {
            (Answer::Paid { .. }, None) => wrong.0.push(about("U: told paid, and it is not")),
            (Answer::Paid { transaction, was_made }, Some(transfer)) => {
                let named = *transaction == transfer.transaction.to_string();
                wrong.unless(named, || about("S6: another transaction than the chain's was told"));
                wrong.unless(*was_made, || about("S1: told paid before it was"));
            }
            (Answer::Refused { .. }, Some(_)) => wrong.0.push(about("S5: told refused, and it is paid")),
            _ => {}
        }
    }
    let (Some(transfer), true) = (made.first(), wrong.0.len() == before) else { return };
    recorded(ledger, purchase, transfer, wrong).await;
}

/// L: the transfer has a record that becomes final, and a resend names it; S6 and S8 by the record's history.
async fn recorded(ledger: &dyn Journal, purchase: &Purchase, transfer: &Transfer, wrong: &mut Wrong) {
    let key = &purchase.payments[0].key;
    let patience = Patience::for_("a final record of what is paid");
    let record = loop {
        match ledger.settlement(key).await.unwrap() {
            Some(record) if record.is_final => break record,
            other => {
                patience.again_or(|| format!("{other:?} {:?}", purchase.answers())).await;
            }
        }
    };
    let about = |what: &str| format!("{what}: {key} {record:?} {transfer:?} {:?}", purchase.answers());
    wrong.unless(record.state == JournalState::Settled, || about("L: not recorded as settled"));
    let hash = transfer.transaction.to_string();
    wrong.unless(record.hash.as_deref() == Some(&hash), || about("L: recorded under another transaction"));
    let paid = purchase.payments.iter().position(|paid| paid.value == transfer.value).unwrap();
    let told = matches!(purchase.last(paid), Some(Answer::Paid { .. }));
    wrong.unless(told, || about("L: a resend does not deliver it"));
    let history = ledger.history(key).await.unwrap();
    for named in purchase.answers().iter().filter_map(|(_, answer)| answer.named()) {
        let known = named == hash || history.iter().any(|attempt| attempt.transaction.hash == named);
        wrong.unless(known, || about(&format!("S6: {named} was told and is not in the history {history:?}")));
    }
    let mut under: BTreeMap<(&str, u64), u32> = BTreeMap::new();
    for attempt in &history {
        *under.entry((&attempt.transaction.signer, attempt.transaction.nonce)).or_default() += 1;
    }
    wrong.unless(under.len() <= 1, || about(&format!("S8: sent under several nonces: {under:?}")));
}

/// S9: nothing left before it was recorded; S11: the senders' tokens don't move.
fn broadcasts(world: &World, wrong: &mut Wrong) {
    for given in world.node.given() {
        wrong.unless(given.was_recorded != Some(false), || {
            format!("S9: {} left before it was recorded", given.hash)
        });
    }
    for seed in 0..SIGNERS {
        let account = signer(seed).address();
        let moved = logs(world, &json!([TRANSFER, account.into_word()]));
        wrong.unless(moved.is_empty(), || format!("S11: {account} lost tokens: {moved:?}"));
    }
}

/// B and S18: no panic, and no secret in a log.
fn logs_of(world: &World, purchases: &[Arc<Purchase>], wrong: &mut Wrong) {
    let logs = world.logs();
    wrong.unless(!logs.contains("panicked"), || "B: a panic".to_owned());
    for seed in 0..SIGNERS {
        let key = format!("{:02x}", 0xa1 + seed).repeat(32);
        wrong.unless(!logs.contains(&key), || "S18: a key is in the log".to_owned());
    }
    let signatures = purchases.iter().flat_map(|purchase| &purchase.payments).map(Signed::signature);
    for signature in signatures {
        let bare = signature.trim_start_matches("0x");
        wrong.unless(!logs.contains(bare), || "S18: a signature is in the log".to_owned());
    }
}

/// The end of every cell: what is open comes to its end, and the three ledgers agree.
pub(crate) async fn judge(world: &World, purchases: &[Arc<Purchase>]) {
    settle_down(world, purchases).await;
    check(world, purchases).await;
}
