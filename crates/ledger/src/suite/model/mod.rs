//! Random operations against a ledger and against a plain model of it.

mod books;
mod journal;
mod plain;

use std::fmt::Debug;
use std::future::Future;

use proptest::prelude::*;
use tollway_protocol::door::UnixTime;

use super::fixture::{CLOSES, hash as transaction_hash, network, payment, payment_of, request, settlement};
use super::{Clock, Site};
use crate::{Claim, Claimed, LedgerError, Paid};
use plain::{Model, Row, State};

const PAYMENTS: u64 = 3;

/// Something done to a ledger. Numbers that name a hold are taken modulo what is held.
#[derive(Debug, Clone)]
pub enum Op {
    Claim {
        payment: u64,
        route: &'static str,
        signature: &'static str,
    },
    Settling(usize),
    Pending(usize, bool),
    Settled(usize),
    Deliver(usize),
    Undelivered(usize),
    Release(usize),
    Abandon(usize),
    Forget {
        late: bool,
    },
    /// Something of the facilitator's half.
    Journal(journal::Op),
    /// The process ends and another one opens the store.
    Reopen,
}

/// Lists of operations; with [`Op::Reopen`] among them, or without.
pub fn ops(reopen: bool) -> impl Strategy<Value = Vec<Op>> {
    let payment = || 0..PAYMENTS;
    let op = prop_oneof![
        6 => (payment(), prop_oneof![3 => Just("/a"), 1 => Just("/b")], prop_oneof![4 => Just("0x01"), 1 => Just("0x02")])
            .prop_map(|(payment, route, signature)| Op::Claim { payment, route, signature }),
        3 => any::<usize>().prop_map(Op::Settling),
        2 => any::<(usize, bool)>().prop_map(|(hold, named)| Op::Pending(hold, named)),
        4 => any::<usize>().prop_map(Op::Settled),
        3 => any::<usize>().prop_map(Op::Deliver),
        2 => any::<usize>().prop_map(Op::Undelivered),
        1 => any::<usize>().prop_map(Op::Release),
        2 => any::<usize>().prop_map(Op::Abandon),
        1 => any::<bool>().prop_map(|late| Op::Forget { late }),
        16 => journal::ops().prop_map(Op::Journal),
    ];
    let op = if reopen { prop_oneof![18 => op, 1 => Just(Op::Reopen)].boxed() } else { op.boxed() };
    prop::collection::vec(op, 1..80)
}

#[derive(Debug)]
enum Hold {
    Claimed(Box<Claimed>),
    Paid(Box<Paid>),
}

fn agree<T: Debug>(result: &Result<T, LedgerError>, expected: bool, op: &impl Debug) {
    match result {
        Ok(_) => assert!(expected, "{op:?} was let through"),
        Err(LedgerError::Conflict { .. }) => assert!(!expected, "{op:?}: {result:?}"),
        Err(_) => panic!("{op:?}: {result:?}"),
    }
}

/// One run's state.
struct Run<L> {
    ledger: L,
    model: Model,
    holds: Vec<(u64, u64, Hold)>,
    journal: journal::Run,
}

const BEFORE_PAID: &[State] = &[State::Claimed, State::Settling];

impl<L: crate::Ledger> Run<L> {
    /// Takes the `pick`-th hold of those that `fit`.
    fn pick(&mut self, pick: usize, fit: impl Fn(&Hold) -> bool) -> Option<(u64, u64, Hold)> {
        let fitting: Vec<_> = (0..self.holds.len()).filter(|&i| fit(&self.holds[i].2)).collect();
        (!fitting.is_empty()).then(|| self.holds.remove(fitting[pick % fitting.len()]))
    }

