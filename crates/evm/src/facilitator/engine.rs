//! What all schemes on a network share: its accounts, its journal, and the settlements on their way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy_primitives::B256;
use parking_lot::Mutex;
use tokio::sync::MutexGuard;
use tokio::time::Instant;
use tollway_ledger::{Attempt, Journal, Lease};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door;

use crate::facilitator::chain::Chain;
use crate::facilitator::envelope::Gas;
use crate::facilitator::flight::Flights;
use crate::facilitator::given::Given;
use crate::facilitator::lane::{Lane, Member, Sent};
use crate::facilitator::memory::{Unexplained, Unused};
use crate::facilitator::send::Unsigned;
use crate::facilitator::watch::Watch;
use crate::keys::Key;

/// The settlement pipeline of one network.
pub(crate) struct Engine {
    pub(crate) chain: Arc<Chain>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) lanes: Vec<Arc<Lane>>,
    pub(crate) flights: Flights,
    pub(crate) unused: Unused,
    pub(crate) unexplained: Unexplained,
    pub(crate) given: Given,
    pub(crate) gas: Gas,
    pub(crate) watch: Watch,
    /// The lane that is asked first next time.
    turn: Mutex<usize>,
    /// When one of those that wait asked for its own payment.
    aside: Mutex<Option<Instant>>,
    /// Whether the work that no request asks for is being done.
    pub(super) is_tending: AtomicBool,
    /// Whether this process stops: it takes up nothing more of what others leave.
    pub(super) is_draining: AtomicBool,
    /// Whether this process has given its accounts back: it takes none again.
    has_given_back: AtomicBool,
    /// Whether the store failed in a way that leaves open what this process holds.
    pub(super) is_in_doubt: AtomicBool,
    /// The payments that are seen through, and whether one was taken up again since that was looked at.
    pub(super) seeing: Mutex<HashMap<PaymentKey, bool>>,
}

type Held<'a> = MutexGuard<'a, Option<Lease>>;

impl Engine {
    pub(crate) fn new(mut chain: Chain, keys: Vec<Key>, journal: Arc<dyn Journal>) -> Arc<Self> {
        let most = chain.config.in_flight;
        chain.signers = keys.iter().map(Key::address).collect();
        Arc::new(Self {
            chain: Arc::new(chain),
            journal,
            lanes: keys.into_iter().map(|key| Arc::new(Lane::new(key))).collect(),
            flights: Flights::new(most),
            unused: Unused::new(),
            unexplained: Unexplained::default(),
            given: Given::default(),
            gas: Gas::default(),
            watch: Watch::default(),
            turn: Mutex::new(0),
            aside: Mutex::new(None),
            is_tending: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            has_given_back: AtomicBool::new(false),
            is_in_doubt: AtomicBool::new(false),
            seeing: Mutex::default(),
        })
    }

