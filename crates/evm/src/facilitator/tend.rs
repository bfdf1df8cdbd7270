//! Nonces that don't get spent: sent again, bid more for, or spent on nothing, so that later ones can be mined.

use std::sync::Arc;

use alloy_primitives::B256;
use tokio::time::Instant;
use tollway_ledger::{Batch, LedgerError, SignedTransaction, Signing};

use crate::facilitator::engine::{Engine, transaction_hash};
use crate::facilitator::envelope::Plan;
use crate::facilitator::lane::{Lane, Sent, Word};
use crate::facilitator::rpc::{RpcError, ask, gwei};
use crate::facilitator::watch::CHECK_EVERY;

/// Checks at which a nonce was spent by none of ours until that is believed.
const SURE: u32 = 2;

/// What a nonce needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing now.
    Patience,
    /// To be broadcast again as it is.
    Again,
    /// More to be bid for it.
    More,
    /// To be spent on nothing.
    Nothing,
    /// It was spent by none of ours.
    Gone,
}

/// What a check found of a nonce.
struct Checked {
    nonce: u64,
    is_known: bool,
}

impl Engine {
    /// Looks after every nonce that was not found in a block for a while.
    pub(super) async fn tend_nonces(self: &Arc<Self>) {
        for lane in &self.lanes {
            let due = lane.due();
            if due.is_empty() {
                continue;
            }
            if let Err(error) = self.tend(lane, due).await {
                tracing::debug!(signer = lane.name(), %error, "can't tend its nonces");
            }
        }
    }

    async fn tend(self: &Arc<Self>, lane: &Arc<Lane>, due: Vec<(u64, Vec<B256>)>) -> Result<(), RpcError> {
        let mut asks = vec![ask::nonce(lane.address())];
        asks.extend(due.iter().flat_map(|(_, hashes)| hashes.iter().map(|hash| ask::transaction(*hash))));
        let mut given = self.chain.rpc.together(&asks).await?.into_iter();
        let next = given.next().ok_or(RpcError::Unreachable("no answer"))?;
        let next: u64 = next.read::<alloy_primitives::U64>()?.to();
        let mut checked = Vec::new();
        for (nonce, hashes) in due {
            let mut is_known = false;
            for _ in hashes {
                let transaction = given.next().ok_or(RpcError::Unreachable("no answer"))?;
                is_known |= transaction.read::<Option<serde::de::IgnoredAny>>()?.is_some();
            }
            checked.push(Checked { nonce, is_known });
        }
        for Checked { nonce, is_known } in checked {
            match self.need(lane, nonce, is_known, next) {
                Need::Patience => {}
                Need::Again => self.send_again(lane, nonce).await,
                Need::More => self.bid_more(lane, nonce).await,
                Need::Nothing => self.spend_on_nothing(lane, nonce).await,
                Need::Gone => Self::gone(lane, nonce),
            }
        }
        self.close_gap(lane, next).await;
        Ok(())
    }

    fn need(&self, lane: &Lane, nonce: u64, is_known: bool, next: u64) -> Need {
        let mut state = lane.state.lock();
        let Some(sent) = state.sent.get_mut(&nonce) else { return Need::Patience };
        let config = &self.chain.config;
        if nonce < next {
            if is_known {
                return Need::Patience;
            }
            sent.missing = sent.missing.saturating_add(1);
            return if sent.missing < SURE { Need::Patience } else { Need::Gone };
        }
        sent.missing = 0;
        let is_old = sent.at.elapsed() >= config.bump_after;
        let may_bump = is_old && sent.bumps < config.max_bumps;
        let is_nothing = || {
            let plan = sent.latest().and_then(|(_, signed)| Plan::of(signed));
            plan.is_some_and(|plan| plan.is_nothing(lane.address()))
        };
        if sent.is_hopeless(self.chain.block_now()) && !is_nothing() {
            Need::Nothing
        } else if !is_known {
            Need::Again
        } else if may_bump {
            Need::More
        } else {
            Need::Patience
        }
    }

    async fn send_again(&self, lane: &Lane, nonce: u64) {
        let latest = lane.state.lock().sent.get(&nonce).and_then(|sent| sent.latest().cloned());
        if let Some((_, signed)) = latest.filter(|_| !crate::bug::on("v3-sends-once")) {
            tracing::info!(transaction = signed.hash, nonce, "sent again");
            self.broadcast(lane, &signed).await;
        }
    }

