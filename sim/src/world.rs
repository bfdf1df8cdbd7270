//! What all parts of a run share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::oracle::Oracle;
use crate::side::Side;
use crate::store::Tables;
use crate::trace::Trace;
use crate::weather::Weather;

/// When every run begins, in seconds since 1970.
pub const START: u64 = 1_800_000_000;

/// The world of a run on some chain.
pub struct World<S: Side> {
    /// When it began, by the runtime's clock.
    pub began: Instant,
    /// Its dice.
    pub chance: Chance,
    /// What happened.
    pub trace: Trace,
    /// The faults that are on.
    pub weather: Weather,
    /// The chain.
    pub land: S::Land,
    /// What the store holds.
    pub tables: Arc<Mutex<Tables>>,
    /// What has to hold.
    pub oracle: Mutex<Oracle<S>>,
    /// The last time at which a fault touched each replica, in milliseconds.
    pub hurt: Vec<AtomicU64>,
    /// Until when no blocks come, in milliseconds.
    pub stalled_until: AtomicU64,
}

impl<S: Side> World<S> {
    /// Milliseconds since it began.
    #[must_use]
    pub fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    /// The true time, in seconds since 1970.
    #[must_use]
    pub fn now(&self) -> u64 {
        START + self.millis() / 1000
    }

    /// A fault touched the replica.
    pub fn hurts(&self, replica: usize) {
        self.hurt[replica].store(self.millis(), Ordering::Relaxed);
    }
}
