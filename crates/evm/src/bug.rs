//! Mistakes that can be made on purpose, one at a time, so that the simulation proves that it would find them. Compiled
//! in by the feature `bugs`, and off even then unless a test switches one on for its thread.

#[cfg(feature = "bugs")]
use std::cell::Cell;

#[cfg(feature = "bugs")]
thread_local! {
    static MADE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Makes this mistake from now on, on this thread; none with `None`.
#[cfg(feature = "bugs")]
pub fn set(name: Option<&'static str>) {
    MADE.set(name);
}

/// Whether the mistake called `name` is to be made.
#[cfg(feature = "bugs")]
#[must_use]
pub fn on(name: &str) -> bool {
    MADE.get() == Some(name)
}

/// Never, in ordinary builds.
#[cfg(not(feature = "bugs"))]
#[must_use]
pub const fn on(_name: &str) -> bool {
    false
}

/// What is told of a settlement, with what some mistakes make of it.
#[cfg(feature = "facilitator")]
pub(crate) fn told(
    outcome: Option<tollway_protocol::scheme::Outcome>,
    hash: Option<&str>,
) -> Option<tollway_protocol::scheme::Outcome> {
    use tollway_protocol::scheme::Outcome;
    use tollway_protocol::{Reason, Refusal};
    match (outcome, hash) {
        (None, Some(hash)) if on("s1-pending-is-success") => {
            Some(Outcome::Settled { transaction: hash.to_owned() })
        }
        (None, _) if on("s5-timeout-is-failure") => {
            let refusal = Refusal::new(Reason::TransactionFailed, "no receipt in time");
            Some(Outcome::NotSettled { refusal, transaction: None })
        }
        (outcome, _) => outcome,
    }
}