    /// Bids more for what is in the latest transaction.
    async fn bid_more(self: &Arc<Self>, lane: &Lane, nonce: u64) {
        let latest = lane.state.lock().sent.get(&nonce).and_then(|sent| sent.latest().cloned());
        let Some(before) = latest.and_then(|(_, signed)| Plan::of(&signed)) else { return };
        let _ = self.replace(lane, nonce, before).await;
    }

    /// Puts a transfer of nothing in the place of a transaction that helps nobody any more.
    async fn spend_on_nothing(self: &Arc<Self>, lane: &Lane, nonce: u64) {
        let latest = lane.state.lock().sent.get(&nonce).and_then(|sent| sent.latest().cloned());
        let Some(before) = latest.and_then(|(_, signed)| Plan::of(&signed)) else { return };
        if !self.replace(lane, nonce, Plan::nothing(lane.address(), before.fees)).await {
            // What was mined before a reorg has no replacement: its own bytes spend the nonce as well.
            self.send_again(lane, nonce).await;
        }
    }

    /// Signs `plan` at a higher price under a nonce that has a transaction, records it in its place, and sends it; says
    /// whether it could.
    async fn replace(self: &Arc<Self>, lane: &Lane, nonce: u64, plan: Plan) -> bool {
        let Ok(Some(now)) = lane.purse.fees(&self.chain, plan.gas).await else { return false };
        let Some(fees) = now.over(plan.fees, self.chain.config.max_fee_per_gas) else {
            tracing::warn!(signer = lane.name(), nonce, "stuck: no more may be bid for it");
            return false;
        };
        let is_nothing = plan.is_nothing(lane.address());
        let plan = Plan { fees, ..plan };
        let recorded = self.record_in_place(lane, nonce, &plan, is_nothing).await;
        if let Some((hash, signed)) = &recorded {
            tracing::warn!(transaction = %hash, nonce, is_nothing, "replaces");
            metrics::counter!("tollway_evm_replacements_total").increment(1);
            self.broadcast(lane, signed).await;
            self.look_soon();
        }
        recorded.is_some()
    }

    async fn record_in_place(
        self: &Arc<Self>,
        lane: &Lane,
        nonce: u64,
        plan: &Plan,
        is_nothing: bool,
    ) -> Option<(B256, SignedTransaction)> {
        let held = lane.lease.lock().await;
        let mut held = self.leased(lane, held).await.ok()??;
        let lease = held.as_ref()?;
        let other = lane.state.lock().next.filter(|_| crate::bug::on("s3-bids-more-under-another-nonce"));
        let (hash, signed) = plan.sign(&lane.key, self.chain.chain_id, other.unwrap_or(nonce))?;
        let (again, latest): (Vec<_>, _) = {
            let state = lane.state.lock();
            let sent = state.sent.get(&nonce);
            let members = sent.map(|sent| sent.members.as_slice()).unwrap_or_default();
            let helped = members.iter().filter(|member| !member.is_lost && !is_nothing);
            let latest = sent.and_then(Sent::latest).map(|(_, signed)| signed.hash.clone());
            (helped.map(|member| member.key().clone()).collect(), latest)
        };
        // A reorg may have freed the nonce after its payments went to other ones.
        let expected = again.iter().map(|key| (key.clone(), latest.clone())).collect();
        let (bid_gwei, budget_gwei) = (gwei(plan.cost()), self.budget_gwei());
        let batch = Batch {
            new: Vec::new(),
            again,
            expected,
            claims: Vec::new(),
            transaction: signed.clone(),
            bid_gwei,
            budget_gwei,
        };
        match self.journal.sign(lease, batch, self.chain.host_now()).await {
            Ok(Signing::Done) => {
                let mut state = lane.state.lock();
                match state.sent.get_mut(&nonce) {
                    Some(sent) => sent.replaced_by(hash, signed.clone()),
                    None => {
                        state.sent.insert(nonce, Sent::new(hash, signed.clone(), Vec::new()));
                    }
                }
                Some((hash, signed))
            }
            Ok(Signing::Lost) => {
                self.unlease(lane, &mut held);
                None
            }
            Ok(_) => None,
            Err(error) => {
                tracing::error!(nonce, %error, "a replacement can't be recorded");
                if matches!(error, LedgerError::Conflict { .. }) {
                    self.catch_up(lane, nonce).await;
                }
                None
            }
        }
    }

