//! A slot and the accounts after it.

use litesvm::{LiteSVM, types::TransactionMetadata};
use solana_account::{AccountSharedData, ReadableAccount};
use solana_address::Address;
use solana_clock::Clock;
use solana_hash::Hash;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;

/// Of an epoch, as on every public cluster.
pub(crate) const SLOTS_IN_EPOCH: u64 = 432_000;

#[derive(Clone)]
pub(crate) struct Bank {
    pub(crate) slot: u64,
    pub(crate) parent: u64,
    /// Lower than the slot where slots were skipped.
    pub(crate) height: u64,
    /// In seconds since 1970.
    pub(crate) time: i64,
    /// The newest blockhash it knows, and its block's height: its own once the slot is complete, its parent's before.
    pub(crate) latest: (Hash, u64),
    pub(crate) vm: LiteSVM,
}

/// What became of a transaction, kept or only tried.
pub(crate) struct Outcome {
    pub(crate) error: Option<TransactionError>,
    pub(crate) meta: TransactionMetadata,
    /// The accounts after it, of a simulation that succeeded.
    pub(crate) accounts: Vec<(Address, AccountSharedData)>,
}

impl Bank {
    /// An empty ledger with the usual programs.
    pub(crate) fn genesis(slot: u64, height: u64, hash: Hash, time: i64) -> Self {
        // Signatures, duplicates and blockhashes are looked after by `admission`, as validators do it.
        let vm = LiteSVM::new()
            .with_sigverify(false)
            .with_blockhash_check(false)
            .with_transaction_history(0)
            .with_log_bytes_limit(Some(10_000));
        let mut bank = Self { slot, parent: slot, height, time, latest: (hash, height), vm };
        bank.set_clock();
        bank
    }

    /// The bank on top of this complete one.
    pub(crate) fn child(&self, slot: u64, time: i64) -> Self {
        let mut child = Self {
            slot,
            parent: self.slot,
            height: self.height.saturating_add(1),
            time: time.max(self.time),
            latest: self.latest,
            vm: self.vm.clone(),
        };
        child.set_clock();
        child
    }

    /// Completes the slot.
    pub(crate) fn freeze(&mut self, hash: Hash) {
        self.latest = (hash, self.height);
    }

    fn set_clock(&mut self) {
        let mut clock = self.vm.get_sysvar::<Clock>();
        clock.slot = self.slot;
        clock.epoch = self.slot / SLOTS_IN_EPOCH;
        clock.unix_timestamp = self.time;
        self.vm.set_sysvar(&clock);
    }

    /// Nothing for an account without lamports: there is no such account.
    pub(crate) fn account(&self, address: &Address) -> Option<&AccountSharedData> {
        self.vm.accounts_db().get_account_ref(address).filter(|account| account.lamports() > 0)
    }

    pub(crate) fn lamports(&self, address: &Address) -> u64 {
        self.account(address).map_or(0, ReadableAccount::lamports)
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = (&Address, &AccountSharedData)> {
        self.vm.accounts_db().inner.iter().filter(|(_, account)| account.lamports() > 0)
    }

    /// Executes a transaction that may be executed, and keeps what it did. A failed one that paid its fee is in the
    /// ledger; one that couldn't pay is not, and nothing is answered for it.
    pub(crate) fn execute(&mut self, transaction: VersionedTransaction) -> Option<Outcome> {
        let payer = transaction.message.static_account_keys().first().copied()?;
        let before = self.lamports(&payer);
        match self.vm.send_transaction(transaction) {
            Ok(meta) => Some(Outcome { error: None, meta, accounts: Vec::new() }),
            Err(failed) if self.lamports(&payer) < before => {
                Some(Outcome { error: Some(failed.err), meta: failed.meta, accounts: Vec::new() })
            }
            Err(failed) => {
                tracing::debug!(error = %failed.err, "a transaction that can't pay its fee is dropped");
                None
            }
        }
    }

    pub(crate) fn simulate(&self, transaction: VersionedTransaction) -> Outcome {
        match self.vm.simulate_transaction(transaction) {
            Ok(done) => Outcome { error: None, meta: done.meta, accounts: done.post_accounts },
            Err(failed) => Outcome { error: Some(failed.err), meta: failed.meta, accounts: Vec::new() },
        }
    }
}
