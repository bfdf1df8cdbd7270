//! Whom and what the operator serves: policies and hooks, asked at one place for every scheme.
//!
//! A payment is decoded and bound first, so that who pays whom is what will execute, not what the
//! request says; then every [`Policy`] and every [`Hook`] is asked, in the order in which they were
//! added; only then a mechanism acts. Whatever can't answer refuses.

mod ask;
mod lists;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tollway_protocol::bind::{Bound, Effects};
use tollway_protocol::reason::Refusal;
use tollway_protocol::wire::{Offer, Settlement, Verdict};

pub use lists::{Lists, Rule};

pub(crate) use ask::{Screens, Told};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The name of the API key that was shown, where keys are required.
    pub key: Option<Arc<str>>,
    /// The client's address, where it is known.
    pub address: Option<IpAddr>,
}

/// A payment, as it is screened.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// What the seller asked for.
    pub offer: Offer,
    /// What executing the payment does: payer, movements, time, payment key.
    pub effects: Effects,
    /// Who asks.
    pub caller: Caller,
}

impl Subject {
    /// What is known of `payment`.
    #[must_use]
    pub fn new(payment: &Bound, caller: &Caller) -> Self {
        Self { offer: payment.offer().clone(), effects: payment.effects().clone(), caller: caller.clone() }
    }
}

/// A rule that needs nothing but the payment, such as [`Lists`].
pub trait Policy: Send + Sync {
    /// Whether this payment may be verified and settled. A panic refuses.
    ///
    /// # Errors
    /// Why not.
    fn allows(&self, subject: &Subject) -> Result<(), Refusal>;
}

/// Code of the operator's own around every payment: screening by a service, bookkeeping, alarms.
///
/// A `before` hook may refuse; one that panics or takes longer than
/// [`hook_within`](crate::registry::Builder::hook_within) refuses too, with
/// [`FacilitatorUnavailable`](tollway_protocol::Reason::FacilitatorUnavailable). An `after` hook runs beside the answer, whether
/// or not its caller still listens, and can't change it.
///
/// A payment that the ledger already has is not refused at `/settle` any more: it may have moved money, and the
/// mechanism, which knows, answers for it.
#[async_trait]
pub trait Hook: Send + Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Before a verification asks the chain.
    ///
    /// # Errors
    /// Why it is refused.
    async fn before_verify(&self, _subject: &Subject) -> Result<(), Refusal> {
        Ok(())
    }

    /// After a verification that was allowed to begin.
    async fn after_verify(&self, _subject: &Subject, _verdict: &Verdict) {}

    /// Before a settlement is taken.
    ///
    /// # Errors
    /// Why it is refused.
    async fn before_settle(&self, _subject: &Subject) -> Result<(), Refusal> {
        Ok(())
    }

    /// After a settlement that was allowed to begin: with the mechanism's answer, even when the
    /// caller was told before that the settlement is pending.
    async fn after_settle(&self, _subject: &Subject, _settlement: &Settlement) {}
}
