//! Which payers' accounts have code, asked in one call for all of them.

use alloy_primitives::{Address, Bytes, U64, hex};

use crate::facilitator::rpc::{Ask, Call, Given, RpcError, ask};

/// The length of a word of the EVM.
const WORD: usize = 32;

/// Creates a "contract" that is the sizes of the accounts' code: a word for each of the words that follow this code.
///
/// ```text
/// 00 PUSH1 23, DUP1, CODESIZE, SUB      the words' length, n
/// 05 DUP1, SWAP2, PUSH1 00, CODECOPY    the words, to memory at 0
/// 0a JUMPDEST, DUP1, ISZERO, PUSH1 1c, JUMPI
/// 10 PUSH1 20, SWAP1, SUB               from the last word to the first
/// 14 DUP1, MLOAD, EXTCODESIZE, DUP2, MSTORE, PUSH1 0a, JUMP
/// 1c JUMPDEST, PUSH1 23, CODESIZE, SUB, SWAP1, RETURN
/// ```
const SIZES: [u8; 0x23] = hex!("602380380380916000395b8015601c576020900380513b8152600a565b6023380390f3");

/// The call's gas: its own, and 200 for each byte that a contract would keep.
const GAS: u64 = 1_000_000;

/// Asks for the code of `accounts`: a node may refuse the call for several, never the one for a single account.
pub(super) fn ask(accounts: &[Address]) -> Ask {
    if let [account] = accounts {
        return ask::code(*account);
    }
    let mut input = SIZES.to_vec();
    for account in accounts {
        input.extend(account.into_word());
    }
    ask::call(&Call { from: None, to: None, input: input.into(), gas: Some(U64::from(GAS)) })
}

/// Which of `count` accounts have code. `None` for an answer that is not one.
pub(super) fn answered(given: Given, count: usize) -> Result<Option<Vec<bool>>, RpcError> {
    let bytes: Bytes = given.read()?;
    if count == 1 {
        return Ok(Some(vec![!bytes.is_empty()]));
    }
    let sizes: Vec<bool> = bytes.chunks(WORD).map(|word| word.iter().any(|byte| *byte != 0)).collect();
    Ok((bytes.len() == WORD.saturating_mul(count)).then_some(sizes))
}
