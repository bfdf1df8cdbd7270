//! Nonces and what is recorded under them; who may send.

use tollway_protocol::Network;

use super::claims::is_conflict;
use super::fixture::{BID, NOW, SIGNER, batch, key, network, transaction};
use super::journal::{finish, leased, prepare, record, settled, sign, try_sign};
use super::{Clock, Site};
use crate::{Attempt, Holder, Journal, JournalState, Mined, Signing};

/// Each transaction's hash, and whether it was sent and replaced.
fn told(attempts: Vec<Attempt>) -> Vec<(String, bool, bool)> {
    attempts.into_iter().map(|a| (a.transaction.hash, a.sent, a.replaced)).collect()
}

pub(super) fn mined(tag: &str, block: u64, fee_gwei: u64, reverted: &[u64]) -> Mined {
    let reverted = reverted.iter().copied().map(key).collect();
    Mined { hash: format!("0x{tag}"), block, fee_gwei, reverted }
}

pub async fn fa04_a_nonce_belongs_to_one_batch_for_ever<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1, 2, 3], &[], 7, "a1").await;
    prepare(&ledger, 4).await;
    let refused = async |new: &[u64], again: &[u64], nonce, tag: &str| {
        is_conflict(try_sign(&ledger, batch(new, again, transaction(nonce, tag))).await);
    };
    refused(&[], &[4], 7, "b1").await;
    refused(&[], &[1, 4], 7, "b1").await;
    refused(&[5], &[], 7, "b1").await;
    refused(&[5], &[1], 7, "b1").await;
    // The same account by another spelling.
    let mut spelt = batch(&[], &[4], transaction(7, "b1"));
    spelt.transaction.signer = SIGNER.to_lowercase();
    is_conflict(try_sign(&ledger, spelt).await);
    // Fewer of them may go on, and come back.
    sign(&ledger, &[], &[3, 1], 7, "a2").await;
    sign(&ledger, &[], &[2, 3], 7, "a3").await;
    refused(&[], &[4], 7, "b1").await;
    // Nor does it matter that they are finished.
    finish(&ledger, 1, settled("their", 5)).await.unwrap();
    refused(&[], &[4], 7, "b1").await;
    sign(&ledger, &[], &[4], 8, "b1").await;
    assert_eq!(ledger.history(&key(4)).await.unwrap().len(), 1);
}

pub async fn fa04_replaced_transactions_stay_in_the_history<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1, 2], &[], 7, "a1").await;
    ledger.sent(&network(), "0xa1").await.unwrap();
    sign(&ledger, &[], &[1], 7, "a2").await;
    let found = record(&ledger, 1).await;
    assert_eq!((found.state, found.hash.as_deref()), (JournalState::Signed, Some("0xa2")));
    // What the replacement carries no more keeps the one that did.
    let found = record(&ledger, 2).await;
    assert_eq!((found.state, found.hash.as_deref()), (JournalState::Broadcast, Some("0xa1")));
    let history = ledger.history(&key(1)).await.unwrap();
    assert_eq!(history[0].transaction, transaction(7, "a1"));
    assert_eq!(history[0].carries, [key(1), key(2)]);
    assert_eq!(history[1].carries, [key(1)]);
    assert_eq!(told(history), [("0xa1".into(), true, true), ("0xa2".into(), false, false)]);
    assert_eq!(told(ledger.history(&key(2)).await.unwrap()), [("0xa1".into(), true, true)]);
    // The replaced one is the one that was mined.
    let all = [(key(1), settled("a1", 5)), (key(2), settled("a1", 5))];
    let ended = ledger.finish(&network(), &[mined("a1", 5, 9, &[])], &all, NOW).await.unwrap();
    assert_eq!(ended, [Ok(()), Ok(())]);
    let found = record(&ledger, 1).await;
    assert_eq!((found.state, found.hash.as_deref()), (JournalState::Settled, Some("0xa1")));
    let blocks: Vec<_> = ledger.history(&key(1)).await.unwrap().iter().map(|a| a.block).collect();
    assert_eq!(blocks, [Some(5), None]);
}

