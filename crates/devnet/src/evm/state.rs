//! Accounts, code and storage. A clone costs nothing, so history, snapshots and pending states are clones.

use std::convert::Infallible;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use revm::{
    DatabaseRef,
    state::{Account as Touched, AccountInfo, Bytecode, EvmState},
};
use rpds::HashTrieMapSync;

/// How far back the BLOCKHASH instruction looks.
const HASHES: u64 = 256;

#[derive(Clone, Default)]
pub(crate) struct State {
    accounts: HashTrieMapSync<Address, Account>,
    hashes: HashTrieMapSync<u64, B256>,
}

/// `info.code` is always there: code is never looked up by its hash.
#[derive(Clone, Default)]
struct Account {
    info: AccountInfo,
    storage: HashTrieMapSync<U256, U256>,
}

impl State {
    pub(crate) fn balance(&self, address: Address) -> U256 {
        self.accounts.get(&address).map_or(U256::ZERO, |account| account.info.balance)
    }

    pub(crate) fn nonce(&self, address: Address) -> u64 {
        self.accounts.get(&address).map_or(0, |account| account.info.nonce)
    }

    pub(crate) fn code(&self, address: Address) -> Bytes {
        let code = self.accounts.get(&address).and_then(|account| account.info.code.as_ref());
        code.map(Bytecode::original_bytes).unwrap_or_default()
    }

    /// Whether transactions of this account can be signed: it has no code, or code that it delegates to (EIP-7702).
    pub(crate) fn is_signer(&self, address: Address) -> bool {
        let code = self.accounts.get(&address).and_then(|account| account.info.code.as_ref());
        code.is_none_or(|code| code.is_empty() || code.is_eip7702())
    }

    pub(crate) fn storage(&self, address: Address, slot: U256) -> U256 {
        let value = self.accounts.get(&address).and_then(|account| account.storage.get(&slot));
        value.copied().unwrap_or_default()
    }

    pub(crate) fn set_balance(&mut self, address: Address, balance: U256) {
        self.edit(address, |account| account.info.balance = balance);
    }

    pub(crate) fn set_nonce(&mut self, address: Address, nonce: u64) {
        self.edit(address, |account| account.info.nonce = nonce);
    }

    pub(crate) fn set_code(&mut self, address: Address, code: Bytes) {
        let code = Bytecode::new_raw(code);
        self.edit(address, |account| {
            account.info.code_hash = code.hash_slow();
            account.info.code = Some(code);
        });
    }

    pub(crate) fn set_storage(&mut self, address: Address, slot: U256, value: U256) {
        self.edit(address, |account| account.write(slot, value));
    }

    pub(crate) fn clear_storage(&mut self, address: Address) {
        self.edit(address, |account| account.storage = HashTrieMapSync::default());
    }

    pub(crate) fn remember_hash(&mut self, number: u64, hash: B256) {
        self.hashes.insert_mut(number, hash);
        if let Some(old) = number.checked_sub(HASHES) {
            self.hashes.remove_mut(&old);
        }
    }

    /// What a transaction has changed.
    pub(crate) fn apply(&mut self, changes: EvmState) {
        for (address, change) in changes {
            if !change.is_touched() {
                continue;
            }
            if change.is_selfdestructed() || change.is_empty() {
                self.accounts.remove_mut(&address);
            } else {
                self.replace(address, change);
            }
        }
    }

    fn replace(&mut self, address: Address, change: Touched) {
        let known = if change.is_created() { None } else { self.accounts.get(&address).cloned() };
        let mut account = known.unwrap_or_default();
        let code = change.info.code.clone().or_else(|| account.info.code.take());
        account.info = AccountInfo { code, ..change.info };
        for (slot, value) in change.storage {
            if value.is_changed() {
                account.write(slot, value.present_value);
            }
        }
        self.accounts.insert_mut(address, account);
    }

    fn edit(&mut self, address: Address, change: impl FnOnce(&mut Account)) {
        let mut account = self.accounts.get(&address).cloned().unwrap_or_default();
        change(&mut account);
        self.accounts.insert_mut(address, account);
    }
}

impl Account {
    fn write(&mut self, slot: U256, value: U256) {
        if value.is_zero() {
            self.storage.remove_mut(&slot);
        } else {
            self.storage.insert_mut(slot, value);
        }
    }
}

impl DatabaseRef for State {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.accounts.get(&address).map(|account| account.info.clone()))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Infallible> {
        debug_assert_eq!(hash, KECCAK256_EMPTY, "accounts carry their code");
        Ok(Bytecode::default())
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Infallible> {
        Ok(self.storage(address, slot))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        Ok(self.hashes.get(&number).copied().unwrap_or_default())
    }
}
