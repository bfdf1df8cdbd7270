//! The blockhashes that transactions may carry.

use std::collections::{HashMap, VecDeque};

use sha2::{Digest as _, Sha256};
use solana_hash::Hash;

/// One per slot, newest last.
pub(crate) struct Blockhashes {
    order: VecDeque<(Hash, u64)>,
    heights: HashMap<Hash, u64>,
    kept: usize,
}

impl Blockhashes {
    /// Remembers the last `kept` of them.
    pub(crate) fn new(kept: usize) -> Self {
        Self { order: VecDeque::new(), heights: HashMap::new(), kept }
    }

    pub(crate) fn push(&mut self, hash: Hash, height: u64) {
        self.order.push_back((hash, height));
        self.heights.insert(hash, height);
        while self.order.len() > self.kept {
            if let Some((oldest, _)) = self.order.pop_front() {
                self.heights.remove(&oldest);
            }
        }
    }

    /// The block whose hash this is.
    pub(crate) fn height(&self, hash: &Hash) -> Option<u64> {
        self.heights.get(hash).copied()
    }

    /// Forgets those above a height.
    pub(crate) fn truncate(&mut self, height: u64) {
        self.order.retain(|(_, at)| *at <= height);
        self.heights.retain(|_, at| *at <= height);
    }
}

/// The hash of a slot's block. Two branches have different slots on the same parent, so their hashes differ.
pub(crate) fn of_slot(parent: &Hash, slot: u64) -> Hash {
    let digest = Sha256::new().chain_update(parent.as_ref()).chain_update(slot.to_le_bytes()).finalize();
    Hash::new_from_array(digest.into())
}
