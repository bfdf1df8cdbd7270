//! Recording transactions before they leave.

use std::collections::BTreeSet;

use tollway_ledger::{Batch, JournalState, Lease, LedgerError, MAX_CLAIM, Record, Signing};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;

use super::tables::{Me, Row, Tables, Tx, conflict, hour};

impl Tables {
    /// See [`tollway_ledger::Journal::sign`].
    pub fn sign(
        &mut self,
        lease: &Lease,
        batch: &Batch,
        now: UnixTime,
        me: Me,
    ) -> Result<Signing, LedgerError> {
        if !self.has_lease(lease, me) {
            return Ok(Signing::Lost);
        }
        let known = |key: &PaymentKey| self.rows.get(key).map(|row| self.record(key, row, me));
        let taken: Vec<_> = batch.new.iter().filter_map(|new| known(new.key())).collect();
        if !taken.is_empty() {
            return Ok(Signing::Taken(taken));
        }
        let claimants = self.claimants(lease, batch, me);
        if !claimants.is_empty() {
            return Ok(Signing::Claimed(claimants));
        }
        self.fits(lease, batch, me)?;
        let (is_recorded, counted) = self.place(lease, batch)?;
        if !is_recorded {
            let extra = batch.bid_gwei.saturating_sub(counted);
            if extra > 0 && self.spent(lease.network(), now).saturating_add(extra) > batch.budget_gwei {
                return Ok(Signing::OverBudget);
            }
            self.write(lease, batch, extra, now, me);
        }
        for key in &batch.again {
            if let Some(row) = self.rows.get_mut(key) {
                row.holder = Some(me.instance);
            }
        }
        Ok(Signing::Done)
    }

    /// The settlements that hold claims of the batch.
    fn claimants(&self, lease: &Lease, batch: &Batch, me: Me) -> Vec<Record> {
        let mut seen = BTreeSet::new();
        let texts = batch.claims.iter().map(|(_, text)| text).filter(|text| seen.insert(*text));
        let holds = |text: &String, row: &Row| {
            row.network == *lease.network()
                && row.claim.as_ref() == Some(text)
                && row.state != JournalState::Failed
        };
        let claimant = |text| self.rows.iter().find(|(_, row)| holds(text, row));
        texts.filter_map(claimant).map(|(key, row)| self.record(key, row, me)).collect()
    }

    fn fits(&self, lease: &Lease, batch: &Batch, me: Me) -> Result<(), LedgerError> {
        let mut seen = BTreeSet::new();
        for key in batch.new.iter().map(|new| new.key()).chain(&batch.again) {
            if !seen.insert(key) {
                return Err(conflict(key, "in the batch twice", "there once"));
            }
        }
        if let Some(other) = batch.new.iter().find(|new| new.offer().network != *lease.network()) {
            return Err(conflict(other.key(), "on another network", "on the lease's network"));
        }
        if !batch.transaction.signer.eq_ignore_ascii_case(lease.signer()) {
            return Err(conflict(&batch.transaction.hash, "of another account", "of the lease's account"));
        }
        let (mut claiming, mut texts) = (BTreeSet::new(), BTreeSet::new());
        for (key, text) in &batch.claims {
            let is_new = batch.new.iter().any(|new| new.key() == key);
            if text.len() > MAX_CLAIM || !is_new || !claiming.insert(key) || !texts.insert(text) {
                return Err(conflict(key, "given a claim", "given a short one of its own, and new"));
            }
        }
        for key in &batch.again {
            let expected = "unfinished, and this process's or nobody's";
            let Some(row) = self.rows.get(key).filter(|row| row.network == *lease.network()) else {
                return Err(conflict(key, "not there", expected));
            };
            if row.is_finished() || self.is_others(row, me) {
                return Err(conflict(key, "finished, or held by another process", expected));
            }
        }
        for (key, expected) in &batch.expected {
            let latest = self.rows.get(key).and_then(|row| row.latest).and_then(|at| self.txs.get(at));
            if latest.map(|tx| &tx.signed.hash) != expected.as_ref() {
                return Err(conflict(key, "in another transaction", "in the one that the caller knows of"));
            }
        }
        Ok(())
    }

