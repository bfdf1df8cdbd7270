//! The chain itself: blocks, the state after each, the pool and the clock. A clone is a snapshot.

mod reorg;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use alloy_consensus::Transaction as _;
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use revm::context::{BlockEnv, TxEnv};

use super::{
    block::{Block, Mined, Next},
    clock::Clock,
    execution::{Mode, execute, surroundings},
    pool::{Candidate, Pool},
    rpc::RpcError,
    state::State,
};

/// For how many blocks before the newest one the state is kept.
pub(crate) const HISTORY: usize = 128;

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) chain_id: u64,
    pub(crate) state: State,
    pub(crate) pool: Pool,
    pub(crate) clock: Clock,
    /// Of the next block, in place of what EIP-1559 says.
    pub(crate) base_fee: Option<u64>,
    pub(crate) finality: Finality,
    head: Arc<Block>,
    blocks: Vec<Arc<Block>>,
    by_hash: HashMap<B256, u64>,
    transactions: HashMap<B256, (u64, usize)>,
    /// States before `state`, the newest first.
    older: VecDeque<State>,
    /// How many reorganisations were.
    branch: u64,
    /// Blocks that nobody has been told of.
    news: Vec<Arc<Block>>,
}

/// By how many blocks the tags `safe` and `finalized` are behind `latest`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Finality {
    pub(crate) safe: u64,
    pub(crate) finalized: u64,
}

/// A state and what contracts see around it.
pub(crate) struct View {
    pub(crate) chain_id: u64,
    pub(crate) state: State,
    pub(crate) block: BlockEnv,
}

impl World {
    pub(crate) fn new(chain_id: u64, base_fee: u64, clock: Clock, finality: Finality) -> Self {
        let head = Arc::new(Block::genesis(clock.next(0), base_fee));
        let mut state = State::default();
        state.remember_hash(0, head.hash);
        Self {
            chain_id,
            state,
            pool: Pool::default(),
            clock,
            base_fee: None,
            finality,
            blocks: vec![head.clone()],
            by_hash: HashMap::from([(head.hash, 0)]),
            head,
            transactions: HashMap::new(),
            older: VecDeque::new(),
            branch: 0,
            news: Vec::new(),
        }
    }

    pub(crate) fn head(&self) -> &Arc<Block> {
        &self.head
    }

    pub(crate) fn block(&self, number: u64) -> Option<&Arc<Block>> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    pub(crate) fn block_by_hash(&self, hash: &B256) -> Option<&Arc<Block>> {
        self.block(*self.by_hash.get(hash)?)
    }

    /// The blocks that came since the last time.
    pub(crate) fn take_news(&mut self) -> Vec<Arc<Block>> {
        std::mem::take(&mut self.news)
    }

    /// `pending` is for the caller: here it is the newest block.
    pub(crate) fn number(&self, tag: BlockNumberOrTag) -> u64 {
        match tag {
            BlockNumberOrTag::Number(number) => number,
            BlockNumberOrTag::Earliest => 0,
            BlockNumberOrTag::Safe => self.head.header.number.saturating_sub(self.finality.safe),
            BlockNumberOrTag::Finalized => self.head.header.number.saturating_sub(self.finality.finalized),
            _ => self.head.header.number,
        }
    }

    pub(crate) fn mined(&self, hash: &B256) -> Option<(&Arc<Block>, usize, &Mined)> {
        let (number, index) = *self.transactions.get(hash)?;
        let block = self.block(number)?;
        Some((block, index, block.transactions.get(index)?))
    }

    /// The block that would be made now, and the state after it.
    pub(crate) fn pending(&self) -> (Block, State) {
        self.build(&self.pool)
    }

    /// In wei, as far as it is known now.
    pub(crate) fn next_base_fee(&self) -> u64 {
        self.base_fee.unwrap_or_else(|| self.head.next_base_fee())
    }

    /// Adds a block, be it empty.
    pub(crate) fn mine(&mut self) {
        let (block, state) = self.pending();
        self.append(block, state);
    }

    /// Adds blocks while there is something to put into them.
    pub(crate) fn mine_waiting(&mut self) {
        while !self.pool.is_empty() {
            let (block, state) = self.pending();
            if block.transactions.is_empty() {
                return;
            }
            self.append(block, state);
        }
    }

