//! Three ledgers that have to agree: the chain's, what payers were told, and the facilitators' own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tollway_devnet::svm::USDC_DEVNET;
use tollway_ledger::{Filter, JournalState, Record};
use tollway_protocol::Reason;
use tollway_protocol::door::UnixTime;

use crate::load::{Answer, Client, Must, Purchase};
use crate::patience::Patience;
use crate::world::{FEE_PAYERS, World, fee_payer, network, secret, sellers};

/// More records than any test makes.
const ALL: u32 = 10_000;
const AT_ONCE: usize = 16;
/// After so many slots all that has landed is final.
const FINAL: u64 = 40;

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

/// What of the rules a fault suspends.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Excused {
    /// The store may lose its answers: that it was told is recorded then, and nobody heard it.
    pub(crate) unheard: bool,
    /// The facilitators' clocks are wrong, and so are the days of their budgets.
    pub(crate) days: bool,
    /// The store has forgotten what it had: records may be missing, and nobody is told of a transaction twice.
    pub(crate) forgotten: bool,
}

/// When all faults are over: each payment without a final answer is asked for until it has one, each place is asked once
/// more for every payment of which more was told than one success and for every fifth of the others, and the three
/// ledgers agree.
///
/// # Panics
/// With all that is wrong, and the facilitators' logs.
pub(crate) async fn judge(world: &Arc<World>, places: &[usize], purchases: &[Arc<Purchase>]) {
    judge_but(world, places, purchases, Excused::default()).await;
}

/// As [`judge`], without the rules that the fault suspends.
pub(crate) async fn judge_but(
    world: &Arc<World>,
    places: &[usize],
    purchases: &[Arc<Purchase>],
    excused: Excused,
) {
    let asked = ask_again(world, places, purchases).await;
    finalized(world).await;
    let mut wrong = Wrong::default();
    let ledger = world.ledger().await;
    let records = ledger.page(&Filter::default(), 0, ALL).await.unwrap();
    let ours = |record: &&Record| purchases.iter().any(|purchase| purchase.payment.key == record.key);
    wrong.unless(records.iter().all(|record| ours(&record)), || "records of nobody's payments".to_owned());
    for purchase in purchases {
        let record = records.iter().find(|record| record.key == purchase.payment.key);
        if let Some(record) = record {
            let history = ledger.history(&record.key).await.unwrap();
            let transaction = &purchase.payment.transaction;
            let once = history.len() == 1 && history[0].transaction.hash == *transaction;
            wrong.unless(once, || format!("not by one transaction, its own: {record:?} {history:?}"));
        }
        let places = if asked.contains(&purchase.payment.key) { places.len() } else { 0 };
        of_purchase(world, purchase, record, (places, excused), &mut wrong);
    }
    let fees: u64 = records.iter().filter_map(|record| record.fee_gwei).sum();
    if !excused.days && !excused.forgotten {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let spent = ledger.spent_gwei(&network(), UnixTime(now.as_secs())).await.unwrap();
        // What was taken back may go on counting: that errs on the safe side.
        let more = purchases.iter().any(|purchase| purchase.must == Must::BeTakenBack);
        let right = spent == fees || more && spent > fees;
        wrong.unless(right, || format!("the budget has {spent} lamports, the records {fees}"));
    }
    of_sellers(world, purchases, (!excused.forgotten).then_some(&records), &mut wrong);
    of_chain(world, purchases, (!excused.forgotten).then_some(fees), &mut wrong);
    of_logs(world, purchases, &mut wrong);
    if !wrong.0.is_empty() {
        panic!("{} wrong (logs in {:?}):\n{}", wrong.0.len(), world.keep_logs(), wrong.0.join("\n"));
    }
    let of = |is: fn(&Answer) -> bool| purchases.iter().flat_map(|one| one.answers()).filter(is).count();
    let (paid, cut) = (of(Answer::is_paid), of(|answer| *answer == Answer::Cut));
    eprintln!("{} payments, {paid} successes told, {cut} answers cut, {fees} lamports", purchases.len());
}

