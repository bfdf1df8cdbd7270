//! The facilitator's half.

use std::sync::Arc;

use tollway_protocol::{Code, Network, PaymentRequest};

use super::claims::is_conflict;
use super::fixture::{NOW, network, payment, payment_of, transaction, verified};
use super::{Clock, Site};
use crate::{Ending, Journal, JournalState, Prepared, Record};

pub(super) async fn prepare(ledger: &impl Journal, n: u64) -> Prepared {
    ledger.prepare(&verified(n), NOW).await.unwrap()
}

pub(super) async fn record(ledger: &impl Journal, n: u64) -> Record {
    ledger.settlement(payment(n).key()).await.unwrap().unwrap()
}

pub(super) async fn sign(ledger: &impl Journal, n: u64, nonce: u64, tag: &str) {
    prepare(ledger, n).await;
    ledger.signed(payment(n).key(), transaction(nonce, tag)).await.unwrap();
}

fn settled(hash: &str) -> Ending {
    Ending::Settled { hash: hash.into() }
}

fn failed(code: &str) -> Ending {
    Ending::Failed { reason: Code::new(code), message: "it reverted".into(), hash: Some("0xa1".into()) }
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

pub async fn fa03_nothing_is_broadcast_that_was_not_signed<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let key = payment(1).key().clone();
    is_conflict(ledger.signed(&key, transaction(0, "a1")).await);
    is_conflict(ledger.broadcast(&key).await);
    assert_eq!(prepare(&ledger, 1).await, Prepared::New);
    is_conflict(ledger.broadcast(&key).await);
    is_conflict(ledger.rejected(&key).await);
    ledger.signed(&key, transaction(0, "a1")).await.unwrap();
    assert_eq!(record(&ledger, 1).await.state, JournalState::Signed);
    ledger.broadcast(&key).await.unwrap();
    ledger.broadcast(&key).await.unwrap();
    assert_eq!(record(&ledger, 1).await.state, JournalState::Broadcast);
}

pub async fn fa03_an_unfinished_settlement_keeps_all_that_it_needs<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    assert_eq!(ledger.settlement(payment(1).key()).await.unwrap(), None);
    sign(&ledger, 1, 7, "a1").await;
    let Prepared::Exists(found) = prepare(&ledger, 1).await else { panic!("new again") };
    assert_eq!(*found, record(&ledger, 1).await);
    assert_eq!(found.key, *payment(1).key());
    assert_eq!((found.network, found.created), (network(), NOW));
    assert_eq!(found.transaction, Some(transaction(7, "a1")));
    assert_eq!(found.hash.as_deref(), Some("0xa1"));
    let request: PaymentRequest = serde_json::from_str(&found.request).unwrap();
    assert_eq!(request, payment(1).to_request());
}

pub async fn fa04_a_nonce_carries_one_payment<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, 1, 7, "a1").await;
    prepare(&ledger, 2).await;
    let other = payment(2).key().clone();
    is_conflict(ledger.signed(&other, transaction(7, "b1")).await);
    // The same account by another spelling, and the same transaction by another nonce.
    let mut spelt = transaction(7, "b1");
    spelt.signer = spelt.signer.to_lowercase();
    is_conflict(ledger.signed(&other, spelt).await);
    is_conflict(ledger.signed(&other, transaction(8, "a1")).await);
    assert_eq!(record(&ledger, 2).await.state, JournalState::Prepared);
    // A replaced transaction may still be mined, and a finished one was.
    ledger.signed(payment(1).key(), transaction(9, "a2")).await.unwrap();
    is_conflict(ledger.signed(&other, transaction(7, "b1")).await);
    ledger.finish(payment(1).key(), settled("0xa2")).await.unwrap();
    is_conflict(ledger.signed(&other, transaction(9, "b1")).await);
    ledger.signed(&other, transaction(8, "b1")).await.unwrap();
}

pub async fn fa04_replaced_transactions_stay_in_the_history<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let key = payment(1).key().clone();
    sign(&ledger, 1, 7, "a1").await;
    ledger.broadcast(&key).await.unwrap();
    // Signing the same again, as after an answer that was lost, changes nothing.
    ledger.signed(&key, transaction(7, "a1")).await.unwrap();
    assert_eq!(record(&ledger, 1).await.state, JournalState::Broadcast);
    ledger.signed(&key, transaction(7, "a2")).await.unwrap();
    let found = record(&ledger, 1).await;
    assert_eq!((found.state, found.hash.as_deref()), (JournalState::Signed, Some("0xa2")));
    let history = ledger.history(&key).await.unwrap();
    let told: Vec<_> =
        history.iter().map(|a| (a.transaction.hash.as_str(), a.sent, a.replaced, a.rejected)).collect();
    assert_eq!(told, [("0xa1", true, true, false), ("0xa2", false, false, false)]);
    assert_eq!(history[0].transaction, transaction(7, "a1"));
    // The replaced one is the one that was mined.
    ledger.finish(&key, settled("0xa1")).await.unwrap();
    let found = record(&ledger, 1).await;
    assert_eq!((found.state, found.hash.as_deref()), (JournalState::Settled, Some("0xa1")));
    assert_eq!(ledger.history(&key).await.unwrap().len(), 2);
}

