//! What a look at the chain found, and what it cost.

use tollway_protocol::{Code, Network};

use super::claims::is_conflict;
use super::fixture::{BID, NOW, PAYER, batch, finalize, key, network, transaction, verified_of};
use super::journal::{failed, finish, leased, prepare, record, settled, sign, try_sign};
use super::nonces::mined;
use super::{Clock, Site};
use crate::{Batch, Ending, Holder, Journal, JournalState, Mined, Signing};

const HOUR: u64 = 3_600;

/// Tells of mined transactions, without any ending.
async fn look(ledger: &impl Journal, found: &[Mined]) {
    assert_eq!(ledger.finish(&network(), found, &[], NOW).await.unwrap(), []);
}

async fn spent(ledger: &impl Journal) -> u64 {
    ledger.spent_gwei(&network(), NOW).await.unwrap()
}

async fn reverts(ledger: &impl Journal) -> u64 {
    ledger.reverts(&network(), PAYER, NOW).await.unwrap()
}

pub async fn fa21_many_endings_are_recorded_at_once<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1, 2, 3], &[], 7, "a1").await;
    prepare(&ledger, 4).await;
    let reverted = Code::new("invalid_transaction_state");
    let failing =
        Ending::Failed { reason: reverted.clone(), message: "no".into(), hash: Some("0xa1".into()) };
    let endings = [
        (key(1), settled("a1", 5)),
        (key(9), settled("a1", 5)),
        (key(2), failing),
        (key(1), settled("b1", 5)),
        (key(4), settled("their", 5)),
    ];
    let found = [mined("a1", 5, 10, &[2, 4, 8]), mined("nobody knows", 5, 99, &[])];
    let answers = ledger.finish(&network(), &found, &endings, NOW.plus(3)).await.unwrap();
    let ok: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, false, true, false, true]);
    answers.into_iter().filter(Result::is_err).for_each(is_conflict);
    use JournalState::{Failed, Settled, Signed};
    for (n, state, hash) in
        [(1, Settled, "0xa1"), (2, Failed, "0xa1"), (3, Signed, "0xa1"), (4, Settled, "0xtheir")]
    {
        let found = record(&ledger, n).await;
        assert_eq!((found.state, found.hash.as_deref()), (state, Some(hash)), "{n}");
        let ended = (state != Signed).then_some(NOW.plus(3));
        assert_eq!((found.ended, found.is_final), (ended, state == Failed), "{n}");
        // 10 gwei among the three that it carries, rounded up.
        assert_eq!(found.fee_gwei, (n != 4).then_some(4), "{n}");
    }
    assert_eq!(record(&ledger, 2).await.reason, Some(reverted));
    assert_eq!(reverts(&ledger).await, 1, "what it does not carry can't have reverted in it");
    let elsewhere = Network::eip155(1);
    let answers =
        ledger.finish(&elsewhere, &[mined("a1", 9, 1, &[])], &[(key(3), settled("a1", 5))], NOW).await;
    is_conflict(answers.unwrap().pop().unwrap());
    assert_eq!(record(&ledger, 3).await.fee_gwei, Some(4));
}

pub async fn fa21_the_same_ending_twice_is_one<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let failing = |message: &str| Ending::Failed {
        reason: Code::new("invalid_transaction_state"),
        message: message.into(),
        hash: None,
    };
    sign(&ledger, &[1, 2], &[], 7, "a1").await;
    finish(&ledger, 1, settled("a1", 5)).await.unwrap();
    finish(&ledger, 2, failing("the first")).await.unwrap();
    finish(&ledger, 1, settled("a1", 7)).await.unwrap();
    finish(&ledger, 1, settled("a1", 6)).await.unwrap();
    finish(&ledger, 2, failing("the second")).await.unwrap();
    assert_eq!(record(&ledger, 1).await.block, Some(7));
    assert_eq!(record(&ledger, 2).await.message.as_deref(), Some("the first"));
    // It is not final in the block that it was in first.
    assert_eq!(finalize(&ledger, &network(), 6).await, 0);
    assert_eq!(finalize(&ledger, &network(), 7).await, 1);
    finish(&ledger, 1, settled("a1", 9)).await.unwrap();
    assert_eq!(record(&ledger, 1).await.block, Some(7));
}

