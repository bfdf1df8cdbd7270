//! The facilitator's half: taking payments, and recording what carries them.

use std::sync::Arc;

use tollway_protocol::door::UnixTime;
use tollway_protocol::{Code, Network, PaymentRequest};

use super::claims::is_conflict;
use super::fixture::{
    NOW, PAYER, SIGNER, batch, finalize, key, network, payment, payment_of, transaction, verified,
};
use super::{Clock, Site};
use crate::{
    Batch, Ending, Filter, Holder, Journal, JournalState, Lease, LedgerError, Prepared, Record, Signing,
};

pub(super) async fn prepare(ledger: &impl Journal, n: u64) -> Prepared {
    ledger.prepare(&[verified(n)], true, NOW).await.unwrap().pop().unwrap()
}

pub(super) async fn record(ledger: &impl Journal, n: u64) -> Record {
    ledger.settlement(&key(n)).await.unwrap().unwrap()
}

/// The lease of the suite's account.
pub(super) async fn leased(ledger: &impl Journal) -> Lease {
    ledger.lease(&network(), SIGNER).await.unwrap().unwrap()
}

/// Signs with a lease that is this ledger's.
pub(super) async fn try_sign(ledger: &impl Journal, batch: Batch) -> Result<Signing, LedgerError> {
    let lease = leased(ledger).await;
    ledger.sign(&lease, batch, NOW).await
}

/// Records a transaction with new payments and others.
pub(super) async fn sign(ledger: &impl Journal, new: &[u64], again: &[u64], nonce: u64, tag: &str) {
    let signing = try_sign(ledger, batch(new, again, transaction(nonce, tag))).await.unwrap();
    assert_eq!(signing, Signing::Done);
}

/// Tells how one payment ended.
pub(super) async fn finish(ledger: &impl Journal, n: u64, ending: Ending) -> Result<(), LedgerError> {
    ledger.finish(&network(), &[], &[(key(n), ending)], NOW.plus(2)).await.unwrap().pop().unwrap()
}

pub(super) fn settled(tag: &str, block: u64) -> Ending {
    Ending::Settled { hash: format!("0x{tag}"), block }
}

pub(super) fn failed(code: &str) -> Ending {
    Ending::Failed { reason: Code::new(code), message: "it reverted".into(), hash: Some("0xa1".into()) }
}

/// Each transaction's hash, and whether it was sent and replaced.
async fn told(ledger: &impl Journal, n: u64) -> Vec<(String, bool, bool)> {
    let history = ledger.history(&key(n)).await.unwrap();
    history.into_iter().map(|a| (a.transaction.hash, a.sent, a.replaced)).collect()
}

pub async fn fa01_one_of_fifty_parallel_settlements_is_new<S: Site>(site: &S) {
    let ledger = Arc::new(site.open(&Clock::default()).await);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move { prepare(&*ledger, 1).await })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        match task.await.unwrap() {
            Prepared::New => new += 1,
            Prepared::Exists(found) => assert_eq!(found.state, JournalState::Prepared),
        }
    }
    assert_eq!(new, 1);
}

pub async fn fa01_a_list_of_payments_is_answered_in_its_order<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let answers = ledger.prepare(&[verified(2), verified(1), verified(2)], true, NOW).await.unwrap();
    assert_eq!(answers[..2], [Prepared::New, Prepared::New]);
    assert!(matches!(&answers[2], Prepared::Exists(found) if found.key == key(2)));
    assert!(record(&ledger, 2).await.id < record(&ledger, 1).await.id);
    let answers = ledger.prepare(&[verified(1), verified(3)], false, NOW.plus(9)).await.unwrap();
    assert_eq!(answers[0], Prepared::Exists(Box::new(record(&ledger, 1).await)));
    assert_eq!(answers[1], Prepared::New);
    assert_eq!((record(&ledger, 1).await.holder, record(&ledger, 1).await.created), (Holder::This, NOW));
    assert_eq!(record(&ledger, 3).await.holder, Holder::Nobody);
    assert_eq!(ledger.prepare(&[], true, NOW).await.unwrap(), []);
}

