//! A mechanism that notes what is asked of it and what that took.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use tollway_protocol::bind::{Bound, Effects, Presented, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::{FacilitatorScheme, NotReady, Outcome};
use tollway_protocol::wire::Kind;
use tollway_protocol::{Network, Refusal};

/// What was seen, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Vec<(&'static str, Value)>>>);

impl Notes {
    fn add(&self, what: &'static str, seen: Value) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((what, seen));
    }

    /// The latest of its kind.
    pub(super) fn latest(&self, what: &str) -> Option<Value> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().rev().find(|(kind, _)| *kind == what).map(|(_, seen)| seen.clone())
    }
}

/// A mechanism that counts how often it asks its nodes.
pub(super) trait Counting: FacilitatorScheme {
    /// Round trips so far.
    fn trips(&self) -> u64;
}

impl Counting for tollway_evm::ExactFacilitator {
    fn trips(&self) -> u64 {
        self.chain().rpc_trips()
    }
}

impl Counting for tollway_svm::ExactFacilitator {
    fn trips(&self) -> u64 {
        self.round_trips()
    }
}

/// A mechanism, observed.
pub(super) struct Observed<M> {
    inner: M,
    notes: Notes,
}

impl<M: Counting> Observed<M> {
    pub(super) fn new(inner: M, notes: Notes) -> Self {
        Self { inner, notes }
    }
}

fn milliseconds(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl<M: Counting> FacilitatorScheme for Observed<M> {
    fn kind(&self) -> Kind {
        self.inner.kind()
    }

    fn network(&self) -> &Network {
        self.inner.network()
    }

    fn signers(&self) -> Vec<String> {
        self.inner.signers()
    }

    fn extensions(&self) -> Vec<&'static str> {
        self.inner.extensions()
    }

    fn now(&self, host: UnixTime) -> UnixTime {
        self.inner.now(host)
    }

    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        self.inner.effects(presented)
    }

    async fn verify(&self, payment: &Verified) -> Result<(), Refusal> {
        let (started, trips) = (Instant::now(), self.inner.trips());
        let verdict = self.inner.verify(payment).await;
        let trips = self.inner.trips().saturating_sub(trips);
        let valid = verdict.is_ok();
        self.notes.add(
            "verify",
            json!({ "isValid": valid, "rpcRoundTrips": trips, "milliseconds": milliseconds(started) }),
        );
        verdict
    }

    async fn settle(&self, payment: Bound, deadline: Duration) -> Outcome {
        let started = Instant::now();
        let outcome = self.inner.settle(payment, deadline).await;
        let settled = matches!(outcome, Outcome::Settled { .. });
        self.notes.add("settle", json!({ "success": settled, "milliseconds": milliseconds(started) }));
        outcome
    }

    async fn recover(&self) {
        self.inner.recover().await;
    }

    async fn ready(&self) -> Result<(), NotReady> {
        self.inner.ready().await
    }

    async fn drain(&self) {
        self.inner.drain().await;
    }
}
