//! A facilitator's process: the real engine between simulated nodes and a simulated store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::FacilitatorScheme as _;
use tollway_rpc::Transport;

use crate::life::{Life, Pulse};
use crate::node::Node;
use crate::oracle::Call;
use crate::side::{PlanOf, Side};
use crate::store::Disk;
use crate::wish::Wish;
use crate::world::World;

/// What a process takes for the time.
pub type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// A running, standing or dead process.
pub struct Replica<S: Side> {
    /// Which of the replicas.
    pub number: usize,
    pulse: Pulse,
    disk: Arc<Disk<S>>,
    facilitator: S::Facilitator,
    /// Whether it takes requests.
    serves: Arc<AtomicBool>,
    /// Calls to settle that are not answered.
    calls: Arc<AtomicUsize>,
    world: Arc<World<S>>,
}

tokio::task_local! {
    /// The place of a caller among those for its payment.
    static PLACE: u64;
}

/// Waits a little: those who waited for one settlement are woken in an order by chance, and go on in the order of asking,
/// none of them before all are awake.
pub(crate) async fn takes_turns() {
    if let Ok(place) = PLACE.try_with(|place| *place) {
        tokio::time::sleep(Duration::from_millis(place + 1)).await;
    }
}

impl<S: Side> Replica<S> {
    /// Starts a process; it serves when it has taken up what another one left. `skew` is by how many seconds its clock
    /// is wrong.
    #[must_use]
    pub fn start(world: &Arc<World<S>>, number: usize, plan: &PlanOf<S>, skew: Arc<AtomicI64>) -> Self {
        let pulse = Pulse::default();
        let disk = Arc::new(Disk::open(world.clone(), number, pulse.clone()));
        world.trace.note(&format!("r{number} starts as process {}", disk.process().instance));
        let clock = world.clone();
        let node =
            |node| -> Arc<dyn Transport> { Arc::new(Node::new(world.clone(), number, node, pulse.clone())) };
        let clock: Clock =
            Arc::new(move || UnixTime(clock.now().saturating_add_signed(skew.load(Ordering::Relaxed))));
        let nodes = (0..plan.nodes).map(node).collect();
        let facilitator = S::facilitator(world, plan, nodes, clock, disk.clone());
        let serves = Arc::new(AtomicBool::new(false));
        let (recovering, ready) = (facilitator.clone(), serves.clone());
        tokio::spawn(async move {
            recovering.recover().await;
            ready.store(true, Ordering::Relaxed);
        });
        tokio::spawn(lives(world.clone(), Arc::downgrade(&disk), pulse.clone()));
        world.hurts(number);
        Self { number, pulse, disk, facilitator, serves, calls: Arc::default(), world: world.clone() }
    }

    /// How it is.
    #[must_use]
    pub fn life(&self) -> Life {
        self.pulse.now()
    }

    /// Changes that.
    pub fn set_life(&self, life: Life) {
        self.world.trace.note(&format!("r{} {life:?}", self.number));
        self.world.hurts(self.number);
        self.pulse.set(life);
    }

    /// Its lease lapses, as when it could not renew it in time; it goes on all the same.
    pub fn lapses(&self) {
        self.world.trace.note(&format!("r{} is taken for dead", self.number));
        self.world.hurts(self.number);
        self.world.tables.lock().renew(self.disk.process().instance, 0);
    }

    /// Whether requests reach it.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.life() != Life::Dead && self.serves.load(Ordering::Relaxed)
    }

    /// How many calls to settle it has not answered.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// What it makes of a payment.
    #[must_use]
    pub fn facilitator(&self) -> &S::Facilitator {
        &self.facilitator
    }

    /// Asks it to verify, as `/verify` does.
    pub fn verify(&self, wish: &Wish<S>) {
        let (world, facilitator, number) = (self.world.clone(), self.facilitator.clone(), self.number);
        let (wish, pulse) = (wish.clone(), self.pulse.clone());
        tokio::spawn(async move {
            pulse.passes().await;
            let now = facilitator.now(UnixTime(world.now()));
            let Ok(verified) = wish.bound(&facilitator).and_then(|bound| bound.at(now)) else { return };
            let verdict = facilitator.verify(&verified).await;
            pulse.passes().await;
            world.trace.note(&format!("r{number} verifies {}: {verdict:?}", S::name(&wish.transfer)));
        });
    }

    /// Asks it to settle; the answer goes to the oracle, and to `heard`.
    pub fn settle(&self, wish: &Wish<S>, deadline: Duration) -> tokio::sync::oneshot::Receiver<bool> {
        let (world, facilitator, replica) = (self.world.clone(), self.facilitator.clone(), self.number);
        let (wish, pulse) = (wish.clone(), self.pulse.clone());
        let (heard, hears) = tokio::sync::oneshot::channel();
        let calls = self.calls.clone();
        calls.fetch_add(1, Ordering::Relaxed);
        // Some hang up before they are answered.
        let is_heard = world.chance.permille(850);
        tokio::spawn(async move {
            pulse.passes().await;
            let Ok(bound) = wish.bound(&facilitator) else {
                calls.fetch_sub(1, Ordering::Relaxed);
                return;
            };
            let began = world.millis();
            world.trace.note(&format!("r{replica} is asked for {}", S::name(&wish.transfer)));
            let place = world.oracle.lock().asked(&wish.key, began);
            let outcome = PLACE.scope(place, facilitator.settle(bound, deadline)).await;
            // Those who waited for one settlement are woken in an order by chance: they answer in the order of asking.
            tokio::time::sleep(Duration::from_millis(place)).await;
            pulse.passes().await;
            let call = Call { replica, wish: &wish, began, is_heard };
            world.oracle.lock().answered(&world, &call, &outcome);
            calls.fetch_sub(1, Ordering::Relaxed);
            let is_settled = matches!(outcome, tollway_protocol::scheme::Outcome::Settled { .. });
            let _ = heard.send(is_settled);
        });
        hears
    }
}

/// Renews the process's life in the store.
async fn lives<S: Side>(world: Arc<World<S>>, disk: std::sync::Weak<Disk<S>>, pulse: Pulse) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        pulse.passes().await;
        let Some(disk) = disk.upgrade() else { return };
        if !world.weather.sea().is_down {
            disk.process().renew();
        }
    }
}
