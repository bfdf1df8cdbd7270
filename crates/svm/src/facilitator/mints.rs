//! What tokens do besides what is asked of them.

use solana_address::Address;

use crate::facilitator::cluster::Account;
use crate::programs::{self, TOKEN, TOKEN_2022};

/// The length of a mint without extensions.
const MINT: usize = 82;
/// Where a Token-2022 account tells its kind; extensions follow, padded to the length of a token account.
const KIND: usize = 165;
/// The kind of a mint.
const IS_MINT: u8 = 1;
/// `TransferFeeConfig`: two authorities, an amount withheld, and two fees of epoch, most and basis points.
const TRANSFER_FEE: u16 = 1;
/// `NonTransferable`.
const NON_TRANSFERABLE: u16 = 9;
/// `TransferHook`: an authority and a program.
const TRANSFER_HOOK: u16 = 14;

/// The program of a mint whose transfers move exactly the amount that they say, and call nothing.
///
/// # Errors
/// Why it is none.
pub(super) fn plain(account: &Account) -> Result<Address, &'static str> {
    let program = programs::address(&account.owner).map_err(|_| "its owner can't be read")?;
    let data = account.bytes().ok_or("its data can't be read")?;
    if program == TOKEN {
        return if data.len() == MINT { Ok(program) } else { Err("it is no mint") };
    }
    if program != TOKEN_2022 {
        return Err("it is of neither Token nor Token-2022");
    }
    if data.len() == MINT {
        return Ok(program);
    }
    match data.get(KIND) {
        Some(&IS_MINT) => {}
        _ => return Err("it is no mint"),
    }
    let mut rest = data.get(KIND + 1..).unwrap_or_default();
    while let Some((kind, value, more)) = next(rest)? {
        check(kind, value)?;
        rest = more;
    }
    Ok(program)
}

type Extension<'a> = (u16, &'a [u8], &'a [u8]);

/// The next extension: its kind and length of 16 bits each, then its value. Kind 0 ends them.
fn next(rest: &[u8]) -> Result<Option<Extension<'_>>, &'static str> {
    let [a, b, c, d, more @ ..] = rest else { return Ok(None) };
    let (kind, length) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
    if kind == 0 {
        return Ok(None);
    }
    more.split_at_checked(usize::from(length))
        .map(|(value, more)| Some((kind, value, more)))
        .ok_or("its extensions can't be read")
}

fn check(kind: u16, value: &[u8]) -> Result<(), &'static str> {
    match kind {
        // Authorities, withheld amount, then twice: epoch, most, basis points.
        TRANSFER_FEE => {
            let fee = |at: usize| value.get(at..at.saturating_add(2));
            let is_free = fee(88) == Some(&[0, 0]) && fee(106) == Some(&[0, 0]);
            if is_free { Ok(()) } else { Err("its transfers cost a fee, so that the seller would get less") }
        }
        TRANSFER_HOOK => {
            let none = value.get(32..64).is_some_and(|program| program.iter().all(|byte| *byte == 0));
            if none { Ok(()) } else { Err("its transfers call a program of its issuer's") }
        }
        NON_TRANSFERABLE => Err("it can't be transferred"),
        _ => Ok(()),
    }
}
