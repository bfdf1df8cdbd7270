//! Several processes on one store: the facilitator's half.

use std::sync::Arc;

use super::claims::is_conflict;
use super::fixture::{BID, NOW, SIGNER, batch, finalize, key, network, transaction, verified};
use super::journal::{failed, finish, leased, prepare, record, settled, sign};
use super::nonces::mined;
use super::shared::two;
use super::{Clock, LEASE_MILLIS, Site};
use crate::{Batch, Holder, Journal, JournalState, Prepared, Record, Signing};

/// A process, and another one by whose clock the first is dead.
async fn asleep_and_awake<S: Site>(site: &S) -> [S::Ledger; 2] {
    let clock = Clock::default();
    [site.open(&clock).await, site.open(&clock.ahead(LEASE_MILLIS + 1)).await]
}

fn keys(records: &[Record]) -> Vec<tollway_protocol::bind::PaymentKey> {
    records.iter().map(|record| record.key.clone()).collect()
}

pub async fn fa01_two_processes_take_a_payment_once<S: Site>(site: &S) {
    let ledgers = two(site).await;
    for n in 0..10 {
        let tasks: Vec<_> = (0..20)
            .map(|task| {
                let ledger = Arc::clone(&ledgers[task % 2]);
                tokio::spawn(async move { prepare(&*ledger, n).await == Prepared::New })
            })
            .collect();
        let mut new = 0;
        for task in tasks {
            new += u32::from(task.await.unwrap());
        }
        assert_eq!(new, 1);
    }
    // Nor does one that signs what the other has just taken.
    let [first, second] = ledgers;
    let lease = leased(&*first).await;
    for n in 10..30 {
        let batch = batch(&[n], &[], transaction(n, &format!("a{n}")));
        let (ledger, lease) = (Arc::clone(&first), lease.clone());
        let signing = tokio::spawn(async move { ledger.sign(&lease, batch, NOW).await.unwrap() });
        let prepared = prepare(&*second, n).await;
        let done = match signing.await.unwrap() {
            Signing::Done => true,
            Signing::Taken(taken) => {
                assert_eq!((taken.len(), taken[0].holder), (1, Holder::Other));
                false
            }
            other => panic!("{other:?}"),
        };
        assert_ne!(done, prepared == Prepared::New);
    }
}

pub async fn fa03_another_process_finds_the_same_bytes<S: Site>(site: &S) {
    let [first, second] = two(site).await;
    sign(&*first, &[1], &[], 7, "a1").await;
    let found = second.open(&network()).await.unwrap();
    assert_eq!(found, [Record { holder: Holder::Other, ..record(&*first, 1).await }]);
    assert_eq!(found[0].transaction, Some(transaction(7, "a1")));
    assert_eq!(found[0].state, JournalState::Signed);
    drop((first, second));
    let later = site.open(&Clock::default()).await;
    let mut found = found;
    found[0].holder = Holder::Nobody;
    assert_eq!(later.open(&network()).await.unwrap(), found);
}

pub async fn fa04_two_processes_never_hold_one_account<S: Site>(site: &S) {
    let ledgers = two(site).await;
    for n in 0..10 {
        let signer = format!("0x{n}f");
        let tasks: Vec<_> = (0..20)
            .map(|task| {
                let (ledger, mut signer) = (Arc::clone(&ledgers[task % 2]), signer.clone());
                if task % 3 == 0 {
                    signer = signer.to_uppercase().replace('X', "x");
                }
                tokio::spawn(async move { ledger.lease(&network(), &signer).await.unwrap() })
            })
            .collect();
        let mut held = [None, None];
        for (task, lease) in tasks.into_iter().enumerate() {
            let turn = lease.await.unwrap().map(|lease| lease.turn());
            if let Some(before) = held[task % 2].replace(turn) {
                assert_eq!(before, turn, "a process was told two things of one lease");
            }
        }
        let [Some(first), Some(second)] = held else { panic!("{held:?}") };
        assert_ne!(first.is_some(), second.is_some());
    }
    // The one that has it may give it up; the other can't do that for it.
    let [first, second] = ledgers;
    let lease = leased(&*first).await;
    second.give_back(&lease).await.unwrap();
    assert_eq!(second.lease(&network(), SIGNER).await.unwrap(), None);
    first.give_back(&lease).await.unwrap();
    let next = leased(&*second).await;
    assert_ne!(next.turn(), lease.turn());
    first.give_back(&lease).await.unwrap();
    assert_eq!(first.lease(&network(), SIGNER).await.unwrap(), None);
    drop(second);
    assert_ne!(leased(&*first).await.turn(), next.turn());
}

