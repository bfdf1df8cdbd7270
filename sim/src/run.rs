//! One run: payments and faults, then fair weather, then the account.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::deeds::Deeds;
use crate::life::Life;
use crate::oracle::{Limits, Oracle, Verdict, Violation};
use crate::plan::Plan;
use crate::replica::Replica;
use crate::side::{Canon as _, PlanOf, Side};
use crate::store::Tables;
use crate::trace::Trace;
use crate::weather::Weather;
use crate::wish::Wish;
use crate::world::World;

/// How many facilitators there are.
const REPLICAS: usize = 2;
/// Seconds in which everything has to come to rest when the faults are over: a payment's time, the time after which it
/// is dead for good, and what the engine's patience and finality take.
const REST: u64 = 300;
/// Seconds in which a fresh payment has to be settled in fair weather.
const FRESH: u64 = 40;
/// Blocks after which gas costs what it does in fair weather.
const FAIR_BLOCKS: u64 = 3;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The rule that was broken first.
    pub broken: Option<Violation>,
    /// Tells whether two runs were the same.
    pub digest: u64,
    /// How much happened.
    pub lines: u64,
    /// The last of it.
    pub tail: Vec<String>,
    /// Payments that were settled, and that failed.
    pub ended: (usize, usize),
    /// Simulated seconds.
    pub seconds: u64,
    /// The plan.
    pub plan: String,
}

/// Runs a seed; with `echo` all that happens is printed.
#[must_use]
pub fn run<S: Side>(seed: u64, echo: bool) -> Report {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { Run::<S>::new(seed, echo).go().await })
}

/// A run that goes on.
pub struct Run<S: Side> {
    /// Its world.
    pub world: Arc<World<S>>,
    /// Its plan.
    pub plan: PlanOf<S>,
    pub(crate) replicas: Vec<Replica<S>>,
    /// By how many seconds each replica's clock is wrong.
    pub(crate) skews: Vec<Arc<AtomicI64>>,
    pub(crate) purses: Vec<S::Purse>,
    seed: u64,
}

impl<S: Side> Run<S> {
    fn new(seed: u64, echo: bool) -> Self {
        let began = Instant::now();
        let chance = Chance::new(seed);
        let plan = Plan::draw::<S>(&chance);
        // The last payer pays when all is over.
        let purses: Vec<_> = (0..=plan.payers).map(|n| S::purse(0x10 + u8::try_from(n).unwrap())).collect();
        let signers = S::signers(&plan);
        let land = S::land(began, &plan, &signers, &purses);
        let (budget, reverts) = S::limits(&plan);
        let limits = Limits { signers, budget, reverts };
        let world = Arc::new(World {
            began,
            chance,
            trace: Trace::new(began, echo),
            weather: Weather::fair(REPLICAS, plan.nodes),
            land,
            tables: Arc::new(Mutex::new(Tables::default())),
            oracle: Mutex::new(Oracle::new(limits)),
            hurt: (0..REPLICAS).map(|_| AtomicU64::new(0)).collect(),
            stalled_until: AtomicU64::new(0),
        });
        world.trace.note(&format!("{plan:?}"));
        let skews = (0..REPLICAS).map(|_| Arc::default()).collect();
        Self { world, plan, replicas: Vec::new(), skews, purses, seed }
    }

    async fn go(mut self) -> Report {
        for number in 0..REPLICAS {
            self.restart(number);
        }
        tokio::spawn(mines(self.world.clone(), self.plan.block));
        let mut deeds = Deeds::default();
        for _ in 0..self.plan.steps {
            tokio::time::sleep(self.world.chance.millis(0, 1_500)).await;
            deeds.act(&mut self);
            if self.is_broken() {
                return self.report();
            }
        }
        self.clear_up();
        self.rest().await;
        self.report()
    }

    fn is_broken(&self) -> bool {
        let mut oracle = self.world.oracle.lock();
        oracle.looks(&self.world);
        oracle.broken.is_some()
    }

    /// Starts a replica's process anew.
    pub(crate) fn restart(&mut self, number: usize) {
        let replica = Replica::start(&self.world, number, &self.plan, self.skews[number].clone());
        match self.replicas.get_mut(number) {
            Some(place) => *place = replica,
            None => self.replicas.push(replica),
        }
    }

