//! The banks of a chain, and what a node does with transactions.

use std::collections::VecDeque;

use solana_account::{Account, AccountSharedData, ReadableAccount as _, WritableAccount as _};
use solana_address::Address;
use solana_compute_budget_interface::ComputeBudgetInstruction;
use solana_hash::Hash;
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_signature::Signature;
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;
use spl_associated_token_account_interface::instruction::create_associated_token_account_idempotent;

use super::{
    admission::{self, Executed},
    bank::{Bank, Outcome},
    blockhashes::{self, Blockhashes},
    chain::{ChainError, Clock, Rules},
    history::{History, Record},
    mints,
    tokens::{self, associated_token_account},
};

/// Slots are ahead of heights by so many, as if they had been skipped.
const SKIPPED: u64 = 100;
const FIRST_SLOT: u64 = 1_000;
/// More transactions don't wait: they vanish.
const POOL: usize = 10_000;
/// What the faucet has: five hundred million SOL.
const FAUCET_LAMPORTS: u64 = 500_000_000_000_000_000;
/// So many airdrops differ from each other.
const AIRDROPS: u32 = 1_000_000;
const FAUCET_SEED: [u8; 32] = *b"tollway-devnet-faucet-----------";

/// What subscribers are told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News {
    /// A new slot is being made, on the slot `parent`; `root` is the newest finalized one.
    Slot { slot: u64, parent: u64, root: u64 },
    /// A transaction was executed.
    Executed,
}

/// What a test asked for.
#[derive(Default)]
pub(crate) struct Faults {
    /// So many of the next transactions vanish.
    pub(crate) dropped: u64,
    pub(crate) held: bool,
    pub(crate) paused: bool,
}

pub(crate) struct Node {
    pub(crate) rules: Rules,
    finalized: Bank,
    /// The complete slots after it, oldest first; the last is the confirmed one.
    frozen: VecDeque<Bank>,
    /// The slot that is being made.
    working: Bank,
    hashes: Blockhashes,
    executed: Executed,
    pub(crate) history: History,
    pool: Vec<VersionedTransaction>,
    pub(crate) faults: Faults,
    pub(crate) priority_fee: u64,
    faucet: Keypair,
    airdrops: u32,
    clock: Clock,
    news: Vec<News>,
}

impl Node {
    pub(crate) fn new(rules: Rules, clock: Clock) -> Result<Self, ChainError> {
        let faucet = Keypair::new_from_array(FAUCET_SEED);
        let height = FIRST_SLOT - SKIPPED;
        let mut genesis = Bank::genesis(FIRST_SLOT, height, rules.genesis, (clock.0)());
        let wealth = AccountSharedData::new(FAUCET_LAMPORTS, 0, &Address::default());
        put(&mut genesis, faucet.pubkey(), wealth)?;
        mints::install(&mut genesis, &faucet.pubkey())?;
        let hash = blockhashes::of_slot(&rules.genesis, FIRST_SLOT);
        genesis.freeze(hash);
        let kept = usize::try_from(rules.blockhash_age.saturating_add(rules.finality)).unwrap_or(usize::MAX);
        let mut hashes = Blockhashes::new(kept.saturating_add(2));
        hashes.push(hash, height);
        Ok(Self {
            working: genesis.child(FIRST_SLOT + 1, (clock.0)()),
            finalized: genesis,
            frozen: VecDeque::new(),
            rules,
            hashes,
            executed: Executed::default(),
            history: History::default(),
            pool: Vec::new(),
            faults: Faults::default(),
            priority_fee: 0,
            faucet,
            airdrops: 0,
            clock,
            news: Vec::new(),
        })
    }

    /// The bank that is being made.
    pub(crate) fn processed(&self) -> &Bank {
        &self.working
    }

    /// The newest complete bank.
    pub(crate) fn confirmed(&self) -> &Bank {
        self.frozen.back().unwrap_or(&self.finalized)
    }

