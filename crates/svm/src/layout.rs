//! The scheme's static rules: which transactions a fee payer may sign at all, decided without asking anyone.
//!
//! `scheme_exact_svm` allows 3 to 6 instructions in a fixed order: the compute unit limit, the compute unit price, one
//! `TransferChecked`, and up to three calls of Lighthouse or Memo. All accounts are named in the transaction itself, and
//! the fee payer, whose signature is the facilitator's, is in none of the instructions.

use solana_address::Address;
use tollway_protocol::Reason;

use crate::programs::{COMPUTE_BUDGET, LIGHTHOUSE, MEMO, TOKEN, TOKEN_2022};
use crate::transaction::{Instruction, Transaction};

/// What a fee payer pays for one signature, in lamports.
const PER_SIGNATURE: u64 = 5_000;
/// Fewest and most instructions.
const INSTRUCTIONS: std::ops::RangeInclusive<usize> = 3..=6;
/// The longest memo that an offer may ask for, in bytes.
pub const MAX_MEMO: usize = 256;

/// A rule that was broken, and how.
pub(crate) type Wrong = (Reason, String);

/// What a fee payer pays for at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Compute units per transaction.
    pub compute_units: u32,
    /// The price of a compute unit, in millionths of a lamport.
    pub compute_price: u64,
    /// What units and price may come to, in lamports, besides the signatures' fees. It goes to the block's leader, who may
    /// be the payer's friend.
    pub priority_lamports: u64,
}

impl Limits {
    /// No limits: for who does not pay.
    pub const NONE: Self =
        Self { compute_units: u32::MAX, compute_price: u64::MAX, priority_lamports: u64::MAX };
}

impl Default for Limits {
    /// 400,000 compute units, 5 lamports for each (the reference facilitator's bound), and 200,000 lamports in all.
    fn default() -> Self {
        Self { compute_units: 400_000, compute_price: 5_000_000, priority_lamports: 200_000 }
    }
}

/// The one transfer in a transaction that keeps the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Who pays for the transaction.
    pub fee_payer: Address,
    /// Who signs for the tokens: their owner, or whom the owner let spend them.
    pub payer: Address,
    /// The token account that loses them.
    pub source: Address,
    /// The token account that gains them.
    pub destination: Address,
    /// The token.
    pub mint: Address,
    /// Its program: SPL Token or Token-2022.
    pub program: Address,
    /// How much, in atomic units.
    pub amount: u64,
    /// The token's decimals, as the payer believes them to be; the token program checks them.
    pub decimals: u8,
    /// The texts of the memos, in order.
    pub memos: Vec<Vec<u8>>,
    /// The most compute units that it uses.
    pub compute_units: u32,
    /// What each of them costs, in millionths of a lamport.
    pub compute_price: u64,
}

impl Transfer {
    /// Reads the transfer in `transaction`.
    ///
    /// # Errors
    /// The first rule that it breaks, with the reference facilitator's code for it.
    pub fn read(transaction: &Transaction, limits: &Limits) -> Result<Self, (Reason, String)> {
        let fee_payer = signers(transaction)?;
        let [limit, price, transfer, more @ ..] = transaction.instructions.as_slice() else {
            return Err(count(transaction));
        };
        if !INSTRUCTIONS.contains(&transaction.instructions.len()) {
            return Err(count(transaction));
        }
        let compute_units = compute_limit(transaction, limit, limits)?;
        let compute_price = compute_price(transaction, price, limits)?;
        let priority = priority_lamports(compute_units, compute_price);
        if priority > limits.priority_lamports {
            let message = format!(
                "{priority} lamports for compute units, at most {} are paid",
                limits.priority_lamports
            );
            return Err((Reason::ComputePriceTooHigh, message));
        }
        let moved = Moved::read(transaction, transfer)?;
        let memos = optional(transaction, more)?;
        isolated(transaction, &fee_payer)?;
        let Moved { program, source, mint, destination, payer, amount, decimals } = moved;
        if transaction.keys.get(1) != Some(&payer) {
            let message = "the transfer's authority is not the transaction's second signer".to_owned();
            return Err((Reason::BadSignature, message));
        }
        if source == destination {
            return Err((Reason::UnexpectedEffect, "the transfer's source is its destination".to_owned()));
        }
        Ok(Self {
            fee_payer,
            payer,
            source,
            destination,
            mint,
            program,
            amount,
            decimals,
            memos,
            compute_units,
            compute_price,
        })
    }

    /// What the transaction costs its fee payer at most, in lamports: two signatures, and all compute units.
    #[must_use]
    pub fn fee_lamports(&self) -> u64 {
        let priority = priority_lamports(self.compute_units, self.compute_price);
        priority.saturating_add(PER_SIGNATURE.saturating_mul(2))
    }
}

