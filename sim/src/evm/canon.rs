//! What the chain has, and what it once had: payments, cancellations, transactions.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U64, U256};
use alloy_sol_types::SolEvent as _;
use serde::Deserialize;
use serde_json::json;
use tollway_evm::abi::{Eip3009, TransferWithAuthorization};

use super::land::Land;
use super::{Evm, rules::is_it};
use crate::side;

/// Payer and nonce of an authorization.
pub(super) type Id = (Address, B256);

/// A payment that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// Payer and nonce.
    pub id: Id,
    /// Who was paid.
    pub to: Address,
    /// How much.
    pub value: U256,
    /// In which transaction.
    pub hash: B256,
    /// Who sent that.
    pub sender: Address,
}

/// A transaction in a block.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its hash.
    pub hash: B256,
    /// Who sent it.
    pub sender: Address,
    /// What it cost, in wei.
    pub fee: U256,
}

#[derive(Debug, Default)]
struct Seen {
    hash: B256,
    sent: Vec<Sent>,
    paid: Vec<Paid>,
    cancelled: Vec<(Id, B256)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    transaction_hash: B256,
    from: Address,
    gas_used: U64,
    effective_gas_price: U256,
    logs: Vec<alloy_primitives::Log>,
}

/// The chain, as it is known without a node in between.
#[derive(Debug, Default)]
pub struct Canon {
    blocks: Vec<Seen>,
    /// The payments that the chain has.
    pub paid: BTreeMap<Id, Paid>,
    /// Every payment that it ever had.
    pub ever: BTreeMap<Id, Vec<Paid>>,
    /// In which transactions authorizations were cancelled, at any time.
    cancelled: BTreeMap<Id, BTreeSet<B256>>,
    /// What a reorg took a payment or a cancellation of.
    pub shaken: BTreeSet<Id>,
    /// Transactions that a reorg took back.
    pub lost: BTreeSet<B256>,
    /// Each account's highest nonce so far, those that a reorg took back included.
    pub nonces: BTreeMap<Address, u64>,
    counts: BTreeMap<Address, u64>,
    twice: Option<Id>,
}

impl Canon {
    fn undo(&mut self) {
        let Some(block) = self.blocks.pop() else { return };
        for paid in block.paid {
            self.paid.remove(&paid.id);
            self.shaken.insert(paid.id);
        }
        self.shaken.extend(block.cancelled.into_iter().map(|(id, _)| id));
        for sent in block.sent {
            self.lost.insert(sent.hash);
            *self.counts.entry(sent.sender).or_default() -= 1;
        }
    }

    fn add(&mut self, hash: B256, receipts: &[Receipt], token: Address) {
        let mut seen = Seen { hash, ..Seen::default() };
        for receipt in receipts {
            let fee = U256::from(receipt.gas_used.to::<u64>()) * receipt.effective_gas_price;
            seen.sent.push(Sent { hash: receipt.transaction_hash, sender: receipt.from, fee });
            let count = self.counts.entry(receipt.from).or_default();
            *count += 1;
            let highest = self.nonces.entry(receipt.from).or_default();
            *highest = (*highest).max(*count);
            let logs: Vec<_> = receipt.logs.iter().filter(|log| log.address == token).collect();
            for (at, log) in logs.iter().enumerate() {
                let topics = log.data.topics();
                let id = |topics: &[B256]| (Address::from_word(topics[1]), topics[2]);
                if topics[0] == Eip3009::AuthorizationCanceled::SIGNATURE_HASH {
                    seen.cancelled.push((id(topics), receipt.transaction_hash));
                    self.cancelled.entry(id(topics)).or_default().insert(receipt.transaction_hash);
                } else if topics[0] == Eip3009::AuthorizationUsed::SIGNATURE_HASH {
                    let moved = Eip3009::Transfer::decode_log(logs[at + 1]).unwrap();
                    seen.paid.push(Paid {
                        id: id(topics),
                        to: moved.to,
                        value: moved.value,
                        hash: receipt.transaction_hash,
                        sender: receipt.from,
                    });
                }
            }
        }
        for paid in &seen.paid {
            if self.paid.insert(paid.id, paid.clone()).is_some() {
                self.twice = Some(paid.id);
            }
            self.ever.entry(paid.id).or_default().push(paid.clone());
        }
        self.blocks.push(seen);
    }

    /// Every transaction of `sender` that the chain has.
    pub fn of(&self, sender: Address) -> impl Iterator<Item = &Sent> {
        self.blocks.iter().flat_map(|block| &block.sent).filter(move |sent| sent.sender == sender)
    }
}

impl side::Canon<Evm> for Canon {
    fn follow(&mut self, land: &Land) {
        let head = land.chain.block_number();
        let hash_at = |number: u64| -> B256 {
            let block = land.ask("eth_getBlockByNumber", &json!([U64::from(number), false]));
            serde_json::from_value(block["hash"].clone()).unwrap()
        };
        while let Some(last) = self.blocks.last() {
            let number = self.blocks.len() as u64 - 1;
            if number <= head && hash_at(number) == last.hash {
                break;
            }
            self.undo();
        }
        for number in self.blocks.len() as u64..=head {
            let receipts = land.ask("eth_getBlockReceipts", &json!([U64::from(number)]));
            let receipts: Vec<Receipt> = serde_json::from_value(receipts).unwrap();
            self.add(hash_at(number), &receipts, land.deployment.usdc);
        }
    }

    fn twice(&self) -> Option<String> {
        self.twice.map(|(payer, nonce)| format!("{payer}'s payment {nonce}"))
    }

    fn head(&self) -> String {
        self.blocks.last().map(|block| block.hash).unwrap_or_default().to_string()
    }

    fn is_lost(&self, hash: &str) -> bool {
        self.lost.iter().any(|lost| lost.to_string() == hash)
    }

    fn paid_in(&self, t: &TransferWithAuthorization) -> Option<String> {
        self.paid.get(&(t.from, t.nonce)).map(|paid| paid.hash.to_string())
    }

    fn has(&self, t: &TransferWithAuthorization) -> bool {
        self.paid.get(&(t.from, t.nonce)).is_some_and(|paid| is_it(paid, t))
    }

    fn had(&self, t: &TransferWithAuthorization, hash: &str) -> bool {
        let all = self.ever.get(&(t.from, t.nonce)).into_iter().flatten();
        all.filter(|paid| is_it(paid, t)).any(|paid| paid.hash.to_string() == hash)
    }

    fn is_about(&self, t: &TransferWithAuthorization, hash: &str) -> bool {
        let id = (t.from, t.nonce);
        let paid = self.ever.get(&id).into_iter().flatten().map(|paid| &paid.hash);
        let cancelled = self.cancelled.get(&id).into_iter().flatten();
        paid.chain(cancelled).any(|at| at.to_string() == hash)
    }
}
