//! Transactions as strangers send them: read strictly and bounded, legacy or version 0.
//!
//! The form is the one that Solana's documentation gives under "Transactions": an array of signatures, then the message
//! that they sign. Whatever a validator would not take is refused here: lengths that are not in their shortest form,
//! indices that point nowhere, accounts named twice, bytes left over.

use sha2::{Digest as _, Sha256};
use solana_address::Address;

/// The most bytes of a transaction: what one packet carries.
pub const MAX_BYTES: usize = 1_232;
/// The bytes of a signature.
pub const SIGNATURE: usize = 64;
/// The flag of a message with a version, in its first byte.
const VERSIONED: u8 = 0x80;

/// A transaction, and the bytes that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    bytes: Vec<u8>,
    /// Where the first signature begins.
    signatures_at: usize,
    /// Where the message begins.
    message_at: usize,
    /// Who signs and what may be written, by counts.
    pub header: Header,
    /// The accounts that are named in the transaction itself, the signers first.
    pub keys: Vec<Address>,
    /// A recent block, without which the transaction is dead.
    pub blockhash: [u8; 32],
    /// What it does, in order.
    pub instructions: Vec<Instruction>,
    /// How many accounts come from look-up tables: whose addresses are not in the transaction.
    pub lookups: usize,
}

/// The counts at the beginning of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Accounts that sign.
    pub signers: u8,
    /// Those of them that are not written.
    pub readonly_signers: u8,
    /// Accounts that neither sign nor are written.
    pub readonly_others: u8,
}

/// One call of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// The program, as an index into [`Transaction::keys`].
    pub program: u8,
    /// The accounts that it is given, as indices; those beyond the keys come from look-up tables.
    pub accounts: Vec<u8>,
    /// What it is told.
    pub data: Vec<u8>,
}

/// Why bytes are no transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than a packet carries.
    #[error("longer than {MAX_BYTES} bytes")]
    TooLong,
    /// They end early.
    #[error("it ends early")]
    Short,
    /// A length in other than its shortest form, or beyond 16 bits.
    #[error("a length is not in its shortest form")]
    Length,
    /// A version that is not known.
    #[error("version {0} is not known: send a legacy transaction or version 0")]
    Version(u8),
    /// Counts that contradict each other.
    #[error("the header's counts contradict the accounts or signatures")]
    Header,
    /// An index that points nowhere, or to a program where none can be.
    #[error("an instruction names an account that is not there, or the fee payer as its program")]
    Index,
    /// An account is named twice.
    #[error("an account is named twice")]
    Twice,
    /// Bytes are left over.
    #[error("bytes are left over")]
    Trailing,
}

impl Transaction {
    /// Reads a transaction.
    ///
    /// # Errors
    /// [`Malformed`], for everything that a validator would not take.
    pub fn read(bytes: Vec<u8>) -> Result<Self, Malformed> {
        if bytes.len() > MAX_BYTES {
            return Err(Malformed::TooLong);
        }
        let mut reader = Reader { bytes: &bytes, at: 0 };
        let signatures = reader.length()?;
        let signatures_at = reader.at;
        reader.take(signatures.saturating_mul(SIGNATURE))?;
        let message_at = reader.at;
        let message = Message::read(&mut reader)?;
        if reader.at != bytes.len() {
            return Err(Malformed::Trailing);
        }
        message.check(signatures)?;
        let Message { header, keys, blockhash, instructions, lookups } = message;
        Ok(Self { signatures_at, message_at, header, keys, blockhash, instructions, lookups, bytes })
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.bytes.get(self.message_at..).unwrap_or_default()
    }

    /// SHA-256 of the bytes that are signed. Two transactions with one message are one to the chain, whatever their
    /// signatures.
    #[must_use]
    pub fn message_hash(&self) -> [u8; 32] {
        Sha256::digest(self.message()).into()
    }

    /// The account that pays for the transaction.
    #[must_use]
    pub fn fee_payer(&self) -> Option<&Address> {
        self.keys.first()
    }

    /// The signature of the account at `index`, zeros where it is missing.
    #[must_use]
    pub fn signature(&self, index: usize) -> Option<[u8; SIGNATURE]> {
        let from = index.checked_mul(SIGNATURE)?.checked_add(self.signatures_at)?;
        let to = from.checked_add(SIGNATURE)?;
        (to <= self.message_at).then(|| self.bytes.get(from..to)?.try_into().ok()).flatten()
    }