pub async fn fa21_what_is_in_final_blocks_is_final<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1, 2, 3, 4], &[], 7, "a1").await;
    for (n, block) in [(1, 5), (2, 6), (3, 7)] {
        finish(&ledger, n, settled("a1", block)).await.unwrap();
    }
    assert_eq!(ledger.unfinal(&Network::eip155(1), 9, 99).await.unwrap(), []);
    assert_eq!(ledger.unfinal(&network(), 4, 99).await.unwrap(), []);
    assert_eq!(
        ledger.unfinal(&network(), 6, 99).await.unwrap(),
        [record(&ledger, 1).await, record(&ledger, 2).await]
    );
    assert_eq!(finalize(&ledger, &Network::eip155(1), 9).await, 0);
    assert_eq!(finalize(&ledger, &network(), 4).await, 0);
    assert_eq!(finalize(&ledger, &network(), 6).await, 2);
    assert_eq!(finalize(&ledger, &network(), 6).await, 0);
    assert_eq!(ledger.unfinal(&network(), 9, 99).await.unwrap(), [record(&ledger, 3).await]);
    for (n, is_final) in [(1, true), (2, true), (3, false), (4, false)] {
        assert_eq!(record(&ledger, n).await.is_final, is_final, "{n}");
    }
    assert_eq!(finalize(&ledger, &network(), u64::MAX).await, 1);
    let before = record(&ledger, 3).await;
    is_conflict(ledger.reopen(&[key(3)]).await);
    assert_eq!(record(&ledger, 3).await, before);
}

pub async fn fa21_only_what_was_looked_at_again_becomes_final<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1, 2, 3, 4], &[], 7, "a1").await;
    for (n, block) in [(1, 6), (2, 5), (3, 5)] {
        finish(&ledger, n, settled("a1", block)).await.unwrap();
    }
    // The oldest blocks first, and no more than was asked for.
    let due = async |limit| {
        let records = ledger.unfinal(&network(), 9, limit).await.unwrap();
        records.into_iter().map(|record| record.key).collect::<Vec<_>>()
    };
    assert_eq!((due(2).await, due(0).await), (vec![key(2), key(3)], vec![]));
    assert_eq!(due(99).await, [key(2), key(3), key(1)]);
    // What is too high, not settled, not there or another network's is passed over.
    let named = [key(1), key(3), key(4), key(9)];
    assert_eq!(ledger.finalize(&Network::eip155(1), 9, &named).await.unwrap(), 0);
    assert_eq!(ledger.finalize(&network(), 5, &named).await.unwrap(), 1);
    assert_eq!(due(99).await, [key(2), key(1)]);
    assert_eq!(ledger.finalize(&network(), 9, &[]).await.unwrap(), 0);
    assert_eq!(ledger.finalize(&network(), 9, &[key(1), key(1)]).await.unwrap(), 1);
    assert_eq!(due(99).await, [key(2)]);
    ledger.reopen(&[key(2)]).await.unwrap();
    is_conflict(ledger.reopen(&[key(3)]).await);
}

pub async fn fa21_a_reorg_takes_back_what_is_not_final<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1, 2, 3], &[], 7, "a1").await;
    sign(&ledger, &[], &[1, 2, 3], 7, "a2").await;
    let bid = spent(&ledger).await;
    let endings = [1, 2].map(|n| (key(n), settled("a1", 5)));
    ledger.finish(&network(), &[mined("a1", 5, 30, &[3])], &endings, NOW).await.unwrap();
    assert_eq!((spent(&ledger).await, reverts(&ledger).await), (30, 1));
    // None is taken back with one that can't be.
    for wrong in [3, 9] {
        is_conflict(ledger.reopen(&[key(1), key(wrong)]).await);
        assert_eq!(record(&ledger, 1).await.state, JournalState::Settled);
    }
    ledger.reopen(&[key(1), key(1)]).await.unwrap();
    let found = record(&ledger, 1).await;
    assert_eq!((found.state, found.holder), (JournalState::Broadcast, Holder::This));
    assert_eq!((found.block, found.ended, found.fee_gwei), (None, None, None));
    // i18: the answers go on to name the transaction that they named, until there is another one.
    assert_eq!(found.hash.as_deref(), Some("0xa1"));
    assert_eq!(ledger.history(&key(1)).await.unwrap()[0].block, None);
    assert_eq!((spent(&ledger).await, reverts(&ledger).await), (bid, 0));
    // The other is settled until it is taken back as well; its transaction is not mined now.
    assert_eq!(record(&ledger, 2).await.state, JournalState::Settled);
    ledger.reopen(&[key(2)]).await.unwrap();
    ledger.reopen(&[]).await.unwrap();
    sign(&ledger, &[], &[1, 2, 3], 7, "a3").await;
    assert_eq!(record(&ledger, 1).await.hash.as_deref(), Some("0xa3"));
    // Whichever is mined in the end is the one.
    let endings = [1, 2].map(|n| (key(n), settled("a2", 6)));
    let answers = ledger.finish(&network(), &[mined("a2", 6, 40, &[])], &endings, NOW).await.unwrap();
    assert_eq!(answers, [Ok(()), Ok(())]);
    assert_eq!((spent(&ledger).await, record(&ledger, 2).await.fee_gwei), (40, Some(14)));
}

