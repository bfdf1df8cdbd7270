//! Rows, and what changes them besides signing. Every function is one atomic, durable call.

use std::collections::{BTreeMap, BTreeSet};

use tollway_ledger::{Ending, Holder, JournalState, LedgerError, Mined, Prepared, Record, SignedTransaction};
use tollway_protocol::IdempotencyKey;
use tollway_protocol::bind::{PaymentKey, Verified};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Code, Network};

/// Hours back over which the budget runs, besides the one that it is now.
const HOURS: u64 = 24;

/// The process that calls, and its time in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Me {
    /// Which process.
    pub instance: u64,
    /// Its clock, by which leases are judged.
    pub now: u64,
}

/// A settlement.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its place among all.
    pub id: i64,
    /// Where.
    pub network: Network,
    /// Who pays.
    pub payer: String,
    /// How far it is.
    pub state: JournalState,
    /// The request, as JSON.
    pub request: String,
    /// Which process works on it.
    pub holder: Option<u64>,
    /// The latest transaction that carries it.
    pub latest: Option<usize>,
    /// The transaction that it was told to be settled in, or failed with.
    pub hash: Option<String>,
    /// The block that holds that.
    pub block: Option<u64>,
    /// Whether it stays so.
    pub is_final: bool,
    /// Why it failed.
    pub reason: Option<Code>,
    /// Why it failed, for people.
    pub message: Option<String>,
    /// When it was taken.
    pub created: UnixTime,
    /// When it ended.
    pub ended: Option<UnixTime>,
    /// Whether somebody was told that it is settled.
    pub told: bool,
    /// The key of whoever is told.
    pub asker: Option<IdempotencyKey>,
    /// What it claims besides its key.
    pub claim: Option<String>,
}

impl Row {
    /// Whether it is settled or failed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.state, JournalState::Settled | JournalState::Failed)
    }
}

/// A recorded transaction.
#[derive(Debug, Clone)]
pub struct Tx {
    /// Where.
    pub network: Network,
    /// Itself.
    pub signed: SignedTransaction,
    /// The payments in it.
    pub members: Vec<PaymentKey>,
    /// Whether a node was given it.
    pub sent: bool,
    /// Whether another took its place.
    pub replaced: bool,
    /// The most that it can cost, in gwei.
    pub bid: u64,
    /// The hour in which it was recorded.
    pub hour: u64,
    /// What counts of it in the budget.
    pub counted: u64,
    /// Its block and what it cost, in gwei.
    pub mined: Option<(u64, u64)>,
    /// The payments in it that failed.
    pub reverted: BTreeSet<PaymentKey>,
}

/// Everything that is stored.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// The settlements.
    pub rows: BTreeMap<PaymentKey, Row>,
    /// The transactions, oldest first.
    pub txs: Vec<Tx>,
    pub(super) leases: BTreeMap<(String, String), (Option<u64>, i64)>,
    /// Until when each process is alive.
    pub(super) instances: BTreeMap<u64, u64>,
    last_id: i64,
    last_instance: u64,
}

pub(super) fn conflict(key: &impl ToString, found: &str, expected: &'static str) -> LedgerError {
    LedgerError::Conflict { key: key.to_string(), found: found.to_owned(), expected }
}

pub(super) fn hour(now: UnixTime) -> u64 {
    now.0 / 3_600
}

impl Tables {
    /// A new process, alive until `until` unless it is renewed.
    pub fn join(&mut self, until: u64) -> u64 {
        self.last_instance += 1;
        self.instances.insert(self.last_instance, until);
        self.last_instance
    }

    /// A process lives until `until`.
    pub fn renew(&mut self, instance: u64, until: u64) {
        self.instances.insert(instance, until);
    }

    /// A process is no more: what it held is free at once.
    pub fn leave(&mut self, instance: u64) {
        self.instances.remove(&instance);
    }

    pub(super) fn is_alive(&self, instance: u64, me: Me) -> bool {
        instance == me.instance || self.instances.get(&instance).is_some_and(|until| *until > me.now)
    }

    pub(super) fn is_others(&self, row: &Row, me: Me) -> bool {
        row.holder.is_some_and(|holder| holder != me.instance && self.is_alive(holder, me))
    }