    async fn claim(&mut self, n: u64, route: &'static str, signature: &'static str) {
        let payment = payment_of(&network(), n, 10_000, signature);
        let claim = self.ledger.claim(payment, request(route), CLOSES).await.unwrap();
        let row = self.model.rows.get(&n).cloned();
        let told = |transaction: &Option<String>| *transaction == row.as_ref().and_then(|r| r.hash.clone());
        let state = row.as_ref().map(|row| row.state);
        let fits = row.as_ref().is_none_or(|row| row.route.is_none_or(|known| known == route));
        let free = fits && row.as_ref().is_none_or(|row| row.turn.is_none());
        let same = row.as_ref().is_some_and(|row| row.signature == signature);
        let hold = match (claim, state) {
            (Claim::Spent { transaction }, Some(State::Delivered)) => return assert!(told(&transaction)),
            (Claim::Elsewhere { transaction }, Some(_)) if !fits => return assert!(told(&transaction)),
            (Claim::Busy { transaction }, Some(_)) if !free => return assert!(told(&transaction)),
            (Claim::Elsewhere { transaction }, Some(State::Settling | State::Settled)) if free && !same => {
                return assert!(told(&transaction));
            }
            (Claim::New(claimed), None | Some(State::Claimed)) if free => Hold::Claimed(Box::new(claimed)),
            (Claim::Resume(claimed), Some(State::Settling)) if free && same => {
                Hold::Claimed(Box::new(claimed))
            }
            (Claim::Paid(paid), Some(State::Settled)) if free && same => Hold::Paid(paid),
            (claim, _) => panic!("{claim:?} of {row:?}"),
        };
        self.model.turns += 1;
        let turn = self.model.turns;
        let row = Row { route: Some(route), signature, state: State::Claimed, turn: None, hash: None };
        let row = self.model.rows.entry(n).or_insert(row);
        (row.turn, row.route, row.signature) = (Some(turn), Some(route), signature);
        self.holds.push((n, turn, hold));
    }

    async fn with_claimed(&mut self, pick: usize, op: &Op) {
        let Some((n, turn, Hold::Claimed(claimed))) = self.pick(pick, |h| matches!(h, Hold::Claimed(_)))
        else {
            return;
        };
        let may = self.model.held(n, turn, BEFORE_PAID);
        let allowed = may.is_some();
        match op {
            Op::Settling(_) => {
                agree(&self.ledger.settling(&claimed).await, allowed, op);
                if let Some(row) = may {
                    row.state = State::Settling;
                }
                self.holds.push((n, turn, Hold::Claimed(claimed)));
            }
            Op::Pending(_, named) => {
                let hash = named.then(|| transaction_hash(&format!("p{n}")));
                agree(&self.ledger.pending(*claimed, hash.as_deref()).await, allowed, op);
                if let Some(row) = may {
                    (row.state, row.turn) = (State::Settling, None);
                    row.hash = hash.or(row.hash.take());
                }
            }
            Op::Settled(_) => {
                let hash = transaction_hash(&format!("s{n}"));
                let paid = self.ledger.settled(*claimed, settlement(&payment(n), &hash)).await;
                agree(&paid, allowed, op);
                if let (Some(row), Ok(paid)) = (may, paid) {
                    (row.state, row.hash) = (State::Settled, Some(hash));
                    self.holds.push((n, turn, Hold::Paid(Box::new(paid))));
                }
            }
            _ => {
                agree(&self.ledger.release(*claimed).await, allowed, op);
                if allowed {
                    self.model.release(n);
                }
            }
        }
        if !allowed && !matches!(op, Op::Settling(_)) {
            self.model.fail(n, turn);
        }
    }

    async fn with_paid(&mut self, pick: usize, op: &Op) {
        let Some((n, turn, Hold::Paid(paid))) = self.pick(pick, |h| matches!(h, Hold::Paid(_))) else {
            return;
        };
        let may = self.model.held(n, turn, &[State::Settled]);
        if matches!(op, Op::Deliver(_)) {
            agree(&self.ledger.deliver(*paid).await, may.is_some(), op);
            if let Some(row) = may {
                row.state = State::Delivered;
                let times = self.model.delivered.entry(n).or_default();
                *times += 1;
                assert_eq!(*times, 1, "payment {n} was delivered again");
            }
        } else {
            agree(&self.ledger.undelivered(*paid).await, may.is_some(), op);
            if let Some(row) = may {
                row.turn = None;
            }
        }
    }