pub async fn fa21_a_reorg_takes_back_only_its_block_and_later_ones<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1], &[], 7, "a1").await;
    look(&ledger, &[mined("a1", 5, 30, &[1])]).await;
    sign(&ledger, &[], &[1], 8, "b1").await;
    let ending = [(key(1), settled("their", 6))];
    ledger.finish(&network(), &[mined("b1", 7, 20, &[1])], &ending, NOW).await.unwrap();
    assert_eq!((record(&ledger, 1).await.fee_gwei, reverts(&ledger).await), (Some(50), 2));
    ledger.reopen(&[key(1)]).await.unwrap();
    let blocks: Vec<_> = ledger.history(&key(1)).await.unwrap().iter().map(|a| a.block).collect();
    assert_eq!(blocks, [Some(5), None]);
    assert_eq!((record(&ledger, 1).await.fee_gwei, reverts(&ledger).await), (Some(30), 1));
    assert_eq!(spent(&ledger).await, 30 + BID);
}

pub async fn fa21_what_another_carried_goes_on_after_a_reorg<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    prepare(&ledger, 1).await;
    finish(&ledger, 1, settled("their", 5)).await.unwrap();
    ledger.reopen(&[key(1)]).await.unwrap();
    let found = record(&ledger, 1).await;
    assert_eq!((found.state, found.transaction), (JournalState::Broadcast, None));
    assert_eq!(found.hash.as_deref(), Some("0xtheir"));
    // It was told to be settled, so that it is not forgotten.
    is_conflict(ledger.abandon_settlement(&key(1)).await);
    assert_eq!(ledger.open(&network()).await.unwrap(), [record(&ledger, 1).await]);
    sign(&ledger, &[], &[1], 7, "a1").await;
    assert_eq!(record(&ledger, 1).await.hash.as_deref(), Some("0xa1"));
    finish(&ledger, 1, settled("their", 6)).await.unwrap();
    assert_eq!(record(&ledger, 1).await.hash.as_deref(), Some("0xtheir"));
}

pub async fn fa21_a_transaction_that_is_found_again_is_where_it_was_found_last<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1, 2], &[], 7, "a1").await;
    sign(&ledger, &[], &[1], 7, "a2").await;
    let blocks = async || {
        let history = ledger.history(&key(1)).await.unwrap();
        history.iter().map(|a| a.block).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        look(&ledger, &[mined("a1", 5, 30, &[1])]).await;
        assert_eq!((blocks().await, spent(&ledger).await), (vec![Some(5), None], 30));
        assert_eq!(reverts(&ledger).await, 1);
    }
    // fa15: a look that has not found out yet what reverted takes nothing back.
    look(&ledger, &[mined("a1", 5, 30, &[])]).await;
    assert_eq!((spent(&ledger).await, reverts(&ledger).await), (30, 1));
    look(&ledger, &[mined("a1", 4, 99, &[])]).await;
    assert_eq!((blocks().await, spent(&ledger).await, reverts(&ledger).await), (vec![Some(5), None], 30, 1));
    look(&ledger, &[mined("a1", 6, 40, &[2])]).await;
    assert_eq!((blocks().await, spent(&ledger).await, reverts(&ledger).await), (vec![Some(6), None], 40, 1));
    assert_eq!(record(&ledger, 1).await.fee_gwei, Some(20));
    // Of a nonce one transaction is mined.
    look(&ledger, &[mined("a2", 6, 50, &[])]).await;
    assert_eq!((blocks().await, spent(&ledger).await, reverts(&ledger).await), (vec![None, Some(6)], 50, 0));
    assert_eq!((record(&ledger, 1).await.fee_gwei, record(&ledger, 2).await.fee_gwei), (Some(50), None));
}

pub async fn reverts_are_counted_for_each_payer<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let other = "0x209693bc6afc0c5328ba36faf03c514ef312287c";
    sign(&ledger, &[1, 2], &[], 7, "a1").await;
    let mut late = batch(&[3], &[1], transaction(8, "b1"));
    late.new.push(verified_of(other, 5));
    let lease = leased(&ledger).await;
    assert_eq!(ledger.sign(&lease, late, NOW.plus(100)).await.unwrap(), Signing::Done);
    let mut second = mined("b1", 6, 1, &[1, 3]);
    second.reverted.push(verified_of(other, 5).key().clone());
    look(&ledger, &[mined("a1", 5, 1, &[1, 2]), second]).await;
    let since =
        async |payer: &str, seconds| ledger.reverts(&network(), payer, NOW.plus(seconds)).await.unwrap();
    assert_eq!((since(PAYER, 0).await, since(PAYER, 1).await, since(PAYER, 100).await), (4, 1, 1));
    assert_eq!((since(PAYER, 101).await, since(other, 0).await, since("0x0", 0).await), (0, 1, 0));
    assert_eq!(ledger.reverts(&Network::eip155(1), PAYER, NOW).await.unwrap(), 0);
    // That a payment failed for another reason is no revert.
    prepare(&ledger, 6).await;
    finish(&ledger, 6, failed("insufficient_funds")).await.unwrap();
    assert_eq!(since(PAYER, 0).await, 4);
}