    /// The transactions with the payment, oldest first.
    pub fn carriers<'a>(&'a self, key: &'a PaymentKey) -> impl Iterator<Item = (usize, &'a Tx)> {
        self.txs.iter().enumerate().filter(move |(_, tx)| tx.members.contains(key))
    }

    /// The transactions of a nonce, oldest first.
    pub fn under<'a>(
        &'a self,
        network: &'a Network,
        signer: &'a str,
        nonce: u64,
    ) -> impl Iterator<Item = usize> + 'a {
        self.txs.iter().enumerate().filter_map(move |(at, tx)| {
            let same = tx.network == *network
                && tx.signed.nonce == nonce
                && tx.signed.signer.eq_ignore_ascii_case(signer);
            same.then_some(at)
        })
    }

    pub(super) fn record(&self, key: &PaymentKey, row: &Row, me: Me) -> Record {
        let transaction = row.latest.map(|at| self.txs[at].signed.clone());
        let shares = self
            .carriers(key)
            .filter_map(|(_, tx)| tx.mined.map(|(_, fee)| fee.div_ceil(tx.members.len() as u64)));
        Record {
            id: row.id,
            key: key.clone(),
            network: row.network.clone(),
            payer: row.payer.clone(),
            state: row.state,
            request: row.request.clone(),
            hash: row.hash.clone().or_else(|| transaction.as_ref().map(|signed| signed.hash.clone())),
            transaction,
            block: row.block,
            is_final: row.is_final,
            reason: row.reason.clone(),
            message: row.message.clone(),
            fee_gwei: shares.reduce(|sum, share| sum + share),
            created: row.created,
            ended: row.ended,
            holder: match row.holder {
                Some(holder) if holder == me.instance => Holder::This,
                Some(holder) if self.is_alive(holder, me) => Holder::Other,
                _ => Holder::Nobody,
            },
            told: row.told,
        }
    }

    pub(super) fn insert(
        &mut self,
        payment: &Verified,
        holder: Option<u64>,
        signed: Option<usize>,
        now: UnixTime,
    ) {
        self.last_id += 1;
        let row = Row {
            id: self.last_id,
            network: payment.offer().network.clone(),
            payer: payment.effects().payer.as_str().to_owned(),
            state: if signed.is_some() { JournalState::Signed } else { JournalState::Prepared },
            request: serde_json::to_string(&payment.to_request()).unwrap(),
            holder,
            latest: signed,
            hash: None,
            block: None,
            is_final: false,
            reason: None,
            message: None,
            created: now,
            ended: None,
            told: payment.idempotency_key().is_some(),
            asker: payment.idempotency_key().cloned(),
            claim: None,
        };
        self.rows.insert(payment.key().clone(), row);
    }

    /// See [`tollway_ledger::Journal::prepare`].
    pub fn prepare(&mut self, payments: &[Verified], held: bool, now: UnixTime, me: Me) -> Vec<Prepared> {
        let mut answers = Vec::new();
        for payment in payments {
            answers.push(match self.rows.get(payment.key()) {
                Some(row) => Prepared::Exists(Box::new(self.record(payment.key(), row, me))),
                None => {
                    self.insert(payment, held.then_some(me.instance), None, now);
                    Prepared::New
                }
            });
        }
        answers
    }

    /// See [`tollway_ledger::Journal::finish`].
    pub fn finish(
        &mut self,
        network: &Network,
        mined: &[Mined],
        endings: &[(PaymentKey, Ending)],
        now: UnixTime,
    ) -> Vec<Result<(), LedgerError>> {
        for found in mined {
            self.mine(network, found);
        }
        endings.iter().map(|(key, ending)| self.end(network, key, ending, now)).collect()
    }

    fn mine(&mut self, network: &Network, found: &Mined) {
        let same = |tx: &Tx| tx.network == *network && tx.signed.hash == found.hash;
        let Some(at) = self.txs.iter().position(same) else { return };
        if self.txs[at].mined.is_some_and(|(block, _)| block > found.block) {
            return;
        }
        // Found again where it was, what reverted in it has reverted.
        let is_again = self.txs[at].mined.is_some_and(|(block, _)| block == found.block);
        let before = if is_again { self.txs[at].reverted.clone() } else { BTreeSet::new() };
        let SignedTransaction { signer, nonce, .. } = self.txs[at].signed.clone();
        for rival in self.under(network, &signer, nonce).collect::<Vec<_>>() {
            let rival = &mut self.txs[rival];
            (rival.counted, rival.mined) = (0, None);
            rival.reverted.clear();
        }
        let tx = &mut self.txs[at];
        (tx.counted, tx.mined) = (found.fee_gwei, Some((found.block, found.fee_gwei)));
        let now = found.reverted.iter().filter(|key| tx.members.contains(key)).cloned();
        tx.reverted = before.into_iter().chain(now).collect();
    }

    fn end(
        &mut self,
        network: &Network,
        key: &PaymentKey,
        ending: &Ending,
        now: UnixTime,
    ) -> Result<(), LedgerError> {
        let expected = "unfinished, or ended the same way";
        let Some(row) = self.rows.get_mut(key).filter(|row| row.network == *network) else {
            return Err(conflict(key, "not there", expected));
        };
        let (state, hash, block, reason, message) = match ending.clone() {
            Ending::Settled { hash, block } => (JournalState::Settled, Some(hash), Some(block), None, None),
            Ending::Failed { reason, message, hash } => {
                (JournalState::Failed, hash, None, Some(reason), Some(message))
            }
        };
        if row.is_finished() {
            if row.state != state || row.hash != hash || row.reason != reason {
                return Err(conflict(key, "ended otherwise", expected));
            }
            if !row.is_final {
                row.block = row.block.max(block);
            }
            return Ok(());
        }
        (row.state, row.hash, row.block, row.reason, row.message) = (state, hash, block, reason, message);
        (row.is_final, row.ended, row.holder) = (state == JournalState::Failed, Some(now), None);
        Ok(())
    }

    /// See [`tollway_ledger::Journal::never_mined`].
    pub fn never_mined(&mut self, network: &Network, hashes: &[String]) {
        let is_dead =
            |tx: &Tx| tx.network == *network && hashes.contains(&tx.signed.hash) && tx.mined.is_none();
        for tx in self.txs.iter_mut().filter(|tx| is_dead(tx)) {
            tx.counted = 0;
        }
    }

    /// See [`tollway_ledger::Journal::tell`].
    pub fn tell(&mut self, key: &PaymentKey, asker: Option<&IdempotencyKey>) -> Result<bool, LedgerError> {
        let Some(row) = self.rows.get_mut(key).filter(|row| row.state == JournalState::Settled) else {
            return Err(conflict(key, "something else", "settled"));
        };
        if row.asker.is_none() && !row.told {
            row.asker = asker.cloned();
        } else if asker.is_none() || row.asker.as_ref() != asker {
            return Ok(false);
        }
        row.told = true;
        Ok(true)
    }

    /// See [`tollway_ledger::Journal::reopen`].
    pub fn reopen(&mut self, keys: &[PaymentKey], me: Me) -> Result<(), LedgerError> {
        for key in keys {
            let open = |row: &&Row| row.state == JournalState::Settled && !row.is_final;
            if self.rows.get(key).filter(open).is_none() {
                return Err(conflict(key, "something else", "settled and not final"));
            }
        }
        for key in keys {
            let Some(row) = self.rows.get_mut(key).filter(|row| row.is_finished()) else { continue };
            let from = row.block.take();
            (row.state, row.ended, row.holder) = (JournalState::Broadcast, None, Some(me.instance));
            let gone: Vec<usize> = self
                .carriers(key)
                .filter(|(_, tx)| tx.mined.is_some_and(|(block, _)| Some(block) >= from))
                .map(|(at, _)| at)
                .collect();
            for at in gone {
                let Tx { network, signed, .. } = self.txs[at].clone();
                let bids = self.under(&network, &signed.signer, signed.nonce).map(|at| self.txs[at].bid);
                let highest = bids.max().unwrap_or(0);
                let tx = &mut self.txs[at];
                (tx.counted, tx.mined) = (highest, None);
                tx.reverted.clear();
            }
        }
        Ok(())
    }

    /// See [`tollway_ledger::Journal::finalize`].
    pub fn finalize(&mut self, network: &Network, block: u64, keys: &[PaymentKey]) -> u64 {
        let mut count = 0;
        for (_, row) in self.rows.iter_mut().filter(|(key, _)| keys.contains(key)) {
            let deep = row.state == JournalState::Settled && row.block.is_some_and(|at| at <= block);
            if deep && !row.is_final && row.network == *network {
                row.is_final = true;
                count += 1;
            }
        }
        count
    }

    /// See [`tollway_ledger::Journal::let_go`].
    pub fn let_go(&mut self, key: &PaymentKey, me: Me) {
        if let Some(row) = self.rows.get_mut(key)
            && row.holder == Some(me.instance)
            && !row.is_finished()
        {
            row.holder = None;
        }
    }

    /// See [`tollway_ledger::Journal::abandon_settlement`].
    pub fn abandon(&mut self, key: &PaymentKey, me: Me) -> Result<(), LedgerError> {
        let Some(row) = self.rows.get(key) else { return Ok(()) };
        if row.state != JournalState::Prepared || self.carriers(key).next().is_some() {
            return Err(conflict(key, "signed for", "prepared with no transaction"));
        }
        if self.is_others(row, me) {
            return Err(conflict(key, "held by another process", "this one's or nobody's"));
        }
        self.rows.remove(key);
        Ok(())
    }

    pub(super) fn spent(&self, network: &Network, now: UnixTime) -> u64 {
        let counts = |tx: &&Tx| tx.network == *network && tx.hour + HOURS >= hour(now);
        self.txs.iter().filter(counts).map(|tx| tx.counted).sum()
    }
}
