//! The tokens that a chain begins with.

use solana_account::Account;
use solana_address::Address;
#[cfg(feature = "test-contracts")]
use solana_instruction::AccountMeta;
use solana_instruction::Instruction;
use solana_message::{Message, VersionedMessage};
use solana_program_pack::Pack as _;
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;
use spl_token_interface::state::Mint;

use super::{
    bank::Bank,
    chain::ChainError,
    tokens::{TOKEN_2022_PROGRAM, TOKEN_PROGRAM},
};

/// USDC on devnet: a mint of SPL Token with six decimals.
pub const USDC_DEVNET: Address = Address::from_str_const("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU");
/// PYUSD on devnet: a mint of Token-2022 with six decimals, here without extensions.
pub const PYUSD_DEVNET: Address = Address::from_str_const("CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM");
/// Who may mint and freeze them all. It has no known key: [`Chain::mint`](super::Chain::mint) needs none.
pub const MINT_AUTHORITY: Address = Address::new_from_array(*b"tollway-devnet-mint-authority---");

/// Another mint of SPL Token, which isn't USDC.
#[cfg(feature = "test-contracts")]
pub const SECOND_MINT: Address = Address::new_from_array(*b"tollway-devnet-second-mint------");
/// A mint of Token-2022 that keeps 1 % of every transfer.
#[cfg(feature = "test-contracts")]
pub const TAXED_MINT: Address = Address::new_from_array(*b"tollway-devnet-taxed-mint-------");
/// A mint of Token-2022 whose transfers call [`HOOK_PROGRAM`].
#[cfg(feature = "test-contracts")]
pub const HOOKED_MINT: Address = Address::new_from_array(*b"tollway-devnet-hooked-mint------");
/// The program that [`HOOKED_MINT`] calls. It isn't there, so those transfers fail.
#[cfg(feature = "test-contracts")]
pub const HOOK_PROGRAM: Address = Address::new_from_array(*b"tollway-devnet-hook-program-----");

/// Of every mint here.
const DECIMALS: u8 = 6;

struct Plan {
    address: Address,
    program: Address,
    space: usize,
    extensions: Vec<Instruction>,
}

/// Puts the mints into a bank. `payer` pays for the transactions that make them.
pub(crate) fn install(bank: &mut Bank, payer: &Address) -> Result<(), ChainError> {
    let plain = |address, program| Plan { address, program, space: Mint::LEN, extensions: Vec::new() };
    #[cfg_attr(not(feature = "test-contracts"), expect(unused_mut, reason = "the feature adds some"))]
    let mut plans = vec![plain(USDC_DEVNET, TOKEN_PROGRAM), plain(PYUSD_DEVNET, TOKEN_2022_PROGRAM)];
    #[cfg(feature = "test-contracts")]
    plans.extend([plain(SECOND_MINT, TOKEN_PROGRAM), taxed(), hooked()]);
    plans.into_iter().try_for_each(|plan| make(bank, payer, plan))
}

/// The account is put there; what is in it is written by the token program itself.
fn make(bank: &mut Bank, payer: &Address, plan: Plan) -> Result<(), ChainError> {
    let Plan { address, program, space, extensions } = plan;
    let account = Account {
        lamports: bank.vm.minimum_balance_for_rent_exemption(space),
        data: vec![0; space],
        owner: program,
        executable: false,
        rent_epoch: u64::MAX,
    };
    bank.vm.set_account(address, account).map_err(|error| ChainError::Refused(error.to_string()))?;
    let mut steps = extensions;
    steps.push(initialize(address, program)?);
    run(bank, payer, &steps)
}

/// The two token programs have this instruction in common.
fn initialize(mint: Address, program: Address) -> Result<Instruction, ChainError> {
    let mut instruction = spl_token_interface::instruction::initialize_mint2(
        &TOKEN_PROGRAM,
        &mint,
        &MINT_AUTHORITY,
        Some(&MINT_AUTHORITY),
        DECIMALS,
    )
    .map_err(|error| ChainError::Refused(error.to_string()))?;
    instruction.program_id = program;
    Ok(instruction)
}

/// Executes instructions at once, outside of the history, without signatures.
pub(crate) fn run(bank: &mut Bank, payer: &Address, steps: &[Instruction]) -> Result<(), ChainError> {
    let message = Message::new_with_blockhash(steps, Some(payer), &bank.latest.0);
    let signatures = vec![Signature::default(); usize::from(message.header.num_required_signatures)];
    let transaction = VersionedTransaction { signatures, message: VersionedMessage::Legacy(message) };
    match bank.vm.send_transaction(transaction) {
        Ok(_) => Ok(()),
        Err(failed) => Err(ChainError::Refused(format!("{}: {}", failed.err, failed.meta.logs.join("\n")))),
    }
}

/// Token-2022's first byte for the transfer fee extension, and the second for its beginning.
#[cfg(feature = "test-contracts")]
fn taxed() -> Plan {
    const TRANSFER_FEE: [u8; 2] = [26, 0];
    const BASIS_POINTS: u16 = 100;
    let authority = [&[1][..], MINT_AUTHORITY.as_ref()].concat();
    let numbers = [&BASIS_POINTS.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat();
    let data = [&TRANSFER_FEE[..], &authority, &authority, &numbers].concat();
    extended(TAXED_MINT, 108, data)
}

/// As [`taxed`], for the transfer hook extension.
#[cfg(feature = "test-contracts")]
fn hooked() -> Plan {
    const TRANSFER_HOOK: [u8; 2] = [36, 0];
    let data = [&TRANSFER_HOOK[..], MINT_AUTHORITY.as_ref(), HOOK_PROGRAM.as_ref()].concat();
    extended(HOOKED_MINT, 64, data)
}

/// A mint with one extension of that length, made by an instruction with that data.
#[cfg(feature = "test-contracts")]
fn extended(address: Address, length: usize, data: Vec<u8>) -> Plan {
    /// An extended mint is as long as a token account, then come its kind, and type and length of each extension.
    const BEFORE: usize = spl_token_interface::state::Account::LEN + 1 + 4;
    let program = TOKEN_2022_PROGRAM;
    let accounts = vec![AccountMeta::new(address, false)];
    let extensions = vec![Instruction { program_id: program, accounts, data }];
    Plan { address, program, space: BEFORE + length, extensions }
}
