//! What is to be recorded before it leaves, and what came of it.

use std::collections::HashSet;

use tollway_protocol::bind::{PaymentKey, Verified};

use super::Record;
use crate::LedgerError;

/// The most bytes in a claim.
pub const MAX_CLAIM: usize = 512;

/// A transaction that is ready to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransaction {
    /// The account that sends it.
    pub signer: String,
    /// The account's nonce in it.
    pub nonce: u64,
    /// Its hash.
    pub hash: String,
    /// Its bytes, as they go on the wire.
    pub raw: Vec<u8>,
}

/// A transaction to be recorded, with all that depends on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Payments that are taken by this very call. In the record of the transaction they come before those of `again`.
    pub new: Vec<Verified>,
    /// Payments that were taken before, and are held by this process or by nobody. They are this process's then.
    pub again: Vec<PaymentKey>,
    /// What the caller believes to be the latest transaction of some of these, by hash; none where it knows of none.
    pub expected: Vec<(PaymentKey, Option<String>)>,
    /// Texts that some of `new` claim on their network, at most one each and none twice, each of at most [`MAX_CLAIM`]
    /// bytes. Two payments that have not failed never hold one text: a payer who signs one payment in two ways that
    /// have different keys is charged once when both claim the same. They are compared byte by byte. A settlement that
    /// fails frees its claim; one that is settled keeps it.
    pub claims: Vec<(PaymentKey, String)>,
    /// The transaction.
    pub transaction: SignedTransaction,
    /// The most that it can cost, in gwei.
    pub bid_gwei: u64,
    /// What all transactions of 24 hours may cost on this network, in gwei.
    pub budget_gwei: u64,
}

/// What came of [`Journal::sign`](super::Journal::sign).
#[derive(Debug, Clone, PartialEq)]
pub enum Signing {
    /// It is recorded: it may leave.
    Done,
    /// These of the new payments were taken before, in the order of the batch; nothing was recorded.
    Taken(Vec<Record>),
    /// Other payments hold claims of the batch: these, in the order of the claims; nothing was recorded.
    Claimed(Vec<Record>),
    /// The budget does not allow it; nothing was recorded.
    OverBudget,
    /// The lease is not this process's any more; nothing was recorded.
    Lost,
}

impl Batch {
    /// The claims' texts, each once.
    pub(crate) fn claimed(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        let texts = self.claims.iter().map(|(_, text)| text.as_str());
        texts.filter(|text| seen.insert(*text)).collect()
    }

    /// What a payment claims.
    pub(crate) fn claim_of(&self, key: &PaymentKey) -> Option<&str> {
        self.claims.iter().find(|(claiming, _)| claiming == key).map(|(_, text)| text.as_str())
    }

    /// Checks the rules of [`Batch::claims`] that need no look at the store.
    pub(crate) fn check_claims(&self) -> Result<(), LedgerError> {
        let new: HashSet<_> = self.new.iter().map(|new| new.key()).collect();
        let (mut keys, mut texts) = (HashSet::new(), HashSet::new());
        for (key, text) in &self.claims {
            let (found, expected) = if text.len() > MAX_CLAIM {
                ("given a claim that is too long", "given one of at most 512 bytes")
            } else if !new.contains(key) {
                ("given a claim, and is not new in the batch", "new in it")
            } else if !keys.insert(key) {
                ("given two claims", "given one")
            } else if !texts.insert(text) {
                ("given the claim of another in the batch", "given one of its own")
            } else {
                continue;
            };
            return Err(LedgerError::Conflict { key: key.to_string(), found: found.into(), expected });
        }
        Ok(())
    }
}
