//! Another branch takes the place of the newest blocks.

use std::sync::Arc;

use super::World;
use crate::evm::{
    pool::{Candidate, Pool},
    rpc::RpcError,
};

impl World {
    /// Drops the newest blocks with all that they did and makes as many and one more, all empty. What was in the dropped
    /// ones waits again if `keep`, and is forgotten otherwise.
    pub(crate) fn reorganise(&mut self, depth: u64, keep: bool) -> Result<(), RpcError> {
        let dropped = self.rewind(depth)?;
        for _ in 0..=depth {
            self.append_filled(&Pool::default());
        }
        for candidate in dropped.into_iter().filter(|_| keep) {
            // What can't wait again has been replaced: a transaction of the same nonce waits already.
            let _ = self.pool.insert(candidate);
        }
        Ok(())
    }

    /// Drops the newest blocks with all that they did and makes one for each of `blocks`, with just what is in it.
    pub(crate) fn reorganise_into(
        &mut self,
        depth: u64,
        blocks: Vec<Vec<Candidate>>,
    ) -> Result<(), RpcError> {
        let mut branch = self.clone();
        branch.rewind(depth)?;
        for candidates in blocks {
            let mut pool = Pool::default();
            let wanted = candidates.len();
            for candidate in candidates {
                pool.insert(candidate).map_err(|error| RpcError::params(error.to_string()))?;
            }
            if branch.append_filled(&pool) != wanted {
                return Err(RpcError::params("a transaction is not valid at its place in the new branch"));
            }
        }
        *self = branch;
        Ok(())
    }

    /// What was in the blocks, the oldest first.
    fn rewind(&mut self, depth: u64) -> Result<Vec<Arc<Candidate>>, RpcError> {
        let height = self.head.header.number;
        if depth == 0 || depth > height {
            return Err(RpcError::params(format!(
                "Reorg depth must not exceed current chain height: current height {height}, depth {depth}"
            )));
        }
        let gone =
            || RpcError::params(format!("Reorg depth must not exceed {}, depth {depth}", super::HISTORY));
        let count = usize::try_from(depth).map_err(|_| gone())?;
        let state = count.checked_sub(1).and_then(|index| self.older.get(index)).cloned().ok_or_else(gone)?;
        let kept = self.blocks.len().saturating_sub(count);
        let Some(head) = kept.checked_sub(1).and_then(|last| self.blocks.get(last)).cloned() else {
            return Err(gone());
        };
        let dropped = self.blocks.split_off(kept);
        self.older.drain(..count);
        (self.state, self.head) = (state, head);
        self.branch += 1;
        let mut candidates = Vec::new();
        for block in dropped {
            self.by_hash.remove(&block.hash);
            for mined in &block.transactions {
                self.transactions.remove(&mined.candidate.hash());
                candidates.push(mined.candidate.clone());
            }
        }
        Ok(candidates)
    }

    /// Adds a block from this pool and says how many transactions are in it.
    fn append_filled(&mut self, pool: &Pool) -> usize {
        let (block, state) = self.build(pool);
        let count = block.transactions.len();
        self.append(block, state);
        count
    }
}