pub async fn fa04_the_same_transaction_once_more_changes_nothing<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1, 2], &[], 7, "a1").await;
    ledger.sent(&network(), "0xa1").await.unwrap();
    let before = ledger.history(&key(1)).await.unwrap();
    // As after an answer that was lost: the payments are taken now, and the budget may be spent.
    let again = batch(&[1, 2], &[], transaction(7, "a1"));
    let Signing::Taken(taken) = try_sign(&ledger, again).await.unwrap() else { panic!("not taken") };
    assert_eq!(taken.len(), 2);
    let mut again = batch(&[], &[1, 2], transaction(7, "a1"));
    again.budget_gwei = 0;
    assert_eq!(try_sign(&ledger, again).await.unwrap(), Signing::Done);
    assert_eq!(record(&ledger, 1).await.state, JournalState::Broadcast);
    assert_eq!(ledger.history(&key(1)).await.unwrap(), before);
    assert_eq!(ledger.spent_gwei(&network(), NOW).await.unwrap(), BID);
    // With other payments it would be another transaction.
    is_conflict(try_sign(&ledger, batch(&[], &[1], transaction(7, "a1"))).await);
    is_conflict(try_sign(&ledger, batch(&[], &[], transaction(7, "a1"))).await);
}

pub async fn fa05_a_transaction_without_payments_spends_a_nonce<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    // In a gap: then nobody else goes there.
    sign(&ledger, &[], &[], 6, "f1").await;
    is_conflict(try_sign(&ledger, batch(&[1], &[], transaction(6, "a1"))).await);
    assert_eq!(ledger.settlement(&key(1)).await.unwrap(), None);
    sign(&ledger, &[], &[], 6, "f2").await;
    // In the place of a batch: its payments may go into another one, under another nonce.
    sign(&ledger, &[1, 2], &[], 7, "a1").await;
    sign(&ledger, &[], &[], 7, "f3").await;
    assert_eq!(record(&ledger, 1).await.transaction, Some(transaction(7, "a1")));
    sign(&ledger, &[3], &[1], 8, "b1").await;
    assert_eq!(record(&ledger, 1).await.transaction, Some(transaction(8, "b1")));
    assert_eq!(record(&ledger, 2).await.transaction, Some(transaction(7, "a1")));
    let history = ledger.history(&key(1)).await.unwrap();
    assert_eq!(told(history), [("0xa1".into(), false, true), ("0xb1".into(), false, false)]);
    let latest = ledger.nonces(&network(), SIGNER, 0).await.unwrap();
    let carried: Vec<_> = latest.iter().map(|a| (a.transaction.nonce, a.carries.clone())).collect();
    assert_eq!(carried, [(6, vec![]), (7, vec![]), (8, vec![key(3), key(1)])]);
}

pub async fn s08_a_nonce_that_a_mined_transaction_spent_is_used_no_more<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1, 2], &[], 7, "a1").await;
    sign(&ledger, &[], &[1, 2], 7, "a2").await;
    let ended = [(key(1), settled("a1", 5))];
    ledger.finish(&network(), &[mined("a1", 5, 9, &[2])], &ended, NOW).await.unwrap();
    for (again, tag) in [(&[2][..], "a3"), (&[], "f1"), (&[2], "a2"), (&[1, 2], "a1")] {
        is_conflict(try_sign(&ledger, batch(&[], again, transaction(7, tag))).await);
    }
    // What did not succeed in it may be tried under another one.
    sign(&ledger, &[], &[2], 8, "b1").await;
    // A reorg takes the transaction out of its block, and its nonce is its payments' again.
    ledger.reopen(&[key(1)]).await.unwrap();
    sign(&ledger, &[], &[1, 2], 7, "a4").await;
    is_conflict(try_sign(&ledger, batch(&[3], &[], transaction(7, "a5"))).await);
}

pub async fn fa06_the_next_nonce_follows_the_highest<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let next = async |network: Network| ledger.next_nonce(&network, SIGNER).await.unwrap();
    assert_eq!(next(network()).await, None);
    sign(&ledger, &[1], &[], 7, "a1").await;
    sign(&ledger, &[2], &[], 6, "b1").await;
    assert_eq!(next(network()).await, Some(8));
    assert_eq!(next(Network::eip155(1)).await, None);
    let ended = [(key(1), settled("a1", 5))];
    ledger.finish(&network(), &[mined("a1", 5, 9, &[])], &ended, NOW).await.unwrap();
    assert_eq!(next(network()).await, Some(8));
    sign(&ledger, &[], &[], 8, "f1").await;
    assert_eq!(ledger.next_nonce(&network(), &SIGNER.to_lowercase()).await.unwrap(), Some(9));
    assert_eq!(ledger.next_nonce(&network(), "0x0").await.unwrap(), None);
}

