//! The one who looks at the chain: finds every transaction on its way, and tells those who wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use alloy_primitives::B256;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tollway_ledger::{Ending, JournalState, Mined, Record, fault};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::scheme::Outcome;

use crate::facilitator::blame::Case;
use crate::facilitator::engine::{Engine, transaction_hash};
use crate::facilitator::envelope::Plan;
use crate::facilitator::heads::Heads;
use crate::facilitator::lane::{Lane, Sent, Word};
use crate::facilitator::rpc::{Block, Receipt, RpcError, ask, gwei};

/// Looks at the chain between two checks of a transaction that has no receipt.
pub(crate) const CHECK_EVERY: u32 = 8;
/// How often the chain is looked at when nothing is on its way.
const IDLE: Duration = Duration::from_secs(2);

/// What the watcher remembers.
#[derive(Default)]
pub(crate) struct Watch {
    pub(super) state: Mutex<State>,
    pub(super) wakes: Notify,
    pub(super) heads: Heads,
    /// The node's final block, and when it was asked for.
    pub(super) tagged: tokio::sync::Mutex<Option<(Instant, u64)>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) is_running: bool,
    /// The block that was the last one at the last look.
    pub(super) head: Option<B256>,
    /// The hashes of blocks that were seen, by number.
    pub(super) blocks: BTreeMap<u64, B256>,
    /// Whether the ledger has more that is deep enough to become final than was looked at.
    pub(super) has_more: bool,
    /// Settlements that a reorg could take back.
    pub(super) unfinal: BTreeMap<PaymentKey, Told>,
    /// The last block in which a transaction of ours was found, until that is final: a reorg frees its nonce, whether it
    /// made a payment or not.
    pub(super) spent_in: Option<u64>,
}

/// A settlement that was told, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) hash: B256,
    pub(super) block: u64,
    /// The block's hash, unless an earlier process told it.
    pub(super) block_hash: Option<B256>,
    /// Looks at which a node denied it and that block was not there to be compared.
    pub(super) denials: u32,
    /// Whether there was a reorg since it was found last.
    pub(super) is_shaken: bool,
    /// Looks since it was found last, at which it was neither found nor shown to be lost; and since when.
    pub(super) unseen: u32,
    pub(super) unseen_since: Option<Instant>,
    /// Until when it is set aside.
    pub(super) rests_until: Option<Instant>,
}

impl Told {
    /// What `receipt` shows.
    pub(super) fn by(receipt: &Receipt) -> Self {
        let (hash, block) = (receipt.transaction_hash, receipt.block_number.to());
        Self { block_hash: receipt.block_hash, ..Self::at(hash, block) }
    }

    /// What the ledger says of a settlement, whoever told it; None of one that is not settled.
    pub(super) fn recorded(record: &Record) -> Option<Self> {
        let hash = record.hash.as_deref().and_then(transaction_hash)?;
        let block = record.block.filter(|_| record.state == JournalState::Settled)?;
        Some(Self::at(hash, block))
    }

    pub(super) const fn at(hash: B256, block: u64) -> Self {
        Self {
            hash,
            block,
            block_hash: None,
            denials: 0,
            is_shaken: false,
            unseen: 0,
            unseen_since: None,
            rests_until: None,
        }
    }

    /// Whether it is set aside just now.
    pub(super) fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }
}

/// A transaction on its way, as the watcher asks for it.
struct Wanted {
    lane: Arc<Lane>,
    nonce: u64,
    hash: B256,
}

/// A transaction that was found.
struct Found {
    lane: Arc<Lane>,
    nonce: u64,
    receipt: Receipt,
}

impl Engine {
    /// Has the chain looked at, now and until nothing is on its way.
    pub(crate) fn look_soon(self: &Arc<Self>) {
        self.listen();
        let starts = !std::mem::replace(&mut self.watch.state.lock().is_running, true);
        if starts {
            tokio::spawn(keep_looking(Arc::downgrade(self)));
        } else {
            self.watch.wakes.notify_one();
        }
    }