pub async fn fa06_a_rejected_transaction_frees_its_nonce<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let key = payment(1).key().clone();
    sign(&ledger, 1, 7, "a1").await;
    ledger.broadcast(&key).await.unwrap();
    // A replacement that was not taken leaves the one before it.
    ledger.signed(&key, transaction(7, "a2")).await.unwrap();
    ledger.rejected(&key).await.unwrap();
    let found = record(&ledger, 1).await;
    assert_eq!((found.state, found.hash.as_deref()), (JournalState::Broadcast, Some("0xa1")));
    prepare(&ledger, 2).await;
    is_conflict(ledger.signed(payment(2).key(), transaction(7, "b1")).await);
    // With none left the nonce is anyone's.
    ledger.rejected(&key).await.unwrap();
    let found = record(&ledger, 1).await;
    assert_eq!((found.state, found.transaction), (JournalState::Prepared, None));
    assert_eq!(ledger.next_nonce(&network(), &transaction(0, "").signer).await.unwrap(), None);
    ledger.signed(payment(2).key(), transaction(7, "b1")).await.unwrap();
    // It was signed once, so that it is not forgotten but finished.
    is_conflict(ledger.abandon_settlement(&key).await);
    assert_eq!(ledger.history(&key).await.unwrap().len(), 2);
    ledger.signed(&key, transaction(8, "a3")).await.unwrap();
}

pub async fn fa06_the_next_nonce_follows_the_highest_that_counts<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let signer = transaction(0, "").signer;
    let next = async |network: Network| ledger.next_nonce(&network, &signer).await.unwrap();
    assert_eq!(next(network()).await, None);
    sign(&ledger, 1, 7, "a1").await;
    sign(&ledger, 2, 6, "b1").await;
    assert_eq!(next(network()).await, Some(8));
    assert_eq!(next(Network::eip155(1)).await, None);
    ledger.finish(payment(1).key(), settled("0xa1")).await.unwrap();
    assert_eq!(next(network()).await, Some(8));
    sign(&ledger, 3, 8, "c1").await;
    ledger.rejected(payment(3).key()).await.unwrap();
    assert_eq!(next(network()).await, Some(8));
    assert_eq!(ledger.next_nonce(&network(), &signer.to_lowercase()).await.unwrap(), Some(8));
    assert_eq!(ledger.next_nonce(&network(), "0x0").await.unwrap(), None);
}

pub async fn i18_a_finished_settlement_never_changes<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    for (n, ending, others) in [
        (1, settled("0xa1"), [settled("0xa9"), failed("invalid_transaction_state")]),
        (2, failed("invalid_transaction_state"), [settled("0xa1"), failed("unexpected_settle_error")]),
    ] {
        let key = payment(n).key().clone();
        sign(&ledger, n, n, &format!("a{n}")).await;
        ledger.finish(&key, ending.clone()).await.unwrap();
        let before = record(&ledger, n).await;
        ledger.finish(&key, ending).await.unwrap();
        for other in others {
            is_conflict(ledger.finish(&key, other).await);
        }
        is_conflict(ledger.signed(&key, transaction(9, "x")).await);
        is_conflict(ledger.rejected(&key).await);
        is_conflict(ledger.abandon_settlement(&key).await);
        ledger.broadcast(&key).await.unwrap();
        let Prepared::Exists(found) = prepare(&ledger, n).await else { panic!("new again") };
        assert_eq!(*found, before);
    }
    let found = record(&ledger, 2).await;
    assert_eq!(found.reason, Some(Code::new("invalid_transaction_state")));
    assert_eq!(found.message.as_deref(), Some("it reverted"));
}

pub async fn open_lists_the_unfinished_of_one_network<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    prepare(&ledger, 3).await;
    sign(&ledger, 1, 1, "a1").await;
    sign(&ledger, 2, 2, "b1").await;
    ledger.broadcast(payment(2).key()).await.unwrap();
    sign(&ledger, 4, 4, "d1").await;
    ledger.finish(payment(4).key(), settled("0xd1")).await.unwrap();
    prepare(&ledger, 5).await;
    ledger.finish(payment(5).key(), failed("unexpected_settle_error")).await.unwrap();
    let base = Network::eip155(8453);
    let elsewhere = payment_of(&base, 1, 10_000, "0x01").at(NOW).unwrap();
    assert_eq!(ledger.prepare(&elsewhere, NOW).await.unwrap(), Prepared::New);
    let states: Vec<_> = ledger.open(&network()).await.unwrap().iter().map(|r| r.state).collect();
    assert_eq!(states, [JournalState::Prepared, JournalState::Signed, JournalState::Broadcast]);
    assert_eq!(ledger.open(&base).await.unwrap().len(), 1);
    let settled = ledger.settlements(&network()).await.unwrap();
    assert_eq!(settled, [record(&ledger, 4).await]);
    assert_eq!(ledger.settlements(&base).await.unwrap(), []);
}

pub async fn only_an_unsigned_settlement_is_abandoned<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let key = payment(1).key().clone();
    ledger.abandon_settlement(&key).await.unwrap();
    prepare(&ledger, 1).await;
    ledger.abandon_settlement(&key).await.unwrap();
    assert_eq!(prepare(&ledger, 1).await, Prepared::New);
    ledger.signed(&key, transaction(1, "a1")).await.unwrap();
    is_conflict(ledger.abandon_settlement(&key).await);
    assert_eq!(record(&ledger, 1).await.state, JournalState::Signed);
}

pub async fn a_ledger_that_can_be_written_is_healthy<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    ledger.healthy().await.unwrap();
}
