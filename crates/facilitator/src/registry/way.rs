//! The way of one payment: present, decode, bind, screen, then verify or settle.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tollway_protocol::Network;
use tollway_protocol::bind::{Bound, PaymentKey, Presented};
use tollway_protocol::reason::{Dialect, Reason, Refusal};
use tollway_protocol::scheme::{FacilitatorScheme, Outcome};
use tollway_protocol::wire::{Offer, PaymentRequest, Settlement, Verdict};
use tracing::Instrument as _;

use super::Registry;
use crate::meter::{InFlight, Operation, label};
use crate::redact;
use crate::screen::{Caller, Subject, Told};

pub(super) async fn verify(registry: &Registry, request: PaymentRequest, caller: &Caller) -> Verdict {
    let offer = &request.payment_requirements;
    let series = registry.series(Operation::Verify, offer);
    let (meter, _in_flight) = (series.start(), series.in_flight());
    let dialect = Dialect::of_offer(offer);
    let refused = |refusal| Verdict::from(spoken(refusal, dialect, Operation::Verify));
    let verdict = match admit(registry, request, caller, Operation::Verify).await {
        Err(refusal) => refused(refusal),
        Ok(Admitted { mechanism, bound, subject }) => {
            let verdict = match judge(registry, &mechanism, bound).await {
                Ok(payer) => Verdict { is_valid: true, payer: Some(payer), ..Verdict::default() },
                Err(refusal) => refused(refusal),
            };
            registry.tell(subject.as_ref(), || Told::Verdict(verdict.clone()));
            verdict
        }
    };
    let reason = label(verdict.invalid_reason.as_ref());
    tracing::debug!(network = series.network(), valid = verdict.is_valid, reason, "verified");
    meter.finish(
        if verdict.is_valid { "valid" } else { failure(verdict.invalid_reason.as_ref(), "invalid") },
        reason,
    );
    verdict
}

async fn judge(
    registry: &Registry,
    mechanism: &Arc<dyn FacilitatorScheme>,
    bound: Bound,
) -> Result<String, Refusal> {
    let payer = bound.effects().payer.as_str().to_owned();
    let work = async {
        let verified = bound.at(mechanism.now((registry.clock)()))?;
        mechanism.verify(&verified).await
    };
    // In a box of its own: a timer's alignment would be that of every future around it.
    let mut elapsed = Box::pin(tokio::time::sleep(registry.verify_within));
    let found = tokio::select! {
        biased;
        found = AssertUnwindSafe(work).catch_unwind() => Some(found),
        () = &mut elapsed => None,
    };
    let refuse = |message: &str| Err(Refusal::new(Reason::ChainUnreachable, message).payer(&payer));
    match found {
        Some(Ok(Ok(()))) => Ok(payer),
        Some(Ok(Err(refusal))) => Err(Refusal { payer: refusal.payer.or(Some(payer)), ..refusal }),
        Some(Err(_panic)) => {
            refuse("the facilitator failed while verifying: send the same payment again later")
        }
        None => refuse("the chain did not answer in time: send the same payment again later"),
    }
}

pub(super) async fn settle(
    registry: &Registry,
    request: PaymentRequest,
    caller: &Caller,
    deadline: Duration,
) -> Settlement {
    let started = Instant::now();
    let offer = &request.payment_requirements;
    let series = registry.series(Operation::Settle, offer);
    let meter = series.start();
    let (dialect, network) = (Dialect::of_offer(offer), offer.network.clone());
    let (settlement, outcome) = match take(registry, request, caller, deadline).await {
        Ok((admitted, slot)) => {
            work(registry, admitted, (slot, series.in_flight()), deadline.saturating_sub(started.elapsed()))
                .await
        }
        Err(refusal) => {
            let refusal = spoken(refusal, dialect, Operation::Settle);
            let outcome = failure(Some(&refusal.code()), "failed");
            (refused(refusal, network), outcome)
        }
    };
    meter.finish(outcome, label(settlement.error_reason.as_ref()));
    settlement
}

/// A payment that may go on to its mechanism.
struct Admitted {
    mechanism: Arc<dyn FacilitatorScheme>,
    bound: Bound,
    /// What hooks are told afterwards; nothing where there are none.
    subject: Option<Arc<Subject>>,
}

