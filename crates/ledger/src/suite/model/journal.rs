//! The facilitator's half, run against [`Books`].

use proptest::prelude::*;
use proptest::sample::subsequence;
use tollway_protocol::Code;
use tollway_protocol::door::UnixTime;

use super::agree;
use super::books::{Asked, Books, Carrier, End, Expected, asker};
use crate::suite::fixture::{NOW, PAYER, SIGNER, batch, caller, finalize, key, keyed, network, transaction};
use crate::{
    Attempt, Batch, Ending, Filter, Holder, Journal, JournalState, Lease, LedgerError, Mined, Prepared,
    Signing,
};

const PAYMENTS: [u64; 6] = [0, 1, 2, 3, 4, 5];
/// What a day's transactions may cost, in gwei.
const BUDGET: u64 = 1_500;

/// Something done to the facilitator's half. Transactions are named by their nonce and a number.
#[derive(Debug, Clone)]
pub enum Op {
    Prepare { payments: Vec<u64>, held: bool },
    Sign { stale: bool, new: Vec<u64>, again: Vec<u64>, claims: Vec<(u64, u8)>, of: (u64, u8), bid: u64 },
    Sent((u64, u8)),
    Finish { found: Vec<Found>, endings: Vec<(u64, bool, (u64, u8), u64)> },
    NeverMined((u64, u8)),
    Tell(u64, Option<u8>),
    TakeBack(Vec<u64>),
    Finalize(u64),
    Abandon(u64),
    TakeOver(u32),
    GiveBack,
    Hours(u64),
}

/// A transaction in a block.
#[derive(Debug, Clone)]
pub struct Found {
    of: (u64, u8),
    block: u64,
    fee: u64,
    reverted: Vec<u64>,
}

pub(super) fn ops() -> impl Strategy<Value = Op> {
    let some = || subsequence(PAYMENTS.to_vec(), 0..=3);
    let one = || 0..PAYMENTS.len() as u64;
    let of = || (0..4_u64, 0..3_u8);
    let found = (of(), 1..8_u64, 0..900_u64, some());
    let found = found.prop_map(|(of, block, fee, reverted)| Found { of, block, fee, reverted });
    let ending = (one(), prop::bool::weighted(0.6), of(), 1..8_u64);
    let finish = (prop::collection::vec(found, 0..3), prop::collection::vec(ending, 0..4));
    let none = || Just(Vec::new());
    let sign = (prop::bool::weighted(0.05), prop_oneof![some(), none()], prop_oneof![some(), none()], of());
    let claims = prop::collection::vec((any::<usize>(), 0..2_u8), 0..3);
    prop_oneof![
        2 => (some(), any::<bool>()).prop_map(|(payments, held)| Op::Prepare { payments, held }),
        8 => (sign, claims, 1..700_u64).prop_map(|((stale, new, again, of), claims, bid)| {
            let claim = |(pick, claim)| Some((claiming(&new, pick)?, claim));
            let claims = claims.into_iter().filter_map(claim).collect();
            Op::Sign { stale, new, again, claims, of, bid }
        }),
        3 => of().prop_map(Op::Sent),
        4 => finish.prop_map(|(found, endings)| Op::Finish { found, endings }),
        1 => of().prop_map(Op::NeverMined),
        3 => (one(), prop::option::of(0..3_u8)).prop_map(|(n, caller)| Op::Tell(n, caller)),
        2 => some().prop_map(Op::TakeBack),
        1 => (0..8_u64).prop_map(Op::Finalize),
        1 => one().prop_map(Op::Abandon),
        1 => (0..4_u32).prop_map(Op::TakeOver),
        1 => Just(Op::GiveBack),
        1 => (1..14_u64).prop_map(Op::Hours),
    ]
}

/// Mostly one of the new payments, if there is one.
fn claiming(new: &[u64], pick: usize) -> Option<u64> {
    let among = if pick.is_multiple_of(20) { &PAYMENTS } else { new };
    Some(among[pick.checked_rem(among.len())?])
}

fn tag((nonce, number): (u64, u8)) -> String {
    format!("{nonce}-{number}")
}

/// The books beside the leases that the ledger gave.
#[derive(Debug, Default)]
pub(super) struct Run {
    books: Books,
    /// The latest one last.
    leases: Vec<Lease>,
    /// The process that has it.
    current: Option<usize>,
}

fn state(attempt: &Attempt) -> (String, u64, Vec<u64>, bool, bool, Option<u64>) {
    let number = |n: &u64| attempt.carries.contains(&key(*n));
    let place = |n: &u64| attempt.carries.iter().position(|carried| *carried == key(*n));
    let mut members: Vec<_> = PAYMENTS.into_iter().filter(number).collect();
    members.sort_unstable_by_key(place);
    assert_eq!(members.len(), attempt.carries.len());
    let Attempt { transaction, sent, replaced, block, .. } = attempt;
    (transaction.hash.clone(), transaction.nonce, members, *sent, *replaced, *block)
}

