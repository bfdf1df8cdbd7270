//! The one task that follows all that is on its way: asks for every transaction in one call, records how they ended, and
//! gives those that are in no block to the nodes again, the same bytes, until their blockhash is dead.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;
use tollway_ledger::{Ending, Holder, JournalState, LedgerError, Mined, Record, SignedTransaction};
use tollway_protocol::bind::{Bound, PaymentKey};
use tollway_protocol::scheme::Outcome;
use tollway_rpc::Source;

use crate::facilitator::cluster::{self, Commitment, MOST_STATUSES, Status};
use crate::facilitator::engine::Engine;
use crate::facilitator::flight::Flight;
use crate::facilitator::landed::Landed;
use crate::facilitator::lane;
use crate::facilitator::listen::listen;
use crate::layout::{Limits, Transfer};
use crate::transaction::Transaction;

/// The least time from look to look, however much is announced.
const PAUSE: Duration = Duration::from_millis(100);
/// How many transactions are sent again at a time.
const MOST_AT_ONCE: usize = 16;
/// How often the journal is read for what is in no hand.
const HELD: Duration = Duration::from_secs(30);
/// How often the mints are read again.
const MINTS: Duration = Duration::from_secs(600);

/// A transaction on its way.
pub(super) struct Item {
    pub(super) key: PaymentKey,
    pub(super) transaction: SignedTransaction,
    pub(super) blockhash: String,
    /// What it costs when it lands, in lamports.
    fee: u64,
    /// What it pays, in atomic units.
    pub(super) amount: u64,
    /// A slot at which its blockhash was known.
    pub(super) known: u64,
    /// When it was given to the nodes last.
    sent: Option<Instant>,
    /// When it was asked about last whether it is dead.
    pub(super) asked: Option<Instant>,
    flight: Option<(Flight, Bound)>,
}

impl Item {
    /// A recorded transaction to be followed, for whoever waits in `flight`. None when it can't be read.
    pub(super) fn new(
        key: PaymentKey,
        transaction: &SignedTransaction,
        flight: Option<(Flight, Bound)>,
    ) -> Option<Self> {
        let read = Transaction::read(transaction.raw.clone()).ok()?;
        let any = Limits::NONE;
        let transfer = Transfer::read(&read, &any).ok();
        Some(Self {
            key,
            transaction: transaction.clone(),
            blockhash: solana_address::Address::new_from_array(read.blockhash).to_string(),
            fee: transfer.as_ref().map_or(0, Transfer::fee_lamports),
            amount: transfer.map_or(u64::MAX, |transfer| transfer.amount),
            known: lane::known(transaction.nonce),
            sent: None,
            asked: None,
            flight,
        })
    }
}

impl Engine {
    /// Follows `item` from now on.
    pub(super) fn put_on_the_way(self: &Arc<Self>, mut item: Item) {
        {
            let mut items = self.items.lock();
            // Whoever waits for it goes on waiting.
            if let Some(before) = items.remove(&item.key) {
                item.flight = item.flight.or(before.flight);
            }
            items.insert(item.key.clone(), item);
        }
        self.put.notify_one();
        self.wake.notify_one();
        self.start();
    }

    /// Sends a transaction that was just recorded, and follows it.
    pub(super) async fn send_first(self: &Arc<Self>, mut item: Item) {
        item.sent = Some(Instant::now());
        let transaction = item.transaction.clone();
        // On its way before it leaves, so that it is followed whatever becomes of this call.
        self.put_on_the_way(item);
        self.launch(&transaction, true).await;
    }

    /// Starts the task that watches, once.
    fn start(self: &Arc<Self>) {
        if self.is_watching.swap(true, Ordering::SeqCst) {
            return;
        }
        tokio::spawn(watch(Arc::downgrade(self)));
        let source = self.cluster.config.ws.as_ref();
        if let Some(Ok(source)) = source.map(|url| Source::new(url, self.cluster.config.rpc_timeout)) {
            tokio::spawn(listen(Arc::downgrade(self), source));
        }
    }

    /// Takes up what an earlier process left, and goes on looking for more.
    pub(super) async fn recover(self: &Arc<Self>) {
        self.take_over().await;
        self.start();
    }

    async fn take_over(self: &Arc<Self>) {
        if self.is_draining.load(Ordering::SeqCst) || crate::bug::on("v1-leaves-the-dead") {
            return;
        }
        let most = u32::try_from(self.cluster.config.in_flight).unwrap_or(u32::MAX);
        let records = match self.journal.take_over(self.network(), most).await {
            Ok(records) => records,
            Err(error) => return tracing::warn!(%error, "what others left can't be looked for"),
        };
        for record in records {
            self.take_up(&record).await;
        }
    }