    /// Whether one of those whose transactions are on their way may ask for its own payment now: all of them together
    /// ask no more often than the chain is polled, however many they are.
    pub(crate) fn may_look_aside(&self) -> bool {
        let mut last = self.aside.lock();
        let may = last.is_none_or(|last| last.elapsed() >= self.chain.config.poll);
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    /// Notes that the store may hold more for this process than it was told.
    pub(crate) fn doubt(&self) {
        self.is_in_doubt.store(true, Ordering::SeqCst);
    }

    /// How long payments gather while a transaction is on its way.
    pub(crate) fn gather(&self) -> Duration {
        let tenth = self.chain.block_interval() / 10;
        self.chain
            .config
            .gather
            .unwrap_or_else(|| tenth.clamp(Duration::from_millis(10), Duration::from_millis(500)))
    }

    /// The account for the next payment: one that this process may send from, the others in their turn; for
    /// want of one, one that it may take. `only` is the one that has to send it.
    pub(crate) async fn lane(self: &Arc<Self>, only: Option<alloy_primitives::Address>) -> Option<Arc<Lane>> {
        let fits = |lane: &&Arc<Lane>| only.is_none_or(|address| lane.address() == address);
        let fitting: Vec<_> = self.lanes.iter().filter(fits).collect();
        let leased: Vec<_> = fitting.iter().filter(|lane| lane.state.lock().is_leased).collect();
        if !leased.is_empty() {
            let mut turn = self.turn.lock();
            *turn = turn.wrapping_add(1);
            return leased.get(turn.checked_rem(leased.len()).unwrap_or(0)).map(|lane| Arc::clone(lane));
        }
        for lane in fitting {
            if self.lease(lane).await.is_ok_and(|leased| leased) {
                return Some(lane.clone());
            }
        }
        None
    }

    /// Takes the right to send from the lane's account, if nobody has it; true when this process has it.
    pub(crate) async fn lease(self: &Arc<Self>, lane: &Lane) -> Result<bool, Unsigned> {
        let held = lane.lease.lock().await;
        self.leased(lane, held).await.map(|held| held.is_some())
    }

    /// As [`Engine::lease`], keeping the lock; loads what is not spent of the account's nonces first.
    pub(crate) async fn leased<'a>(
        self: &Arc<Self>,
        lane: &Lane,
        mut held: Held<'a>,
    ) -> Result<Option<Held<'a>>, Unsigned> {
        if held.is_some() {
            return Ok(Some(held));
        }
        if self.has_given_back.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let lease = self.journal.lease(&self.chain.config.network, &lane.name()).await;
        let Some(lease) = lease.map_err(Unsigned::Ledger)? else { return Ok(None) };
        self.load(lane).await?;
        tracing::info!(network = %self.chain.config.network, signer = lane.name(), "leased");
        lane.state.lock().is_leased = true;
        *held = Some(lease);
        Ok(Some(held))
    }

    /// Another process has the account by now: it goes on with what is on its way.
    pub(crate) fn unlease(&self, lane: &Lane, held: &mut Held<'_>) {
        tracing::warn!(network = %self.chain.config.network, signer = lane.name(), "the lease is lost");
        **held = None;
        let orphans = {
            let mut state = lane.state.lock();
            state.is_leased = false;
            state.next = None;
            std::mem::take(&mut state.sent)
        };
        // Whatever waits for room finds out, too.
        lane.wakes.notify_one();
        for member in orphans.into_values().flat_map(|sent| sent.members) {
            let mut member = member;
            member.tell(crate::facilitator::lane::Word::NoSender);
        }
    }

    /// Gives every account back, so that another process can go on at once.
    pub(crate) async fn give_back(&self) {
        self.has_given_back.store(true, Ordering::SeqCst);
        for lane in &self.lanes {
            let mut held = lane.lease.lock().await;
            if let Some(lease) = held.take() {
                lane.state.lock().is_leased = false;
                if let Err(error) = self.journal.give_back(&lease).await {
                    tracing::error!(%error, signer = lane.name(), "the lease was not given back");
                }
            }
        }
    }

    /// Forgets the next nonce: the chain and the journal are asked again.
    pub(crate) fn resync(&self, lane: &Lane) {
        lane.state.lock().next = None;
    }

    pub(crate) async fn next_nonce(self: &Arc<Self>, lane: &Lane) -> Result<u64, Unsigned> {
        let known = lane.state.lock().next;
        if let Some(nonce) = known {
            return Ok(nonce);
        }
        self.load(lane).await
    }

    /// Takes up every nonce that is signed for and not spent; returns the next one.
    async fn load(self: &Arc<Self>, lane: &Lane) -> Result<u64, Unsigned> {
        let chain = self.chain.rpc.nonce(lane.address()).await.map_err(Unsigned::Chain)?;
        let (network, name) = (&self.chain.config.network, lane.name());
        let rows = self.journal.nonces(network, &name, chain).await.map_err(Unsigned::Ledger)?;
        let journal = self.journal.next_nonce(network, &name).await.map_err(Unsigned::Ledger)?;
        for row in rows {
            let nonce = row.transaction.nonce;
            if lane.state.lock().sent.contains_key(&nonce) {
                continue;
            }
            if let Some(sent) = self.taken_up(row).await? {
                lane.state.lock().sent.insert(nonce, sent);
            }
        }
        let next =
            if crate::bug::on("s8-nonce-from-chain") { chain } else { journal.unwrap_or(0).max(chain) };
        self.look_soon();
        Ok(next)
    }

    async fn taken_up(&self, row: Attempt) -> Result<Option<Sent>, Unsigned> {
        let Some(hash) = transaction_hash(&row.transaction.hash) else { return Ok(None) };
        let mut members = Vec::new();
        for key in &row.carries {
            let record = self.journal.settlement(key).await.map_err(Unsigned::Ledger)?;
            let Some(job) = record.as_ref().and_then(|record| self.job_of(record)) else { continue };
            let Some(record) = record.filter(|record| job.ended(record).is_none()) else { continue };
            // A reorg may have freed a nonce whose payment went to another one meanwhile.
            let is_lost = record.transaction.is_some_and(|latest| {
                latest.nonce != row.transaction.nonce || latest.signer != row.transaction.signer
            });
            members.push(Member { job: Arc::new(job), flight: None, word: None, is_lost });
        }
        let mut sent = Sent::new(hash, row.transaction, members);
        // Whether a node has it is asked at the next look.
        sent.looks = crate::facilitator::watch::CHECK_EVERY;
        Ok(Some(sent))
    }
}

pub(crate) fn transaction_hash(text: &str) -> Option<B256> {
    door::hex_array::<32>(text).ok().map(Into::into)
}