pub async fn fa01_taken_lists_what_was_taken_before_and_nothing_else<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    prepare(&ledger, 4).await;
    sign(&ledger, &[2], &[], 7, "a1").await;
    finish(&ledger, 2, settled("a1", 5)).await.unwrap();
    let batch = batch(&[1, 2, 3, 4], &[], transaction(8, "b1"));
    let Signing::Taken(taken) = try_sign(&ledger, batch).await.unwrap() else { panic!("not taken") };
    assert_eq!(taken, [record(&ledger, 2).await, record(&ledger, 4).await]);
    for n in [1, 3] {
        assert_eq!(ledger.settlement(&key(n)).await.unwrap(), None);
    }
    assert_eq!(ledger.next_nonce(&network(), SIGNER).await.unwrap(), Some(8));
}

pub async fn fa01_a_batch_is_taken_once_however_many_try<S: Site>(site: &S) {
    let ledger = Arc::new(site.open(&Clock::default()).await);
    let lease = leased(&*ledger).await;
    let tasks: Vec<_> = (0..20)
        .map(|task| {
            let (ledger, lease) = (Arc::clone(&ledger), lease.clone());
            // Each has a payment of its own, and one that is in all of them.
            let batch = batch(&[100 + task, 1], &[], transaction(task, &format!("t{task}")));
            tokio::spawn(async move { ledger.sign(&lease, batch, NOW).await.unwrap() })
        })
        .collect();
    let mut done = Vec::new();
    for (task, signing) in (0..20).zip(tasks) {
        match signing.await.unwrap() {
            Signing::Done => done.push(task),
            Signing::Taken(taken) => assert_eq!(taken[0].key, key(1)),
            other => panic!("{other:?}"),
        }
    }
    let [winner] = done[..] else { panic!("{done:?}") };
    let open = ledger.open(&network()).await.unwrap();
    assert_eq!(open.iter().map(|r| r.key.clone()).collect::<Vec<_>>(), [key(100 + winner), key(1)]);
}

pub async fn fa03_nothing_is_broadcast_that_was_not_signed<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    is_conflict(ledger.sent(&network(), "0xa1").await);
    is_conflict(try_sign(&ledger, batch(&[], &[1], transaction(0, "a1"))).await);
    assert_eq!(prepare(&ledger, 1).await, Prepared::New);
    is_conflict(ledger.sent(&network(), "0xa1").await);
    assert_eq!(record(&ledger, 1).await.state, JournalState::Prepared);
    sign(&ledger, &[2], &[1], 0, "a1").await;
    for n in [1, 2] {
        assert_eq!(record(&ledger, n).await.state, JournalState::Signed);
    }
    is_conflict(ledger.sent(&Network::eip155(1), "0xa1").await);
    for _ in 0..2 {
        ledger.sent(&network(), "0xa1").await.unwrap();
        for n in [1, 2] {
            assert_eq!(record(&ledger, n).await.state, JournalState::Broadcast);
        }
    }
}

pub async fn i10_an_unfinished_settlement_keeps_all_that_it_needs<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    assert_eq!(ledger.settlement(&key(1)).await.unwrap(), None);
    prepare(&ledger, 3).await;
    sign(&ledger, &[2, 1], &[3], 7, "a1").await;
    let Prepared::Exists(found) = prepare(&ledger, 1).await else { panic!("new again") };
    assert_eq!(*found, record(&ledger, 1).await);
    assert_eq!(found.key, key(1));
    assert_eq!((found.network, found.payer.as_str(), found.created), (network(), PAYER, NOW));
    assert_eq!((found.state, found.holder), (JournalState::Signed, Holder::This));
    assert_eq!(found.transaction, Some(transaction(7, "a1")));
    assert_eq!(found.hash.as_deref(), Some("0xa1"));
    assert_eq!((found.block, found.is_final, found.ended, found.fee_gwei), (None, false, None, None));
    let request: PaymentRequest = serde_json::from_str(&found.request).unwrap();
    assert_eq!(request, payment(1).to_request());
    for n in 1..=3 {
        let [attempt] = &ledger.history(&key(n)).await.unwrap()[..] else { panic!("not one") };
        assert_eq!(attempt.transaction, transaction(7, "a1"));
        assert_eq!(attempt.carries, [key(2), key(1), key(3)], "the new ones first, each list in its order");
    }
}

