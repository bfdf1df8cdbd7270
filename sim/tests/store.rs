//! The simulated store does what every ledger has to do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, with helpers outside their functions")]

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tollway_ledger::suite::{Clock, Site};
use tollway_ledger::{
    Attempt, Batch, Claim, Claimed, Claims, Delivery, Ending, Filter, Journal, Lease, LedgerError, Mined,
    Paid, Prepared, Recalled, Record, RequestId, Signing, Turn,
};
use tollway_protocol::IdempotencyKey;
use tollway_protocol::bind::{Bound, PaymentKey, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Network, Settlement};
use tollway_sim::store::{Process, Tables};

/// A journal, made a ledger by a seller's half that is never there.
struct Whole(Process);

/// All processes that opened the store.
#[derive(Default)]
struct Place(Arc<Mutex<Tables>>);

impl Site for Place {
    type Ledger = Whole;

    async fn open(&self, clock: &Clock) -> Whole {
        let clock = clock.clone();
        Whole(Process::open(self.0.clone(), Arc::new(move || clock.millis())))
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.0.tables.lock().leave(self.0.instance);
    }
}

#[async_trait]
impl Journal for Whole {
    async fn prepare(
        &self,
        all: &[Verified],
        held: bool,
        now: UnixTime,
    ) -> Result<Vec<Prepared>, LedgerError> {
        self.0.prepare(all, held, now).await
    }
    async fn sign(&self, lease: &Lease, batch: Batch, now: UnixTime) -> Result<Signing, LedgerError> {
        self.0.sign(lease, batch, now).await
    }
    async fn sent(&self, network: &Network, hash: &str) -> Result<(), LedgerError> {
        self.0.sent(network, hash).await
    }
    async fn finish(
        &self,
        network: &Network,
        mined: &[Mined],
        endings: &[(PaymentKey, Ending)],
        now: UnixTime,
    ) -> Result<Vec<Result<(), LedgerError>>, LedgerError> {
        self.0.finish(network, mined, endings, now).await
    }
    async fn never_mined(&self, network: &Network, hashes: &[String]) -> Result<(), LedgerError> {
        self.0.never_mined(network, hashes).await
    }

    async fn tell(&self, key: &PaymentKey, asker: Option<&IdempotencyKey>) -> Result<bool, LedgerError> {
        self.0.tell(key, asker).await
    }
    async fn reopen(&self, keys: &[PaymentKey]) -> Result<(), LedgerError> {
        self.0.reopen(keys).await
    }
    async fn finalize(&self, network: &Network, block: u64, keys: &[PaymentKey]) -> Result<u64, LedgerError> {
        self.0.finalize(network, block, keys).await
    }
    async fn let_go(&self, key: &PaymentKey) -> Result<(), LedgerError> {
        self.0.let_go(key).await
    }
    async fn abandon_settlement(&self, key: &PaymentKey) -> Result<(), LedgerError> {
        self.0.abandon_settlement(key).await
    }
    async fn settlement(&self, key: &PaymentKey) -> Result<Option<Record>, LedgerError> {
        self.0.settlement(key).await
    }
    async fn history(&self, key: &PaymentKey) -> Result<Vec<Attempt>, LedgerError> {
        self.0.history(key).await
    }
    async fn open(&self, network: &Network) -> Result<Vec<Record>, LedgerError> {
        Journal::open(&self.0, network).await
    }
    async fn unfinal(&self, network: &Network, block: u64, limit: u32) -> Result<Vec<Record>, LedgerError> {
        self.0.unfinal(network, block, limit).await
    }
    async fn take_over(&self, network: &Network, limit: u32) -> Result<Vec<Record>, LedgerError> {
        self.0.take_over(network, limit).await
    }
    async fn lease(&self, network: &Network, signer: &str) -> Result<Option<Lease>, LedgerError> {
        self.0.lease(network, signer).await
    }
    async fn give_back(&self, lease: &Lease) -> Result<(), LedgerError> {
        self.0.give_back(lease).await
    }
    async fn next_nonce(&self, network: &Network, signer: &str) -> Result<Option<u64>, LedgerError> {
        self.0.next_nonce(network, signer).await
    }
    async fn nonces(&self, network: &Network, signer: &str, first: u64) -> Result<Vec<Attempt>, LedgerError> {
        self.0.nonces(network, signer, first).await
    }
    async fn spent_gwei(&self, network: &Network, now: UnixTime) -> Result<u64, LedgerError> {
        self.0.spent_gwei(network, now).await
    }
    async fn reverts(&self, network: &Network, payer: &str, since: UnixTime) -> Result<u64, LedgerError> {
        self.0.reverts(network, payer, since).await
    }
    async fn page(&self, filter: &Filter, after: i64, limit: u32) -> Result<Vec<Record>, LedgerError> {
        self.0.page(filter, after, limit).await
    }
    async fn healthy(&self) -> Result<(), LedgerError> {
        self.0.healthy().await
    }
}

