//! What every ledger has to do, as tests: [`ledger_suite!`](crate::ledger_suite) for any,
//! [`shared_ledger_suite!`](crate::shared_ledger_suite) for one that several processes may open, and
//! [`model`] against a plain model of it.
//!
//! The functions panic where a ledger is wrong. The calling crate needs `tokio` with `macros` and
//! `rt-multi-thread`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "these are tests, though of another crate's: each name says what it shows"
)]

pub mod claims;
pub mod fixture;
pub mod journal;
pub mod model;
mod plain;
pub mod shared;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Ledger;

/// A wall clock that stands still until it is told to move.
#[derive(Debug, Clone)]
pub struct Clock(Arc<AtomicU64>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1_800_000_000_000)))
    }
}

impl Clock {
    /// Another clock, `millis` ahead of this one.
    #[must_use]
    pub fn ahead(&self, millis: u64) -> Self {
        Self(Arc::new(AtomicU64::new(self.millis() + millis)))
    }

    /// What it shows.
    #[must_use]
    pub fn millis(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The length of a lease in the suite, in milliseconds.
pub const LEASE_MILLIS: u64 = 5_000;

/// A new, empty store.
pub trait Site: Send + Sync {
    /// What opens it.
    type Ledger: Ledger + 'static;

    /// Opens the store as another process would, with leases of [`LEASE_MILLIS`] by `clock`.
    fn open(&self, clock: &Clock) -> impl Future<Output = Self::Ledger> + Send;
}

/// The suite's tests for every ledger, as `#[tokio::test]`s; takes an expression that makes a [`Site`].
#[macro_export]
macro_rules! ledger_suite {
    ($site:expr) => {
        $crate::suite_tests! { $site, claims:
            i02_one_of_fifty_parallel_claims_wins
            i02_same_payment_on_two_routes_is_taken_for_one
            i02_a_payment_is_delivered_once_however_many_try
            i02_a_stale_claim_can_not_act
            i02_the_same_key_signed_again_is_the_same_payment
            i02_the_same_key_with_other_terms_is_another_payment
            i20_only_the_very_same_payment_resumes_what_may_have_been_charged
            i03_what_may_have_been_charged_is_recalled_with_its_offer
            i03_a_settled_payment_is_paid_when_it_comes_back
            i05_a_pending_payment_resumes
            a_delivered_payment_is_spent_and_names_its_transaction
            a_released_payment_is_free_for_any_request
            abandoning_gives_back_in_each_state
            rs10_a_dropped_call_gives_its_payment_back
            rs32_answers_about_something_else_settle_nothing
            rs33_only_what_can_not_settle_any_more_is_forgotten
        }
        $crate::suite_tests! { $site, journal:
            fa01_one_of_fifty_parallel_settlements_is_new
            fa03_nothing_is_broadcast_that_was_not_signed
            fa03_an_unfinished_settlement_keeps_all_that_it_needs
            fa04_a_nonce_carries_one_payment
            fa04_replaced_transactions_stay_in_the_history
            fa06_a_rejected_transaction_frees_its_nonce
            fa06_the_next_nonce_follows_the_highest_that_counts
            i18_a_finished_settlement_never_changes
            open_lists_the_unfinished_of_one_network
            only_an_unsigned_settlement_is_abandoned
            a_ledger_that_can_be_written_is_healthy
        }
    };
}

/// The suite's tests for a ledger that several processes may open at once.
#[macro_export]
macro_rules! shared_ledger_suite {
    ($site:expr) => {
        $crate::suite_tests! { $site, shared:
            rs04_two_processes_claim_a_payment_once
            rs04_two_processes_deliver_a_payment_once
            rs09_a_dead_process_s_claims_are_taken_over_as_they_are
            rs09_a_live_process_keeps_its_claims
            rs09_a_process_that_ended_leaves_its_claims_at_once
            rs09_a_process_that_was_only_asleep_can_not_act
            rs33_a_live_process_s_claims_are_not_forgotten
            fa01_two_processes_prepare_a_settlement_once
            fa03_another_process_finds_the_same_bytes
            fa04_two_processes_never_share_a_nonce
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! suite_tests {
    ($site:expr, $group:ident: $($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            $crate::suite::$group::$name(&$site).await;
        }
    )*};
}
