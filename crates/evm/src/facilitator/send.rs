//! Group commit: what waits for an account goes out together, recorded before it leaves.

use std::sync::Arc;

use alloy_primitives::U256;
use tokio::time::Instant;
use tollway_ledger::{Batch, Holder, Lease, LedgerError, Record, SignedTransaction, Signing, fault};
use tollway_protocol::Reason;
use tollway_protocol::bind::PaymentKey;

use crate::facilitator::engine::Engine;
use crate::facilitator::envelope::Plan;
use crate::facilitator::job::{Job, shown};
use crate::facilitator::lane::{Lane, Member, Sent, Ticket, Word};
use crate::facilitator::rpc::{RpcError, gwei};
use crate::facilitator::watch::CHECK_EVERY;

/// What is told when the day's gas is spent.
const OVER_BUDGET: &str = "the facilitator's gas budget for 24 hours is spent";

/// Why a transaction was not signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsigned {
    /// The chain could not be asked for the nonce.
    #[error("{0}")]
    Chain(RpcError),
    /// The store failed.
    #[error("{0}")]
    Ledger(LedgerError),
    /// The signer failed.
    #[error("the signer failed")]
    Signer,
}

impl Engine {
    /// Has the payment sent by `lane`, with whatever waits there.
    pub(crate) fn queue(self: &Arc<Self>, lane: &Arc<Lane>, ticket: Ticket) {
        let starts = {
            let mut state = lane.state.lock();
            state.queue.push_back(ticket);
            !std::mem::replace(&mut state.is_driven, true)
        };
        if starts {
            let (this, lane) = (self.clone(), lane.clone());
            tokio::spawn(async move { this.drive(&lane).await });
        } else {
            lane.wakes.notify_one();
        }
    }

    async fn drive(self: Arc<Self>, lane: &Arc<Lane>) {
        while self.turn(lane).await {
            let most = match self.chain.has_multicall().await {
                Ok(true) => self.chain.config.batch,
                _ => 1,
            };
            let group = lane.state.lock().group(most);
            self.send_group(lane, group).await;
        }
    }

    /// Waits until something is to be sent: at once when nothing is on its way, else when enough or long enough has
    /// gathered. False when nothing waits.
    async fn turn(&self, lane: &Lane) -> bool {
        let gather = self.gather();
        loop {
            let until = {
                let mut state = lane.state.lock();
                if state.queue.is_empty() {
                    state.is_driven = false;
                    return false;
                }
                let (waiting, away) = (state.queue.len(), state.on_their_way());
                let ripe = state.last_sent.map_or_else(Instant::now, |at| at + gather);
                let is_full = waiting >= self.chain.config.batch || ripe <= Instant::now();
                if away == 0 || (away < self.chain.config.window && is_full) {
                    return true;
                }
                (away < self.chain.config.window).then_some(ripe)
            };
            match until {
                Some(ripe) => tokio::select! {
                    biased;
                    () = lane.wakes.notified() => {}
                    () = tokio::time::sleep_until(ripe) => {}
                },
                None => lane.wakes.notified().await,
            }
        }
    }

    async fn send_group(self: &Arc<Self>, lane: &Arc<Lane>, group: Vec<Ticket>) {
        let held = lane.lease.lock().await;
        let held = match self.leased(lane, held).await {
            Ok(Some(held)) => held,
            Ok(None) => return tell_all(group, |_| Word::NoSender),
            Err(Unsigned::Ledger(error)) => {
                return tell_all(group, |job| Word::Refused(job.no_store(&error)));
            }
            Err(error) => return tell_all(group, |job| unsigned(job, &error)),
        };
        let Some(lease) = held.as_ref() else { return tell_all(group, |_| Word::NoSender) };
        match self.record(lane, lease, group).await {
            Ok(Some((hash, signed))) => {
                drop(held);
                fault::point("settle.after_journal");
                self.broadcast(lane, &signed).await;
                tracing::debug!(transaction = %hash, signer = signed.signer, nonce = signed.nonce, "sent");
                fault::point("settle.after_broadcast");
                self.look_soon();
            }
            Ok(None) => {}
            Err(LeaseLost) => {
                let mut held = held;
                self.unlease(lane, &mut held);
            }
        }
    }

