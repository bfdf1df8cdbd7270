//! The transactions that were executed.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use litesvm::types::TransactionMetadata;
use solana_address::Address;
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;

use super::tokens::TokenBalance;

/// So many are kept; the oldest go.
const KEPT: usize = 1 << 16;

/// A transaction in the ledger, succeeded or failed.
pub(crate) struct Record {
    pub(crate) signature: Signature,
    pub(crate) slot: u64,
    pub(crate) height: u64,
    /// In seconds since 1970.
    pub(crate) time: i64,
    pub(crate) transaction: VersionedTransaction,
    pub(crate) error: Option<TransactionError>,
    pub(crate) meta: TransactionMetadata,
    pub(crate) before: Balances,
    pub(crate) after: Balances,
}

/// What the accounts of a message hold, in its order.
pub(crate) struct Balances {
    pub(crate) lamports: Vec<u64>,
    /// Of those that are token accounts, with their places.
    pub(crate) tokens: Vec<(usize, TokenBalance)>,
}

impl Record {
    pub(crate) fn names(&self, address: &Address) -> bool {
        self.transaction.message.static_account_keys().contains(address)
    }
}

#[derive(Default)]
pub(crate) struct History {
    order: VecDeque<Arc<Record>>,
    by_signature: HashMap<Signature, Arc<Record>>,
    count: u64,
}

impl History {
    pub(crate) fn push(&mut self, record: Record) {
        let record = Arc::new(record);
        self.count += 1;
        self.by_signature.insert(record.signature, record.clone());
        self.order.push_back(record);
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_signature.remove(&oldest.signature);
        }
    }

    pub(crate) fn get(&self, signature: &Signature) -> Option<&Arc<Record>> {
        self.by_signature.get(signature)
    }

    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.order.iter().rev()
    }

    /// The first slot of which all are kept, once some are not.
    pub(crate) fn first_whole_slot(&self) -> Option<u64> {
        let has_lost = self.count > self.order.len() as u64;
        self.order.front().filter(|_| has_lost).map(|oldest| oldest.slot.saturating_add(1))
    }

    /// How many there were, also before those that are kept.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Forgets what a fork undid.
    pub(crate) fn truncate(&mut self, height: u64) {
        while self.order.back().is_some_and(|record| record.height > height) {
            if let Some(undone) = self.order.pop_back() {
                self.by_signature.remove(&undone.signature);
                self.count -= 1;
            }
        }
    }
}