/// All that is decided before a mechanism acts.
async fn take(
    registry: &Registry,
    request: PaymentRequest,
    caller: &Caller,
    deadline: Duration,
) -> Result<(Admitted, tokio::sync::OwnedSemaphorePermit), Refusal> {
    let unavailable = |message| Refusal::new(Reason::FacilitatorUnavailable, message);
    let open = || {
        let ending = "the facilitator is shutting down: send the same payment again later";
        if registry.is_draining() { Err(unavailable(ending)) } else { Ok(()) }
    };
    open()?;
    let admitted = tokio::time::timeout(deadline, admit(registry, request, caller, Operation::Settle));
    let late = "the checks before settlement did not end in time: send the same payment again later";
    let admitted = admitted.await.map_err(|_elapsed| unavailable(late))??;
    // A hook may have taken its time.
    open()?;
    let slot = registry.slots.clone().try_acquire_owned();
    let slot = slot.map_err(|_| unavailable("too many settlements are in progress: send it again later"))?;
    Ok((admitted, slot))
}

/// The one choke point: every payment, of whatever scheme and for whatever operation, is bound and screened here
/// before its mechanism gets it.
async fn admit(
    registry: &Registry,
    request: PaymentRequest,
    caller: &Caller,
    operation: Operation,
) -> Result<Admitted, Refusal> {
    let (mechanism, bound) = bind(registry, request, operation)?;
    if registry.screens.is_empty() {
        return Ok(Admitted { mechanism, bound, subject: None });
    }
    let subject = Arc::new(Subject::new(&bound, caller));
    // In a box, as the timers in it would align and enlarge what is around it.
    if let Err(refusal) = Box::pin(registry.screens.before(operation, &subject)).await
        && (operation == Operation::Verify || !taken(registry, bound.key()).await?)
    {
        return Err(refusal);
    }
    Ok(Admitted { mechanism, bound, subject: Some(subject) })
}

/// Whether the ledger has this payment: then a refusal would say that it did not move money, which nobody knows here.
async fn taken(registry: &Registry, key: &PaymentKey) -> Result<bool, Refusal> {
    let Some(settlements) = &registry.lookup else { return Ok(false) };
    let found = settlements.find(key).await.map_err(|problem| {
        tracing::error!(payment = digest(key), problem = redact::urls(&problem), "the ledger can't be asked");
        Refusal::new(Reason::StoreUnavailable, "the ledger can't be asked: send the same payment again later")
    })?;
    Ok(found.is_some())
}

/// Lets the mechanism settle, in a task of its own: a caller that hangs up does not stop it.
async fn work(
    registry: &Registry,
    admitted: Admitted,
    held: (tokio::sync::OwnedSemaphorePermit, InFlight),
    deadline: Duration,
) -> (Settlement, &'static str) {
    let Admitted { mechanism, bound, subject } = admitted;
    let (offer, payer) = (bound.offer().clone(), bound.effects().payer.as_str().to_owned());
    let payment = digest(bound.key());
    let span = tracing::info_span!("settle", network = %offer.network, scheme = %offer.scheme, payment);
    // The mechanism answers a little earlier than we must: it knows the transaction, we don't.
    let inner = deadline.saturating_sub(deadline / 25);
    let unknown = |message: &str| Outcome::Pending { transaction: None, message: message.to_owned() };
    let (screens, tasks, asked, from) =
        (registry.screens.clone(), registry.tasks.clone(), offer.clone(), payer.clone());
    let task = async move {
        let _held = held;
        let outcome = AssertUnwindSafe(mechanism.settle(bound, inner)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_panic| {
            tracing::error!("the mechanism panicked while settling");
            unknown(FAILED)
        });
        tracing::info!(outcome = name(&outcome), transaction = transaction(&outcome), "settlement answered");
        if let Some(subject) = &subject {
            screens.after(&tasks, subject, &Told::Settlement(answer(outcome.clone(), &asked, from)));
        }
        outcome
    };
    let task = registry.tasks.spawn(task.instrument(span));
    let outcome = match tokio::time::timeout(deadline, task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => {
            tracing::error!(payment, panic = error.is_panic(), "the settlement's task ended early");
            unknown(FAILED)
        }
        Err(_elapsed) => unknown("no outcome in time; the work goes on: send the same payment again"),
    };
    let name = match &outcome {
        Outcome::NotSettled { refusal, .. } => failure(Some(&refusal.code()), "failed"),
        outcome => name(outcome),
    };
    (answer(outcome, &offer, payer), name)
}

const FAILED: &str =
    "the facilitator failed while settling; the outcome is not known: send the same payment again";

fn answer(outcome: Outcome, offer: &Offer, payer: String) -> Settlement {
    let (dialect, network) = (Dialect::of_offer(offer), offer.network.clone());
    let settlement = match outcome {
        Outcome::Settled { transaction } => Settlement {
            transaction: Some(transaction),
            amount: Some(offer.amount),
            ..Settlement::new(true, network)
        },
        Outcome::Charged { transaction, amount } => {
            Settlement { transaction, amount: Some(amount), ..Settlement::new(true, network) }
        }
        Outcome::NotSettled { refusal, transaction } => {
            Settlement { transaction, ..refused(spoken(refusal, dialect, Operation::Settle), network) }
        }
        Outcome::Pending { transaction, message } => {
            let refusal = Refusal::new(Reason::SettlementPending, message);
            Settlement { transaction, ..refused(spoken(refusal, dialect, Operation::Settle), network) }
        }
    };
    Settlement { payer: Some(payer), ..settlement }
}