    /// The bytes with `signature` for the account at `index`.
    #[must_use]
    pub fn signed(&self, index: usize, signature: [u8; SIGNATURE]) -> Option<Vec<u8>> {
        let from = index.checked_mul(SIGNATURE)?.checked_add(self.signatures_at)?;
        let to = from.checked_add(SIGNATURE)?;
        let mut bytes = self.bytes.clone();
        if to > self.message_at {
            return None;
        }
        bytes.get_mut(from..to)?.copy_from_slice(&signature);
        Some(bytes)
    }

    /// The bytes as they were read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The account at `index`, where the transaction itself names it.
    #[must_use]
    pub fn key(&self, index: u8) -> Option<&Address> {
        self.keys.get(usize::from(index))
    }
}

struct Message {
    header: Header,
    keys: Vec<Address>,
    blockhash: [u8; 32],
    instructions: Vec<Instruction>,
    lookups: usize,
}

impl Message {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let first = reader.byte()?;
        let versioned = first & VERSIONED != 0;
        if versioned && first != VERSIONED {
            return Err(Malformed::Version(first & !VERSIONED));
        }
        let signers = if versioned { reader.byte()? } else { first };
        let header = Header { signers, readonly_signers: reader.byte()?, readonly_others: reader.byte()? };
        let keys = (0..reader.length_of(32)?).map(|_| reader.array().map(Address::new_from_array));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let blockhash = reader.array()?;
        let instructions =
            (0..reader.length_of(3)?).map(|_| Instruction::read(reader)).collect::<Result<_, _>>()?;
        let lookups = if versioned { Self::read_lookups(reader)? } else { 0 };
        Ok(Self { header, keys, blockhash, instructions, lookups })
    }

    /// Counts the accounts that look-up tables would give.
    fn read_lookups(reader: &mut Reader<'_>) -> Result<usize, Malformed> {
        let mut all = 0usize;
        for _ in 0..reader.length_of(34)? {
            let _table: [u8; 32] = reader.array()?;
            let mut loaded = 0usize;
            for _ in ["written", "read"] {
                let count = reader.length()?;
                reader.take(count)?;
                loaded = loaded.saturating_add(count);
            }
            if loaded == 0 {
                return Err(Malformed::Header);
            }
            all = all.saturating_add(loaded);
        }
        Ok(all)
    }

    /// What validators call sanitizing.
    fn check(&self, signatures: usize) -> Result<(), Malformed> {
        let Header { signers, readonly_signers, readonly_others } = self.header;
        let keys = self.keys.len();
        let fits = usize::from(signers).saturating_add(usize::from(readonly_others)) <= keys;
        if usize::from(signers) != signatures || readonly_signers >= signers || !fits {
            return Err(Malformed::Header);
        }
        let all = keys.saturating_add(self.lookups);
        if all > 256 {
            return Err(Malformed::Header);
        }
        let is_there = |index: &u8| usize::from(*index) < all;
        let is_program = |index: u8| index != 0 && usize::from(index) < keys;
        if !self.instructions.iter().all(|i| is_program(i.program) && i.accounts.iter().all(is_there)) {
            return Err(Malformed::Index);
        }
        let mut sorted: Vec<&Address> = self.keys.iter().collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(Malformed::Twice);
        }
        Ok(())
    }
}

impl Instruction {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let program = reader.byte()?;
        let accounts = reader.length()?;
        let accounts = reader.take(accounts)?.to_vec();
        let data = reader.length()?;
        let data = reader.take(data)?.to_vec();
        Ok(Self { program, accounts, data })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let to = self.at.checked_add(count).ok_or(Malformed::Short)?;
        let taken = self.bytes.get(self.at..to).ok_or(Malformed::Short)?;
        self.at = to;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1)?.first().copied().ok_or(Malformed::Short)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed::Short)
    }

    /// A length of 16 bits: seven bits to a byte, the lowest first, in as few bytes as can be.
    fn length(&mut self) -> Result<usize, Malformed> {
        let mut value = 0usize;
        for place in 0..3u32 {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << (place * 7);
            if byte & 0x80 == 0 {
                let is_shortest = place == 0 || byte != 0;
                return if is_shortest && value <= 0xffff { Ok(value) } else { Err(Malformed::Length) };
            }
        }
        Err(Malformed::Length)
    }

    /// A length of a list whose items take at least `least` bytes each: no more than can be there.
    fn length_of(&mut self, least: usize) -> Result<usize, Malformed> {
        let length = self.length()?;
        let left = self.bytes.len().saturating_sub(self.at);
        if length.saturating_mul(least) > left { Err(Malformed::Short) } else { Ok(length) }
    }
}
