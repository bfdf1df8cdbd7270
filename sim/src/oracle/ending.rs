//! When the faults are over: V1, V3, and what only the end can tell of S5, S10 and S11.

use alloy_primitives::U256;
use tollway_ledger::JournalState;

use super::{Birth, Oracle};
use crate::purse::SELLERS;
use crate::world::{World, network};

/// Whether everything came to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did.
    Rests,
    /// Something is still on its way.
    Moves,
}

impl Oracle {
    /// Whether every settlement has ended for good and every nonce is spent.
    #[must_use]
    pub fn rests(&self, world: &World) -> Verdict {
        let rows = world.tables.lock().rows.values().all(|row| row.is_final);
        let spent = self.idle_signers(world).is_empty();
        if rows && spent { Verdict::Rests } else { Verdict::Moves }
    }

    fn idle_signers(&self, world: &World) -> Vec<String> {
        let tables = world.tables.lock();
        let mut idle = Vec::new();
        for signer in &self.limits.signers {
            let given = tables.next_nonce(&network(), &signer.to_string()).unwrap_or(0);
            let mined = world.land.nonce(*signer);
            if mined < given {
                idle.push(format!("{signer} has {mined} of {given} transactions mined"));
            }
        }
        idle
    }

    /// V1, V3: not all came to rest in the time that it had; `calls` are not answered.
    pub fn is_stuck(&mut self, world: &World, calls: usize) {
        let open: Vec<_> = {
            let tables = world.tables.lock();
            let open = tables.rows.iter().filter(|(_, row)| !row.is_finished());
            open.map(|(key, row)| format!("{key} is {:?}, held by {:?}", row.state, row.holder)).collect()
        };
        let idle = self.idle_signers(world);
        if !idle.is_empty() {
            self.breaks(world, "V3", idle.join("; "));
        } else if !open.is_empty() {
            self.breaks(world, "V1", open.join("; "));
        } else if calls > 0 {
            self.breaks(world, "V1", format!("{calls} calls are not answered"));
        } else {
            self.breaks(world, "V1", "what is settled does not become final".into());
        }
    }

    /// S5, S11: the store and the chain say the same.
    pub fn balances(&mut self, world: &World) {
        self.looks(world);
        let tables = world.tables.lock();
        let mut wrong = Vec::new();
        let mut sums = [U256::ZERO; SELLERS.len()];
        for (key, row) in &tables.rows {
            let Some(birth) = self.births.get(key) else { continue };
            let t = &birth.transfer;
            let id = (t.from, t.nonce);
            let paid = self.canon.paid.get(&id).filter(|paid| paid.to == t.to && paid.value == t.value);
            match (row.state, paid) {
                (JournalState::Settled, Some(paid)) if row.hash == Some(paid.hash.to_string()) => {
                    let place = SELLERS.iter().position(|(seller, _)| *seller == t.to);
                    sums[place.unwrap()] += paid.value;
                }
                (JournalState::Settled, paid) => {
                    wrong.push(("S11", format!("{key} is settled in {:?}, on chain in {paid:?}", row.hash)));
                }
                (JournalState::Failed, Some(paid)) if !self.canon.shaken.contains(&id) => {
                    wrong.push(("S5", format!("{key} has failed, and is paid in {}", paid.hash)));
                }
                _ => {}
            }
        }
        for paid in self.canon.paid.values() {
            // A payer may sign two payments with one nonce; the row tells of one of them only.
            let known = self.births.iter().any(|(key, Birth { transfer: t, .. })| {
                let is_it = (t.from, t.nonce) == paid.id && t.to == paid.to && t.value == paid.value;
                is_it && tables.rows.contains_key(key)
            });
            let is_ours = self.limits.signers.contains(&paid.sender);
            if is_ours && !known {
                wrong.push(("S11", format!("{} paid {:?}, which no row tells of", paid.hash, paid.id)));
            } else if !known {
                // A stranger submitted what the facilitator never took.
                let place = SELLERS.iter().position(|(seller, _)| *seller == paid.to);
                sums[place.unwrap()] += paid.value;
            }
        }
        drop(tables);
        for ((seller, _), sum) in SELLERS.iter().zip(sums) {
            let has = world.land.tokens(*seller);
            if has != sum && wrong.is_empty() && self.canon.shaken.is_empty() {
                wrong.push(("S11", format!("{seller} has {has}, the ledger says {sum}")));
            }
        }
        for signer in self.limits.signers.clone() {
            if world.land.tokens(signer) != U256::ZERO {
                wrong.push(("S11", format!("{signer} holds tokens")));
            }
        }
        for (rule, text) in wrong {
            self.breaks(world, rule, text);
        }
    }
}