    /// Signs and records a transaction of the group; tells those that don't come along. None when none is left.
    async fn record(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        lease: &Lease,
        mut group: Vec<Ticket>,
    ) -> Result<Option<(alloy_primitives::B256, SignedTransaction)>, LeaseLost> {
        let mut tries = 0u32;
        loop {
            let Some((plan, left)) = self.plan(lane, group).await else { return Ok(None) };
            group = left;
            let signing = async {
                let nonce = self.next_nonce(lane).await?;
                fault::point("settle.nonce");
                let (hash, signed) =
                    plan.sign(&lane.key, self.chain.chain_id, nonce).ok_or(Unsigned::Signer)?;
                let batch = self.batch(&plan, &group, signed.clone());
                let now = self.chain.host_now();
                if crate::bug::on("s9-broadcast-before-commit") {
                    self.broadcast(lane, &signed).await;
                }
                let found = self.journal.sign(lease, batch, now).await.map_err(Unsigned::Ledger)?;
                Ok((found, hash, signed))
            };
            match signing.await {
                Ok((Signing::Done, hash, signed)) => {
                    self.on_its_way(lane, hash, signed.clone(), group);
                    return Ok(Some((hash, signed)));
                }
                Ok((Signing::Taken(records), ..)) => group = without(group, records),
                Ok((Signing::OverBudget, ..)) => {
                    tell_all(group, |job| {
                        Word::Refused(job.refuse(Reason::FacilitatorUnavailable, OVER_BUDGET))
                    });
                    return Ok(None);
                }
                Ok((Signing::Claimed(_), ..)) => {
                    // The key says all that a payment is on these chains.
                    let error = LedgerError::Damaged("claims are held that no payment made".into());
                    let error = Unsigned::Ledger(error);
                    tell_all(group, |job| unsigned(job, &error));
                    return Ok(None);
                }
                Ok((Signing::Lost, ..)) => {
                    tell_all(group, |_| Word::NoSender);
                    return Err(LeaseLost);
                }
                Err(Unsigned::Ledger(LedgerError::Conflict { .. })) if tries < 3 => {
                    tries = tries.saturating_add(1);
                    self.resync(lane);
                    group = self.without_foreign(group).await;
                }
                Err(error) => {
                    if matches!(error, Unsigned::Ledger(_)) {
                        self.mend(lane, group.iter().map(|ticket| ticket.job.effects.key.clone()).collect());
                    }
                    self.resync(lane);
                    tell_all(group, |job| unsigned(job, &error));
                    return Ok(None);
                }
            }
            if group.is_empty() {
                return Ok(None);
            }
        }
    }

    /// The group without those that were taken before and are finished or another process's by now.
    async fn without_foreign(&self, group: Vec<Ticket>) -> Vec<Ticket> {
        let mut rest = Vec::with_capacity(group.len());
        for ticket in group {
            let found = match ticket.claim {
                None => self.journal.settlement(&ticket.job.effects.key).await,
                Some(_) => Ok(None),
            };
            match found {
                Ok(Some(record))
                    if record.holder == Holder::Other
                        || ticket.job.ended(&record).is_some()
                        || ticket.has_moved(&record) =>
                {
                    ticket.tell(Word::Taken(Box::new(record)));
                }
                _ => rest.push(ticket),
            }
        }
        rest
    }