fn expected(carrier: &Carrier) -> (String, u64, Vec<u64>, bool, bool, Option<u64>) {
    let Carrier { nonce, tag, members, sent, replaced, mined, .. } = carrier;
    (format!("0x{tag}"), *nonce, members.clone(), *sent, *replaced, mined.map(|(block, _)| block))
}

impl Run {
    /// A process ended: what it held is nobody's.
    pub(super) fn end(&mut self, process: usize) {
        self.current = self.current.filter(|holder| *holder != process);
        for entry in self.books.entries.values_mut() {
            entry.holder = entry.holder.filter(|holder| *holder != process);
        }
    }

    pub(super) async fn apply(&mut self, process: usize, ledger: &impl Journal, op: &Op) {
        match op {
            Op::Prepare { payments, held } => {
                let all: Vec<_> = payments.iter().copied().map(|n| keyed(n, asker(n).map(caller))).collect();
                let answers = ledger.prepare(&all, *held, NOW).await.unwrap();
                assert_eq!(answers.len(), payments.len());
                for (n, answer) in payments.iter().zip(answers) {
                    assert_eq!(
                        self.books.take(*n, held.then_some(process)),
                        answer == Prepared::New,
                        "{op:?}"
                    );
                }
            }
            Op::Sign { .. } => self.sign(process, ledger, op).await,
            Op::Sent(of) => {
                let result = ledger.sent(&network(), &format!("0x{}", tag(*of))).await;
                agree(&result, self.books.sent(&tag(*of)), op);
            }
            Op::Finish { found, endings } => self.finish(ledger, op, found, endings).await,
            Op::NeverMined(of) => {
                ledger.never_mined(&network(), &[format!("0x{}", tag(*of))]).await.unwrap();
                self.books.never_mined(&tag(*of));
            }
            Op::Tell(n, asker) => {
                match (self.books.tell(*n, *asker), ledger.tell(&key(*n), asker.map(caller).as_ref()).await) {
                    (Some(first), Ok(told)) => assert_eq!(told, first, "{op:?}"),
                    (None, Err(LedgerError::Conflict { .. })) => {}
                    (expected, result) => panic!("{op:?}: {result:?}, not {expected:?}"),
                }
            }
            Op::TakeBack(payments) => {
                let keys: Vec<_> = payments.iter().copied().map(key).collect();
                agree(&ledger.reopen(&keys).await, self.books.take_back(payments, process), op);
            }
            Op::Finalize(block) => {
                let finalized = finalize(ledger, &network(), *block).await;
                assert_eq!(finalized, self.books.finalize(*block), "{op:?}");
            }
            Op::Abandon(n) => {
                agree(&ledger.abandon_settlement(&key(*n)).await, self.books.abandon(*n, process), op);
            }
            Op::TakeOver(limit) => {
                let away = self.current.is_some_and(|holder| holder != process);
                let taken = ledger.take_over(&network(), *limit).await.unwrap();
                let keys: Vec<_> =
                    self.books.take_over(*limit as usize, process, away).into_iter().map(key).collect();
                assert_eq!(taken.into_iter().map(|record| record.key).collect::<Vec<_>>(), keys);
            }
            Op::GiveBack => {
                if let Some(lease) = self.leases.last() {
                    ledger.give_back(lease).await.unwrap();
                    self.end_lease(process);
                }
            }
            Op::Hours(hours) => self.books.hour += hours,
        }
        assert_eq!(ledger.spent_gwei(&network(), self.books.now()).await.unwrap(), self.books.spent());
    }

    /// The process gave the lease back, if it was its.
    fn end_lease(&mut self, process: usize) {
        self.current = self.current.filter(|holder| *holder != process);
    }

    async fn sign(&mut self, process: usize, ledger: &impl Journal, op: &Op) {
        let Op::Sign { stale, new, again, claims, of, bid } = op else { return };
        let lease = if *stale {
            let Some(lease) = self.leases.first() else { return };
            lease.clone()
        } else {
            let Some(lease) = ledger.lease(&network(), SIGNER).await.unwrap() else {
                return assert!(self.current.is_some_and(|holder| holder != process), "{op:?}");
            };
            assert!(self.current.is_none_or(|holder| holder == process), "{op:?}");
            let known = self.leases.last().is_some_and(|last| *last == lease);
            assert_eq!(
                known,
                self.current.is_some(),
                "it is the last one while it is held, and a new one else"
            );
            if !known {
                assert!(!self.leases.contains(&lease));
                self.leases.push(lease.clone());
            }
            self.current = Some(process);
            lease
        };
        let leased = self.current == Some(process) && self.leases.last() == Some(&lease);
        let tag = tag(*of);
        let batch = Batch {
            claims: claims.iter().map(|(n, claim)| (key(*n), format!("memo {claim}"))).collect(),
            bid_gwei: *bid,
            budget_gwei: BUDGET,
            new: new.iter().map(|n| keyed(*n, asker(*n).map(caller))).collect(),
            ..batch(&[], again, transaction(of.0, &tag))
        };
        let result = ledger.sign(&lease, batch, self.books.now()).await;
        let (nonce, bid, budget) = (of.0, *bid, BUDGET);
        let asked = Asked { process, leased, new, again, claims, nonce, tag: &tag, bid, budget };
        match (self.books.sign(&asked), result) {
            (Expected::Is(expected), Ok(signing)) => assert_eq!(signing, expected, "{op:?}"),
            (Expected::Taken(taken), Ok(Signing::Taken(records)))
            | (Expected::Claimed(taken), Ok(Signing::Claimed(records))) => {
                let keys: Vec<_> = records.into_iter().map(|record| record.key).collect();
                assert_eq!(keys, taken.into_iter().map(key).collect::<Vec<_>>());
            }
            (Expected::Conflict, Err(LedgerError::Conflict { .. })) => {}
            (expected, result) => panic!("{op:?}: {result:?}, not {expected:?}"),
        }
    }

