//! Filling a registry.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tollway_protocol::Network;
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::FacilitatorScheme;

use super::{Measured, Registry, Served};
use crate::screen::{Hook, Policy, Screens};
use crate::settlements::Settlements;

/// A registry being filled; [`Registry::builder`] starts one.
pub struct Builder {
    mechanisms: Vec<Arc<dyn FacilitatorScheme>>,
    clock: Box<dyn Fn() -> UnixTime + Send + Sync>,
    verify_within: Duration,
    settle_within: Duration,
    settlements: usize,
    screens: Screens,
    lookup: Option<Arc<dyn Settlements>>,
}

/// The mechanisms do not make a facilitator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Nothing is served.
    #[error("no mechanism is registered: configure at least one network")]
    Empty,
    /// Two answer for the same payments.
    #[error("{scheme} on {network} is registered twice")]
    Duplicate {
        /// The scheme.
        scheme: String,
        /// The network.
        network: Network,
    },
    /// A mechanism advertises something else than it serves.
    #[error("a mechanism on {network} advertises version {version} on {advertised}")]
    Advertised {
        /// The network that it serves.
        network: Network,
        /// The version in its kind; 2 is expected.
        version: u8,
        /// The network in its kind.
        advertised: String,
    },
}

impl Default for Builder {
    fn default() -> Self {
        let clock =
            || UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()));
        Self {
            mechanisms: Vec::new(),
            clock: Box::new(clock),
            verify_within: Duration::from_secs(10),
            settle_within: Duration::from_secs(25),
            settlements: 1024,
            screens: Screens { within: Duration::from_secs(3), ..Screens::default() },
            lookup: None,
        }
    }
}

impl Builder {
    /// Adds a mechanism.
    #[must_use]
    pub fn mechanism(mut self, mechanism: Arc<dyn FacilitatorScheme>) -> Self {
        self.mechanisms.push(mechanism);
        self
    }

    /// Judges time by `clock` instead of the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Gives verdicts within this time; 10 s unless set.
    #[must_use]
    pub const fn verify_within(mut self, limit: Duration) -> Self {
        self.verify_within = limit;
        self
    }

    /// Answers settlements within this time; 25 s unless set, which must be less than the sellers'
    /// own patience.
    #[must_use]
    pub const fn settle_within(mut self, limit: Duration) -> Self {
        self.settle_within = limit;
        self
    }

    /// Works on at most this many settlements at a time, callers that hung up included; 1024 unless set.
    #[must_use]
    pub const fn settlements(mut self, limit: usize) -> Self {
        self.settlements = limit;
        self
    }

    /// Adds a rule that every payment is judged by, before any hook.
    #[must_use]
    pub fn policy(mut self, policy: Arc<dyn Policy>) -> Self {
        self.screens.policies.push(policy);
        self
    }

    /// Adds a hook; hooks are asked in this order.
    #[must_use]
    pub fn hook(mut self, hook: Arc<dyn Hook>) -> Self {
        self.screens.hooks.push(hook);
        self
    }

    /// How long one hook may take; 3 s unless set. A `before` hook that takes longer refuses.
    #[must_use]
    pub const fn hook_within(mut self, limit: Duration) -> Self {
        self.screens.within = limit;
        self
    }

    /// Where settlements are looked up: the ledger that the mechanisms journal to. Without it a payment that was
    /// taken and is refused by a later rule is answered with that rule's refusal.
    #[must_use]
    pub fn ledger(mut self, settlements: Arc<dyn Settlements>) -> Self {
        self.lookup = Some(settlements);
        self
    }

    /// The registry.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(self) -> Result<Registry, BuildError> {
        let mut mechanisms: Vec<Served> = Vec::new();
        for mechanism in self.mechanisms {
            let (kind, network) = (mechanism.kind(), mechanism.network().clone());
            if kind.x402_version != 2 || kind.network != network.as_str() {
                return Err(BuildError::Advertised {
                    network,
                    version: kind.x402_version,
                    advertised: kind.network,
                });
            }
            let scheme = kind.scheme;
            if mechanisms.iter().any(|served| served.scheme == scheme && served.network == network) {
                return Err(BuildError::Duplicate { scheme, network });
            }
            let measured = Measured::new(&scheme, network.as_str());
            mechanisms.push(Served { scheme, network, mechanism, measured });
        }
        mechanisms.sort_by(|a, b| (&a.scheme, &a.network).cmp(&(&b.scheme, &b.network)));
        if mechanisms.is_empty() {
            return Err(BuildError::Empty);
        }
        Ok(Registry {
            mechanisms,
            unserved: Measured::new("other", "other"),
            clock: self.clock,
            verify_within: self.verify_within,
            settle_within: self.settle_within,
            slots: Arc::new(Semaphore::new(self.settlements.min(Semaphore::MAX_PERMITS))),
            tasks: TaskTracker::new(),
            screens: self.screens,
            lookup: self.lookup,
            draining: AtomicBool::new(false),
            readiness: tokio::sync::Mutex::new(None),
        })
    }
}