fn nothing<T>() -> Result<T, LedgerError> {
    Err(LedgerError::Unavailable("the simulation has no seller's half".into()))
}

#[async_trait]
impl Claims for Whole {
    async fn claim(&self, _: Bound, _: RequestId, _: UnixTime) -> Result<Claim, LedgerError> {
        nothing()
    }
    async fn recall(&self, _: &PaymentKey) -> Result<Option<Recalled>, LedgerError> {
        nothing()
    }
    async fn settling(&self, _: &Claimed) -> Result<(), LedgerError> {
        nothing()
    }
    async fn pending(&self, _: Claimed, _: Option<&str>) -> Result<(), LedgerError> {
        nothing()
    }
    async fn settled(&self, _: Claimed, _: Settlement) -> Result<Paid, LedgerError> {
        nothing()
    }
    async fn deliver(&self, _: Paid) -> Result<Delivery, LedgerError> {
        nothing()
    }
    async fn undelivered(&self, _: Paid) -> Result<(), LedgerError> {
        nothing()
    }
    async fn release(&self, _: Claimed) -> Result<(), LedgerError> {
        nothing()
    }
    async fn abandon(&self, _: &Turn) -> Result<(), LedgerError> {
        nothing()
    }
    async fn forget(&self, _: UnixTime) -> Result<u64, LedgerError> {
        nothing()
    }
}

tollway_ledger::suite_tests! { Place::default(), journal:
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

tollway_ledger::suite_tests! { Place::default(), once:
    fa02_one_of_fifty_parallel_callers_is_told
    fa02_only_who_asks_about_a_settled_payment_is_told
    fa02_a_reorg_leaves_who_was_told
    fa02_a_claim_is_taken_by_one_of_fifty_parallel_transactions
    fa02_a_failed_settlement_frees_its_claim_and_a_settled_one_keeps_it
    fa02_claims_are_compared_byte_by_byte_on_one_network
    fa02_a_batch_whose_claims_break_the_rules_is_refused
    fa02_held_claims_are_told_after_what_was_taken_and_before_a_conflict
    fa02_two_processes_tell_a_payment_once
    fa02_two_processes_take_a_claim_once
    fa02_claims_and_who_was_told_survive_a_restart
}

tollway_ledger::suite_tests! { Place::default(), nonces:
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

tollway_ledger::suite_tests! { Place::default(), chain:
    fa21_many_endings_are_recorded_at_once
    fa21_the_same_ending_twice_is_one
    fa21_what_is_in_final_blocks_is_final
    fa21_a_reorg_takes_back_what_is_not_final
    fa21_a_reorg_takes_back_only_its_block_and_later_ones
    fa21_a_transaction_that_is_found_again_is_where_it_was_found_last
    fa24_the_budget_runs_over_24_hours
    fa24_what_a_transaction_cost_takes_the_place_of_its_bid
    fa24_the_transactions_of_a_nonce_count_once
    reverts_are_counted_for_each_payer
}

tollway_ledger::suite_tests! { Place::default(), replicas:
    fa01_two_processes_take_a_payment_once
    fa03_another_process_finds_the_same_bytes
    fa04_two_processes_never_hold_one_account
    fa04_two_processes_never_share_a_nonce
    fa04_a_process_that_was_only_asleep_can_not_sign
    fa04_a_live_process_keeps_its_settlements
    fa05_what_a_dead_process_left_is_taken_over
    fa05_what_is_sent_from_a_leased_account_is_left_to_its_holder
    fa06_a_dead_process_s_nonces_go_on_with_the_same_bytes
    fa21_any_process_records_what_the_chain_says
    fa24_processes_share_the_budget
}
