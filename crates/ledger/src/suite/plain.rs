//! What a ledger should hold, in maps.

use std::collections::BTreeMap;

use crate::{JournalState, SignedTransaction};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    Claimed,
    Settling,
    Settled,
    Delivered,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) route: &'static str,
    pub(super) signature: &'static str,
    pub(super) state: State,
    /// The number of the claim that holds it.
    pub(super) turn: Option<u64>,
    pub(super) hash: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) transaction: SignedTransaction,
    pub(super) sent: bool,
    pub(super) replaced: bool,
    pub(super) rejected: bool,
}

#[derive(Debug, Default)]
pub(super) struct Settling {
    pub(super) order: u64,
    pub(super) attempts: Vec<Signed>,
    pub(super) ended: Option<bool>,
}

impl Settling {
    pub(super) fn latest(&self) -> Option<&Signed> {
        self.attempts.iter().find(|a| !a.replaced && !a.rejected)
    }

    pub(super) fn latest_mut(&mut self) -> Option<&mut Signed> {
        self.attempts.iter_mut().find(|a| !a.replaced && !a.rejected)
    }

    pub(super) fn state(&self) -> JournalState {
        match (self.ended, self.latest()) {
            (Some(true), _) => JournalState::Settled,
            (Some(false), _) => JournalState::Failed,
            (None, None) => JournalState::Prepared,
            (None, Some(latest)) if latest.sent => JournalState::Broadcast,
            (None, Some(_)) => JournalState::Signed,
        }
    }
}

/// What a ledger should hold.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) rows: BTreeMap<u64, Row>,
    pub(super) journal: BTreeMap<u64, Settling>,
    pub(super) turns: u64,
    pub(super) prepared: u64,
    pub(super) delivered: BTreeMap<u64, u32>,
}

impl Model {
    /// The payment's row, if the claim numbered `turn` holds it in one of `states`.
    pub(super) fn held(&mut self, n: u64, turn: u64, states: &[State]) -> Option<&mut Row> {
        self.rows.get_mut(&n).filter(|row| row.turn == Some(turn) && states.contains(&row.state))
    }

    pub(super) fn give_back(&mut self, n: u64) {
        let Some(row) = self.rows.get_mut(&n).filter(|row| row.turn.is_some()) else { return };
        match row.state {
            State::Claimed => drop(self.rows.remove(&n)),
            State::Settling | State::Settled => row.turn = None,
            State::Delivered => {}
        }
    }

    /// A call of the claim's failed, and gave back what the claim still held.
    pub(super) fn fail(&mut self, n: u64, turn: u64) {
        if self.rows.get(&n).is_some_and(|row| row.turn == Some(turn)) {
            self.give_back(n);
        }
    }

    pub(super) fn unfinished(&mut self, n: u64) -> Option<&mut Settling> {
        self.journal.get_mut(&n).filter(|settling| settling.ended.is_none())
    }
}
