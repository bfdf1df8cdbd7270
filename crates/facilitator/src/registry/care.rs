//! The registry's life besides payments: recovery, readiness, draining.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tollway_protocol::scheme::NotReady;

use super::Registry;
use crate::redact;

/// How long an answer about readiness is reused.
const FRESH: Duration = Duration::from_secs(1);
/// How long a mechanism may take to say whether it is ready.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// Work was still in flight when the time was over; the journal has it, and recovery will finish it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{settlements} settlements were still in progress after {seconds} s; the next start finishes them")]
pub struct Undrained {
    /// Settlements whose answer had not been found.
    pub settlements: usize,
    /// How long was waited.
    pub seconds: u64,
}

impl Registry {
    /// Lets every mechanism finish what an earlier process left behind. Call it before serving.
    ///
    /// Returns the mechanisms that failed at it.
    pub async fn recover(&self) -> Vec<NotReady> {
        let work = self.mechanisms().map(|mechanism| async move {
            let problem = "recovery panicked: see the log, and do not settle on this network".to_owned();
            let done = AssertUnwindSafe(mechanism.recover()).catch_unwind().await;
            done.err().map(|_| NotReady { network: mechanism.network().clone(), problem })
        });
        join_all(work).await.into_iter().flatten().collect()
    }

    /// What keeps payments from being settled now; empty when nothing does. An answer is reused for
    /// a second, so that asking often costs nothing.
    pub async fn problems(&self) -> Vec<NotReady> {
        let mut last = self.readiness.lock().await;
        if let Some((at, found)) = &*last
            && at.elapsed() < FRESH
        {
            return found.clone();
        }
        let work = self.mechanisms().map(|mechanism| async move {
            let asked =
                tokio::time::timeout(READY_WITHIN, AssertUnwindSafe(mechanism.ready()).catch_unwind()).await;
            let problem = match asked {
                Ok(Ok(Ok(()))) => return None,
                Ok(Ok(Err(NotReady { problem, .. }))) => redact::urls(&problem),
                Ok(Err(_panic)) => "the mechanism panicked: see the log".to_owned(),
                Err(_elapsed) => format!("no answer in {} s", READY_WITHIN.as_secs()),
            };
            Some(NotReady { network: mechanism.network().clone(), problem })
        });
        let found: Vec<NotReady> = join_all(work).await.into_iter().flatten().collect();
        *last = Some((Instant::now(), found.clone()));
        found
    }

    /// Whether [`drain`](Self::drain) has begun.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.is_draining()
    }

    /// Takes no more settlements and waits for those in flight, at most `limit`.
    ///
    /// # Errors
    /// [`Undrained`] when the time was not enough.
    pub async fn drain(&self, limit: Duration) -> Result<(), Undrained> {
        self.draining.store(true, Ordering::Release);
        self.tasks.close();
        let work = async {
            self.tasks.wait().await;
            let drains =
                self.mechanisms().map(|mechanism| AssertUnwindSafe(mechanism.drain()).catch_unwind());
            join_all(drains).await;
        };
        tokio::time::timeout(limit, work)
            .await
            .map_err(|_| Undrained { settlements: self.tasks.len(), seconds: limit.as_secs() })
    }
}
