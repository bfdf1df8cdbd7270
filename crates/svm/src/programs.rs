//! The programs that a payment is made of, and where tokens are kept.

use solana_address::Address;

/// A program's or account's address, from its text at compile time.
macro_rules! id {
    ($(#[doc = $doc:literal])+ $name:ident = $text:literal) => {
        $(#[doc = $doc])+
        pub const $name: Address = Address::from_str_const($text);
    };
}

id! {
    /// SPL Token.
    TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
}
id! {
    /// Token-2022.
    TOKEN_2022 = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"
}
id! {
    /// Associated token accounts.
    ASSOCIATED_TOKEN = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"
}
id! {
    /// Compute budget.
    COMPUTE_BUDGET = "ComputeBudget111111111111111111111111111111"
}
id! {
    /// Memo, version 2.
    MEMO = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"
}
id! {
    /// Lighthouse: assertions that wallets add for their owner's safety.
    LIGHTHOUSE = "L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95"
}

/// The account in which `owner` keeps tokens of `mint` by convention: the program-derived address of owner, token
/// program and mint. `program` is [`TOKEN`] or [`TOKEN_2022`], whichever the mint is of.
///
/// ```
/// use tollway_svm::programs::{TOKEN, associated_token_account};
///
/// let usdc = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU".parse()?;
/// let owner = "11111111111111111111111111111112".parse()?;
/// let account = associated_token_account(&owner, &usdc, &TOKEN);
/// assert!(!account.is_on_curve());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn associated_token_account(owner: &Address, mint: &Address, program: &Address) -> Address {
    let seeds = [owner.as_ref(), program.as_ref(), mint.as_ref()];
    Address::find_program_address(&seeds, &ASSOCIATED_TOKEN).0
}

/// The address that `text` spells, in base58 of exactly 32 bytes.
///
/// # Errors
/// When it spells none.
pub fn address(text: &str) -> Result<Address, NotAnAddress> {
    // The longest text of 32 bytes.
    if text.len() > 44 {
        return Err(NotAnAddress);
    }
    <Address as std::str::FromStr>::from_str(text).map_err(|_| NotAnAddress)
}

/// A text that is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address: base58 of 32 bytes is expected")]
pub struct NotAnAddress;