    /// Reads what the ledger has of a nonce's payments: a replacement whose recording was not answered, or that they
    /// have ended, or are in other transactions by now.
    async fn catch_up(&self, lane: &Lane, nonce: u64) {
        let keys: Vec<_> = {
            let state = lane.state.lock();
            let members = state.sent.get(&nonce).map(|sent| sent.members.as_slice()).unwrap_or_default();
            members.iter().filter(|member| !member.is_lost).map(|member| member.key().clone()).collect()
        };
        for key in keys {
            let Ok(record) = self.journal.settlement(&key).await else { continue };
            let mut state = lane.state.lock();
            let Some(sent) = state.sent.get_mut(&nonce) else { return };
            // One that has ended, whoever made it, can't be signed for again.
            let open = record.filter(|record| record.ended.is_none());
            let here = open
                .and_then(|record| record.transaction)
                .filter(|latest| latest.nonce == nonce && latest.signer.eq_ignore_ascii_case(&lane.name()));
            match here.and_then(|latest| Some((transaction_hash(&latest.hash)?, latest))) {
                Some((hash, _)) if sent.versions.iter().any(|(known, _)| *known == hash) => {}
                Some(latest) => sent.versions.push(latest),
                None => {
                    for member in sent.members.iter_mut().filter(|member| *member.key() == key) {
                        member.is_lost = true;
                    }
                }
            }
        }
    }

    /// The chain waits for a nonce that nothing is signed for, while later ones are on their way: spends it.
    async fn close_gap(self: &Arc<Self>, lane: &Arc<Lane>, next: u64) {
        let is_gap = {
            let state = lane.state.lock();
            state.sent.first_key_value().is_some_and(|(first, _)| next < *first)
        };
        if !is_gap {
            return;
        }
        // A reorg may have freed nonces that were spent: what was signed for them is sent again.
        if self.reload(lane).await.is_err() || lane.state.lock().sent.contains_key(&next) {
            return;
        }
        let Ok(Some(fees)) = lane.purse.fees(&self.chain, crate::facilitator::envelope::TRANSFER_GAS).await
        else {
            return;
        };
        let plan = Plan::nothing(lane.address(), fees);
        tracing::warn!(signer = lane.name(), nonce = next, "a gap among the nonces is closed");
        if let Some((_, signed)) = self.record_in_place(lane, next, &plan, true).await {
            self.broadcast(lane, &signed).await;
        }
    }

    /// The nonce went to a transaction that is not ours: its payments have to go otherwise.
    fn gone(lane: &Lane, nonce: u64) {
        let Some(sent) = lane.state.lock().sent.remove(&nonce) else { return };
        tracing::error!(
            signer = lane.name(),
            nonce,
            "its nonce was spent by a transaction that is not in the ledger: does another program use this key?"
        );
        lane.wakes.notify_one();
        for mut member in sent.members {
            member.tell(Word::Spent);
        }
    }
}

impl Lane {
    /// The nonces to check, and what was signed under them.
    fn due(&self) -> Vec<(u64, Vec<B256>)> {
        let state = self.state.lock();
        let due = state.sent.iter().filter(|(_, sent)| {
            sent.seen.is_none() && sent.looks >= CHECK_EVERY && sent.looks.is_multiple_of(CHECK_EVERY)
        });
        due.map(|(nonce, sent)| (*nonce, sent.versions.iter().map(|(hash, _)| *hash).collect())).collect()
    }
}

impl Sent {
    fn replaced_by(&mut self, hash: B256, signed: SignedTransaction) {
        let is_nothing =
            Plan::of(&signed).is_some_and(|plan| plan.is_nothing(plan.to) && plan.value.is_zero());
        for member in &mut self.members {
            if let Some(flight) = member.flight.as_ref().filter(|_| is_nothing || !member.is_lost) {
                flight.signed(&signed.hash);
            }
            member.is_lost |= is_nothing;
        }
        self.versions.push((hash, signed));
        self.at = Instant::now();
        self.bumps = self.bumps.saturating_add(1);
        self.looks = 0;
    }
}