pub async fn i10_a_batch_is_recorded_whole_or_not_at_all<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1], &[], 0, "a1").await;
    finish(&ledger, 1, settled("a1", 5)).await.unwrap();
    prepare(&ledger, 2).await;
    let before = record(&ledger, 2).await;
    let spent = ledger.spent_gwei(&network(), NOW).await.unwrap();
    let free = || transaction(5, "b1");
    let elsewhere = payment_of(&Network::eip155(8453), 1, 10_000, "0x01").at(NOW).unwrap();
    let mut stranger = free();
    stranger.signer = PAYER.into();
    let refused = [
        batch(&[3, 4], &[2, 1], free()),
        batch(&[3, 4], &[2, 5], free()),
        batch(&[3, 4, 3], &[2], free()),
        batch(&[3], &[2, 2], free()),
        batch(&[3, 4], &[2], stranger),
        batch(&[3, 4], &[2], transaction(5, "a1")),
        batch(&[3, 4], &[2], transaction(0, "b1")),
        Batch { new: vec![verified(3), elsewhere], ..batch(&[], &[2], free()) },
    ];
    for batch in refused {
        is_conflict(try_sign(&ledger, batch).await);
    }
    let over = Batch { bid_gwei: 500, budget_gwei: spent + 499, ..batch(&[3, 4], &[2], free()) };
    assert_eq!(try_sign(&ledger, over).await.unwrap(), Signing::OverBudget);
    let stale = Lease::new(network(), SIGNER.into(), leased(&ledger).await.turn() + 1);
    let lost = ledger.sign(&stale, batch(&[3, 4], &[2], free()), NOW).await.unwrap();
    assert_eq!(lost, Signing::Lost);
    for n in [3, 4] {
        assert_eq!(ledger.settlement(&key(n)).await.unwrap(), None);
    }
    assert_eq!(record(&ledger, 2).await, before);
    assert_eq!(ledger.history(&key(2)).await.unwrap(), []);
    assert_eq!(ledger.next_nonce(&network(), SIGNER).await.unwrap(), Some(1));
    assert_eq!(ledger.spent_gwei(&network(), NOW).await.unwrap(), spent);
}

pub async fn fa01_what_stands_against_a_batch_is_told_in_order<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1], &[], 0, "a1").await;
    // All at once: a lease that is not ours, a payment that was taken, a nonce that is another's, no budget.
    let wrong = |new: &[u64], nonce| Batch { budget_gwei: 0, ..batch(new, &[], transaction(nonce, "b1")) };
    let lease = leased(&ledger).await;
    let stale = Lease::new(network(), SIGNER.into(), lease.turn() + 1);
    assert_eq!(ledger.sign(&stale, wrong(&[1, 2], 0), NOW).await.unwrap(), Signing::Lost);
    assert!(matches!(ledger.sign(&lease, wrong(&[1, 2], 0), NOW).await.unwrap(), Signing::Taken(_)));
    is_conflict(ledger.sign(&lease, wrong(&[2], 0), NOW).await);
    assert_eq!(ledger.sign(&lease, wrong(&[2], 1), NOW).await.unwrap(), Signing::OverBudget);
}