/// What the chain takes for compute units, used or not: rounded up.
fn priority_lamports(units: u32, price: u64) -> u64 {
    let all = u128::from(price).saturating_mul(u128::from(units));
    u64::try_from(all.div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// The fee payer, in a transaction that it signs with one other account and whose accounts are all named in it.
fn signers(transaction: &Transaction) -> Result<Address, Wrong> {
    if transaction.lookups > 0 {
        return Err((Reason::LookupTables, "accounts come from address look-up tables".to_owned()));
    }
    let signers = transaction.header.signers;
    match transaction.fee_payer() {
        Some(fee_payer) if signers == 2 => Ok(*fee_payer),
        Some(_) if signers > 2 => {
            Err((Reason::ExcessiveSigners, format!("{signers} accounts sign, expected fee payer and payer")))
        }
        _ => {
            let message = "the fee payer alone signs: nobody pays but the facilitator".to_owned();
            Err((Reason::FeePayerTransferring, message))
        }
    }
}

fn count(transaction: &Transaction) -> Wrong {
    let message = format!("{} instructions, expected 3 to 6", transaction.instructions.len());
    (Reason::InstructionCount, message)
}

fn is_of(transaction: &Transaction, instruction: &Instruction, program: &Address) -> bool {
    transaction.key(instruction.program) == Some(program)
}

/// `SetComputeUnitLimit`: 2, then 32 bits.
fn compute_limit(t: &Transaction, instruction: &Instruction, limits: &Limits) -> Result<u32, Wrong> {
    let units = match instruction.data.as_slice() {
        [2, units @ ..] if is_of(t, instruction, &COMPUTE_BUDGET) => {
            <[u8; 4]>::try_from(units).ok().map(u32::from_le_bytes)
        }
        _ => None,
    };
    let units = units.ok_or_else(|| {
        let message = "the first instruction does not set the compute unit limit".to_owned();
        (Reason::ComputeLimit, message)
    })?;
    if units > limits.compute_units {
        let message = format!("{units} compute units, at most {} are paid for", limits.compute_units);
        return Err((Reason::ComputeLimitTooHigh, message));
    }
    Ok(units)
}

/// `SetComputeUnitPrice`: 3, then 64 bits.
fn compute_price(t: &Transaction, instruction: &Instruction, limits: &Limits) -> Result<u64, Wrong> {
    let price = match instruction.data.as_slice() {
        [3, price @ ..] if is_of(t, instruction, &COMPUTE_BUDGET) => {
            <[u8; 8]>::try_from(price).ok().map(u64::from_le_bytes)
        }
        _ => None,
    };
    let price = price.ok_or_else(|| {
        let message = "the second instruction does not set the compute unit price".to_owned();
        (Reason::ComputePrice, message)
    })?;
    if price > limits.compute_price {
        let message = format!(
            "{price} millionths of a lamport per compute unit, at most {} are paid",
            limits.compute_price
        );
        return Err((Reason::ComputePriceTooHigh, message));
    }
    Ok(price)
}

/// `TransferChecked`, as both token programs have it.
struct Moved {
    program: Address,
    source: Address,
    mint: Address,
    destination: Address,
    payer: Address,
    amount: u64,
    decimals: u8,
}

impl Moved {
    /// 12, then an amount of 64 bits, then the decimals; source, mint, destination and authority.
    fn read(transaction: &Transaction, instruction: &Instruction) -> Result<Self, Wrong> {
        let wrong =
            |why: &str| (Reason::NoTransfer, format!("the third instruction is no TransferChecked: {why}"));
        let program = transaction.key(instruction.program).copied();
        let program = program.filter(|program| *program == TOKEN || *program == TOKEN_2022);
        let program = program.ok_or_else(|| wrong("its program is neither Token nor Token-2022"))?;
        let [12, amount @ .., decimals] = instruction.data.as_slice() else {
            return Err(wrong("it has other data"));
        };
        let amount = <[u8; 8]>::try_from(amount).map_err(|_| wrong("it has other data"))?;
        let accounts: Option<Vec<_>> =
            instruction.accounts.iter().map(|i| transaction.key(*i).copied()).collect();
        match accounts.as_deref() {
            Some(&[source, mint, destination, payer]) => {
                let amount = u64::from_le_bytes(amount);
                Ok(Self { program, source, mint, destination, payer, amount, decimals: *decimals })
            }
            _ => Err(wrong("it has other accounts than source, mint, destination and owner")),
        }
    }
}

/// The memos among the instructions after the transfer.
fn optional(transaction: &Transaction, more: &[Instruction]) -> Result<Vec<Vec<u8>>, Wrong> {
    let places =
        [(Reason::UnknownFourth, "fourth"), (Reason::UnknownFifth, "fifth"), (Reason::UnknownSixth, "sixth")];
    let mut memos = Vec::new();
    for (instruction, (reason, place)) in more.iter().zip(places) {
        if is_of(transaction, instruction, &MEMO) {
            memos.push(instruction.data.clone());
        } else if !is_of(transaction, instruction, &LIGHTHOUSE) {
            return Err((reason, format!("the {place} instruction is of neither Lighthouse nor Memo")));
        }
    }
    Ok(memos)
}

/// The fee payer is in no instruction: nothing can be done with its signature but pay the fee.
fn isolated(transaction: &Transaction, fee_payer: &Address) -> Result<(), Wrong> {
    let uses = |i: &Instruction| i.accounts.contains(&0) || transaction.key(i.program) == Some(fee_payer);
    let Some(place) = transaction.instructions.iter().position(uses) else { return Ok(()) };
    if place == 2 {
        let message = "the fee payer is an account of the transfer".to_owned();
        return Err((Reason::FeePayerTransferring, message));
    }
    let message = format!("the fee payer is an account of instruction {}", place.saturating_add(1));
    Err((Reason::FeePayerNotIsolated, message))
}
