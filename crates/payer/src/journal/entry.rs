//! What is on disk about a payment.

use serde::{Deserialize, Serialize};
use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::wire::Version;
use tollway_protocol::{Network, Offer, Settlement};

use crate::asked::Speaks;
use crate::choose::Plan;
use crate::origin::Purchase;
use crate::text;
use crate::value::Value;

/// How far a live payment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Budget is held for it; nothing has been signed that could have left.
    Reserved,
    /// Signed; it may have been sent.
    Signed,
    /// The server refused it, by its own account.
    Refused,
    /// Sent; its outcome is not known.
    Unknown,
    /// The server says that it settled, and has not delivered yet.
    Settled,
}

/// A live payment: all that is needed to send the same bytes again.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) format: Version<1>,
    pub(crate) id: String,
    pub(crate) purchase: String,
    pub(crate) state: State,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) body_sha256: String,
    pub(crate) origin: String,
    pub(crate) host: String,
    /// What the seller said that it is for.
    pub(crate) resource: String,
    /// Without what the seller added to it: that is in the header.
    pub(crate) offer: Offer,
    pub(crate) payer: String,
    pub(crate) asset: String,
    pub(crate) amount: String,
    pub(crate) value: Value,
    pub(crate) created: UnixTime,
    pub(crate) valid_before: UnixTime,
    pub(crate) header: Option<SavedHeader>,
    pub(crate) transaction: Option<String>,
    pub(crate) reason: Option<String>,
}

/// The payment as it was sent.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedHeader {
    pub(crate) version: u8,
    pub(crate) value: String,
}

impl SavedHeader {
    pub(crate) fn new(speaks: Speaks, value: String) -> Self {
        Self { version: if speaks == Speaks::V1 { 1 } else { 2 }, value }
    }

    pub(crate) fn name(&self) -> &'static str {
        use tollway_protocol::header::{PAYMENT_SIGNATURE, X_PAYMENT};
        if self.version == 1 { X_PAYMENT } else { PAYMENT_SIGNATURE }
    }
}

impl Entry {
    pub(crate) fn draft(id: String, purchase: &Purchase, plan: &Plan, now: UnixTime) -> Self {
        Self {
            format: Version,
            id,
            purchase: purchase.digest(),
            state: State::Reserved,
            method: purchase.method().to_owned(),
            url: purchase.url().to_string(),
            body_sha256: purchase.body_sha256().to_owned(),
            origin: purchase.origin().to_string(),
            host: purchase.origin().host().to_owned(),
            resource: plan.named.clone(),
            offer: Offer { extra: Object::new(), unknown: Object::new(), ..plan.offer.clone() },
            payer: plan.payer.as_str().to_owned(),
            asset: plan.worth.asset.symbol.clone(),
            amount: plan.worth.amount.in_units(plan.worth.asset.decimals),
            value: plan.worth.value,
            created: now,
            valid_before: now.plus(plan.offer.max_timeout_seconds),
            header: None,
            transaction: None,
            reason: None,
        }
    }

    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}.json", self.purchase, self.id)
    }

    pub(crate) fn summary(&self, locked: bool) -> Live {
        Live {
            id: self.id.clone(),
            state: self.state,
            in_use: locked,
            method: self.method.clone(),
            origin: self.origin.clone(),
            network: self.offer.network.clone(),
            payer: self.payer.clone(),
            pay_to: self.offer.pay_to.clone(),
            asset: self.asset.clone(),
            amount: self.amount.clone(),
            atomic: self.offer.amount,
            value: self.value,
            created: self.created,
            valid_before: self.valid_before,
            transaction: self.transaction.clone(),
        }
    }
}

/// A payment that can still execute, without what would let others send it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Live {
    /// Its id in the journal.
    pub id: String,
    /// How far it is.
    pub state: State,
    /// Whether a call holds it now; if not, the next call for the same request re-sends it.
    pub in_use: bool,
    /// The request's method.
    pub method: String,
    /// The request's origin.
    pub origin: String,
    /// Where it is paid.
    pub network: Network,
    /// Who pays.
    pub payer: String,
    /// Who is paid.
    pub pay_to: String,
    /// The asset's symbol.
    pub asset: String,
    /// In whole units of the asset.
    pub amount: String,
    /// In the asset's atomic units.
    pub atomic: Amount,
    /// In dollar-like units.
    pub value: Value,
    /// When it was reserved.
    pub created: UnixTime,
    /// When it ends.
    pub valid_before: UnixTime,
    /// The transaction that a server named for it.
    pub transaction: Option<String>,
}

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The server answered with a settlement.
    Settled,
    /// The server served the request without saying that it settled.
    Served,
    /// The server says that the payment has bought something before.
    Spent,
    /// It ended without its outcome being known; it may have been used.
    Unproven,
    /// It was found unused after its end: [`super::Journal::release`].
    Unused,
}

/// A line of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The payment's id in the journal.
    pub id: String,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was reserved, which is when it counts in budgets.
    pub created: UnixTime,
    /// When it was recorded.
    pub at: UnixTime,
    /// The request's method.
    pub method: String,
    /// The request's URL, without credentials.
    pub url: String,
    /// Its host.
    pub host: String,
    /// Where it was paid.
    pub network: Network,
    /// Who was paid.
    pub pay_to: String,
    /// The asset's symbol.
    pub asset: String,
    /// In whole units of the asset.
    pub amount: String,
    /// In dollar-like units.
    pub value: Value,
    /// The transaction, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// The settlement, as the server told it, with the members that we know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Settlement>,
}

impl Record {
    pub(crate) fn of(entry: &Entry, outcome: Outcome, at: UnixTime, settlement: Option<Settlement>) -> Self {
        let settlement = settlement.map(known);
        let named = settlement.as_ref().and_then(|settlement| settlement.transaction.clone());
        Self {
            id: entry.id.clone(),
            outcome,
            created: entry.created,
            at,
            method: entry.method.clone(),
            url: entry.url.clone(),
            host: entry.host.clone(),
            network: entry.offer.network.clone(),
            pay_to: entry.offer.pay_to.clone(),
            asset: entry.asset.clone(),
            amount: entry.amount.clone(),
            value: entry.value,
            transaction: named.or_else(|| entry.transaction.clone()),
            settlement,
        }
    }
}

impl Record {
    /// What budgets need of it: nothing that a server said.
    pub(super) fn reduced(&self) -> Self {
        Self { transaction: None, settlement: None, ..self.clone() }
    }
}

/// The members of a settlement that we know, and no more of each than one needs.
fn known(told: Settlement) -> Settlement {
    let told = text::settlement(told);
    Settlement { extensions: Object::new(), extra: Object::new(), unknown: Object::new(), ..told }
}