    pub(super) fn is_anything_sent(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.state.lock().sent.is_empty())
    }

    /// One look: at the head, and at the receipts of what is on its way.
    async fn look(self: &Arc<Self>) -> Result<(), RpcError> {
        let wanted = self.wanted();
        let fresh = wanted.iter().any(Wanted::is_due);
        let mut asks = vec![ask::head()];
        if fresh {
            asks.extend(wanted.iter().map(|wanted| ask::receipt(wanted.hash)));
        }
        let mut given = self.chain.rpc.together(&asks).await?.into_iter();
        let head: Block = given.next().ok_or(RpcError::Unreachable("no answer"))?.read()?;
        self.chain.saw(&head);
        let moved = self.head_moved(&head);
        if moved && let Err(error) = self.follow_blocks(&head).await {
            // What is on its way is looked for all the same; that block is followed at the next look.
            tracing::warn!(network = %self.chain.config.network, %error, "the blocks can't be followed just now");
            self.watch.state.lock().head = None;
        }
        if !fresh && moved && !wanted.is_empty() {
            let asks: Vec<_> = wanted.iter().map(|wanted| ask::receipt(wanted.hash)).collect();
            given = self.chain.rpc.together(&asks).await?.into_iter();
        } else if !fresh {
            self.count_look();
            return Ok(());
        }
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for (wanted, given) in wanted.into_iter().zip(given) {
            match given.read::<Option<Receipt>>() {
                Ok(Some(receipt)) if receipt.transaction_hash == wanted.hash => {
                    found.push(Found { lane: wanted.lane, nonce: wanted.nonce, receipt });
                }
                Ok(Some(_)) => tracing::warn!("the node gave another transaction's receipt"),
                Ok(None) => missing.push(wanted),
                Err(error) => tracing::debug!(%error, "no receipt"),
            }
        }
        self.count_look();
        for Wanted { lane, nonce, hash } in missing {
            // It was in a block that is not the chain's any more.
            if let Some(sent) = lane.state.lock().sent.get_mut(&nonce)
                && sent.seen.is_some_and(|(seen, _)| seen == hash)
            {
                sent.seen = None;
            }
        }
        self.decide(found, head.number.to()).await
    }

    fn wanted(&self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for lane in &self.lanes {
            for (nonce, sent) in &lane.state.lock().sent {
                for (hash, _) in &sent.versions {
                    wanted.push(Wanted { lane: lane.clone(), nonce: *nonce, hash: *hash });
                }
            }
        }
        wanted
    }

    fn count_look(&self) {
        for lane in &self.lanes {
            for sent in lane.state.lock().sent.values_mut() {
                sent.looks = sent.looks.saturating_add(1);
            }
        }
    }

    fn head_moved(&self, head: &Block) -> bool {
        let mut state = self.watch.state.lock();
        let moved = head.hash.is_none() || state.head != head.hash;
        state.head = head.hash;
        moved
    }

    /// Records the ends of what was found deep enough, all at once, and tells those who wait. Whom to blame for what was not
    /// paid is looked for after that: it costs round trips.
    async fn decide(self: &Arc<Self>, found: Vec<Found>, head: u64) -> Result<(), RpcError> {
        let (mut mined, mut endings, mut done) = (Vec::new(), Vec::new(), Vec::new());
        let mut cases = Vec::new();
        for Found { lane, nonce, receipt } in found {
            let deep = self.chain.is_deep_at(&receipt, head) && self.agreed(&lane, nonce, &receipt).await?;
            let mut state = lane.state.lock();
            let Some(sent) = state.sent.get_mut(&nonce) else { continue };
            sent.see(&receipt, deep);
            if !deep {
                continue;
            }
            let paid: Vec<_> = sent
                .members
                .iter()
                .filter(|member| !member.is_lost && member.job.payment.is_paid_by(&receipt))
                .collect();
            let (hash, block) = (receipt.transaction_hash.to_string(), receipt.block_number.to());
            endings.extend(
                paid.iter()
                    .map(|member| (member.key().clone(), Ending::Settled { hash: hash.clone(), block })),
            );
            let fee_gwei = receipt.fee_gwei().saturating_add(sent.gift_gwei());
            let found = Mined { hash, block, fee_gwei, reverted: Vec::new() };
            let suspects = sent.suspects(&receipt);
            if !suspects.is_empty() {
                cases.push(Case { receipt: receipt.clone(), mined: found.clone(), suspects });
            }
            mined.push(found);
            drop(state);
            done.push((lane, nonce, receipt));
        }
        if mined.is_empty() {
            return Ok(());
        }
        fault::point("settle.after_receipt");
        let mut contested = BTreeSet::new();
        let network = &self.chain.config.network;
        match self.journal.finish(network, &mined, &endings, self.chain.host_now()).await {
            Ok(answers) => {
                for ((key, _), answer) in endings.iter().zip(answers) {
                    if let Err(error) = answer {
                        tracing::error!(payment = %key, %error, "the end can't be recorded");
                        contested.insert(key.clone());
                    }
                }
            }
            Err(error) => {
                // It is not told before it is recorded: the next look tries again.
                tracing::error!(%error, "the ends can't be recorded");
                if !crate::bug::on("s9-told-before-recorded") {
                    return Ok(());
                }
            }
        }
        fault::point("settle.stored");
        for (lane, nonce, receipt) in done {
            self.spent(&lane, nonce, &receipt, &contested);
        }
        if !cases.is_empty() {
            tokio::spawn(self.clone().blame(cases, head));
        }
        Ok(())
    }

    /// Whether enough nodes show the transaction in the same block, for what is in it.
    async fn agreed(&self, lane: &Lane, nonce: u64, receipt: &Receipt) -> Result<bool, RpcError> {
        let dear =
            lane.state.lock().sent.get(&nonce).is_some_and(|sent| {
                sent.members.iter().any(|member| self.chain.is_dear(&member.job.payment))
            });
        if dear { self.chain.is_agreed(receipt).await } else { Ok(true) }
    }

    /// A nonce is spent by a transaction of ours: tells its payments how that went.
    fn spent(self: &Arc<Self>, lane: &Lane, nonce: u64, receipt: &Receipt, contested: &BTreeSet<PaymentKey>) {
        let Some(sent) = lane.state.lock().sent.remove(&nonce) else { return };
        lane.wakes.notify_one();
        {
            let mut state = self.watch.state.lock();
            state.spent_in = state.spent_in.max(Some(receipt.block_number.to()));
        }
        let hash = receipt.transaction_hash;
        for mut member in sent.members {
            if member.is_lost || contested.contains(member.key()) {
                member.tell(Word::Unpaid);
            } else if member.job.payment.is_paid_by(receipt) {
                let told = Told::by(receipt);
                self.watch.state.lock().unfinal.insert(member.key().clone(), told);
                member.tell(Word::Ended(Outcome::Settled { transaction: hash.to_string() }));
            } else {
                tracing::warn!(payment = %member.key(), transaction = %hash, "mined without paying");
                member.tell(Word::Unpaid);
            }
        }
    }
}