pub async fn fa04_two_processes_never_share_a_nonce<S: Site>(site: &S) {
    let ledgers = two(site).await;
    let tasks: Vec<_> = ledgers
        .into_iter()
        .zip([0, 100])
        .map(|(ledger, first)| {
            tokio::spawn(async move {
                let (mut mine, mut n) = (Vec::new(), first);
                while mine.len() < 10 {
                    let Some(lease) = ledger.lease(&network(), SIGNER).await.unwrap() else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    for _ in 0..2 {
                        let nonce = ledger.next_nonce(&network(), SIGNER).await.unwrap().unwrap_or(0);
                        let batch = batch(&[n, n + 1], &[], transaction(nonce, &format!("{n}-{nonce}")));
                        assert_eq!(ledger.sign(&lease, batch, NOW).await.unwrap(), Signing::Done);
                        mine.push(nonce);
                        n += 2;
                    }
                    ledger.give_back(&lease).await.unwrap();
                }
                mine
            })
        })
        .collect();
    let mut nonces = Vec::new();
    for task in tasks {
        nonces.extend(task.await.unwrap());
    }
    nonces.sort_unstable();
    assert_eq!(nonces, (0..20).collect::<Vec<_>>());
}

pub async fn fa04_a_process_that_was_only_asleep_can_not_sign<S: Site>(site: &S) {
    let [asleep, awake] = asleep_and_awake(site).await;
    let lease = leased(&asleep).await;
    let first = batch(&[1], &[], transaction(7, "a1"));
    assert_eq!(asleep.sign(&lease, first, NOW).await.unwrap(), Signing::Done);
    let next = leased(&awake).await;
    assert_ne!(next.turn(), lease.turn());
    let second = batch(&[2], &[], transaction(8, "b1"));
    assert_eq!(asleep.sign(&lease, second.clone(), NOW).await.unwrap(), Signing::Lost);
    assert_eq!(asleep.settlement(&key(2)).await.unwrap(), None);
    assert_eq!(asleep.lease(&network(), SIGNER).await.unwrap(), None);
    asleep.give_back(&lease).await.unwrap();
    assert_eq!(awake.sign(&next, second, NOW).await.unwrap(), Signing::Done);
    // Nor with a lease of its own making, or the other's.
    for lease in [&lease, &next] {
        let third = batch(&[3], &[], transaction(9, "c1"));
        assert_eq!(asleep.sign(lease, third, NOW).await.unwrap(), Signing::Lost);
    }
    // When the account is free again the old lease stays lost.
    awake.give_back(&next).await.unwrap();
    let third = batch(&[3], &[], transaction(9, "c1"));
    assert_eq!(asleep.sign(&lease, third.clone(), NOW).await.unwrap(), Signing::Lost);
    let again = leased(&asleep).await;
    assert_eq!(asleep.sign(&again, third, NOW).await.unwrap(), Signing::Done);
}

pub async fn fa04_a_live_process_keeps_its_settlements<S: Site>(site: &S) {
    let clock = Clock::default();
    let first = site.open(&clock).await;
    let second = site.open(&clock.ahead(LEASE_MILLIS - 1)).await;
    prepare(&first, 1).await;
    sign(&first, &[2], &[], 7, "a1").await;
    for n in [1, 2] {
        assert_eq!(record(&first, n).await.holder, Holder::This);
        assert_eq!(record(&second, n).await.holder, Holder::Other);
    }
    assert_eq!(second.take_over(&network(), 9).await.unwrap(), []);
    is_conflict(second.abandon_settlement(&key(1)).await);
    let another = second.lease(&network(), "0x01").await.unwrap().unwrap();
    for again in [1, 2] {
        let mut batch = batch(&[3], &[again], transaction(0, "b1"));
        batch.transaction.signer = "0x01".into();
        is_conflict(second.sign(&another, batch, NOW).await);
    }
    assert_eq!(second.settlement(&key(3)).await.unwrap(), None);
    first.abandon_settlement(&key(1)).await.unwrap();
    // What is prepared for nobody is whoever's comes first.
    first.prepare(&[verified(4)], false, NOW).await.unwrap();
    assert_eq!(record(&second, 4).await.holder, Holder::Nobody);
    assert_eq!(keys(&second.take_over(&network(), 9).await.unwrap()), [key(4)]);
    assert_eq!(record(&first, 4).await.holder, Holder::Other);
    assert_eq!(first.take_over(&network(), 9).await.unwrap(), []);
}