    /// The store failed while it was given a transaction: finds out, as soon as it can, whether it has it, and goes on
    /// with what is in it.
    fn mend(self: &Arc<Self>, lane: &Arc<Lane>, keys: Vec<PaymentKey>) {
        let (engine, lane) = (Arc::downgrade(self), lane.clone());
        let pause = self.chain.config.poll * CHECK_EVERY;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(this) = engine.upgrade() else { return };
                if this.reload(&lane).await.is_err() {
                    continue;
                }
                for key in &keys {
                    match this.journal.settlement(key).await {
                        Ok(Some(record)) if record.ended.is_none() => this.resume(record),
                        Ok(_) => {}
                        Err(error) => tracing::warn!(payment = %key, %error, "its record can't be read"),
                    }
                }
                return;
            }
        });
    }

    fn batch(&self, plan: &Plan, group: &[Ticket], transaction: SignedTransaction) -> Batch {
        let new = group.iter().filter_map(|ticket| ticket.claim.as_deref().cloned()).collect();
        let again = group.iter().filter(|ticket| ticket.claim.is_none());
        Batch {
            new,
            again: again.map(|ticket| ticket.job.effects.key.clone()).collect(),
            expected: group.iter().filter_map(Ticket::expected).collect(),
            claims: Vec::new(),
            transaction,
            bid_gwei: gwei(plan.cost()),
            budget_gwei: self.budget_gwei(),
        }
    }

    pub(crate) fn budget_gwei(&self) -> u64 {
        let budget = (self.chain.config.gas_budget_per_day / U256::from(1_000_000_000u64)).saturating_to();
        if crate::bug::on("s11-no-gas-budget") { u64::MAX } else { budget }
    }

    /// Remembers a recorded transaction until its nonce is spent.
    fn on_its_way(
        &self,
        lane: &Lane,
        hash: alloy_primitives::B256,
        signed: SignedTransaction,
        group: Vec<Ticket>,
    ) {
        let nonce = signed.nonce;
        let members = group.into_iter().map(|ticket| {
            if ticket.gift.is_zero() {
                ticket.flight.signed(&signed.hash);
            }
            let (flight, word) = (Some(ticket.flight), Some(ticket.word));
            Member { job: ticket.job, flight, word, is_lost: false }
        });
        let members: Vec<_> = members.collect();
        metrics::histogram!("tollway_evm_batch_size")
            .record(f64::from(u32::try_from(members.len()).unwrap_or(0)));
        let mut state = lane.state.lock();
        state.sent.insert(nonce, Sent::new(hash, signed, members));
        state.next = Some(nonce.saturating_add(if crate::bug::on("s8-skips-a-nonce") { 2 } else { 1 }));
        state.last_sent = Some(Instant::now());
    }

    /// Gives the bytes to the nodes. What they answer proves nothing: the transaction is looked for afterwards.
    pub(crate) async fn broadcast(&self, lane: &Lane, signed: &SignedTransaction) {
        fault::point("settle.broadcasting");
        match self.chain.rpc.send(&signed.raw).await {
            Ok(_) => self.note_sent(signed),
            Err(error) => {
                tracing::warn!(transaction = signed.hash, nonce = signed.nonce, %error, "broadcast");
                // Perhaps the nonce is wrong: it is asked for again.
                lane.state.lock().next = None;
            }
        }
    }

    /// Records that a node has it, without making anyone wait for that.
    fn note_sent(&self, signed: &SignedTransaction) {
        let (journal, network) = (self.journal.clone(), self.chain.config.network.clone());
        let hash = signed.hash.clone();
        tokio::spawn(async move {
            if let Err(error) = journal.sent(&network, &hash).await {
                tracing::error!(transaction = hash, %error, "not recorded as broadcast");
            }
        });
    }
}

impl Ticket {
    /// What the journal must have of it, where that matters.
    fn expected(&self) -> Option<(PaymentKey, Option<String>)> {
        let last = self.last.clone().filter(|_| self.claim.is_none())?;
        Some((self.job.effects.key.clone(), last))
    }

    /// Whether another process has signed for it since.
    fn has_moved(&self, record: &Record) -> bool {
        let now = record.transaction.as_ref().map(|signed| &signed.hash);
        self.last.as_ref().is_some_and(|last| last.as_ref() != now)
    }
}

/// This process may not send from the account any more.
struct LeaseLost;

pub(super) fn tell_all(group: Vec<Ticket>, word: impl Fn(&Job) -> Word) {
    for ticket in group {
        let word = word(&ticket.job);
        ticket.tell(word);
    }
}

/// The word for a payment whose transaction was not signed.
fn unsigned(job: &Job, error: &Unsigned) -> Word {
    match error {
        Unsigned::Chain(error) => Word::Refused(job.unreachable(error)),
        Unsigned::Ledger(error) => Word::Unsure(shown(error)),
        Unsigned::Signer => {
            Word::Refused(job.refuse(Reason::FacilitatorUnavailable, "the facilitator could not sign"))
        }
    }
}

/// The group without those that another settlement had taken, who are told.
fn without(group: Vec<Ticket>, records: Vec<Record>) -> Vec<Ticket> {
    let mut rest = group;
    for record in records {
        let taken = rest.iter().position(|ticket| ticket.job.effects.key == record.key);
        if let Some(place) = taken {
            rest.swap_remove(place).tell(Word::Taken(Box::new(record)));
        }
    }
    rest
}