    /// Follows what is this process's in the journal and in no hand: where an answer of the store was lost.
    async fn resume_held(self: &Arc<Self>) {
        let records = match self.journal.open(self.network()).await {
            Ok(records) => records,
            Err(error) => return tracing::warn!(%error, "what is open can't be read"),
        };
        for record in records {
            let is_unfinished = matches!(record.state, JournalState::Signed | JournalState::Broadcast);
            let is_in_hand =
                self.items.lock().contains_key(&record.key) || self.flights.find(&record.key).is_some();
            if record.holder == Holder::This && is_unfinished && !is_in_hand {
                self.take_up(&record).await;
            }
        }
    }

    /// Follows a settlement that this process holds now.
    pub(super) async fn take_up(self: &Arc<Self>, record: &Record) {
        let Some(transaction) = &record.transaction else {
            // Nothing was signed: whoever wanted it will send it again.
            if let Err(error) = self.journal.abandon_settlement(&record.key).await {
                tracing::warn!(payment = %record.key, %error, "it can't be let go");
            }
            return;
        };
        match Item::new(record.key.clone(), transaction, None) {
            Some(item) => {
                tracing::info!(payment = %record.key, transaction = transaction.hash, "taken up again");
                self.put_on_the_way(item);
            }
            None => tracing::error!(payment = %record.key, "its recorded transaction can't be read"),
        }
    }

    async fn look(self: &Arc<Self>) {
        let asked: Vec<(PaymentKey, String)> = {
            let items = self.items.lock();
            items.values().map(|item| (item.key.clone(), item.transaction.hash.clone())).collect()
        };
        let (mut landed, mut absent, mut slot) = (Vec::new(), Vec::new(), 0);
        for part in asked.chunks(MOST_STATUSES) {
            let hashes: Vec<&str> = part.iter().map(|(_, hash)| hash.as_str()).collect();
            let Ok(found) = cluster::statuses(&self.cluster.rpc, &hashes, false).await else { continue };
            slot = slot.max(found.slot);
            for ((key, _), status) in part.iter().zip(found.all) {
                match status {
                    None => absent.push(key.clone()),
                    Some(status) => landed.extend(self.landed(key, &status)),
                }
            }
        }
        // It may be one node alone that has them.
        absent.extend(self.record(landed).await);
        if !absent.is_empty() {
            self.urge(&absent);
            self.bury(&absent, slot);
        }
    }

    /// How the transaction of `key` ended, when the cluster is sure enough of it.
    pub(super) fn landed(&self, key: &PaymentKey, status: &Status) -> Option<Landed> {
        if status.commitment() < self.cluster.config.commitment.max(Commitment::Confirmed) {
            return None;
        }
        let items = self.items.lock();
        let item = items.get(key)?;
        let landed = Landed::mined(key.clone(), item.transaction.hash.clone(), item.fee, status);
        Some(landed.dear(self.is_dear(item)))
    }

    /// Records how transactions ended, and tells who waits for them. Those for which two nodes have to say so, and that are
    /// not recorded yet, are returned.
    pub(super) async fn record(self: &Arc<Self>, landed: Vec<Landed>) -> Vec<PaymentKey> {
        let (dear, cheap): (Vec<_>, Vec<_>) = landed.into_iter().partition(|one| one.is_dear);
        self.record_now(cheap).await;
        let keys = dear.iter().map(|one| one.key.clone()).collect();
        if !dear.is_empty() {
            self.agree(dear);
        }
        keys
    }

    pub(super) async fn record_now(&self, landed: Vec<Landed>) {
        if landed.is_empty() {
            return;
        }
        let dead: Vec<String> = landed.iter().filter_map(Landed::never_landed).map(str::to_owned).collect();
        if !dead.is_empty()
            && let Err(error) = self.journal.never_mined(self.network(), &dead).await
        {
            tracing::warn!(%error, "the bids of dead transactions count for the day");
        }
        let mined: Vec<Mined> = landed.iter().filter_map(|one| one.mined.clone()).collect();
        let endings: Vec<(PaymentKey, Ending)> =
            landed.into_iter().map(|one| (one.key, one.ending)).collect();
        // On an error they stay where they are, and are looked at again.
        let results = match self.journal.finish(self.network(), &mined, &endings, self.now()).await {
            Ok(results) => results,
            Err(error) => return tracing::error!(%error, "endings can't be recorded yet"),
        };
        for ((key, ending), result) in endings.into_iter().zip(results) {
            self.ended(&key, ending, result);
        }
    }

