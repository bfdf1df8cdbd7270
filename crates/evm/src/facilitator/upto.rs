//! `upto`: what was used of a permitted amount is charged, by the account that the payer has named.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tollway_protocol::Network;
use tollway_protocol::Refusal;
use tollway_protocol::bind::{Bound, Effects, Presented, Verified};
use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{FacilitatorScheme, NotReady, Outcome};
use tollway_protocol::wire::{Kind, PaymentRequest};

use crate::facilitator::engine::Engine;
use crate::facilitator::job::pending;
use crate::permit2::{APPROVAL_EXTENSION, PERMIT_EXTENSION};
use crate::upto::{FACILITATOR, SCHEME};

/// `upto` on one network, for facilitators: made by [`crate::ExactFacilitator::upto`], with which it shares accounts,
/// ledger and settlements on their way.
#[derive(Clone)]
pub struct UptoFacilitator {
    engine: Arc<Engine>,
    /// Which account is advertised next.
    turn: Arc<AtomicUsize>,
}

impl UptoFacilitator {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, turn: Arc::default() }
    }

    /// The account that payers are to name: those that this process may send from in their turn, the first of all when
    /// there is none.
    fn facilitator(&self) -> Option<String> {
        let lanes = &self.engine.lanes;
        let leased: Vec<_> = lanes.iter().filter(|lane| lane.state.lock().is_leased).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(leased.len()).unwrap_or(0);
        leased.get(turn).copied().or_else(|| lanes.first()).map(|lane| lane.name())
    }

    /// Nothing is to be charged: there is nothing to send and nothing to record, unless it was settled before.
    async fn settle_nothing(&self, payment: Bound, deadline: Duration) -> Outcome {
        let decoded = match self.engine.chain.decode(&payment) {
            Ok(decoded) => decoded,
            Err(refusal) => return Outcome::NotSettled { refusal, transaction: None },
        };
        let key = payment.key();
        let is_flying = self.engine.flights.find(key, &decoded.terms()).is_some();
        match self.engine.journal.settlement(key).await {
            Ok(None) if !is_flying => Outcome::Charged { transaction: None, amount: Amount::from(0u64) },
            Ok(_) => self.charged(payment, deadline).await,
            Err(error) => {
                tracing::error!(%error, "ledger");
                let message = "the store can't be used just now";
                let refusal = payment.refuse(tollway_protocol::Reason::StoreUnavailable, message);
                Outcome::NotSettled { refusal, transaction: None }
            }
        }
    }

    /// Settles, and answers what was charged: by this request, or by the first one of the payment.
    async fn charged(&self, payment: Bound, deadline: Duration) -> Outcome {
        let key = payment.key().clone();
        let outcome = self.engine.settle(payment, deadline).await;
        let Outcome::Settled { transaction } = outcome else { return outcome };
        match self.engine.journal.settlement(&key).await {
            Ok(record) => {
                let request = record.and_then(|record| serde_json::from_str(&record.request).ok());
                let amount = request.map(|request: PaymentRequest| request.payment_requirements.amount);
                match amount {
                    Some(amount) => Outcome::Charged { transaction: Some(transaction), amount },
                    None => pending(Some(transaction)),
                }
            }
            Err(error) => {
                tracing::error!(payment = %key, %error, "what was charged can't be read");
                pending(Some(transaction))
            }
        }
    }
}

#[async_trait]
impl FacilitatorScheme for UptoFacilitator {
    fn kind(&self) -> Kind {
        let extra = match self.facilitator() {
            Some(address) => Object::new().with(FACILITATOR, address),
            None => Object::new(),
        };
        Kind {
            x402_version: 2,
            scheme: SCHEME.to_owned(),
            network: self.engine.chain.config.network.to_string(),
            extra,
            unknown: Object::new(),
        }
    }

    fn network(&self) -> &Network {
        &self.engine.chain.config.network
    }

    fn signers(&self) -> Vec<String> {
        self.engine.lanes.iter().map(|lane| lane.name()).collect()
    }

    fn extensions(&self) -> Vec<&'static str> {
        vec![PERMIT_EXTENSION, APPROVAL_EXTENSION]
    }

    fn now(&self, host: UnixTime) -> UnixTime {
        self.engine.chain.now(host)
    }

    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal> {
        self.engine.chain.effects(presented)
    }

    async fn verify(&self, payment: &Verified) -> Result<(), Refusal> {
        self.engine.verify(payment).await
    }

    async fn settle(&self, payment: Bound, deadline: Duration) -> Outcome {
        if payment.offer().amount.get().is_zero() {
            return self.settle_nothing(payment, deadline).await;
        }
        self.charged(payment, deadline).await
    }

    async fn recover(&self) {
        self.engine.recover().await;
    }

    async fn ready(&self) -> Result<(), NotReady> {
        self.engine.ready().await.map_err(|problem| NotReady { network: self.network().clone(), problem })
    }

    async fn drain(&self) {
        self.engine.drain().await;
    }
}