pub async fn i18_a_finished_settlement_never_changes<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    for (n, ending, others) in [
        (1, settled("a1", 5), [settled("a9", 5), failed("invalid_transaction_state")]),
        (2, failed("invalid_transaction_state"), [settled("a1", 5), failed("unexpected_settle_error")]),
    ] {
        sign(&ledger, &[n], &[], n, &format!("a{n}")).await;
        finish(&ledger, n, ending.clone()).await.unwrap();
        let before = record(&ledger, n).await;
        assert_eq!((before.holder, before.ended), (Holder::Nobody, Some(NOW.plus(2))));
        finish(&ledger, n, ending).await.unwrap();
        for other in others {
            is_conflict(finish(&ledger, n, other).await);
        }
        is_conflict(try_sign(&ledger, batch(&[], &[n], transaction(9, "x"))).await);
        is_conflict(try_sign(&ledger, batch(&[], &[n], transaction(n, &format!("a{n}")))).await);
        is_conflict(ledger.abandon_settlement(&key(n)).await);
        ledger.sent(&network(), &format!("0xa{n}")).await.unwrap();
        assert_eq!(prepare(&ledger, n).await, Prepared::Exists(Box::new(before)));
        assert_eq!(ledger.take_over(&network(), 9).await.unwrap(), []);
    }
    assert_eq!(record(&ledger, 1).await.block, Some(5));
    let found = record(&ledger, 2).await;
    assert_eq!(found.reason, Some(Code::new("invalid_transaction_state")));
    assert_eq!(found.message.as_deref(), Some("it reverted"));
    assert_eq!((found.block, found.is_final), (None, true));
}

pub async fn i18_a_payment_that_another_carried_names_its_transaction<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1], &[], 7, "a1").await;
    prepare(&ledger, 2).await;
    for n in [1, 2] {
        finish(&ledger, n, settled("their", 5)).await.unwrap();
        assert_eq!(record(&ledger, n).await.hash.as_deref(), Some("0xtheir"));
    }
    assert_eq!(record(&ledger, 1).await.transaction, Some(transaction(7, "a1")));
    assert_eq!(told(&ledger, 1).await, [("0xa1".into(), false, false)]);
}

pub async fn open_lists_what_is_not_final_on_one_network<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    prepare(&ledger, 3).await;
    sign(&ledger, &[1], &[], 1, "a1").await;
    sign(&ledger, &[2], &[], 2, "b1").await;
    ledger.sent(&network(), "0xb1").await.unwrap();
    sign(&ledger, &[4], &[], 4, "d1").await;
    finish(&ledger, 4, settled("d1", 5)).await.unwrap();
    prepare(&ledger, 5).await;
    finish(&ledger, 5, failed("unexpected_settle_error")).await.unwrap();
    let base = Network::eip155(8453);
    let elsewhere = payment_of(&base, 1, 10_000, "0x01").at(NOW).unwrap();
    assert_eq!(ledger.prepare(&[elsewhere], false, NOW).await.unwrap(), [Prepared::New]);
    let states: Vec<_> = ledger.open(&network()).await.unwrap().iter().map(|r| r.state).collect();
    use JournalState::{Broadcast, Prepared as Taken, Settled, Signed};
    assert_eq!(states, [Taken, Signed, Broadcast, Settled]);
    assert_eq!(ledger.open(&base).await.unwrap().len(), 1);
    finalize(&ledger, &network(), 5).await;
    let open = ledger.open(&network()).await.unwrap();
    assert_eq!(open, [record(&ledger, 3).await, record(&ledger, 1).await, record(&ledger, 2).await]);
}

pub async fn only_an_unsigned_settlement_is_abandoned<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    ledger.abandon_settlement(&key(1)).await.unwrap();
    prepare(&ledger, 1).await;
    ledger.abandon_settlement(&key(1)).await.unwrap();
    assert_eq!(ledger.prepare(&[verified(1)], false, NOW).await.unwrap(), [Prepared::New]);
    ledger.abandon_settlement(&key(1)).await.unwrap();
    assert_eq!(prepare(&ledger, 1).await, Prepared::New);
    sign(&ledger, &[], &[1], 1, "a1").await;
    is_conflict(ledger.abandon_settlement(&key(1)).await);
    assert_eq!(record(&ledger, 1).await.state, JournalState::Signed);
}

