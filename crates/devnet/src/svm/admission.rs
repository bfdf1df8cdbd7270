//! Which transactions may be executed: what a validator checks before it runs one.

use std::collections::HashMap;

use solana_hash::Hash;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;

use super::{bank::Bank, blockhashes::Blockhashes};

/// The messages that were executed, and at which height. What they were signed with plays no part: two transactions
/// with one message are one payment.
#[derive(Default)]
pub(crate) struct Executed(HashMap<Hash, u64>);

impl Executed {
    pub(crate) fn insert(&mut self, transaction: &VersionedTransaction, height: u64) {
        self.0.insert(transaction.message.hash(), height);
    }

    /// Forgets what no blockhash allows any more.
    pub(crate) fn forget_before(&mut self, height: u64) {
        self.0.retain(|_, at| *at >= height);
    }

    /// Forgets what a fork undid.
    pub(crate) fn truncate(&mut self, height: u64) {
        self.0.retain(|_, at| *at <= height);
    }

    fn in_bank(&self, transaction: &VersionedTransaction, bank: &Bank) -> bool {
        self.0.get(&transaction.message.hash()).is_some_and(|at| *at <= bank.height)
    }
}

/// Every signature is good, and there are as many as the message wants.
pub(crate) fn signed(transaction: &VersionedTransaction) -> bool {
    let wanted = usize::from(transaction.message.header().num_required_signatures);
    transaction.signatures.len() == wanted && transaction.verify_with_results().iter().all(|good| *good)
}

/// The message may be executed in this bank, whoever signed it: its blockhash is at most `age` blocks old, and it
/// wasn't executed before.
pub(crate) fn admit(
    transaction: &VersionedTransaction,
    bank: &Bank,
    hashes: &Blockhashes,
    executed: &Executed,
    age: u64,
) -> Result<(), TransactionError> {
    let newest = bank.latest.1;
    let height = hashes.height(transaction.message.recent_blockhash()).filter(|height| *height <= newest);
    if height.is_none_or(|height| newest - height > age) {
        return Err(TransactionError::BlockhashNotFound);
    }
    if executed.in_bank(transaction, bank) {
        return Err(TransactionError::AlreadyProcessed);
    }
    Ok(())
}
