//! Which mechanism answers for a payment, and the payment's way through it.

mod build;
mod care;
mod way;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::{FacilitatorError, FacilitatorScheme, NotReady};
use tollway_protocol::wire::{Kind, Offer, PaymentRequest, Settlement, Supported, Verdict};
use tollway_protocol::{Facilitator, Network};

use crate::meter::{Operation, Series};
use crate::screen::{Caller, Screens};
use crate::settlements::Settlements;

pub use build::{BuildError, Builder};
pub use care::Undrained;

/// The scheme that version 1 of the protocol had.
pub(crate) const V1_SCHEME: &str = "exact";

/// The mechanisms of a facilitator, by scheme and network.
///
/// It is itself a [`Facilitator`]: used in process it answers what the HTTP API would. It never
/// answers with an error: what can't be served is a refusal with a reason.
pub struct Registry {
    /// By scheme and network.
    mechanisms: Vec<Served>,
    unserved: Measured,
    clock: Box<dyn Fn() -> UnixTime + Send + Sync>,
    verify_within: Duration,
    settle_within: Duration,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    screens: Screens,
    lookup: Option<Arc<dyn Settlements>>,
    draining: AtomicBool,
    readiness: tokio::sync::Mutex<Option<(Instant, Vec<NotReady>)>>,
}

/// A mechanism, under what it advertises.
struct Served {
    scheme: String,
    network: Network,
    mechanism: Arc<dyn FacilitatorScheme>,
    measured: Measured,
}

/// The metrics of both operations.
struct Measured {
    verify: Series,
    settle: Series,
}

impl Measured {
    fn new(scheme: &str, network: &str) -> Self {
        let series = |operation| Series::new(operation, scheme, network);
        Self { verify: series(Operation::Verify), settle: series(Operation::Settle) }
    }
}

impl Registry {
    /// A registry to be filled.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// How long a settlement's answer may take.
    #[must_use]
    pub const fn settle_within(&self) -> Duration {
        self.settle_within
    }

    /// Settles like [`Facilitator::settle`], but answers within `deadline`.
    ///
    /// The work is not the caller's: it goes on when the returned future is dropped.
    pub async fn settle_by(&self, request: &PaymentRequest, deadline: Duration) -> Settlement {
        self.settle_for(request.clone(), deadline, &Caller::default()).await
    }

    /// [`Registry::settle_by`] for a caller whom screening may know.
    pub async fn settle_for(
        &self,
        request: PaymentRequest,
        deadline: Duration,
        caller: &Caller,
    ) -> Settlement {
        way::settle(self, request, caller, deadline).await
    }

    /// Like [`Facilitator::verify`], for a caller whom screening may know.
    pub async fn verify_for(&self, request: PaymentRequest, caller: &Caller) -> Verdict {
        way::verify(self, request, caller).await
    }

    /// Where settlements are looked up, if it was told.
    #[must_use]
    pub fn settlements(&self) -> Option<&Arc<dyn Settlements>> {
        self.lookup.as_ref()
    }

    /// What is served: the mechanisms' kinds, and for networks with a version 1 name those of version 1.
    #[must_use]
    pub fn kinds(&self) -> Supported {
        let mut supported = Supported::default();
        for Served { scheme, network, mechanism, .. } in &self.mechanisms {
            let ask = || (mechanism.kind(), mechanism.signers(), mechanism.extensions());
            let Ok((kind, signers, extensions)) = std::panic::catch_unwind(AssertUnwindSafe(ask)) else {
                tracing::error!(%network, scheme, "the mechanism panicked; it is left out of /supported");
                continue;
            };
            if let (true, Some(name)) = (scheme == V1_SCHEME, network.v1_name()) {
                supported.kinds.push(Kind { x402_version: 1, network: name.to_owned(), ..kind.clone() });
            }
            supported.kinds.push(kind);
            for extension in extensions {
                if !supported.extensions.iter().any(|known| known == extension) {
                    supported.extensions.push(extension.to_owned());
                }
            }
            let family = supported.signers.entry(format!("{}:*", network.namespace())).or_default();
            for signer in signers {
                if !family.contains(&signer) {
                    family.push(signer);
                }
            }
        }
        supported.kinds.sort_by_key(|kind| std::cmp::Reverse(kind.x402_version));
        supported
    }

    fn served(&self, scheme: &str, network: &Network) -> Option<&Served> {
        self.mechanisms.iter().find(|served| served.scheme == scheme && served.network == *network)
    }

    /// The metrics that a payment for `offer` counts in.
    fn series(&self, operation: Operation, offer: &Offer) -> &Series {
        let served = self.served(&offer.scheme, &offer.network);
        let measured = served.map_or(&self.unserved, |served| &served.measured);
        match operation {
            Operation::Verify => &measured.verify,
            Operation::Settle => &measured.settle,
        }
    }

    fn mechanisms(&self) -> impl Iterator<Item = &Arc<dyn FacilitatorScheme>> {
        self.mechanisms.iter().map(|served| &served.mechanism)
    }

    /// The time that payments are judged by, before a mechanism corrects it.
    pub(crate) fn now(&self) -> UnixTime {
        (self.clock)()
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

#[async_trait]
impl Facilitator for Registry {
    async fn verify(&self, request: &PaymentRequest) -> Result<Verdict, FacilitatorError> {
        Ok(self.verify_for(request.clone(), &Caller::default()).await)
    }

    async fn settle(&self, request: &PaymentRequest) -> Result<Settlement, FacilitatorError> {
        Ok(self.settle_by(request, self.settle_within).await)
    }

    async fn supported(&self) -> Result<Supported, FacilitatorError> {
        Ok(self.kinds())
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field(
                "mechanisms",
                &self.mechanisms.iter().map(|served| (&served.scheme, &served.network)).collect::<Vec<_>>(),
            )
            .field("verify_within", &self.verify_within)
            .field("settle_within", &self.settle_within)
            .finish_non_exhaustive()
    }
}
