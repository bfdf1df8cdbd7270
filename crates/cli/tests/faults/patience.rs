//! Waiting: for conditions that tell no news, and for faults to last.

use std::time::Duration;

/// Longer nothing takes, on a busy machine either.
pub(crate) const WITHIN: Duration = Duration::from_secs(100);

/// For looking again and again at what tells no news; it ends, loudly.
pub(crate) struct Patience {
    what: &'static str,
    until: tokio::time::Instant,
}

impl Patience {
    pub(crate) fn for_(what: &'static str) -> Self {
        Self { what, until: tokio::time::Instant::now() + WITHIN }
    }

    /// A moment's pause.
    pub(crate) async fn again(&self) {
        self.again_or(String::new).await;
    }

    /// As [`Patience::again`]; `found` is told when patience is over.
    pub(crate) async fn again_or(&self, found: impl FnOnce() -> String) {
        let is_over = tokio::time::Instant::now() >= self.until;
        assert!(!is_over, "it never comes to this: {}: {}", self.what, found());
        // The one place where conditions that tell no news are polled.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lets a fault last: nothing is waited for but the time.
pub(crate) async fn lasts(outage: Duration) {
    tokio::time::sleep(outage).await;
}
