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

pub mod chain;
pub mod claims;
pub mod fixture;
pub mod journal;
pub mod model;
pub mod nonces;
pub mod once;
#[cfg(feature = "postgres")]
pub mod postgres_server;
pub mod replicas;
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

/// A new, empty store: each test makes one by its expression and has it to itself, so that what makes it must give
/// another one every time (a folder, a schema). What is left when it is dropped is the caller's to clean up.
pub trait Site: Send + Sync {
    /// What opens it.
    type Ledger: Ledger + 'static;

    /// Opens the store as another process would, with leases of [`LEASE_MILLIS`] by `clock`; making it with the first
    /// call, finding it there with each later one. What one call gave need not be dropped before the next.
    ///
    /// In [`shared_ledger_suite!`](crate::shared_ledger_suite):
    /// - all that is opened at one site is one store, and each is a process of its own in it: with an instance id
    ///   of its own, alive until [`LEASE_MILLIS`] after the time that its own clock shows, whatever another's shows;
    /// - one opened by `clock.ahead(LEASE_MILLIS + 1)` finds all that were opened by `clock` dead, and they find it
    ///   alive; none of them is told to stop, since they are processes that may only be asleep;
    /// - dropping one ends its process as a shutdown does: what it held is free at once, and it is done when the drop
    ///   returns.
    ///
    /// So the store has to compare leases by this clock, not by its server's.
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
            fa01_a_list_of_payments_is_answered_in_its_order
            fa01_taken_lists_what_was_taken_before_and_nothing_else
            fa01_a_batch_is_taken_once_however_many_try
            fa01_what_stands_against_a_batch_is_told_in_order
            fa03_nothing_is_broadcast_that_was_not_signed
            i10_an_unfinished_settlement_keeps_all_that_it_needs
            i10_a_batch_is_recorded_whole_or_not_at_all
            i18_a_finished_settlement_never_changes
            i18_a_payment_that_another_carried_names_its_transaction
            s10_states_move_as_they_may
            open_lists_what_is_not_final_on_one_network
            only_an_unsigned_settlement_is_abandoned
            pages_go_through_all_records_once
            a_ledger_that_can_be_written_is_healthy
        }
        $crate::suite_tests! { $site, once:
            fa02_one_of_fifty_parallel_callers_is_told
            fa02_only_who_asks_about_a_settled_payment_is_told
            fa02_the_first_who_is_told_of_a_payment_without_a_key_may_name_one
            fa02_a_reorg_leaves_who_was_told
            fa02_a_claim_is_taken_by_one_of_fifty_parallel_transactions
            fa02_a_failed_settlement_frees_its_claim_and_a_settled_one_keeps_it
            fa02_claims_are_compared_byte_by_byte_on_one_network
            fa02_a_batch_whose_claims_break_the_rules_is_refused
            fa02_held_claims_are_told_after_what_was_taken_and_before_a_conflict
        }
        $crate::suite_tests! { $site, nonces:
            fa04_a_nonce_belongs_to_one_batch_for_ever
            fa04_replaced_transactions_stay_in_the_history
            fa04_the_same_transaction_once_more_changes_nothing
            fa04_a_lease_is_confirmed_until_it_is_given_back
            fa05_a_transaction_without_payments_spends_a_nonce
            fa06_the_next_nonce_follows_the_highest
            fa06_the_latest_transaction_of_each_nonce_is_told
            s08_a_nonce_that_a_mined_transaction_spent_is_used_no_more
            what_is_not_held_is_taken_by_who_signs_it
        }
        $crate::suite_tests! { $site, chain:
            fa21_many_endings_are_recorded_at_once
            fa21_the_same_ending_twice_is_one
            fa21_what_is_in_final_blocks_is_final
            fa21_only_what_was_looked_at_again_becomes_final
            fa21_a_reorg_takes_back_what_is_not_final
            fa21_a_reorg_takes_back_only_its_block_and_later_ones
            fa21_what_another_carried_goes_on_after_a_reorg
            fa21_a_transaction_that_is_found_again_is_where_it_was_found_last
            fa24_the_budget_runs_over_24_hours
            fa24_what_a_transaction_cost_takes_the_place_of_its_bid
            fa24_the_transactions_of_a_nonce_count_once
            fa24_what_is_proven_never_to_be_mined_counts_no_more
            reverts_are_counted_for_each_payer
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
        }
        $crate::suite_tests! { $site, claims:
            i03_a_claim_keeps_its_name_until_it_is_released
        }
        $crate::suite_tests! { $site, once:
            fa02_two_processes_tell_a_payment_once
            fa02_two_processes_take_a_claim_once
            fa02_claims_and_who_was_told_survive_a_restart
            fa02_who_began_with_a_key_is_told_again_and_nobody_else
        }
        $crate::suite_tests! { $site, replicas:
            fa01_two_processes_take_a_payment_once
            fa03_another_process_finds_the_same_bytes
            fa04_two_processes_never_hold_one_account
            fa04_two_processes_never_share_a_nonce
            fa04_a_process_that_was_only_asleep_can_not_sign
            fa04_a_live_process_keeps_its_settlements
            fa04_what_another_has_signed_for_meanwhile_is_not_signed_again
            fa05_what_a_dead_process_left_is_taken_over
            fa05_what_a_process_lets_go_another_takes_over
            fa05_what_is_sent_from_a_leased_account_is_left_to_its_holder
            fa06_a_dead_process_s_nonces_go_on_with_the_same_bytes
            fa21_any_process_records_what_the_chain_says
            fa24_processes_share_the_budget
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
