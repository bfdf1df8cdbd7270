//! Blocks, and how one is made.

use std::sync::Arc;

use alloy_consensus::{
    Block as Consensus, BlockBody, EMPTY_OMMER_ROOT_HASH, Eip658Value, Header, Receipt, ReceiptEnvelope,
    Transaction as _, TxEnvelope, constants::EMPTY_WITHDRAWALS, proofs,
};
use alloy_eips::{eip1559::BaseFeeParams, eip7685::EMPTY_REQUESTS_HASH};
use alloy_primitives::{Address, B256, Bloom, Bytes, Log, address, keccak256};
use alloy_rlp::Encodable as _;
use revm::context::BlockEnv;

use super::{
    execution::{BLOCK_GAS, Mode, Refused, environment, execute, surroundings},
    pool::{Candidate, Pool},
    state::State,
};

/// Base's fee vault: fees go where they go there.
const BENEFICIARY: Address = address!("4200000000000000000000000000000000000011");

/// A block. Its state root is zero: this chain proves nothing about its state.
pub(crate) struct Block {
    pub(crate) header: Header,
    pub(crate) hash: B256,
    pub(crate) size: usize,
    pub(crate) transactions: Vec<Mined>,
}

/// What a block doesn't get from its parent and its transactions.
pub(crate) struct Next {
    pub(crate) chain_id: u64,
    pub(crate) timestamp: u64,
    pub(crate) base_fee: u64,
    /// How many reorganisations were before.
    pub(crate) branch: u64,
}

impl Next {
    /// So that a block that takes another's place is never the same one, be both empty.
    fn extra_data(&self) -> Bytes {
        match self.branch {
            0 => Bytes::new(),
            branch => Bytes::copy_from_slice(&branch.to_be_bytes()),
        }
    }
}

/// A transaction in a block, and what it did.
pub(crate) struct Mined {
    pub(crate) candidate: Arc<Candidate>,
    pub(crate) succeeded: bool,
    pub(crate) gas_used: u64,
    pub(crate) cumulative_gas: u64,
    pub(crate) price: u128,
    pub(crate) created: Option<Address>,
    pub(crate) logs: Vec<Log>,
    pub(crate) bloom: Bloom,
    /// How many logs of the block are before its own.
    pub(crate) logs_before: u64,
}

impl Block {
    pub(crate) fn genesis(timestamp: u64, base_fee: u64) -> Self {
        let header = Header { base_fee_per_gas: Some(base_fee), timestamp, ..blank() };
        Self::seal(header, Vec::new())
    }

    /// The block after `parent`, with what the pool has ready, and the state after it.
    pub(crate) fn build(parent: &Self, state: &State, pool: &Pool, next: &Next) -> (Self, State) {
        let base_fee = next.base_fee;
        let header = Header {
            parent_hash: parent.hash,
            number: parent.header.number + 1,
            timestamp: next.timestamp,
            base_fee_per_gas: Some(base_fee),
            mix_hash: keccak256(parent.hash),
            extra_data: next.extra_data(),
            ..blank()
        };
        let mut filling = Filling {
            chain_id: next.chain_id,
            block: surroundings(&header),
            state: state.clone(),
            transactions: Vec::new(),
            gas: 0,
            logs: 0,
        };
        let mut queue = pool.queue(state, base_fee);
        while let Some(candidate) = queue.pop() {
            if candidate.transaction.gas_limit() <= BLOCK_GAS - filling.gas && filling.add(candidate).is_ok()
            {
                queue.taken(candidate);
            }
        }
        let block = Self::seal(Header { gas_used: filling.gas, ..header }, filling.transactions);
        filling.state.remember_hash(block.header.number, block.hash);
        (block, filling.state)
    }

    pub(crate) fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas.unwrap_or_default()
    }

    pub(crate) fn next_base_fee(&self) -> u64 {
        self.header.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or_default()
    }

    fn seal(header: Header, transactions: Vec<Mined>) -> Self {
        let bodies: Vec<TxEnvelope> =
            transactions.iter().map(|mined| mined.candidate.transaction.clone()).collect();
        let receipts: Vec<ReceiptEnvelope> = transactions.iter().map(Mined::receipt).collect();
        let header = Header {
            transactions_root: proofs::calculate_transaction_root(&bodies),
            receipts_root: proofs::calculate_receipt_root(&receipts),
            logs_bloom: transactions.iter().fold(Bloom::ZERO, |bloom, mined| bloom | mined.bloom),
            ..header
        };
        let body =
            BlockBody { transactions: bodies, ommers: Vec::new(), withdrawals: Some(Vec::new().into()) };
        let size = Consensus { header: header.clone(), body }.length();
        Self { hash: header.hash_slow(), header, size, transactions }
    }
}

fn blank() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: BENEFICIARY,
        state_root: B256::ZERO,
        gas_limit: BLOCK_GAS,
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

impl Mined {
    fn receipt(&self) -> ReceiptEnvelope {
        let receipt = Receipt {
            status: Eip658Value::Eip658(self.succeeded),
            cumulative_gas_used: self.cumulative_gas,
            logs: self.logs.clone(),
        };
        ReceiptEnvelope::from_typed(self.candidate.transaction.tx_type(), receipt.with_bloom())
    }
}

struct Filling {
    chain_id: u64,
    block: BlockEnv,
    state: State,
    transactions: Vec<Mined>,
    gas: u64,
    logs: u64,
}

impl Filling {
    fn add(&mut self, candidate: &Arc<Candidate>) -> Result<(), Refused> {
        let mode = if candidate.impersonated { Mode::Impersonated } else { Mode::Signed };
        let outcome = execute(&self.state, self.chain_id, &self.block, environment(candidate)?, mode)?;
        let (result, transaction) = (outcome.result, &candidate.transaction);
        self.state.apply(outcome.state);
        self.gas += result.tx_gas_used();
        let created = transaction.kind().is_create() && result.is_success();
        let (succeeded, gas_used) = (result.is_success(), result.tx_gas_used());
        let logs = if succeeded { result.into_logs() } else { Vec::new() };
        let logs_before = self.logs;
        self.logs += logs.len() as u64;
        self.transactions.push(Mined {
            succeeded,
            gas_used,
            cumulative_gas: self.gas,
            price: transaction.effective_gas_price(Some(self.block.basefee)),
            created: created.then(|| candidate.from.create(transaction.nonce())),
            bloom: alloy_primitives::logs_bloom(&logs),
            logs,
            logs_before,
            candidate: candidate.clone(),
        });
        Ok(())
    }
}
