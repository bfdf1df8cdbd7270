//! Blocks, transactions, receipts and logs as clients expect them.

use alloy_consensus::{
    Eip658Value, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _, transaction::Recovered,
};
use alloy_primitives::U256;
use alloy_rpc_types_eth as rpc;

use crate::evm::{
    block::{Block, Mined},
    pool::Candidate,
};

pub(super) fn block(block: &Block, full: bool) -> rpc::Block {
    let transactions = if full {
        let all = block.transactions.iter().enumerate();
        rpc::BlockTransactions::Full(all.map(|(index, mined)| transaction(block, index, mined)).collect())
    } else {
        rpc::BlockTransactions::Hashes(
            block.transactions.iter().map(|mined| mined.candidate.hash()).collect(),
        )
    };
    rpc::Block {
        header: rpc::Header {
            hash: block.hash,
            inner: block.header.clone(),
            total_difficulty: Some(U256::ZERO),
            size: Some(U256::from(block.size)),
        },
        uncles: Vec::new(),
        transactions,
        withdrawals: Some(Vec::new().into()),
    }
}

pub(super) fn transaction(block: &Block, index: usize, mined: &Mined) -> rpc::Transaction {
    rpc::Transaction {
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        transaction_index: Some(index as u64),
        effective_gas_price: Some(mined.price),
        block_timestamp: Some(block.header.timestamp),
        ..waiting(&mined.candidate)
    }
}

pub(super) fn waiting(candidate: &Candidate) -> rpc::Transaction {
    rpc::Transaction {
        inner: Recovered::new_unchecked(candidate.transaction.clone(), candidate.from),
        block_hash: None,
        block_number: None,
        transaction_index: None,
        effective_gas_price: None,
        block_timestamp: None,
    }
}

pub(super) fn receipt(block: &Block, index: usize, mined: &Mined) -> rpc::TransactionReceipt {
    let transaction = &mined.candidate.transaction;
    let receipt = ReceiptWithBloom {
        receipt: Receipt {
            status: Eip658Value::Eip658(mined.succeeded),
            cumulative_gas_used: mined.cumulative_gas,
            logs: logs(block, index, mined).collect(),
        },
        logs_bloom: mined.bloom,
    };
    rpc::TransactionReceipt {
        inner: ReceiptEnvelope::from_typed(transaction.tx_type(), receipt),
        transaction_hash: mined.candidate.hash(),
        transaction_index: Some(index as u64),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        gas_used: mined.gas_used,
        effective_gas_price: mined.price,
        blob_gas_used: None,
        blob_gas_price: None,
        from: mined.candidate.from,
        to: transaction.to(),
        contract_address: mined.created,
    }
}

pub(super) fn logs<'a>(
    block: &'a Block,
    index: usize,
    mined: &'a Mined,
) -> impl Iterator<Item = rpc::Log> + 'a {
    mined.logs.iter().zip(mined.logs_before..).map(move |(log, log_index)| rpc::Log {
        inner: log.clone(),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        block_timestamp: Some(block.header.timestamp),
        transaction_hash: Some(mined.candidate.hash()),
        transaction_index: Some(index as u64),
        log_index: Some(log_index),
        removed: false,
    })
}
