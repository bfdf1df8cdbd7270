//! The nodes of one network: the first that works is asked, all of them are given what is broadcast.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::transport::{Transport, Unanswered};

/// How long a node that did not answer, or said that it can't, is asked last.
const REST: Duration = Duration::from_secs(5);
/// The bounds of what a node may ask for instead.
const LEAST_REST: Duration = Duration::from_secs(1);
const MOST_REST: Duration = Duration::from_secs(60);
/// For how long a height counts that nobody has told again.
const FRESH: Duration = Duration::from_secs(30);

/// One of them.
struct Node {
    way: Arc<dyn Transport>,
    /// Until when it is asked last.
    resting: Mutex<Option<Rest>>,
    /// Whether it takes several calls in one text.
    takes_batches: AtomicBool,
    /// What it told last.
    height: Mutex<Option<Height>>,
}

#[derive(Clone, Copy)]
struct Rest {
    until: Instant,
    /// It asked for that itself: what it answers meanwhile does not end it.
    is_asked_for: bool,
}

/// How high the chain is, as was told at a time.
#[derive(Clone, Copy)]
struct Height {
    value: u64,
    at: Instant,
}

impl Height {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.at) <= FRESH
    }
}

/// All of them, in the operator's order.
#[derive(Clone)]
pub(crate) struct Pool {
    nodes: Arc<[Node]>,
    /// The greatest that was told.
    highest: Arc<Mutex<Option<Height>>>,
    /// By how much a node may be behind it.
    lag: u64,
    timeout: Duration,
    trips: Arc<AtomicU64>,
}

impl Pool {
    pub(crate) fn new(ways: Vec<Arc<dyn Transport>>, timeout: Duration) -> Self {
        let node = |way| Node {
            way,
            resting: Mutex::new(None),
            takes_batches: AtomicBool::new(true),
            height: Mutex::new(None),
        };
        let nodes = ways.into_iter().map(node).collect();
        Self { nodes, highest: Arc::default(), lag: u64::MAX, timeout, trips: Arc::default() }
    }

    pub(crate) fn with_lag(self, lag: u64) -> Self {
        Self { lag, ..self }
    }

    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes in the order in which they are to be asked: those that answered last time first, and of these those that
    /// are not behind.
    pub(crate) fn order(&self) -> Vec<usize> {
        let now = Instant::now();
        let highest = self.highest(now);
        let last = |i: &usize| {
            self.nodes.get(*i).map(|node| (node.rests(now), node.is_behind(now, highest, self.lag)))
        };
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(last);
        order
    }

    /// The greatest height that was told lately; 0 when none was.
    fn highest(&self, now: Instant) -> u64 {
        self.highest.lock().filter(|height| height.is_fresh(now)).map_or(0, |height| height.value)
    }

    /// A node told its height. Whether that is too far behind what was told before.
    pub(crate) fn saw(&self, node: usize, height: u64) -> bool {
        let now = Instant::now();
        if let Some(node) = self.nodes.get(node) {
            *node.height.lock() = Some(Height { value: height, at: now });
        }
        let highest = self.highest(now);
        if height >= highest {
            *self.highest.lock() = Some(Height { value: height, at: now });
        }
        highest.saturating_sub(height) > self.lag
    }

    /// The node said that it can't answer: it is asked last for a while.
    pub(crate) fn rest(&self, node: usize) {
        if let Some(node) = self.nodes.get(node) {
            *node.resting.lock() = Some(Rest { until: Instant::now() + REST, is_asked_for: true });
        }
    }

    pub(crate) fn takes_batches(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.takes_batches.load(Ordering::Relaxed))
    }

    pub(crate) fn refuses_batches(&self, node: usize) {
        if let Some(node) = self.nodes.get(node) {
            node.takes_batches.store(false, Ordering::Relaxed);
        }
    }

    /// Asks one node.
    pub(crate) async fn ask(&self, node: usize, body: Vec<u8>) -> Result<Vec<u8>, Unanswered> {
        let Some(node) = self.nodes.get(node) else { return Err(Unanswered("there is no such node")) };
        self.trips.fetch_add(1, Ordering::Relaxed);
        let answer = tokio::time::timeout(self.timeout, node.way.ask(body)).await;
        let answer = answer.unwrap_or(Err(Unanswered("no answer in time")));
        node.answered(answer.is_ok());
        answer
    }

    /// Gives all nodes the same text; their answers in the operator's order.
    pub(crate) async fn tell_all(&self, body: &[u8]) -> Vec<Result<Vec<u8>, Unanswered>> {
        join_all((0..self.nodes.len()).map(|node| self.ask(node, body.to_vec()))).await
    }
}

impl Node {
    fn rests(&self, now: Instant) -> bool {
        self.resting.lock().is_some_and(|rest| rest.until > now)
    }

    fn is_behind(&self, now: Instant, highest: u64, lag: u64) -> bool {
        let height = self.height.lock().filter(|height| height.is_fresh(now));
        height.is_some_and(|height| highest.saturating_sub(height.value) > lag)
    }

    fn answered(&self, has: bool) {
        let mut resting = self.resting.lock();
        let now = Instant::now();
        if !has {
            let asked_for = self.way.wants_rest();
            let rest = asked_for.map_or(REST, |rest| rest.clamp(LEAST_REST, MOST_REST));
            *resting = Some(Rest { until: now + rest, is_asked_for: asked_for.is_some() });
        } else if !resting.is_some_and(|rest| rest.is_asked_for && rest.until > now) {
            *resting = None;
        }
    }
}