    /// Whether the very same transaction is recorded, and what counts for its nonce.
    fn place(&self, lease: &Lease, batch: &Batch) -> Result<(bool, u64), LedgerError> {
        let (network, signed) = (lease.network(), &batch.transaction);
        let all: BTreeSet<&PaymentKey> = batch.new.iter().map(|new| new.key()).chain(&batch.again).collect();
        let same = self.txs.iter().find(|tx| tx.network == *network && tx.signed.hash == signed.hash);
        if same.is_some_and(|tx| {
            tx.signed.nonce != signed.nonce || !tx.signed.signer.eq_ignore_ascii_case(&signed.signer)
        }) {
            return Err(conflict(&signed.hash, "recorded with another nonce", "new"));
        }
        let under: Vec<&Tx> =
            self.under(network, &signed.signer, signed.nonce).map(|at| &self.txs[at]).collect();
        let is_guarded =
            !tollway_evm::bug::on("s8-nonce-from-chain") && !tollway_svm::bug::on("s8-one-number");
        if under.iter().any(|tx| tx.mined.is_some()) {
            return Err(conflict(&signed.hash, "of a nonce that is spent", "not spent"));
        }
        let is_strange = |key: &&PaymentKey| under.first().is_some_and(|first| !first.members.contains(key));
        if is_guarded && (all.iter().any(is_strange) || (!under.is_empty() && !batch.new.is_empty())) {
            return Err(conflict(&signed.hash, "of a nonce of other payments", "of an unused nonce"));
        }
        if same.is_some_and(|tx| tx.members.iter().collect::<BTreeSet<_>>() != all) {
            return Err(conflict(&signed.hash, "recorded with other payments", "with the same"));
        }
        Ok((same.is_some(), under.iter().map(|tx| tx.counted).sum()))
    }

    fn write(&mut self, lease: &Lease, batch: &Batch, counted: u64, now: UnixTime, me: Me) {
        let (network, signed) = (lease.network().clone(), batch.transaction.clone());
        for at in self.under(&network, &signed.signer, signed.nonce).collect::<Vec<_>>() {
            self.txs[at].replaced = true;
        }
        let place = self.txs.len();
        let members = batch.new.iter().map(|new| new.key()).chain(&batch.again).cloned().collect();
        self.txs.push(Tx {
            network,
            signed,
            members,
            sent: false,
            replaced: false,
            bid: batch.bid_gwei,
            hour: hour(now),
            counted,
            mined: None,
            reverted: BTreeSet::new(),
        });
        for new in &batch.new {
            self.insert(new, Some(me.instance), Some(place), now);
        }
        for (key, text) in &batch.claims {
            if let Some(row) = self.rows.get_mut(key) {
                row.claim = Some(text.clone());
            }
        }
        for key in &batch.again {
            if let Some(row) = self.rows.get_mut(key) {
                (row.state, row.latest, row.hash) = (JournalState::Signed, Some(place), None);
            }
        }
    }

    /// See [`tollway_ledger::Journal::sent`].
    pub fn sent(&mut self, network: &tollway_protocol::Network, hash: &str) -> Result<(), LedgerError> {
        let same = |tx: &Tx| tx.network == *network && tx.signed.hash == hash;
        let Some(at) = self.txs.iter().position(same) else {
            return Err(conflict(&hash, "not there", "recorded before it leaves"));
        };
        self.txs[at].sent = true;
        for key in self.txs[at].members.clone() {
            let Some(row) = self.rows.get_mut(&key) else { continue };
            if row.latest == Some(at) && row.state == JournalState::Signed {
                row.state = JournalState::Broadcast;
            }
        }
        Ok(())
    }
}