    /// The faults stop.
    fn clear_up(&mut self) {
        self.world.trace.note("the faults stop");
        self.world.weather.clear_up();
        self.world.stalled_until.store(0, Ordering::Relaxed);
        for skew in &self.skews {
            skew.store(0, Ordering::Relaxed);
        }
        S::clear_up(&self.world.land);
        for number in 0..self.replicas.len() {
            match self.replicas[number].life() {
                Life::Runs => {}
                Life::Stands => self.replicas[number].set_life(Life::Runs),
                Life::Dead => self.restart(number),
            }
            self.world.hurts(number);
        }
    }

    /// Waits until all is over, and compares.
    async fn rest(&mut self) {
        if !self.comes_to_rest().await {
            return;
        }
        self.fresh().await;
        if self.comes_to_rest().await {
            self.world.oracle.lock().balances(&self.world);
        }
    }

    /// V1, V3: every call is answered, every settlement has ended for good. Tells whether no rule was broken by then.
    async fn comes_to_rest(&self) -> bool {
        let world = &self.world;
        let until = world.millis() + REST * 1000;
        loop {
            if self.is_broken() {
                return false;
            }
            let calls = self.replicas.iter().map(Replica::calls).sum();
            if calls == 0 && world.oracle.lock().rests(world) == Verdict::Rests {
                return true;
            }
            if world.millis() > until {
                world.oracle.lock().is_stuck(world, calls);
                return false;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// V3: each replica settles a payment of a payer that did nothing so far, unless the gas budget is spent.
    async fn fresh(&mut self) {
        let world = self.world.clone();
        let Some(purse) = self.purses.last() else { return };
        // So that gas is cheap by then: what is bid for dear gas may be more than what is left of the budget.
        tokio::time::sleep(Duration::from_millis(self.plan.block * FAIR_BLOCKS)).await;
        for number in 0..self.replicas.len() {
            let budget: u64 = world.tables.lock().txs.iter().map(|tx| tx.counted).sum();
            if budget * 2 > S::limits(&self.plan).0 {
                return;
            }
            let wish = self.wish(purse, 0);
            S::tries(&world.land, &self.plan);
            let replica = &self.replicas[number];
            let heard = replica.settle(&wish, Duration::from_secs(FRESH)).await;
            if heard != Ok(true) {
                world.oracle.lock().breaks(
                    &world,
                    "V3",
                    format!("r{number} does not settle a fresh payment"),
                );
            }
        }
    }

    /// A new payment to the seller at `place`.
    pub(crate) fn wish(&self, purse: &S::Purse, place: usize) -> Wish<S> {
        self.keyed(S::wish(&self.world, purse, place))
    }

    /// Somebody else presents a payment.
    pub fn present(&self, wish: &Wish<S>) {
        let replica = &self.replicas[self.world.chance.index(self.replicas.len())];
        if replica.serves() {
            drop(replica.settle(wish, Duration::from_secs(self.world.chance.between(3, 25))));
        }
    }

    /// The payment with its key.
    pub(crate) fn keyed(&self, mut wish: Wish<S>) -> Wish<S> {
        let bound = wish.bound(self.replicas[0].facilitator()).unwrap();
        wish.key = bound.key().clone();
        wish
    }

    fn report(&self) -> Report {
        let world = &self.world;
        let tables = world.tables.lock();
        let count = |state| tables.rows.values().filter(|row| row.state == state).count();
        use tollway_ledger::JournalState::{Failed, Settled};
        world.trace.note(&format!(
            "{} {:?}",
            world.oracle.lock().canon.head(),
            (count(Settled), count(Failed))
        ));
        Report {
            seed: self.seed,
            broken: world.oracle.lock().broken.clone(),
            digest: world.trace.digest(),
            lines: world.trace.count(),
            tail: world.trace.tail(),
            ended: (count(Settled), count(Failed)),
            seconds: world.millis() / 1000,
            plan: format!("{:?}", self.plan),
        }
    }
}

/// Makes blocks, unless they are stalled.
async fn mines<S: Side>(world: Arc<World<S>>, block: u64) {
    loop {
        tokio::time::sleep(world.chance.millis(block - block / 10, block + block / 10)).await;
        if world.millis() < world.stalled_until.load(Ordering::Relaxed) {
            continue;
        }
        S::mine(&world.land);
        world.oracle.lock().looks(&world);
    }
}
