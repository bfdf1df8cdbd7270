//! What is only read.

use tollway_ledger::{Attempt, Filter, JournalState, Record};
use tollway_protocol::Network;
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;

use super::tables::{Me, Row, Tables, Tx};

impl Tables {
    pub(super) fn settlement(&self, key: &PaymentKey, me: Me) -> Option<Record> {
        self.rows.get(key).map(|row| self.record(key, row, me))
    }

    pub(super) fn history(&self, key: &PaymentKey) -> Vec<Attempt> {
        self.carriers(key).map(|(_, tx)| attempt(tx)).collect()
    }

    fn in_order(&self, is_wanted: impl Fn(&Row) -> bool, me: Me) -> Vec<Record> {
        let wanted = self.rows.iter().filter(|(_, row)| is_wanted(row));
        let mut records: Vec<_> = wanted.map(|(key, row)| self.record(key, row, me)).collect();
        records.sort_unstable_by_key(|record| record.id);
        records
    }

    pub(super) fn open(&self, network: &Network, me: Me) -> Vec<Record> {
        let is_open = |row: &Row| {
            row.network == *network
                && (!row.is_finished() || (row.state == JournalState::Settled && !row.is_final))
        };
        self.in_order(is_open, me)
    }

    pub(super) fn unfinal(&self, network: &Network, block: u64, limit: u32, me: Me) -> Vec<Record> {
        let is_due = |row: &Row| {
            let deep = row.block.is_some_and(|at| at <= block);
            row.network == *network && row.state == JournalState::Settled && !row.is_final && deep
        };
        let mut records = self.in_order(is_due, me);
        records.sort_by_key(|record| record.block);
        records.truncate(usize::try_from(limit).unwrap());
        records
    }

    pub(super) fn page(&self, filter: &Filter, after: i64, limit: u32, me: Me) -> Vec<Record> {
        let fits = |row: &Row| {
            row.id > after
                && filter.network.as_ref().is_none_or(|network| row.network == *network)
                && filter.state.is_none_or(|state| row.state == state)
                && (filter.since..filter.until).contains(&row.created)
        };
        let mut records = self.in_order(fits, me);
        records.truncate(usize::try_from(limit).unwrap());
        records
    }

    /// See [`tollway_ledger::Journal::next_nonce`].
    #[must_use]
    pub fn next_nonce(&self, network: &Network, signer: &str) -> Option<u64> {
        let of = |tx: &&Tx| tx.network == *network && tx.signed.signer.eq_ignore_ascii_case(signer);
        self.txs.iter().filter(of).map(|tx| tx.signed.nonce + 1).max()
    }

    pub(super) fn nonces(&self, network: &Network, signer: &str, first: u64) -> Vec<Attempt> {
        let of = |tx: &&Tx| {
            tx.network == *network
                && tx.signed.signer.eq_ignore_ascii_case(signer)
                && tx.signed.nonce >= first
                && !tx.replaced
        };
        let mut attempts: Vec<_> = self.txs.iter().filter(of).map(attempt).collect();
        attempts.sort_by_key(|attempt| attempt.transaction.nonce);
        attempts
    }

    /// See [`tollway_ledger::Journal::reverts`].
    #[must_use]
    pub fn reverts(&self, network: &Network, payer: &str, since: UnixTime) -> u64 {
        let of = |key: &&PaymentKey| {
            let row = self.rows.get(*key);
            row.is_some_and(|row| row.network == *network && row.payer == payer && row.created >= since)
        };
        self.txs.iter().map(|tx| tx.reverted.iter().filter(of).count() as u64).sum()
    }
}

fn attempt(tx: &Tx) -> Attempt {
    Attempt {
        transaction: tx.signed.clone(),
        carries: tx.members.clone(),
        sent: tx.sent,
        replaced: tx.replaced,
        block: tx.mined.map(|(block, _)| block),
    }
}