/// Asks until all are known, and once more; says which were asked about.
async fn ask_again(
    world: &Arc<World>,
    places: &[usize],
    purchases: &[Arc<Purchase>],
) -> BTreeSet<tollway_protocol::bind::PaymentKey> {
    let client = Client::new(world);
    let mut asked = BTreeSet::new();
    let mut asking = JoinSet::new();
    let tickets = Arc::new(Semaphore::new(AT_ONCE));
    for (number, purchase) in purchases.iter().enumerate() {
        let is_known = purchase.answers().iter().any(Answer::is_final);
        if is_known && purchase.answers().len() == 1 && number % 5 != 0 {
            continue;
        }
        asked.insert(purchase.payment.key.clone());
        let (client, purchase, places) = (client.clone(), purchase.clone(), places.to_vec());
        let tickets = tickets.clone();
        asking.spawn(async move {
            let _one = tickets.acquire_owned().await.unwrap();
            if !is_known {
                client.until_known(&places, &purchase).await;
            }
            for place in places {
                // The success that a dead process did not tell is told now, once.
                if client.settle(place, &purchase).await.is_paid() {
                    client.settle(place, &purchase).await;
                }
            }
        });
    }
    while let Some(done) = asking.join_next().await {
        if let Err(error) = done {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    asked
}

/// Waits until all that is recorded is at its end.
async fn finalized(world: &World) {
    world.chain.advance(FINAL);
    let ledger = world.ledger().await;
    let patience = Patience::for_("all records become final");
    loop {
        let records = ledger.page(&Filter::default(), 0, ALL).await.unwrap();
        let is_open = |record: &&Record| match record.state {
            JournalState::Settled => !record.is_final,
            state => state != JournalState::Failed,
        };
        let Some(open) = records.iter().find(is_open) else { return };
        patience.again_or(|| format!("{open:?} (logs in {:?})", world.keep_logs())).await;
    }
}

/// Whether the transaction is in a block and did what it was signed for.
pub(crate) fn has_paid(world: &World, transaction: &str) -> bool {
    let params = json!([[transaction], {"searchTransactionHistory": true}]);
    let found = world.chain.request("getSignatureStatuses", &params).unwrap();
    found["value"][0].is_object() && found["value"][0]["err"].is_null()
}

/// What was told of a payment, and what is recorded, is what the chain has.
fn of_purchase(
    world: &World,
    purchase: &Purchase,
    record: Option<&Record>,
    (places, excused): (usize, Excused),
    wrong: &mut Wrong,
) {
    let (answers, transaction) = (purchase.answers(), &purchase.payment.transaction);
    let is_paid = has_paid(world, transaction);
    let about = |what: &str| format!("{what}: {} {record:?} {answers:?}", purchase.payment.key);
    wrong.unless(is_paid == (purchase.must == Must::Pay), || about("paid, or not, and it must not be so"));
    for named in answers.iter().filter_map(Answer::named) {
        wrong.unless(named == transaction, || about("another transaction was told"));
    }
    let successes = answers.iter().filter(|answer| answer.is_paid()).count();
    let refused: Vec<_> = answers.iter().filter(|answer| matches!(answer, Answer::Refused { .. })).collect();
    wrong.unless(successes <= 1, || about("success was told more than once"));
    if !is_paid {
        let told = successes + refused.iter().filter(|answer| is_told_again(answer)).count();
        let may = purchase.must == Must::BeTakenBack;
        wrong.unless(told == 0 || may, || about("told paid, and it is not"));
        let failed = record.is_none_or(|record| record.state == JournalState::Failed);
        wrong.unless(failed, || about("not paid, and not recorded as failed"));
        return;
    }
    for answer in &refused {
        let is_right = is_told_again(answer) || excused.forgotten && is_used(answer);
        wrong.unless(is_right, || about("refused, and it is paid"));
    }
    let is_unheard = !answers.iter().all(Answer::says) || excused.unheard || excused.forgotten;
    wrong.unless(successes == 1 || is_unheard, || about("nobody was told that it is paid"));
    let last = answers.iter().rev().take(places);
    let again = last.filter(|answer| is_told_again(answer) || excused.forgotten && is_used(answer)).count();
    wrong.unless(again == places, || about("not told that somebody was told"));
    match record {
        Some(record) => {
            let is_settled = record.state == JournalState::Settled && record.fee_gwei.is_some();
            let is_told = record.told && record.hash.as_ref() == Some(transaction);
            wrong.unless(is_settled && is_told, || about("not recorded as settled by it, and told"));
        }
        None => wrong.unless(excused.forgotten, || about("paid and not recorded")),
    }
}

/// Whether it says that somebody was told, and of which transaction.
pub(crate) fn is_told_again(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused { reason: Reason::AlreadyUsed, transaction: Some(_), .. })
}

fn is_used(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused { reason: Reason::AlreadyUsed, .. })
}

