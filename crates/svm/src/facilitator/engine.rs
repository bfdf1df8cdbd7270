//! What the parts of the pipeline share, and verification.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use solana_address::Address;
use solana_signature::Signature;
use tokio::sync::Notify;
use tollway_ledger::Journal;
use tollway_protocol::bind::{Bound, PaymentKey};
use tollway_protocol::door::UnixTime;
use tollway_protocol::{Network, Reason, Refusal};

use crate::facilitator::chain::{Cluster, ClusterError};
use crate::facilitator::cluster;
use crate::facilitator::flight::Flights;
use crate::facilitator::lane::Lane;
use crate::facilitator::watch::Item;
use crate::keys::Key;
use crate::layout::Limits;
use crate::payload::SvmPayment;

/// For how long a fee payer is the one that is offered. Some sellers ask for it twice, for the offer and for the payment.
const TURN_SECONDS: u64 = 600;

/// How many failed trials are looked into at a time, the others wait: anyone can have one for nothing.
const INQUIRIES: usize = 16;

/// The settlement pipeline of one cluster.
pub(super) struct Engine {
    pub(super) cluster: Cluster,
    pub(super) journal: Arc<dyn Journal>,
    /// The fee payers.
    pub(super) lanes: Vec<Lane>,
    pub(super) flights: Flights,
    /// What is on its way to the chain.
    pub(super) items: Mutex<BTreeMap<PaymentKey, Item>>,
    /// Something was put on its way.
    pub(super) wake: Notify,
    /// Something was put on its way, for who has it announced.
    pub(super) put: Arc<Notify>,
    /// A node announced a slot, or a transaction.
    pub(super) slot: Notify,
    /// Held while nodes are asked whether they agree.
    pub(super) agreeing: Arc<tokio::sync::Mutex<()>>,
    /// Held while transactions are sent again.
    pub(super) urging: Arc<tokio::sync::Mutex<()>>,
    /// Held while nodes are asked what is dead.
    pub(super) burying: Arc<tokio::sync::Mutex<()>>,
    /// Held while a failed trial is looked into.
    pub(super) inquiries: tokio::sync::Semaphore,
    pub(super) is_watching: AtomicBool,
    pub(super) is_draining: AtomicBool,
}

impl Engine {
    pub(super) fn new(
        cluster: Cluster,
        keys: Vec<Key>,
        journal: Arc<dyn Journal>,
    ) -> Result<Arc<Self>, ClusterError> {
        if keys.is_empty() {
            return Err(ClusterError::NoFeePayer);
        }
        let process = cluster.config.process;
        let flights = Flights::new(cluster.config.in_flight);
        Ok(Arc::new(Self {
            cluster,
            journal,
            lanes: keys.into_iter().map(|key| Lane::new(key, process)).collect(),
            flights,
            items: Mutex::default(),
            wake: Notify::new(),
            put: Arc::default(),
            slot: Notify::new(),
            agreeing: Arc::default(),
            urging: Arc::default(),
            burying: Arc::default(),
            inquiries: tokio::sync::Semaphore::new(INQUIRIES),
            is_watching: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
        }))
    }

    pub(super) fn network(&self) -> &Network {
        &self.cluster.config.network
    }

    /// The fee payers in turn, for [`TURN_SECONDS`] each.
    pub(super) fn fee_payer(&self, at: UnixTime) -> String {
        let lanes = u64::try_from(self.lanes.len()).unwrap_or(u64::MAX);
        let turn = (at.0 / TURN_SECONDS).checked_rem(lanes).and_then(|turn| usize::try_from(turn).ok());
        let lane = turn.and_then(|turn| self.lanes.get(turn));
        lane.map(|lane| lane.key.address().to_string()).unwrap_or_default()
    }

    pub(super) fn lane(&self, fee_payer: &Address) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.key.address() == *fee_payer)
    }

    pub(super) fn now(&self) -> UnixTime {
        (self.cluster.config.clock)()
    }

    /// Judges a payment by all rules that need no node: the scheme's, ours, and the payer's signature.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(super) fn examine(&self, payment: &Bound) -> Result<SvmPayment, Refusal> {
        let decoded = decode(payment, &self.cluster.config.limits)?;
        self.is_ours(payment, &decoded)?;
        is_signed(payment, &decoded)?;
        Ok(decoded)
    }

    /// Whether one of our accounts pays the fee, and does nothing else.
    pub(super) fn is_ours(&self, payment: &Bound, decoded: &SvmPayment) -> Result<(), Refusal> {
        let transfer = &decoded.transfer;
        if self.lane(&transfer.fee_payer).is_none() {
            let message = format!("the fee payer {} is none of ours: see /supported", transfer.fee_payer);
            return Err(payment.refuse(Reason::FeePayerUnknown, message));
        }
        if self.lane(&transfer.payer).is_some() {
            let message = "the payer is an account of this facilitator's".to_owned();
            return Err(payment.refuse(Reason::FeePayerTransferring, message));
        }
        Ok(())
    }

    /// Judges a payment, and has it tried by a node: one round trip.
    ///
    /// # Errors
    /// A refusal; [`Reason::ChainUnreachable`] when no node answers.
    pub(super) async fn verify(&self, payment: &Bound) -> Result<(), Refusal> {
        let tried = self.try_out(payment, self.examine(payment)?).await?;
        if tried.is_there {
            return Err(payment.refuse(Reason::AlreadyUsed, "this transaction is on the chain already"));
        }
        Ok(())
    }

    /// # Errors
    /// What keeps payments from being settled now, and what to do.
    pub(super) async fn ready(&self) -> Result<(), String> {
        self.cluster.check().await.map_err(|error| error.to_string())?;
        let addresses: Vec<Address> = self.lanes.iter().map(|lane| lane.key.address()).collect();
        let balances =
            cluster::balances(&self.cluster.rpc, &addresses).await.map_err(|error| error.to_string())?;
        let low = self.cluster.config.low_lamports;
        let poor = addresses.iter().zip(balances).find(|(_, balance)| *balance < low);
        match poor {
            Some((address, balance)) => {
                Err(format!("the fee payer {address} has {balance} lamports, less than {low}: fund it"))
            }
            None => Ok(()),
        }
    }

    pub(super) async fn drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
        self.flights.drained().await;
        for lane in &self.lanes {
            lane.give_back(&*self.journal).await;
        }
    }
}

pub(super) fn decode(payment: &Bound, limits: &Limits) -> Result<SvmPayment, Refusal> {
    SvmPayment::decode(payment.offer(), &payment.payment().payload, limits)
}

/// Whether the payer's signature is of this transaction.
pub(super) fn is_signed(payment: &Bound, decoded: &SvmPayment) -> Result<(), Refusal> {
    let SvmPayment { transaction, transfer, .. } = decoded;
    let signature = transaction.signature(1).map(Signature::from);
    if signature.is_some_and(|signed| signed.verify(transfer.payer.as_ref(), transaction.message())) {
        return Ok(());
    }
    let message = "the payer's signature is not one of this transaction";
    Err(payment.refuse(Reason::BadSignature, message))
}
