//! Transactions of any shape, good or bad, written without the crate's own code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use solana_address::Address;
use tollway_svm::keys::Key;
use tollway_svm::programs::{COMPUTE_BUDGET, MEMO, TOKEN, associated_token_account};

/// A call: program and accounts by address.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) program: Address,
    pub(crate) accounts: Vec<Address>,
    pub(crate) data: Vec<u8>,
}

/// A transaction to be.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// The first byte of a message with a version.
    pub(crate) version: Option<u8>,
    /// The accounts that sign, the fee payer first.
    pub(crate) signers: Vec<Address>,
    /// Accounts that are written and don't sign.
    pub(crate) written: Vec<Address>,
    pub(crate) blockhash: [u8; 32],
    pub(crate) calls: Vec<Call>,
    /// Look-up tables: address, indices written, indices read.
    pub(crate) tables: Vec<(Address, Vec<u8>, Vec<u8>)>,
}

impl Draft {
    /// The scheme's own transaction.
    pub(crate) fn good(
        fee_payer: Address,
        payer: Address,
        to: Address,
        mint: Address,
        amount: u64,
        memo: &str,
    ) -> Self {
        let (source, destination) =
            (associated_token_account(&payer, &mint, &TOKEN), associated_token_account(&to, &mint, &TOKEN));
        let mut transfer = vec![12];
        transfer.extend(amount.to_le_bytes());
        transfer.push(6);
        Self {
            version: Some(0x80),
            signers: vec![fee_payer, payer],
            written: vec![source, destination],
            blockhash: [0; 32],
            calls: vec![
                Call { program: COMPUTE_BUDGET, accounts: vec![], data: limit(40_000) },
                Call { program: COMPUTE_BUDGET, accounts: vec![], data: price(1) },
                Call { program: TOKEN, accounts: vec![source, mint, destination, payer], data: transfer },
                Call { program: MEMO, accounts: vec![], data: memo.as_bytes().to_vec() },
            ],
            tables: vec![],
        }
    }

    /// All accounts: those that sign, those that are written, and the others as they come.
    pub(crate) fn keys(&self) -> Vec<Address> {
        let mut keys = self.signers.clone();
        keys.extend(self.written.iter().filter(|key| !self.signers.contains(key)));
        for call in &self.calls {
            for key in call.accounts.iter().chain([&call.program]) {
                if !keys.contains(key) {
                    keys.push(*key);
                }
            }
        }
        keys
    }

    pub(crate) fn message(&self) -> Vec<u8> {
        let keys = self.keys();
        let written = self.written.iter().filter(|key| !self.signers.contains(key)).count();
        let place =
            |key: &Address| u8::try_from(keys.iter().position(|known| known == key).unwrap()).unwrap();
        let mut bytes: Vec<u8> = self.version.into_iter().collect();
        let signers = self.signers.len();
        bytes.push(u8::try_from(signers).unwrap());
        bytes.push(u8::try_from(signers.saturating_sub(1)).unwrap());
        bytes.push(u8::try_from(keys.len() - signers - written).unwrap());
        length(&mut bytes, keys.len());
        keys.iter().for_each(|key| bytes.extend(key.to_bytes()));
        bytes.extend(self.blockhash);
        length(&mut bytes, self.calls.len());
        for call in &self.calls {
            bytes.push(place(&call.program));
            list(&mut bytes, &call.accounts.iter().map(place).collect::<Vec<_>>());
            list(&mut bytes, &call.data);
        }
        if self.version.is_some() {
            length(&mut bytes, self.tables.len());
            for (table, written, read) in &self.tables {
                bytes.extend(table.to_bytes());
                list(&mut bytes, written);
                list(&mut bytes, read);
            }
        }
        bytes
    }

    /// The transaction with the signatures of those of `keys` that are to sign.
    pub(crate) fn signed(&self, keys: &[&Key]) -> Vec<u8> {
        let message = self.message();
        let mut bytes = Vec::new();
        length(&mut bytes, self.signers.len());
        for signer in &self.signers {
            let key = keys.iter().find(|key| key.address() == *signer);
            bytes.extend(key.map_or([0; 64], |key| key.sign(&message)));
        }
        bytes.extend(message);
        bytes
    }
}

pub(crate) fn limit(units: u32) -> Vec<u8> {
    [&[2][..], &units.to_le_bytes()].concat()
}

pub(crate) fn price(price: u64) -> Vec<u8> {
    [&[3][..], &price.to_le_bytes()].concat()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn length(bytes: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        if length == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

fn list(bytes: &mut Vec<u8>, items: &[u8]) {
    length(bytes, items.len());
    bytes.extend(items);
}
