//! Accounts of the two token programs, as they lie in a bank.

use solana_account::{AccountSharedData, ReadableAccount as _, WritableAccount as _};
use solana_address::Address;
use solana_program_pack::Pack as _;
use spl_associated_token_account_interface::address::get_associated_token_address_with_program_id;
use spl_token_interface::state::{Account, Mint};

use super::{bank::Bank, history::Balances};

/// SPL Token.
pub const TOKEN_PROGRAM: Address = Address::from_str_const("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
/// Token-2022.
pub const TOKEN_2022_PROGRAM: Address =
    Address::from_str_const("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");

/// Where Token-2022 says what an account with extensions is.
const KIND: usize = Account::LEN;
const KIND_MINT: u8 = 1;
const KIND_ACCOUNT: u8 = 2;

/// The associated token account of an owner for a mint of a token program.
#[must_use]
pub fn associated_token_account(owner: &Address, mint: &Address, program: &Address) -> Address {
    get_associated_token_address_with_program_id(owner, mint, program)
}

/// What a token account holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenBalance {
    pub(crate) mint: Address,
    pub(crate) owner: Address,
    pub(crate) program: Address,
    pub(crate) amount: u64,
    pub(crate) decimals: u8,
}

pub(crate) fn is_token_program(address: &Address) -> bool {
    [TOKEN_PROGRAM, TOKEN_2022_PROGRAM].contains(address)
}

/// The part both programs have, if this is an account of one of them that is of this kind.
fn base(account: &AccountSharedData, length: usize, kind: u8) -> Option<&[u8]> {
    let data = account.data();
    let right = data.len() == length || data.get(KIND) == Some(&kind);
    data.get(..length).filter(|_| right && is_token_program(account.owner()))
}

/// Nothing for what is no token account.
pub(crate) fn token_account(account: &AccountSharedData) -> Option<Account> {
    Account::unpack(base(account, Account::LEN, KIND_ACCOUNT)?).ok()
}

/// Nothing for what is no mint.
pub(crate) fn mint(account: &AccountSharedData) -> Option<Mint> {
    Mint::unpack(base(account, Mint::LEN, KIND_MINT)?).ok()
}

impl Bank {
    /// Nothing for what is no token account.
    pub(crate) fn token_balance(&self, address: &Address) -> Option<TokenBalance> {
        let account = self.account(address)?;
        let held = token_account(account)?;
        let decimals = mint(self.account(&held.mint)?)?.decimals;
        let program = *account.owner();
        Some(TokenBalance { mint: held.mint, owner: held.owner, program, amount: held.amount, decimals })
    }

    /// What these accounts hold.
    pub(crate) fn balances(&self, keys: &[Address]) -> Balances {
        let tokens = keys.iter().enumerate();
        Balances {
            lamports: keys.iter().map(|key| self.lamports(key)).collect(),
            tokens: tokens.filter_map(|(place, key)| Some((place, self.token_balance(key)?))).collect(),
        }
    }
}

/// The account with that much more of its token; nothing if it is none, or can't hold that much.
pub(crate) fn credited(mut account: AccountSharedData, amount: u64) -> Option<AccountSharedData> {
    let mut held = token_account(&account)?;
    held.amount = held.amount.checked_add(amount)?;
    Account::pack(held, account.data_as_mut_slice().get_mut(..Account::LEN)?).ok()?;
    Some(account)
}

/// The mint with that much more in supply; nothing if it is none, or has no room.
pub(crate) fn issued(mut account: AccountSharedData, amount: u64) -> Option<AccountSharedData> {
    let mut minted = mint(&account)?;
    minted.supply = minted.supply.checked_add(amount)?;
    Mint::pack(minted, account.data_as_mut_slice().get_mut(..Mint::LEN)?).ok()?;
    Some(account)
}
