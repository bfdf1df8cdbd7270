//! The one task that follows all that is on its way: asks for every transaction in one call, records how they ended, and
//! gives those that are in no block to the nodes again, the same bytes, until their blockhash is dead.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tollway_ledger::{Ending, LedgerError, Mined, Record, SignedTransaction};
use tollway_protocol::bind::{Bound, PaymentKey};
use tollway_protocol::scheme::Outcome;
use tollway_protocol::{Dialect, Reason};
use tollway_rpc::Source;

use crate::facilitator::cluster::{self, Commitment, MOST_STATUSES, Status};
use crate::facilitator::engine::Engine;
use crate::facilitator::flight::Flight;
use crate::layout::{Limits, Transfer};
use crate::transaction::Transaction;

/// How long a node whose announcements ended is left alone.
const REST: Duration = Duration::from_secs(2);
/// How many transactions are sent again at a time.
const MOST_AT_ONCE: usize = 16;
/// How often the mints are read again.
const MINTS: Duration = Duration::from_secs(600);

/// A transaction on its way.
pub(super) struct Item {
    pub(super) key: PaymentKey,
    pub(super) transaction: SignedTransaction,
    pub(super) blockhash: String,
    /// What it costs when it lands, in lamports.
    fee: u64,
    /// The last height at which its blockhash can be used, or a later one; none as long as it was not asked for.
    pub(super) dies: Option<u64>,
    pub(super) sent: Instant,
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
        let any = Limits { compute_units: u32::MAX, compute_price: u64::MAX };
        let fee = Transfer::read(&read, &any).map_or(0, |transfer| transfer.fee_lamports());
        Some(Self {
            key,
            transaction: transaction.clone(),
            blockhash: solana_address::Address::new_from_array(read.blockhash).to_string(),
            fee,
            dies: None,
            sent: Instant::now(),
            flight,
        })
    }
}

/// How a transaction ended.
pub(super) struct Landed {
    key: PaymentKey,
    mined: Option<Mined>,
    ending: Ending,
}

impl Engine {
    /// Follows `item` from now on.
    pub(super) fn put_on_the_way(self: &Arc<Self>, item: Item) {
        self.items.lock().insert(item.key.clone(), item);
        self.wake.notify_one();
        self.start();
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
        if self.is_draining.load(Ordering::SeqCst) {
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
                self.launch(transaction).await;
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
        let (mut landed, mut absent) = (Vec::new(), Vec::new());
        for part in asked.chunks(MOST_STATUSES) {
            let hashes: Vec<&str> = part.iter().map(|(_, hash)| hash.as_str()).collect();
            let Ok(statuses) = cluster::statuses(&self.cluster.rpc, &hashes, false).await else { continue };
            for ((key, _), status) in part.iter().zip(statuses) {
                match status {
                    None => absent.push(key.clone()),
                    Some(status) => landed.extend(self.landed(key, &status)),
                }
            }
        }
        self.record(landed).await;
        if !absent.is_empty() {
            self.urge(&absent).await;
        }
    }

    /// How the transaction of `key` ended, when the cluster is sure enough of it.
    pub(super) fn landed(&self, key: &PaymentKey, status: &Status) -> Option<Landed> {
        if status.commitment() < self.cluster.config.commitment.max(Commitment::Confirmed) {
            return None;
        }
        let items = self.items.lock();
        let item = items.get(key)?;
        let hash = item.transaction.hash.clone();
        let reverted = status.err.as_ref().map(|_| key.clone()).into_iter().collect();
        let mined = Mined { hash: hash.clone(), block: status.slot, fee_gwei: item.fee, reverted };
        let ending = match &status.err {
            None => Ending::Settled { hash, block: status.slot },
            Some(error) => failed(&Reason::TransactionFailed, short(error), Some(hash)),
        };
        Some(Landed { key: key.clone(), mined: Some(mined), ending })
    }

    /// Records how transactions ended, and tells who waits for them.
    pub(super) async fn record(&self, landed: Vec<Landed>) {
        if landed.is_empty() {
            return;
        }
        let mined: Vec<Mined> = landed.iter().filter_map(|one| one.mined.clone()).collect();
        let endings: Vec<(PaymentKey, Ending)> =
            landed.into_iter().map(|one| (one.key, one.ending)).collect();
        // On an error they stay where they are, and are looked at again.
        let results = match self.journal.finish(self.network(), &mined, &endings, Self::now()).await {
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

    /// Sends again what is in no block, and finds out what can't land any more.
    async fn urge(self: &Arc<Self>, absent: &[PaymentKey]) {
        self.date(absent).await;
        let again: Vec<SignedTransaction> = {
            let mut items = self.items.lock();
            let now = Instant::now();
            let is_due = |item: &&mut Item| now.duration_since(item.sent) >= self.cluster.config.resend;
            let due = items.values_mut().filter(is_due).filter(|item| absent.contains(&item.key));
            due.map(|item| {
                item.sent = now;
                item.transaction.clone()
            })
            .collect()
        };
        for part in again.chunks(MOST_AT_ONCE) {
            futures_util::future::join_all(part.iter().map(|transaction| self.launch(transaction))).await;
        }
        self.bury(absent).await;
    }
}

impl Landed {
    /// It is in no block and never will be.
    pub(super) fn never(key: PaymentKey, hash: String) -> Self {
        let message = "the transaction's blockhash died before any block took it: nothing was paid";
        Self { key, mined: None, ending: failed(&Reason::Expired, message.to_owned(), Some(hash)) }
    }
}

fn failed(reason: &Reason, message: String, hash: Option<String>) -> Ending {
    Ending::Failed { reason: reason.code(Dialect::ExactSvm), message, hash }
}

fn short(error: &serde_json::Value) -> String {
    error.to_string().chars().filter(|c| !c.is_control()).take(200).collect()
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
    let (mut tended, mut read) = (Instant::now(), Instant::now());
    while let Some(engine) = engine.upgrade() {
        if !engine.items.lock().is_empty() {
            engine.look().await;
        }
        if tended.elapsed() >= engine.cluster.config.housekeeping {
            tended = Instant::now();
            engine.take_over().await;
            engine.finalize().await;
        }
        if read.elapsed() >= MINTS {
            read = Instant::now();
            if let Err(error) = engine.cluster.read_mints().await {
                tracing::warn!(%error, "the mints can't be read again");
            }
        }
        let idle = engine.items.lock().is_empty();
        if idle {
            let _ = tokio::time::timeout(engine.cluster.config.housekeeping, engine.wake.notified()).await;
        }
        // A slot, or the time that one takes.
        let _ = tokio::time::timeout(engine.cluster.config.poll, engine.slot.notified()).await;
    }
}

/// Has the pending transactions looked at when a slot is announced.
async fn listen(engine: Weak<Engine>, source: Source) {
    while engine.strong_count() > 0 {
        if let Ok(mut slots) = source.subscribe("slotSubscribe", [(); 0], "slotNotification").await {
            while let (Ok(serde_json::Value::Object(_)), Some(engine)) =
                (slots.next().await, engine.upgrade())
            {
                engine.slot.notify_one();
            }
        }
        tokio::time::sleep(REST).await;
    }
}