    fn ended(&self, key: &PaymentKey, ending: Ending, result: Result<(), LedgerError>) {
        let Some(item) = self.items.lock().remove(key) else { return };
        let settled = matches!(ending, Ending::Settled { .. });
        metrics::counter!("tollway_svm_settled_total", "settled" => if settled { "yes" } else { "no" })
            .increment(1);
        if let Err(error) = result {
            // Another process has recorded another ending: the journal's word counts, which whoever asks again gets.
            tracing::error!(payment = %key, %error, "its ending is another in the journal");
            return;
        }
        tracing::info!(payment = %key, transaction = item.transaction.hash, settled, "ended");
        if let Some((flight, payment)) = item.flight {
            flight.end(outcome(&payment, ending));
        }
    }

    /// Gives the nodes what is in no block: at once what they were not given yet, then now and then.
    fn urge(self: &Arc<Self>, absent: &[PaymentKey]) {
        if crate::bug::on("v3-sends-once") {
            return;
        }
        // One round at a time, however long nodes that hang make it.
        let Ok(round) = self.urging.clone().try_lock_owned() else { return };
        let due: Vec<(SignedTransaction, bool)> = {
            let mut items = self.items.lock();
            let (now, every) = (Instant::now(), self.cluster.config.resend);
            let mut due = Vec::new();
            for key in absent {
                let Some(item) = items.get_mut(key) else { continue };
                if item.sent.is_none_or(|sent| now.duration_since(sent) >= every) {
                    due.push((item.transaction.clone(), item.sent.is_none()));
                    item.sent = Some(now);
                }
            }
            due
        };
        if due.is_empty() {
            return;
        }
        // In a task of its own: nodes that hang keep nobody from looking.
        let engine = self.clone();
        tokio::spawn(async move {
            for part in due.chunks(MOST_AT_ONCE) {
                let launch = part.iter().map(|(transaction, is_first)| engine.launch(transaction, *is_first));
                futures_util::future::join_all(launch).await;
            }
            drop(round);
        });
    }
}

fn outcome(payment: &Bound, ending: Ending) -> Outcome {
    match ending {
        Ending::Settled { hash, .. } => Outcome::Settled { transaction: hash },
        Ending::Failed { reason, message, hash } => {
            Outcome::NotSettled { refusal: payment.refuse(reason.reason(), message), transaction: hash }
        }
    }
}

/// Looks at all that is on its way, again and again, for as long as there is an engine.
async fn watch(engine: Weak<Engine>) {
    let mut last = [Instant::now(); 4];
    if let Some(engine) = engine.upgrade() {
        engine.measure();
    }
    while let Some(engine) = engine.upgrade() {
        // A look that panics is a look less.
        let look = AssertUnwindSafe(engine.watch_once(&mut last)).catch_unwind();
        if look.await.is_err() {
            tracing::error!("the watcher panicked; it goes on");
        }
        let poll = engine.cluster.config.poll;
        if engine.items.lock().is_empty() {
            let _ = tokio::time::timeout(engine.cluster.config.housekeeping, engine.wake.notified()).await;
        }
        // Something announced, or the time of a slot; never at once, however much is announced.
        let pause = PAUSE.min(poll / 4);
        tokio::time::sleep(pause).await;
        let _ = tokio::time::timeout(poll.saturating_sub(pause), engine.slot.notified()).await;
    }
}

impl Engine {
    async fn watch_once(self: &Arc<Self>, [tended, held, read, measured]: &mut [Instant; 4]) {
        if !self.items.lock().is_empty() {
            self.look().await;
        }
        if tended.elapsed() >= self.cluster.config.housekeeping {
            *tended = Instant::now();
            self.take_over().await;
            self.finalize().await;
        }
        if held.elapsed() >= HELD {
            *held = Instant::now();
            self.resume_held().await;
        }
        if read.elapsed() >= MINTS {
            *read = Instant::now();
            if let Err(error) = self.cluster.read_mints().await {
                tracing::warn!(%error, "the mints can't be read again");
            }
        }
        if measured.elapsed() >= self.cluster.config.measure {
            *measured = Instant::now();
            self.measure();
        }
    }

    /// In a task of its own: nodes that hang keep nobody from looking.
    fn measure(&self) {
        let rpc = self.cluster.rpc.clone();
        if rpc.nodes() > 1 {
            tokio::spawn(async move { cluster::measure(&rpc).await });
        }
    }
}