impl Wanted {
    /// Whether it has to be asked for though no block came: it is new, or was not found for a while.
    fn is_due(&self) -> bool {
        let state = self.lane.state.lock();
        state.sent.get(&self.nonce).is_some_and(|sent| sent.looks.is_multiple_of(CHECK_EVERY))
    }
}

impl Sent {
    /// What it gives away, in gwei.
    fn gift_gwei(&self) -> u64 {
        self.latest().and_then(|(_, signed)| Plan::of(signed)).map_or(0, |plan| gwei(plan.value))
    }

    fn see(&mut self, receipt: &Receipt, deep: bool) {
        self.seen = Some((receipt.transaction_hash, receipt.block_number.to()));
        if self.gift_gwei() > 0 {
            return;
        }
        if !deep {
            let hash = receipt.transaction_hash.to_string();
            for member in &self.members {
                if let Some(flight) = &member.flight {
                    flight.signed(&hash);
                }
            }
        }
        for flight in self.members.iter().filter_map(|member| member.flight.as_ref()) {
            flight.mined();
        }
    }
}

/// Looks again and again, until nothing is on its way and nothing can be taken back.
async fn keep_looking(engine: Weak<Engine>) {
    loop {
        let Some(this) = engine.upgrade() else { return };
        let looked = this.look().await;
        if let Err(error) = &looked {
            tracing::debug!(network = %this.chain.config.network, %error, "can't look");
        }
        this.tend_nonces().await;
        this.tend_finality().await;
        let sent = this.is_anything_sent();
        {
            let mut state = this.watch.state.lock();
            if !sent && state.unfinal.is_empty() && !state.has_more && state.spent_in.is_none() {
                state.is_running = false;
                return;
            }
        }
        let pause = if sent { this.rest(looked.is_ok()) } else { this.chain.config.poll.max(IDLE) };
        tokio::select! {
            biased;
            () = this.watch.wakes.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