    /// The newest bank that no fork undoes.
    pub(crate) fn finalized(&self) -> &Bank {
        &self.finalized
    }

    pub(crate) fn first_slot(&self) -> u64 {
        FIRST_SLOT
    }

    pub(crate) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Completes the slot and begins the next.
    pub(crate) fn advance(&mut self) {
        let slot = self.working.slot;
        let hash = blockhashes::of_slot(&self.working.latest.0, slot);
        self.working.freeze(hash);
        self.hashes.push(hash, self.working.height);
        let child = self.working.child(slot.saturating_add(1), (self.clock.0)());
        self.frozen.push_back(std::mem::replace(&mut self.working, child));
        while self.frozen.len() as u64 >= self.rules.finality {
            let Some(oldest) = self.frozen.pop_front() else { break };
            self.finalized = oldest;
        }
        let dead = self.working.height.saturating_sub(self.rules.blockhash_age.saturating_add(1));
        self.executed.forget_before(dead);
        self.tell_slot();
    }

    fn tell_slot(&mut self) {
        let Bank { slot, parent, .. } = self.working;
        self.news.push(News::Slot { slot, parent, root: self.finalized.slot });
    }

    /// Undoes the newest `depth` slots, the one that is being made among them, and goes on in a slot after them.
    pub(crate) fn fork(&mut self, depth: u64) -> Result<(), ChainError> {
        let parent = self.working.height.checked_sub(depth).filter(|to| *to >= self.finalized.height);
        let Some(parent) = parent.filter(|_| depth > 0) else {
            let deepest = self.working.height - self.finalized.height;
            return Err(ChainError::ForkDepth { depth, deepest });
        };
        while self.frozen.back().is_some_and(|bank| bank.height > parent) {
            self.frozen.pop_back();
        }
        self.hashes.truncate(parent);
        self.executed.truncate(parent);
        self.history.truncate(parent);
        let slot = self.working.slot.saturating_add(1);
        self.working = self.confirmed().child(slot, (self.clock.0)());
        self.tell_slot();
        Ok(())
    }

    /// Whether a message may be executed in a bank. `age` is how old its blockhash may be.
    pub(crate) fn admit(
        &self,
        transaction: &VersionedTransaction,
        bank: &Bank,
        age: u64,
    ) -> Result<(), TransactionError> {
        admission::admit(transaction, bank, &self.hashes, &self.executed, age)
    }

    /// Whether a transaction with this blockhash may be executed in a bank.
    pub(crate) fn blockhash_is_good(&self, hash: &Hash, bank: &Bank) -> bool {
        let newest = bank.latest.1;
        let height = self.hashes.height(hash).filter(|height| *height <= newest);
        height.is_some_and(|height| newest - height <= self.rules.blockhash_age)
    }

    /// Tries a transaction in a bank and keeps nothing of it. Signatures aren't looked at.
    pub(crate) fn simulate(&self, transaction: VersionedTransaction, bank: &Bank) -> Outcome {
        // As validators do: what is simulated has yet to travel.
        let age = self.rules.blockhash_age - self.rules.blockhash_age / 25;
        match self.admit(&transaction, bank, age) {
            Ok(()) => bank.simulate(transaction),
            Err(error) => Outcome { error: Some(error), meta: Default::default(), accounts: Vec::new() },
        }
    }

    /// Takes a transaction as a validator does, without a word: it is executed if it may be.
    pub(crate) fn submit(&mut self, transaction: VersionedTransaction) {
        if self.faults.dropped > 0 {
            self.faults.dropped -= 1;
        } else if !self.faults.held {
            self.execute(transaction);
        } else if self.pool.len() < POOL {
            self.pool.push(transaction);
        }
    }

    /// Executes what waited.
    pub(crate) fn release(&mut self) {
        self.faults.held = false;
        for transaction in std::mem::take(&mut self.pool) {
            self.execute(transaction);
        }
    }