pub async fn fa05_what_a_dead_process_left_is_taken_over<S: Site>(site: &S) {
    let [dead, next] = asleep_and_awake(site).await;
    for n in [1, 2, 3, 4] {
        prepare(&dead, n).await;
    }
    dead.prepare(&[verified(5)], false, NOW).await.unwrap();
    sign(&dead, &[6], &[2], 7, "a1").await;
    finish(&dead, 3, failed("unexpected_settle_error")).await.unwrap();
    finish(&dead, 6, settled("a1", 5)).await.unwrap();
    let taken = next.take_over(&network(), 3).await.unwrap();
    assert_eq!(keys(&taken), [key(1), key(2), key(4)]);
    assert!(taken.iter().all(|record| record.holder == Holder::This));
    assert_eq!(keys(&next.take_over(&network(), 3).await.unwrap()), [key(5)]);
    assert_eq!(next.take_over(&network(), 3).await.unwrap(), []);
    assert_eq!(taken[1].transaction, Some(transaction(7, "a1")));
    // It was only asleep: they are not its any more.
    assert_eq!(record(&dead, 1).await.holder, Holder::Other);
    is_conflict(dead.abandon_settlement(&key(1)).await);
    is_conflict(dead.sign(&leased(&dead).await, batch(&[], &[4], transaction(8, "b1")), NOW).await);
    next.abandon_settlement(&key(1)).await.unwrap();
    // What is settled is taken back by whoever sees the reorg.
    next.reopen(&[key(6)]).await.unwrap();
    assert_eq!(record(&next, 6).await.holder, Holder::This);
    drop(next);
    assert_eq!(keys(&dead.take_over(&network(), 9).await.unwrap()), [key(2), key(4), key(5), key(6)]);
}

pub async fn fa05_what_is_sent_from_a_leased_account_is_left_to_its_holder<S: Site>(site: &S) {
    let clock = Clock::default();
    let dead = site.open(&clock).await;
    sign(&dead, &[1], &[], 7, "a1").await;
    let mut of_another = batch(&[2], &[], transaction(0, "b1"));
    of_another.transaction.signer = "0x01".into();
    let another = dead.lease(&network(), "0x01").await.unwrap().unwrap();
    assert_eq!(dead.sign(&another, of_another, NOW).await.unwrap(), Signing::Done);
    prepare(&dead, 3).await;
    let later = clock.ahead(LEASE_MILLIS + 1);
    let [holder, other] = [site.open(&later).await, site.open(&later).await];
    let lease = leased(&holder).await;
    assert_eq!(keys(&other.take_over(&network(), 9).await.unwrap()), [key(2), key(3)]);
    assert_eq!(record(&other, 1).await.holder, Holder::Nobody);
    assert_eq!(keys(&holder.take_over(&network(), 9).await.unwrap()), [key(1)]);
    // An account that nobody has keeps nothing back.
    holder.give_back(&lease).await.unwrap();
    drop(holder);
    assert_eq!(keys(&other.take_over(&network(), 9).await.unwrap()), [key(1)]);
}

pub async fn fa06_a_dead_process_s_nonces_go_on_with_the_same_bytes<S: Site>(site: &S) {
    let [dead, next] = asleep_and_awake(site).await;
    sign(&dead, &[1, 2], &[], 7, "a1").await;
    sign(&dead, &[3], &[], 8, "b1").await;
    dead.sent(&network(), "0xa1").await.unwrap();
    let lease = leased(&next).await;
    assert_eq!(next.next_nonce(&network(), SIGNER).await.unwrap(), Some(9));
    let found = next.nonces(&network(), SIGNER, 7).await.unwrap();
    assert_eq!(found, dead.nonces(&network(), SIGNER, 7).await.unwrap());
    assert_eq!(found[0].transaction, transaction(7, "a1"));
    assert_eq!((found[0].sent, found[1].sent), (true, false));
    assert_eq!(next.take_over(&network(), 9).await.unwrap().len(), 3);
    // The same bytes go out again, or others for the same payments.
    next.sent(&network(), "0xb1").await.unwrap();
    let same = batch(&[], &[2, 1], transaction(7, "a1"));
    assert_eq!(next.sign(&lease, same, NOW).await.unwrap(), Signing::Done);
    is_conflict(next.sign(&lease, batch(&[4], &[], transaction(8, "d1")), NOW).await);
    let bump = batch(&[], &[3], transaction(8, "b2"));
    assert_eq!(next.sign(&lease, bump, NOW).await.unwrap(), Signing::Done);
    assert_eq!(record(&next, 3).await.hash.as_deref(), Some("0xb2"));
    // Without having taken them over it may sign what nobody holds, too.
    let last = site.open(&Clock::default().ahead(3 * LEASE_MILLIS)).await;
    let bump = batch(&[], &[3], transaction(8, "b3"));
    assert_eq!(last.sign(&leased(&last).await, bump, NOW).await.unwrap(), Signing::Done);
    assert_eq!(record(&last, 3).await.holder, Holder::This);
}