    fn build(&self, pool: &Pool) -> (Block, State) {
        let next = Next {
            chain_id: self.chain_id,
            timestamp: self.clock.next(self.head.header.timestamp),
            base_fee: self.next_base_fee(),
            branch: self.branch,
        };
        Block::build(&self.head, &self.state, pool, &next)
    }

    fn append(&mut self, block: Block, state: State) {
        let number = block.header.number;
        self.clock.passed(block.header.timestamp);
        self.base_fee = None;
        self.older.push_front(std::mem::replace(&mut self.state, state));
        self.older.truncate(HISTORY);
        self.by_hash.insert(block.hash, number);
        for (index, mined) in block.transactions.iter().enumerate() {
            self.transactions.insert(mined.candidate.hash(), (number, index));
        }
        if !block.transactions.is_empty() {
            self.pool.forget_used_nonces(&self.state);
        }
        self.head = Arc::new(block);
        self.blocks.push(self.head.clone());
        self.news.push(self.head.clone());
    }

    pub(crate) fn state_at(&self, id: Option<BlockId>) -> Result<State, RpcError> {
        if is_pending(id) {
            return Ok(self.pending().1);
        }
        let block = self.find(id)?;
        let age = self.head.header.number - block.header.number;
        let Some(before) = age.checked_sub(1) else { return Ok(self.state.clone()) };
        let kept = usize::try_from(before).ok().and_then(|before| self.older.get(before));
        kept.cloned().ok_or_else(|| {
            let number = block.header.number;
            RpcError::server(format!(
                "the state of block {number} is gone: this chain keeps it for {HISTORY} blocks"
            ))
        })
    }

    /// What a call at this block sees. At the newest block its clock is that of the next one: where blocks come with
    /// transactions only, the last block may be old, and what is valid now must not be judged by its time.
    pub(crate) fn view(&self, id: Option<BlockId>) -> Result<View, RpcError> {
        let chain_id = self.chain_id;
        if is_pending(id) {
            let (block, state) = self.pending();
            return Ok(View { chain_id, state, block: surroundings(&block.header) });
        }
        let (state, found) = (self.state_at(id)?, self.find(id)?);
        let mut block = surroundings(&found.header);
        if found.hash == self.head.hash {
            block.timestamp = U256::from(self.clock.next(found.header.timestamp));
        }
        Ok(View { chain_id, state, block })
    }

    fn find(&self, id: Option<BlockId>) -> Result<&Arc<Block>, RpcError> {
        let found = match id {
            None => Some(&self.head),
            Some(BlockId::Number(tag)) => self.block(self.number(tag)),
            Some(BlockId::Hash(hash)) => self.block_by_hash(&hash.block_hash),
        };
        found.ok_or_else(|| RpcError::server("header not found"))
    }

    /// Calls a contract and keeps the effect, outside of any block, as a genesis file would.
    pub(crate) fn call_for_good(
        &mut self,
        from: Address,
        to: Address,
        data: Bytes,
    ) -> Result<Bytes, RpcError> {
        let view = self.view(None)?;
        let transaction = TxEnv::builder()
            .caller(from)
            .kind(TxKind::Call(to))
            .data(data)
            .gas_limit(view.block.gas_limit)
            .gas_price(0)
            .chain_id(Some(self.chain_id))
            .build_fill();
        let outcome = execute(&view.state, view.chain_id, &view.block, transaction, Mode::Call)?;
        let mut changes = outcome.state;
        changes.remove(&from);
        let output = super::rpc::output(outcome.result)?;
        self.state.apply(changes);
        Ok(output)
    }

    /// Checks a transaction and puts it into the pool.
    pub(crate) fn submit(&mut self, candidate: Candidate) -> Result<B256, RpcError> {
        let hash = candidate.hash();
        if self.pool.get(&hash).is_none() {
            super::admission::check(&candidate, self)?;
        }
        tracing::debug!(%hash, from = %candidate.from, nonce = candidate.transaction.nonce(), "transaction submitted");
        self.pool.insert(candidate).map_err(|error| RpcError::server(error.to_string()))
    }
}

fn is_pending(id: Option<BlockId>) -> bool {
    matches!(id, Some(BlockId::Number(BlockNumberOrTag::Pending)))
}