pub async fn fa24_the_budget_runs_over_24_hours<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    let lease = leased(&ledger).await;
    let bid = async |n: u64, bid_gwei, hour: u64| {
        let batch =
            Batch { bid_gwei, budget_gwei: 100, ..batch(&[n], &[], transaction(n, &format!("a{n}"))) };
        ledger.sign(&lease, batch, NOW.plus(hour * HOUR)).await.unwrap()
    };
    let spent = async |seconds| ledger.spent_gwei(&network(), NOW.plus(seconds)).await.unwrap();
    assert_eq!(NOW.0 % HOUR, 0, "an hour begins here");
    assert_eq!(bid(1, 60, 0).await, Signing::Done);
    assert_eq!((spent(0).await, spent(25 * HOUR - 1).await, spent(25 * HOUR).await), (60, 60, 0));
    assert_eq!(bid(2, 41, 0).await, Signing::OverBudget);
    assert_eq!(ledger.settlement(&key(2)).await.unwrap(), None);
    assert_eq!(bid(2, 40, 10).await, Signing::Done);
    assert_eq!(bid(3, 1, 24).await, Signing::OverBudget);
    assert_eq!(bid(3, 61, 25).await, Signing::OverBudget);
    assert_eq!(bid(3, 60, 25).await, Signing::Done);
    assert_eq!(spent(25 * HOUR).await, 100);
    assert_eq!((spent(34 * HOUR).await, spent(35 * HOUR).await, spent(50 * HOUR).await), (100, 60, 0));
    assert_eq!(ledger.spent_gwei(&Network::eip155(1), NOW).await.unwrap(), 0);
}

pub async fn fa24_what_a_transaction_cost_takes_the_place_of_its_bid<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1], &[], 7, "a1").await;
    sign(&ledger, &[2], &[], 8, "b1").await;
    assert_eq!(spent(&ledger).await, 2 * BID);
    look(&ledger, &[mined("a1", 5, 300, &[])]).await;
    assert_eq!(spent(&ledger).await, BID + 300);
    // It may cost more than was bid, where a fee for data comes on top.
    look(&ledger, &[mined("b1", 5, BID + 1, &[])]).await;
    assert_eq!(spent(&ledger).await, BID + 301);
    // The cost counts in the hour of the bid.
    assert_eq!(ledger.spent_gwei(&network(), NOW.plus(25 * HOUR)).await.unwrap(), 0);
}

pub async fn fa24_what_is_proven_never_to_be_mined_counts_no_more<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1], &[], 7, "a1").await;
    sign(&ledger, &[2], &[], 8, "b1").await;
    look(&ledger, &[mined("b1", 5, 300, &[])]).await;
    sign(&ledger, &[3], &[], 9, "c1").await;
    let all = ["a1", "b1", "c1", "unknown"].map(|tag| format!("0x{tag}"));
    for hashes in [&all[..], &all[..1], &[]] {
        ledger.never_mined(&network(), hashes).await.unwrap();
        assert_eq!(spent(&ledger).await, 300, "{hashes:?}");
    }
    // It is a block that counts in the end.
    look(&ledger, &[mined("a1", 6, 200, &[])]).await;
    assert_eq!(spent(&ledger).await, 500);
}

pub async fn fa24_the_transactions_of_a_nonce_count_once<S: Site>(site: &S) {
    let ledger = site.open(&Clock::default()).await;
    sign(&ledger, &[1], &[], 7, "a1").await;
    let bump = async |tag: &str, bid_gwei, budget_gwei| {
        let batch = Batch { bid_gwei, budget_gwei, ..batch(&[], &[1], transaction(7, tag)) };
        try_sign(&ledger, batch).await.unwrap()
    };
    assert_eq!(bump("a2", BID + 50, BID + 49).await, Signing::OverBudget);
    assert_eq!(bump("a2", BID + 50, BID + 50).await, Signing::Done);
    assert_eq!(spent(&ledger).await, BID + 50);
    // What can't cost more is not refused, so that a nonce can be freed whatever was spent.
    assert_eq!(bump("a3", BID + 50, 0).await, Signing::Done);
    assert_eq!(bump("a4", 1, 0).await, Signing::Done);
    assert_eq!(spent(&ledger).await, BID + 50);
    look(&ledger, &[mined("a3", 5, 70, &[])]).await;
    assert_eq!(spent(&ledger).await, 70);
}