pub async fn fa06_the_latest_transaction_of_each_nonce_is_told<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    assert_eq!(ledger.nonces(&network(), SIGNER, 0).await.unwrap(), []);
    sign(&ledger, &[3], &[], 9, "c1").await;
    sign(&ledger, &[1, 2], &[], 7, "a1").await;
    sign(&ledger, &[], &[2], 7, "a2").await;
    ledger.sent(&network(), "0xa2").await.unwrap();
    ledger.finish(&network(), &[mined("a1", 5, 9, &[])], &[], NOW).await.unwrap();
    let latest = ledger.nonces(&network(), &SIGNER.to_lowercase(), 0).await.unwrap();
    assert_eq!(latest[0].carries, [key(2)]);
    assert_eq!((latest[0].block, latest[0].sent), (None, true), "the one that was mined is replaced");
    assert_eq!(told(latest), [("0xa2".into(), true, false), ("0xc1".into(), false, false)]);
    for (first, count) in [(7, 2), (8, 1), (9, 1), (10, 0), (u64::MAX, 0)] {
        assert_eq!(ledger.nonces(&network(), SIGNER, first).await.unwrap().len(), count);
    }
    assert_eq!(ledger.nonces(&Network::eip155(1), SIGNER, 0).await.unwrap(), []);
}

pub async fn fa04_a_lease_is_confirmed_until_it_is_given_back<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let lease = leased(&ledger).await;
    assert_eq!((lease.network(), lease.signer()), (&network(), SIGNER));
    assert_eq!(leased(&ledger).await, lease);
    // The same account on another network, and another account, are leased apart.
    let elsewhere = ledger.lease(&Network::eip155(1), SIGNER).await.unwrap().unwrap();
    let another = ledger.lease(&network(), "0x01").await.unwrap().unwrap();
    ledger.give_back(&elsewhere).await.unwrap();
    ledger.give_back(&another).await.unwrap();
    let one = batch(&[1], &[], transaction(0, "a1"));
    assert_eq!(ledger.sign(&elsewhere, one.clone(), NOW).await.unwrap(), Signing::Lost);
    assert_eq!(ledger.sign(&lease, one, NOW).await.unwrap(), Signing::Done);
    ledger.give_back(&lease).await.unwrap();
    let two = batch(&[2], &[], transaction(1, "b1"));
    assert_eq!(ledger.sign(&lease, two.clone(), NOW).await.unwrap(), Signing::Lost);
    let next = leased(&ledger).await;
    assert_ne!(next.turn(), lease.turn());
    // What the old one says counts no more, once it was given back.
    ledger.give_back(&lease).await.unwrap();
    assert_eq!(ledger.sign(&lease, two.clone(), NOW).await.unwrap(), Signing::Lost);
    assert_eq!(ledger.sign(&next, two, NOW).await.unwrap(), Signing::Done);
}

pub async fn what_is_not_held_is_taken_by_who_signs_it<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let unheld: Vec<_> = (1..=4).map(super::fixture::verified).collect();
    ledger.prepare(&unheld, false, NOW).await.unwrap();
    sign(&ledger, &[], &[1], 0, "a1").await;
    assert_eq!(record(&ledger, 1).await.holder, Holder::This);
    let over = ledger.take_over(&network(), 2).await.unwrap();
    assert_eq!(over, [record(&ledger, 2).await, record(&ledger, 3).await]);
    assert_eq!((over[0].holder, over[0].state), (Holder::This, JournalState::Prepared));
    assert_eq!(record(&ledger, 4).await.holder, Holder::Nobody);
    assert_eq!(ledger.take_over(&Network::eip155(1), 9).await.unwrap(), []);
    assert_eq!(ledger.take_over(&network(), 9).await.unwrap(), [record(&ledger, 4).await]);
    assert_eq!(ledger.take_over(&network(), 9).await.unwrap(), []);
}
