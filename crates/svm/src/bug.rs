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
pub(crate) fn told(outcome: tollway_protocol::scheme::Outcome) -> tollway_protocol::scheme::Outcome {
    use tollway_protocol::scheme::Outcome;
    use tollway_protocol::{Reason, Refusal};
    match outcome {
        Outcome::Pending { transaction: Some(transaction), .. } if on("s1-pending-is-success") => {
            Outcome::Settled { transaction }
        }
        Outcome::Pending { transaction, .. } if on("s5-timeout-is-failure") => {
            let refusal = Refusal::new(Reason::TransactionFailed, "no block in time");
            Outcome::NotSettled { refusal, transaction }
        }
        outcome => outcome,
    }
}

/// What is told of a payment whose memo another one has claimed.
#[cfg(feature = "facilitator")]
pub(crate) fn claimed(outcome: tollway_protocol::scheme::Outcome) -> tollway_protocol::scheme::Outcome {
    use tollway_protocol::scheme::Outcome;
    match outcome {
        Outcome::NotSettled { transaction: Some(transaction), .. } if on("s4-claim-is-success") => {
            Outcome::Settled { transaction }
        }
        outcome => outcome,
    }
}

/// Whether a caller is the one that is told of success.
#[cfg(feature = "facilitator")]
pub(crate) fn first(
    told: Result<bool, tollway_ledger::LedgerError>,
) -> Result<bool, tollway_ledger::LedgerError> {
    match told {
        Ok(_) if on("s2-told-to-all") => Ok(true),
        Err(_) if on("s4-claim-is-success") => Ok(true),
        told => told,
    }
}

/// What may be spent on fees in a day.
#[cfg(feature = "facilitator")]
pub(crate) fn budget(lamports: u64) -> u64 {
    if on("s11-no-budget") { u64::MAX } else { lamports }
}