pub async fn fa21_any_process_records_what_the_chain_says<S: Site>(site: &S) {
    let [first, second] = two(site).await;
    sign(&*first, &[1, 2], &[], 7, "a1").await;
    // Both see the block, and tell of it in their own time.
    let tell = |ledger: &Arc<S::Ledger>| {
        let ledger = Arc::clone(ledger);
        tokio::spawn(async move {
            let endings = [(key(1), settled("a1", 5)), (key(2), failed("invalid_transaction_state"))];
            ledger.finish(&network(), &[mined("a1", 5, 10, &[2])], &endings, NOW).await.unwrap()
        })
    };
    for told in [tell(&second), tell(&first)] {
        assert_eq!(told.await.unwrap(), [Ok(()), Ok(())]);
    }
    for ledger in [&first, &second] {
        assert_eq!(record(&**ledger, 1).await.holder, Holder::Nobody);
        assert_eq!(record(&**ledger, 2).await.fee_gwei, Some(5));
    }
    second.reopen(&[key(1)]).await.unwrap();
    assert_eq!(record(&*first, 1).await.holder, Holder::Other);
    finish(&*first, 1, settled("a1", 6)).await.unwrap();
    assert_eq!(finalize(&*first, &network(), 6).await, 1);
    assert_eq!(finalize(&*second, &network(), 6).await, 0);
    is_conflict(second.reopen(&[key(1)]).await);
}

pub async fn fa24_processes_share_the_budget<S: Site>(site: &S) {
    let ledgers = two(site).await;
    let tasks: Vec<_> = ledgers
        .iter()
        .cloned()
        .zip([0_u64, 100])
        .map(|(ledger, first)| {
            tokio::spawn(async move {
                let signer = format!("0x{first}");
                let lease = ledger.lease(&network(), &signer).await.unwrap().unwrap();
                let mut done = 0;
                for n in first..first + 10 {
                    let mut batch = Batch {
                        budget_gwei: 13 * BID + BID / 2,
                        ..batch(&[n], &[], transaction(n, &format!("a{n}")))
                    };
                    batch.transaction.signer = signer.clone();
                    match ledger.sign(&lease, batch, NOW).await.unwrap() {
                        Signing::Done => done += 1,
                        Signing::OverBudget => {}
                        other => panic!("{other:?}"),
                    }
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    assert_eq!(done, 13);
    for ledger in ledgers {
        assert_eq!(ledger.spent_gwei(&network(), NOW).await.unwrap(), 13 * BID);
    }
}

pub async fn fa05_what_a_process_lets_go_another_takes_over<S: Site>(site: &S) {
    let [first, second] = two(site).await;
    assert_eq!(prepare(&*first, 1).await, Prepared::New);
    assert!(second.take_over(&network(), 10).await.unwrap().is_empty(), "a live process's");
    second.let_go(&key(1)).await.unwrap();
    assert_eq!(record(&*first, 1).await.holder, Holder::This, "nobody lets go of what is another's");
    first.let_go(&key(1)).await.unwrap();
    assert_eq!(keys(&second.take_over(&network(), 10).await.unwrap()), [key(1)]);
    assert_eq!(record(&*first, 1).await.holder, Holder::Other);
    second.let_go(&key(9)).await.unwrap();
}

pub async fn fa04_what_another_has_signed_for_meanwhile_is_not_signed_again<S: Site>(site: &S) {
    let [ledger, _] = two(site).await;
    assert_eq!(prepare(&*ledger, 1).await, Prepared::New);
    let lease = leased(&*ledger).await;
    let expecting = |nonce, tag: &str, last: Option<&str>| Batch {
        expected: vec![(key(1), last.map(str::to_owned))],
        ..batch(&[], &[1], transaction(nonce, tag))
    };
    let wrong = ledger.sign(&lease, expecting(7, "a1", Some("0xa0")), NOW).await;
    is_conflict(wrong);
    assert_eq!(ledger.sign(&lease, expecting(7, "a1", None), NOW).await.unwrap(), Signing::Done);
    let late = ledger.sign(&lease, expecting(8, "a2", None), NOW).await;
    is_conflict(late);
    assert_eq!(ledger.history(&key(1)).await.unwrap().len(), 1);
    assert_eq!(ledger.sign(&lease, expecting(8, "a2", Some("0xa1")), NOW).await.unwrap(), Signing::Done);
}