    fn execute(&mut self, transaction: VersionedTransaction) {
        let admitted = self.admit(&transaction, &self.working, self.rules.blockhash_age);
        let Some(signature) = transaction.signatures.first().copied() else { return };
        if admitted.is_err() || !admission::signed(&transaction) {
            tracing::debug!(%signature, ?admitted, "a transaction that is not valid is dropped");
            return;
        }
        let keys = transaction.message.static_account_keys().to_vec();
        let before = self.working.balances(&keys);
        let Some(outcome) = self.working.execute(transaction.clone()) else { return };
        self.executed.insert(&transaction, self.working.height);
        self.history.push(Record {
            signature,
            slot: self.working.slot,
            height: self.working.height,
            time: self.working.time,
            transaction,
            error: outcome.error,
            meta: outcome.meta,
            before,
            after: self.working.balances(&keys),
        });
        self.news.push(News::Executed);
    }

    /// Sends lamports from the faucet by a transaction, which may fail or vanish as any other.
    pub(crate) fn airdrop(&mut self, to: &Address, lamports: u64) -> Signature {
        // Two airdrops are two messages also where nothing else differs.
        self.airdrops = (self.airdrops + 1) % AIRDROPS;
        let faucet = self.faucet.pubkey();
        let steps = [
            ComputeBudgetInstruction::set_compute_unit_limit(1_000 + self.airdrops),
            solana_system_interface::instruction::transfer(&faucet, to, lamports),
        ];
        let message = Message::new_with_blockhash(&steps, Some(&faucet), &self.working.latest.0);
        let message = VersionedMessage::Legacy(message);
        let signature = self.faucet.sign_message(&message.serialize());
        self.submit(VersionedTransaction { signatures: vec![signature], message });
        signature
    }

    /// Gives an account lamports, in every bank: no fork undoes it, and every commitment sees it.
    pub(crate) fn fund(&mut self, to: Address, lamports: u64) -> Result<(), ChainError> {
        for bank in self.banks() {
            let mut account = bank.account(&to).cloned().unwrap_or_default();
            let rich = account.lamports().checked_add(lamports).ok_or(ChainError::TooMuch)?;
            account.set_lamports(rich);
            put(bank, to, account)?;
        }
        Ok(())
    }

    /// Gives an owner tokens, in every bank, in its associated account, which it makes.
    pub(crate) fn mint(&mut self, mint: Address, owner: Address, amount: u64) -> Result<(), ChainError> {
        let unknown = || ChainError::UnknownMint(mint);
        let program = *self.finalized.account(&mint).ok_or_else(unknown)?.owner();
        let to = associated_token_account(&owner, &mint, &program);
        let faucet = self.faucet.pubkey();
        let make = create_associated_token_account_idempotent(&faucet, &owner, &mint, &program);
        let mut made = None;
        for bank in self.banks() {
            match (bank.account(&to), &made) {
                (Some(_), _) => {}
                (None, Some(account)) => put(bank, to, AccountSharedData::clone(account))?,
                (None, None) => {
                    mints::run(bank, &faucet, std::slice::from_ref(&make))?;
                    made = bank.account(&to).cloned();
                }
            }
            let (source, account) = bank.account(&mint).zip(bank.account(&to)).ok_or_else(unknown)?;
            let source = tokens::issued(source.clone(), amount).ok_or(ChainError::TooMuch)?;
            let account = tokens::credited(account.clone(), amount).ok_or(ChainError::TooMuch)?;
            put(bank, mint, source)?;
            put(bank, to, account)?;
        }
        Ok(())
    }

    fn banks(&mut self) -> impl Iterator<Item = &mut Bank> {
        let frozen = self.frozen.iter_mut();
        std::iter::once(&mut self.finalized).chain(frozen).chain(std::iter::once(&mut self.working))
    }
}

fn put(bank: &mut Bank, address: Address, account: AccountSharedData) -> Result<(), ChainError> {
    bank.vm
        .set_account(address, Account::from(account))
        .map_err(|error| ChainError::Refused(error.to_string()))
}