/// Each seller has what its payments that are in blocks come to, and what the ledger has as settled for it.
fn of_sellers(world: &World, purchases: &[Arc<Purchase>], records: Option<&Vec<Record>>, wrong: &mut Wrong) {
    let mut settled: BTreeMap<String, u64> = BTreeMap::new();
    for record in records.into_iter().flatten().filter(|record| record.state == JournalState::Settled) {
        let request: Value = serde_json::from_str(&record.request).unwrap();
        let of = &request["paymentRequirements"];
        let amount = tollway_protocol::door::decimal_u64(of["amount"].as_str().unwrap()).unwrap();
        *settled.entry(of["payTo"].as_str().unwrap().to_owned()).or_default() += amount;
    }
    for seller in sellers() {
        let earned = world.chain.token_balance(USDC_DEVNET, seller);
        let paid = purchases.iter().map(|purchase| &purchase.payment);
        let paid = paid.filter(|payment| payment.seller == seller && has_paid(world, &payment.transaction));
        let due: u64 = paid.map(|payment| payment.value).sum();
        wrong.unless(earned == due, || format!("{seller} has {earned} and not {due}"));
        let in_ledger = settled.get(&seller.to_string()).copied().unwrap_or(0);
        wrong.unless(records.is_none() || in_ledger == earned, || {
            format!("{seller} has {earned}, the ledger says {in_ledger}")
        });
    }
}

/// Every transaction that a fee payer paid for is a payment's, was recorded before it left, and cost what is recorded.
fn of_chain(world: &World, purchases: &[Arc<Purchase>], fees: Option<u64>, wrong: &mut Wrong) {
    let known: BTreeSet<&str> =
        purchases.iter().map(|purchase| purchase.payment.transaction.as_str()).collect();
    let lamports = world.funded();
    let mut spent = 0;
    for seed in 0..FEE_PAYERS {
        spent += lamports[usize::from(seed)] - world.chain.balance(fee_payer(seed));
        let made = made(world, seed);
        let unknown: Vec<_> = made.iter().filter(|hash| !known.contains(hash.as_str())).collect();
        wrong.unless(unknown.is_empty(), || format!("on the chain and nobody's: {unknown:?}"));
    }
    wrong.unless(fees.is_none_or(|fees| spent == fees), || {
        format!("{spent} lamports were paid, {fees:?} are recorded")
    });
    for given in world.node.given() {
        let (transaction, recorded) = (given.transaction, given.was_recorded);
        wrong.unless(recorded != Some(false), || format!("{transaction} left before it was recorded"));
    }
}

/// Every transaction that the fee payer has paid for.
fn made(world: &World, seed: u8) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let mut options = json!({"commitment": "confirmed"});
        if let Some(last) = all.last() {
            options["before"] = json!(last);
        }
        let params = json!([fee_payer(seed).to_string(), options]);
        let page = world.chain.request("getSignaturesForAddress", &params).unwrap();
        let page = page.as_array().unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.iter().map(|entry| entry["signature"].as_str().unwrap().to_owned()));
    }
}

/// No panic, and no secret in a log.
fn of_logs(world: &World, purchases: &[Arc<Purchase>], wrong: &mut Wrong) {
    let logs = world.logs();
    wrong.unless(!logs.contains("panicked"), || "a panic".to_owned());
    for seed in 0..FEE_PAYERS {
        wrong.unless(!logs.contains(&secret(seed)), || "a key is in the log".to_owned());
    }
    let is_said = purchases.iter().any(|purchase| logs.contains(purchase.payment.text()));
    wrong.unless(!is_said, || "what a payer has signed is in the log".to_owned());
}