pub async fn s10_states_move_as_they_may<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let state = async || record(&ledger, 1).await.state;
    prepare(&ledger, 1).await;
    assert_eq!(state().await, JournalState::Prepared);
    sign(&ledger, &[], &[1], 1, "a1").await;
    assert_eq!(state().await, JournalState::Signed);
    ledger.sent(&network(), "0xa1").await.unwrap();
    assert_eq!(state().await, JournalState::Broadcast);
    // A replacement has not left, until it has; that an older one did says nothing of it.
    sign(&ledger, &[], &[1], 1, "a2").await;
    assert_eq!(state().await, JournalState::Signed);
    ledger.sent(&network(), "0xa1").await.unwrap();
    assert_eq!(state().await, JournalState::Signed);
    ledger.sent(&network(), "0xa2").await.unwrap();
    assert_eq!(state().await, JournalState::Broadcast);
    finish(&ledger, 1, settled("a1", 5)).await.unwrap();
    assert_eq!(state().await, JournalState::Settled);
    ledger.reopen(&[key(1)]).await.unwrap();
    assert_eq!(state().await, JournalState::Broadcast);
    finish(&ledger, 1, failed("invalid_transaction_state")).await.unwrap();
    assert_eq!(state().await, JournalState::Failed);
    is_conflict(ledger.reopen(&[key(1)]).await);
    // What was never signed can end, too.
    prepare(&ledger, 2).await;
    finish(&ledger, 2, failed("unexpected_settle_error")).await.unwrap();
    assert_eq!(record(&ledger, 2).await.state, JournalState::Failed);
}

pub async fn pages_go_through_all_records_once<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    for n in 0..7 {
        ledger.prepare(&[verified(n)], true, NOW.plus(n)).await.unwrap();
    }
    sign(&ledger, &[], &[2, 4], 1, "a1").await;
    finish(&ledger, 4, settled("a1", 5)).await.unwrap();
    let base = Network::eip155(8453);
    let elsewhere = payment_of(&base, 1, 10_000, "0x01").at(NOW).unwrap();
    ledger.prepare(&[elsewhere], true, NOW.plus(7)).await.unwrap();
    let all = |filter: Filter| {
        let ledger = &ledger;
        async move {
            let (mut found, mut after) = (Vec::new(), 0);
            loop {
                let page = ledger.page(&filter, after, 3).await.unwrap();
                assert!(page.len() <= 3);
                let Some(last) = page.last() else { return found };
                assert!(last.id > after);
                after = last.id;
                found.extend(page);
            }
        }
    };
    let created = |records: Vec<Record>| records.iter().map(|r| r.created.0 - NOW.0).collect::<Vec<_>>();
    let everything = all(Filter::default()).await;
    assert_eq!(everything[4], record(&ledger, 4).await);
    assert_eq!(created(everything), [0, 1, 2, 3, 4, 5, 6, 7]);
    let on = Filter { network: Some(base), ..Filter::default() };
    assert_eq!(created(all(on).await), [7]);
    let state = |state| Filter { state: Some(state), ..Filter::default() };
    assert_eq!(created(all(state(JournalState::Settled)).await), [4]);
    assert_eq!(created(all(state(JournalState::Signed)).await), [2]);
    assert!(all(state(JournalState::Failed)).await.is_empty());
    let time = |since: u64, until| Filter {
        network: Some(network()),
        since: NOW.plus(since),
        until,
        ..Filter::default()
    };
    assert_eq!(created(all(time(1, NOW.plus(6))).await), [1, 2, 3, 4, 5]);
    assert_eq!(created(all(time(5, UnixTime(u64::MAX))).await), [5, 6]);
    assert!(all(time(50, UnixTime(u64::MAX))).await.is_empty());
    assert_eq!(ledger.page(&Filter::default(), 0, 0).await.unwrap(), []);
}

pub async fn a_ledger_that_can_be_written_is_healthy<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    ledger.healthy().await.unwrap();
}