    /// A request is cut off; its token may still be somewhere.
    async fn abandon(&mut self, pick: usize) {
        let Some(at) = pick.checked_rem(self.holds.len()) else { return };
        let (n, turn, hold) = &self.holds[at];
        let left = match hold {
            Hold::Claimed(claimed) => claimed.turn(),
            Hold::Paid(paid) => paid.turn(),
        };
        self.ledger.abandon(&left).await.unwrap();
        self.model.fail(*n, *turn);
    }

    async fn forget(&mut self, late: bool) {
        let now = if late { CLOSES.plus(1) } else { CLOSES };
        let before = self.model.rows.len();
        if late {
            self.model.rows.retain(|_, row| {
                row.state != State::Delivered && !(row.state == State::Claimed && row.turn.is_none())
            });
            // A payment that can't settle any more is refused before it gets here; this run starts it over.
            let rows = &self.model.rows;
            self.model.delivered.retain(|n, _| rows.contains_key(n));
        }
        let gone = before - self.model.rows.len();
        assert_eq!(self.ledger.forget(now).await.unwrap(), gone as u64);
    }

    /// Compares all that can be read.
    async fn compare(&mut self) {
        self.journal.compare(0, &self.ledger).await;
        assert_eq!(self.ledger.forget(UnixTime(0)).await.unwrap(), 0);
    }
}

/// Does `ops` to a new store and to the model, and compares after each.
pub async fn agrees<S: Site>(site: &S, ops: Vec<Op>) {
    let clock = Clock::default();
    let mut run = Run {
        ledger: site.open(&clock).await,
        model: Model::default(),
        holds: Vec::new(),
        journal: journal::Run::default(),
    };
    for op in ops {
        match op {
            Op::Claim { payment, route, signature } => run.claim(payment, route, signature).await,
            Op::Settling(pick) | Op::Pending(pick, _) | Op::Settled(pick) | Op::Release(pick) => {
                run.with_claimed(pick, &op).await;
            }
            Op::Deliver(pick) | Op::Undelivered(pick) => run.with_paid(pick, &op).await,
            Op::Abandon(pick) => run.abandon(pick).await,
            Op::Forget { late } => run.forget(late).await,
            Op::Reopen => {
                drop(run.ledger);
                run.ledger = site.open(&clock).await;
                run.model
                    .rows
                    .values_mut()
                    .filter(|row| row.state != State::Delivered)
                    .for_each(|row| row.turn = None);
                run.journal.end(0);
            }
            Op::Journal(ref op) => run.journal.apply(0, &run.ledger, op).await,
        }
        run.compare().await;
    }
}

/// Something that one of two processes does.
#[derive(Debug, Clone)]
pub struct Step {
    process: usize,
    /// What it does; or it ends, and another one is started.
    op: Option<journal::Op>,
}

/// Lists of what two processes do to the facilitator's half.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let op = prop_oneof![24 => journal::ops().prop_map(Some), 1 => Just(None)];
    prop::collection::vec((0..2_usize, op).prop_map(|(process, op)| Step { process, op }), 1..80)
}

/// Has two processes do `steps` to one new store, and compares what each reads with the model.
pub async fn replicas_agree<S: Site>(site: &S, steps: Vec<Step>) {
    let clock = Clock::default();
    let mut ledgers = [Some(site.open(&clock).await), Some(site.open(&clock).await)];
    let mut run = journal::Run::default();
    for Step { process, op } in steps {
        if let Some(op) = op {
            run.apply(process, ledgers[process].as_ref().unwrap(), &op).await;
        } else {
            drop(ledgers[process].take());
            run.end(process);
            ledgers[process] = Some(site.open(&clock).await);
        }
        run.compare(1 - process, ledgers[1 - process].as_ref().unwrap()).await;
    }
}

/// Runs a future to its end on a small runtime, for tests that are not asynchronous themselves.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
