//! What the seller's half should hold, in maps.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    Claimed,
    Settling,
    Settled,
    Delivered,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    /// None when it was released after it may have reached the facilitator.
    pub(super) route: Option<&'static str>,
    pub(super) signature: &'static str,
    pub(super) state: State,
    /// The number of the claim that holds it.
    pub(super) turn: Option<u64>,
    pub(super) hash: Option<String>,
}

/// What the seller's half should hold.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) rows: BTreeMap<u64, Row>,
    pub(super) turns: u64,
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

    /// Frees it for any request.
    pub(super) fn release(&mut self, n: u64) {
        match self.rows.get_mut(&n) {
            Some(row) if row.state == State::Settling => {
                (row.route, row.state, row.turn, row.hash) = (None, State::Claimed, None, None);
            }
            _ => drop(self.rows.remove(&n)),
        }
    }

    /// A call of the claim's failed, and gave back what the claim still held.
    pub(super) fn fail(&mut self, n: u64, turn: u64) {
        if self.rows.get(&n).is_some_and(|row| row.turn == Some(turn)) {
            self.give_back(n);
        }
    }
}
