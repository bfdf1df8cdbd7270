//! The nodes of one network: the first that works is asked, all of them are given what is broadcast.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::transport::{Transport, Unanswered};

/// How long a node that did not answer is asked last.
const REST: Duration = Duration::from_secs(5);

/// One of them.
struct Node {
    way: Arc<dyn Transport>,
    /// Until when it is asked last.
    resting: Mutex<Option<Instant>>,
    /// Whether it takes several calls in one text.
    takes_batches: AtomicBool,
}

/// All of them, in the operator's order.
#[derive(Clone)]
pub(crate) struct Pool {
    nodes: Arc<[Node]>,
    timeout: Duration,
    trips: Arc<AtomicU64>,
}

impl Pool {
    pub(crate) fn new(ways: Vec<Arc<dyn Transport>>, timeout: Duration) -> Self {
        let node = |way| Node { way, resting: Mutex::new(None), takes_batches: AtomicBool::new(true) };
        Self { nodes: ways.into_iter().map(node).collect(), timeout, trips: Arc::default() }
    }

    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes in the order in which they are to be asked: those that answered last time first.
    pub(crate) fn order(&self) -> Vec<usize> {
        let now = Instant::now();
        let rests = |i: &usize| {
            self.nodes.get(*i).is_some_and(|node| node.resting.lock().is_some_and(|until| until > now))
        };
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(rests);
        order
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
        *node.resting.lock() = answer.is_err().then(|| Instant::now() + REST);
        answer
    }

    /// Gives all nodes the same text; their answers in the operator's order.
    pub(crate) async fn tell_all(&self, body: &[u8]) -> Vec<Result<Vec<u8>, Unanswered>> {
        join_all((0..self.nodes.len()).map(|node| self.ask(node, body.to_vec()))).await
    }
}
