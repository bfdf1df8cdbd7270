//! Three ledgers that have to agree: the chain's, what payers were told, and the facilitators' own.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tollway_devnet::svm::USDC_DEVNET;
use tollway_ledger::{Filter, JournalState, Record};
use tollway_protocol::Reason;
use tollway_protocol::door::UnixTime;

use crate::load::{Answer, Client, Purchase};
use crate::world::{AMOUNT, LAMPORTS, World, fee_payer, network, seller};

/// More records than any test makes.
const ALL: u32 = 10_000;
const AT_ONCE: usize = 16;

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

/// When all faults are over and every buyer knows the outcome: each place is asked once more, for every payment of which
/// more was told than one success and for every fifth of the others, and the three ledgers agree.
///
/// # Panics
/// With all that is wrong, and the facilitators' logs.
pub(crate) async fn judge(world: &Arc<World>, places: &[usize], purchases: &[Arc<Purchase>]) {
    let client = Client::new(world);
    let mut asked = BTreeSet::new();
    let mut asking = JoinSet::new();
    let tickets = Arc::new(Semaphore::new(AT_ONCE));
    for (number, purchase) in purchases.iter().enumerate() {
        if purchase.answers().len() == 1 && number % 5 != 0 {
            continue;
        }
        asked.insert(purchase.payment.key.clone());
        let (client, purchase, places) = (client.clone(), purchase.clone(), places.to_vec());
        let tickets = tickets.clone();
        asking.spawn(async move {
            let _one = tickets.acquire_owned().await.unwrap();
            for place in places {
                // The success that a dead process did not tell is told now, once.
                if client.settle(place, &purchase).await.is_paid() {
                    client.settle(place, &purchase).await;
                }
            }
        });
    }
    asking.join_all().await;
    let mut wrong = Wrong::default();
    let ledger = world.ledger().await;
    let records = ledger.page(&Filter::default(), 0, ALL).await.unwrap();
    wrong.unless(records.len() == purchases.len(), || format!("{} records", records.len()));
    let mut transactions = BTreeSet::new();
    for purchase in purchases {
        let record = records.iter().find(|record| record.key == purchase.payment.key);
        let Some(record) = record else {
            wrong.0.push(format!("not recorded: {} {:?}", purchase.payment.key, purchase.answers()));
            continue;
        };
        of_record(record, &mut wrong);
        let history = ledger.history(&record.key).await.unwrap();
        let once = history.len() == 1 && record.hash.as_ref() == Some(&history[0].transaction.hash);
        wrong.unless(once, || format!("not by one transaction: {record:?} {history:?}"));
        let places = if asked.contains(&record.key) { places.len() } else { 0 };
        of_answers(purchase, record, places, &mut wrong);
        transactions.extend(record.hash.clone());
    }
    let fees: u64 = records.iter().filter_map(|record| record.fee_gwei).sum();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let spent = ledger.spent_gwei(&network(), UnixTime(now.as_secs())).await.unwrap();
    wrong.unless(spent == fees, || format!("the budget has {spent} lamports, the records {fees}"));
    of_chain(world, &transactions, fees, purchases.len(), &mut wrong);
    wrong.unless(!world.logs().contains("panicked"), || "a panic".to_owned());
    if !wrong.0.is_empty() {
        panic!("{} wrong (logs in {:?}):\n{}", wrong.0.len(), world.keep_logs(), wrong.0.join("\n"));
    }
    let of = |is: fn(&Answer) -> bool| purchases.iter().flat_map(|one| one.answers()).filter(is).count();
    let (paid, cut) = (of(Answer::is_paid), of(|answer| *answer == Answer::Cut));
    eprintln!("{} payments, {paid} successes told, {cut} answers cut, {fees} lamports", purchases.len());
}

fn of_record(record: &Record, wrong: &mut Wrong) {
    let is_settled = record.state == JournalState::Settled && record.told && record.fee_gwei.is_some();
    wrong.unless(is_settled, || format!("not recorded as settled and told: {record:?}"));
}

/// Every answer that names a transaction names the one of the record; success was told once, or its answer was lost; and
/// so many last answers say that it was told.
fn of_answers(purchase: &Purchase, record: &Record, places: usize, wrong: &mut Wrong) {
    let answers = purchase.answers();
    let about = |what: &str| format!("{what}: {record:?} {answers:?}");
    for answer in &answers {
        let same = answer.named().is_none_or(|named| Some(named) == record.hash.as_deref());
        wrong.unless(same, || about("another transaction was told"));
        if let Answer::Refused { .. } = answer {
            wrong.unless(is_told_again(answer), || about("refused, and it is paid"));
        }
    }
    let successes = answers.iter().filter(|answer| answer.is_paid()).count();
    let is_lost = successes == 0 && answers.contains(&Answer::Cut);
    wrong.unless(successes == 1 || is_lost, || about(&format!("success was told {successes} times")));
    let last = answers.iter().rev().take(places);
    wrong.unless(last.filter(|answer| is_told_again(answer)).count() == places, || about("paid once more"));
}

/// Whether it says that somebody was told, and of which transaction.
pub(crate) fn is_told_again(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused { reason: Reason::AlreadyUsed, transaction: Some(_), .. })
}

/// So many transactions, all of them recorded, each with one transfer; the fees are what the records say.
fn of_chain(world: &World, recorded: &BTreeSet<String>, fees: u64, payments: usize, wrong: &mut Wrong) {
    wrong.unless(recorded.len() == payments, || format!("{} different transactions", recorded.len()));
    let earned = world.chain.token_balance(USDC_DEVNET, seller());
    let due = AMOUNT * u64::try_from(payments).unwrap();
    wrong.unless(earned == due, || format!("the seller has {earned} and not {due}"));
    let left = world.chain.balance(fee_payer());
    wrong.unless(LAMPORTS - left == fees, || {
        format!("{} lamports were paid, {fees} are recorded", LAMPORTS - left)
    });
    let made = made(world);
    let unknown: Vec<_> = made.iter().filter(|(hash, _)| !recorded.contains(hash)).collect();
    wrong.unless(unknown.is_empty(), || format!("on the chain and not recorded: {unknown:?}"));
    let failed: Vec<_> = made.iter().filter(|(_, error)| !error.is_null()).collect();
    wrong.unless(failed.is_empty(), || format!("failed on the chain: {failed:?}"));
    wrong.unless(made.len() == payments, || format!("{} transactions on the chain", made.len()));
}

/// Every transaction that the fee payer has paid for, and its error.
fn made(world: &World) -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = Vec::new();
    loop {
        let mut options = json!({"commitment": "confirmed"});
        if let Some((last, _)) = all.last() {
            options["before"] = json!(last);
        }
        let params = json!([fee_payer().to_string(), options]);
        let page = world.chain.request("getSignaturesForAddress", &params).unwrap();
        let page = page.as_array().unwrap();
        if page.is_empty() {
            return all;
        }
        let entry = |entry: &Value| (entry["signature"].as_str().unwrap().to_owned(), entry["err"].clone());
        all.extend(page.iter().map(entry));
    }
}