    async fn finish(
        &mut self,
        ledger: &impl Journal,
        op: &Op,
        found: &[Found],
        endings: &[(u64, bool, (u64, u8), u64)],
    ) {
        let mined: Vec<_> = found
            .iter()
            .map(|found| Mined {
                hash: format!("0x{}", tag(found.of)),
                block: found.block,
                fee_gwei: found.fee,
                reverted: found.reverted.iter().copied().map(key).collect(),
            })
            .collect();
        let told: Vec<_> = endings
            .iter()
            .map(|(n, settled, of, block)| {
                let hash = format!("0x{}", tag(*of));
                let reason = Code::new("invalid_transaction_state");
                let ending = match settled {
                    true => Ending::Settled { hash, block: *block },
                    false => Ending::Failed { reason, message: String::new(), hash: Some(hash) },
                };
                (key(*n), ending)
            })
            .collect();
        let answers = ledger.finish(&network(), &mined, &told, self.books.now()).await.unwrap();
        assert_eq!(answers.len(), endings.len());
        for found in found {
            self.books.mine(&tag(found.of), found.block, found.fee, &found.reverted);
        }
        for ((n, settled, of, block), answer) in endings.iter().zip(answers) {
            let (tag, block) = (tag(*of), *block);
            let end = if *settled { End::Settled { tag, block } } else { End::Failed { tag } };
            agree(&answer, self.books.end(*n, &end), op);
        }
    }

    /// Compares all that a process can read.
    pub(super) async fn compare(&self, process: usize, ledger: &impl Journal) {
        let mut records = Vec::new();
        for (n, entry) in self.books.in_order() {
            let record = ledger.settlement(&key(n)).await.unwrap().unwrap();
            let history = ledger.history(&key(n)).await.unwrap();
            let told: Vec<_> = history.iter().map(state).collect();
            assert_eq!(told, self.books.history(n).map(expected).collect::<Vec<_>>());
            let latest = self.books.history(n).last().map(|latest| latest.tag.clone());
            assert_eq!((record.state, record.block), (entry.state, entry.block));
            assert_eq!((record.is_final, record.fee_gwei), (entry.is_final, self.books.fee(n)));
            assert_eq!(record.told, entry.is_told);
            let holder = match entry.holder {
                Some(holder) if holder == process => Holder::This,
                Some(_) => Holder::Other,
                None => Holder::Nobody,
            };
            assert_eq!((record.holder, record.ended.is_some()), (holder, entry.is_finished()));
            let hash = entry.told.clone().or(latest.clone()).map(|tag| format!("0x{tag}"));
            assert_eq!(record.hash, hash);
            assert_eq!(record.transaction.as_ref(), history.last().map(|attempt| &attempt.transaction));
            assert_eq!(record.transaction.is_some(), latest.is_some());
            records.push(record);
        }
        let gone = PAYMENTS.into_iter().filter(|n| !self.books.entries.contains_key(n));
        for n in gone {
            assert_eq!(ledger.settlement(&key(n)).await.unwrap(), None);
        }
        assert_eq!(ledger.page(&Filter::default(), 0, 99).await.unwrap(), records);
        records.retain(|record| !record.is_final);
        assert_eq!(ledger.open(&network()).await.unwrap(), records);
        assert!(records.iter().all(|record| record.state != JournalState::Failed));
        records.retain(|record| record.block.is_some_and(|block| block <= 5));
        records.sort_by_key(|record| record.block);
        assert_eq!(ledger.unfinal(&network(), 5, 99).await.unwrap(), records);
        let mut latest: Vec<_> = self.books.carriers.iter().filter(|carrier| !carrier.replaced).collect();
        latest.sort_unstable_by_key(|carrier| carrier.nonce);
        let told = ledger.nonces(&network(), SIGNER, 0).await.unwrap();
        let latest: Vec<_> = latest.into_iter().map(expected).collect();
        assert_eq!(told.iter().map(state).collect::<Vec<_>>(), latest);
        let next = ledger.next_nonce(&network(), SIGNER).await.unwrap();
        assert_eq!(next, latest.last().map(|carrier| carrier.1 + 1));
        let reverts = ledger.reverts(&network(), PAYER, UnixTime(0)).await.unwrap();
        assert_eq!(reverts, self.books.reverts());
    }
}
