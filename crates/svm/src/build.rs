//! The transaction of a payment, as payers build it.

use solana_address::Address;

use crate::programs::{COMPUTE_BUDGET, MEMO, associated_token_account};
use crate::transaction::SIGNATURE;

/// Compute units that a transfer by either token program needs, and more.
const FOR_TRANSFER: u32 = 25_000;
/// Compute units that the memo program needs for each byte of its text, and more.
const PER_MEMO_BYTE: u32 = 400;
/// What it bids for each, in millionths of a lamport.
const COMPUTE_PRICE: u64 = 1;

/// What a payment's transaction does.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    pub(crate) fee_payer: Address,
    pub(crate) payer: Address,
    pub(crate) pay_to: Address,
    pub(crate) mint: Address,
    pub(crate) program: Address,
    pub(crate) decimals: u8,
    pub(crate) amount: u64,
    pub(crate) memo: &'a str,
    pub(crate) blockhash: [u8; 32],
}

impl Plan<'_> {
    fn compute_units(&self) -> u32 {
        let bytes = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
        FOR_TRANSFER.saturating_add(bytes.saturating_mul(PER_MEMO_BYTE))
    }

    /// The message, version 0. The accounts: fee payer and payer sign, source and destination are written, the mint and
    /// the programs are read.
    pub(crate) fn message(&self) -> Vec<u8> {
        let account = |owner| associated_token_account(owner, &self.mint, &self.program);
        let keys = [
            self.fee_payer,
            self.payer,
            account(&self.payer),
            account(&self.pay_to),
            self.mint,
            self.program,
            COMPUTE_BUDGET,
            MEMO,
        ];
        let mut bytes = vec![0x80, 2, 1, 4];
        length(&mut bytes, keys.len());
        for key in &keys {
            bytes.extend_from_slice(key.as_ref());
        }
        bytes.extend_from_slice(&self.blockhash);
        length(&mut bytes, 4);
        let mut limit = vec![2];
        limit.extend_from_slice(&self.compute_units().to_le_bytes());
        call(&mut bytes, 6, &[], &limit);
        let mut price = vec![3];
        price.extend_from_slice(&COMPUTE_PRICE.to_le_bytes());
        call(&mut bytes, 6, &[], &price);
        let mut transfer = vec![12];
        transfer.extend_from_slice(&self.amount.to_le_bytes());
        transfer.push(self.decimals);
        call(&mut bytes, 5, &[2, 4, 3, 1], &transfer);
        call(&mut bytes, 7, &[], self.memo.as_bytes());
        // No look-up tables.
        length(&mut bytes, 0);
        bytes
    }
}

/// A transaction of `message` that its second account alone has signed.
pub(crate) fn partially_signed(message: &[u8], payer: [u8; SIGNATURE]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len().saturating_add(2 * SIGNATURE + 1));
    length(&mut bytes, 2);
    bytes.extend_from_slice(&[0; SIGNATURE]);
    bytes.extend_from_slice(&payer);
    bytes.extend_from_slice(message);
    bytes
}

fn call(bytes: &mut Vec<u8>, program: u8, accounts: &[u8], data: &[u8]) {
    bytes.push(program);
    length(bytes, accounts.len());
    bytes.extend_from_slice(accounts);
    length(bytes, data.len());
    bytes.extend_from_slice(data);
}

/// A length of at most 14 bits: seven to a byte, the lowest first.
fn length(bytes: &mut Vec<u8>, length: usize) {
    let low = u8::try_from(length & 0x7f).unwrap_or_default();
    match u8::try_from(length >> 7) {
        Ok(0) => bytes.push(low),
        high => bytes.extend_from_slice(&[low | 0x80, high.unwrap_or(u8::MAX)]),
    }
}