fn refused(refusal: Refusal, network: Network) -> Settlement {
    Settlement {
        error_reason: Some(refusal.code()),
        error_message: Some(refusal.message),
        payer: refusal.payer,
        ..Settlement::new(false, network)
    }
}

/// Finds the mechanism and compares what the payment does with the offer.
fn bind(
    registry: &Registry,
    request: PaymentRequest,
    operation: Operation,
) -> Result<(Arc<dyn FacilitatorScheme>, Bound), Refusal> {
    let PaymentRequest { payment_requirements: offer, payment_payload: payment, idempotency_key, .. } =
        request;
    let served = registry.served(&offer.scheme, &offer.network).ok_or_else(|| unserved(registry, &offer))?;
    let mechanism = &served.mechanism;
    let present = match operation {
        Operation::Verify => Presented::new,
        Operation::Settle => Presented::charged,
    };
    let presented = present(offer, payment)?;
    let effects = catch_unwind(AssertUnwindSafe(|| mechanism.effects(&presented)));
    let effects = effects.unwrap_or_else(|_panic| {
        let offer = presented.offer();
        tracing::error!(network = %offer.network, scheme = %offer.scheme, "the mechanism panicked while decoding");
        Err(Refusal::new(unexpected(operation), "the facilitator failed while reading this payment"))
    })?;
    Ok((mechanism.clone(), presented.bind(effects)?.keyed(idempotency_key)))
}

fn unserved(registry: &Registry, offer: &Offer) -> Refusal {
    let of_network = registry.mechanisms.iter().filter(|served| served.network == offer.network);
    let served: Vec<&str> = of_network.map(|served| served.scheme.as_str()).collect();
    if served.is_empty() {
        let message = format!("this facilitator does not serve {}; see /supported", offer.network);
        Refusal::new(Reason::UnsupportedNetwork, message)
    } else {
        let asked: String = offer.scheme.chars().take(64).collect();
        let message =
            format!("scheme {asked} is not served on {}, only {}", offer.network, served.join(", "));
        Refusal::new(Reason::UnsupportedScheme, message)
    }
}

/// The reason for a failure of ours: `unexpected_verify_error` or `unexpected_settle_error`.
const fn unexpected(operation: Operation) -> Reason {
    match operation {
        Operation::Verify => Reason::ChainUnreachable,
        Operation::Settle => Reason::StoreUnavailable,
    }
}

/// A refusal as callers may see it: in the scheme's dialect, with a reason, without URLs.
fn spoken(refusal: Refusal, dialect: Dialect, operation: Operation) -> Refusal {
    let nameless = refusal.code().as_str().trim().is_empty();
    let reason = if nameless { unexpected(operation) } else { refusal.reason };
    let message = if refusal.message.is_empty() {
        reason.row().help.to_owned()
    } else {
        redact::urls(&refusal.message)
    };
    Refusal { reason, message, dialect, payer: refusal.payer }
}

/// The outcome's label: a refusal for our own troubles is no verdict about the payment.
fn failure(code: Option<&tollway_protocol::Code>, otherwise: &'static str) -> &'static str {
    match code.map(tollway_protocol::Code::reason) {
        Some(Reason::ChainUnreachable | Reason::StoreUnavailable | Reason::FacilitatorUnavailable) => {
            "unavailable"
        }
        _ => otherwise,
    }
}

const fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Settled { .. } | Outcome::Charged { .. } => "settled",
        Outcome::NotSettled { .. } => "failed",
        Outcome::Pending { .. } => "pending",
    }
}

fn transaction(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Settled { transaction } => Some(transaction),
        Outcome::Charged { transaction, .. }
        | Outcome::NotSettled { transaction, .. }
        | Outcome::Pending { transaction, .. } => transaction.as_deref(),
    }
}

/// How a payment is named in logs.
fn digest(key: &PaymentKey) -> String {
    let hash = Sha256::digest(key.as_str());
    hex::encode(hash.get(..8).unwrap_or_default())
}

impl Registry {
    fn tell(&self, subject: Option<&Arc<Subject>>, what: impl FnOnce() -> Told) {
        if let Some(subject) = subject {
            self.screens.after(&self.tasks, subject, &what());
        }
    }
}
