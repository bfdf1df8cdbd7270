//! The gate: what happens to a payment that came with a request, as a machine without I/O.
//!
//! ```text
//! open ─▶ Claim ─▶ Verify ─▶ Run ─▶ Mark ─▶ Settle ─▶ Record ─▶ Deliver ─▶ Finish
//!            └─ cut off while settling ───────┘▲ │       └─ handler not run yet ─▶ Run ─▶ Deliver
//!            ├─ cut off after settling ─────── Run ─▶ Deliver
//!            └─ cut off while settling, metered ▶ Run ─▶ Settle
//! ```
//!
//! What a metered payment (scheme `upto`) is charged, the handler says. A process that was cut off while settling
//! one took that with it: the handler says it again, and what was charged the first time stays.
//!
//! [`Gate::step`] takes an [`Event`] and gives the one [`Effect`] to perform next; its driver performs it
//! and comes back with the event. The ledger's tokens travel inside: an answer that delivers carries a
//! [`Delivery`], which only a ledger makes, and only of a [`Paid`], which it only makes of a
//! settlement. Delivering without one does not compile.

mod running;
mod settling;

use tollway_ledger::{Claim, Claimed, Delivery, LedgerError, Paid, RequestId};
use tollway_protocol::bind::Bound;
use tollway_protocol::charge::Charge;
use tollway_protocol::door::{Address, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::FacilitatorError;
use tollway_protocol::{Network, PaymentRequest, Reason, Refusal, Settlement, Verdict};

use running::Running;
use settling::Settling;

/// Seconds by which the seller's clock may be wrong before it calls a payment expired by itself. Nearer
/// to the edge the facilitator judges, which knows the chain's time.
const CLOCK_SLACK_SECONDS: u64 = 60;

/// The way of one payment. Made by [`Gate::open`].
#[derive(Debug)]
#[must_use = "a gate that is dropped leaves its payment claimed"]
pub struct Gate {
    state: State,
    now: UnixTime,
}

#[derive(Debug)]
enum State {
    Claiming(Box<Claiming>),
    Verifying(Box<Claimed>),
    Running(Box<Running>),
    Marking(Box<PaymentRequest>),
    Settling(Box<Settling>),
    Recording { ran: bool, settlement: Box<Settlement> },
    Owing(Box<Paid>),
    Delivering(Box<Settlement>),
    Finished,
}

/// What is known of a payment before the ledger has spoken.
#[derive(Debug)]
struct Claiming {
    network: Network,
    payer: String,
    /// It is claimed for an offer that its request has no more: it can only be gone on with.
    recalled: bool,
}

/// What a driver reports.
#[derive(Debug)]
pub enum Event {
    /// What the ledger said of [`Effect::Claim`].
    Claimed(Result<Claim, LedgerError>),
    /// What the facilitator said of [`Effect::Verify`].
    Verified(Result<Verdict, FacilitatorError>),
    /// The handler is done.
    Ran {
        /// Whether it answered with a 2xx status.
        success: bool,
        /// What it charges, when that may be less than the offer's amount: the amount when it says nothing.
        charge: Option<Charge>,
    },
    /// What the ledger said of [`Effect::Mark`].
    Marked(Claimed, Result<(), LedgerError>),
    /// What the facilitator said of [`Effect::Settle`].
    Settled(Result<Settlement, FacilitatorError>),
    /// What the ledger said of [`Effect::Record`].
    Recorded(Result<Paid, LedgerError>),
    /// What the ledger said of [`Effect::Deliver`].
    Delivered(Result<Delivery, LedgerError>),
}

/// What a driver does next.
#[derive(Debug)]
pub enum Effect {
    /// `Claims::claim`.
    Claim {
        /// The payment.
        payment: Box<Bound>,
        /// What it shall buy.
        request: RequestId,
        /// Until when its record is needed.
        keep_until: UnixTime,
    },
    /// `Facilitator::verify`.
    Verify(Box<PaymentRequest>),
    /// Run the handler.
    Run,
    /// `Claims::settling`, then give the token back.
    Mark(Claimed),
    /// `Facilitator::settle`. From here on the driver must not be cut off.
    Settle(Box<PaymentRequest>),
    /// `Claims::settled`.
    Record(Claimed, Box<Settlement>),
    /// `Claims::deliver`.
    Deliver(Box<Paid>),
    /// Close the claim, then answer. The gate is finished.
    Finish(Closing, Box<Answer>),
}

/// What becomes of the claim.
#[derive(Debug)]
pub enum Closing {
    /// Nothing: there is none, or it is delivered.
    Nothing,
    /// `Claims::release`.
    Release(Claimed),
    /// `Claims::pending`.
    Pending(Claimed, Option<String>),
    /// `Claims::undelivered`.
    Undelivered(Box<Paid>),
    /// `Claims::abandon`: the ledger failed us, and sorts out by key what it has.
    Abandon,
}

/// What the client gets.
#[derive(Debug)]
pub enum Answer {
    /// The handler's response, paid for.
    Deliver(Box<Delivery>),
    /// The handler's failure, free of charge or, on a payment that an earlier request settled, with its
    /// receipt; such a payment can be presented again.
    Failed(Option<Box<Settlement>>),
    /// Nothing of the handler's: the reason's own status, with a fresh challenge when that is 402.
    Refuse(Box<Refused>),
}

/// A refusal, with what is known of the money.
#[derive(Debug)]
pub struct Refused {
    /// Why; its row has the status.
    pub refusal: Refusal,
    /// What to say of the settlement: never a success.
    pub settlement: Option<Settlement>,
    /// The payment, when its outcome matters to the payer.
    pub payment: Option<Box<Identity>>,
}

/// What identifies a payment on its chain; no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The payment key's text.
    pub key: String,
    /// The asset.
    pub asset: String,
    /// Who pays.
    pub payer: String,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, settlement: None, payment: None }
    }
}

impl Gate {
    /// A payment that does what this request's offer asks for; `keep_seconds` is for how long after its
    /// window its record stays.
    pub fn open(payment: Bound, request: RequestId, now: UnixTime, keep_seconds: u64) -> (Self, Effect) {
        Self::opened(payment, request, now, keep_seconds, false)
    }

    /// A payment that does what an offer asks for that the ledger recalled, and that this request has no more:
    /// what was begun is gone on with, and nothing is begun.
    pub fn reopen(payment: Bound, request: RequestId, now: UnixTime, keep_seconds: u64) -> (Self, Effect) {
        Self::opened(payment, request, now, keep_seconds, true)
    }

    fn opened(
        payment: Bound,
        request: RequestId,
        now: UnixTime,
        keep_seconds: u64,
        recalled: bool,
    ) -> (Self, Effect) {
        let effects = payment.effects();
        // What is forgotten then was delivered, or never charged (`Claims::forget`). Presented once more, also to a cluster
        // that stood still meanwhile, it is verified anew, which the chain refuses for what it has; and its new claim goes by
        // another name than the one that was told.
        let keep_until = payment.over_by(now).max(now).plus(keep_seconds);
        let (network, payer) = (effects.network.clone(), effects.payer.as_str().to_owned());
        let state = State::Claiming(Box::new(Claiming { network, payer, recalled }));
        (Self { state, now }, Effect::Claim { payment: Box::new(payment), request, keep_until })
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// The next effect. An event that does not belong to the state finishes the gate without an answer
    /// that delivers: the driver is wrong, and the ledger keeps what it has.
    pub fn step(self, event: Event) -> (Self, Effect) {
        let now = self.now;
        let (state, effect) = match (self.state, event) {
            (State::Claiming(claiming), Event::Claimed(claim)) => Self::claimed(&claiming, claim, now),
            (State::Verifying(claimed), Event::Verified(verdict)) => Self::verified(*claimed, verdict),
            (State::Running(running), Event::Ran { success: true, charge }) => running.ran(charge.as_ref()),
            (State::Running(running), Event::Ran { success: false, .. }) => {
                finish(running.close(), Answer::Failed(None))
            }
            (State::Owing(paid), Event::Ran { success: true, .. }) => deliver(paid),
            (State::Owing(paid), Event::Ran { success: false, .. }) => {
                let receipt = Box::new(paid.settlement().clone());
                finish(Closing::Undelivered(paid), Answer::Failed(Some(receipt)))
            }
            (State::Marking(request), Event::Marked(claimed, Ok(()))) => {
                Self::settle(claimed, request, true, false)
            }
            (State::Marking(_), Event::Marked(claimed, Err(_))) => {
                let refusal = refuse(&claimed, Reason::StoreUnavailable, "the payment could not be recorded");
                finish(Closing::Abandon, Answer::Refuse(Box::new(refusal.into())))
            }
            (State::Settling(settling), Event::Settled(answer)) => settling.answered(answer),
            (State::Recording { ran: true, .. }, Event::Recorded(Ok(paid))) => deliver(Box::new(paid)),
            (State::Recording { ran: false, .. }, Event::Recorded(Ok(paid))) => {
                (State::Owing(Box::new(paid)), Effect::Run)
            }
            (State::Recording { settlement, .. }, Event::Recorded(Err(_))) => {
                unrecorded(&settlement, "it was settled, but that could not be recorded")
            }
            (State::Delivering(_), Event::Delivered(Ok(delivery))) => {
                finish(Closing::Nothing, Answer::Deliver(Box::new(delivery)))
            }
            (State::Delivering(settlement), Event::Delivered(Err(LedgerError::Conflict { .. }))) => {
                let transaction = settlement.transaction.clone();
                let refusal = Refusal::new(Reason::PaymentSpent, "this payment has bought its delivery");
                let settlement = Some(failed(&settlement, &refusal, transaction));
                let refused = Refused { refusal, settlement, payment: None };
                finish(Closing::Abandon, Answer::Refuse(Box::new(refused)))
            }
            (State::Delivering(settlement), Event::Delivered(Err(_))) => {
                unrecorded(&settlement, "it was settled, but the delivery could not be recorded")
            }
            (_, _) => {
                let refusal = Refusal::new(Reason::StoreUnavailable, "the request could not be completed");
                finish(Closing::Abandon, Answer::Refuse(Box::new(refusal.into())))
            }
        };
        (Self { state, now }, effect)
    }

    fn claimed(claiming: &Claiming, claim: Result<Claim, LedgerError>, now: UnixTime) -> (State, Effect) {
        let taken = |reason: Reason, message: &str, transaction: Option<String>| {
            // A metered payment that was charged nothing has none.
            let transaction = transaction.filter(|transaction| !transaction.is_empty());
            let message = match &transaction {
                Some(transaction) => format!("{message}; its transaction is {transaction}"),
                None => message.to_owned(),
            };
            let refusal = Refusal::new(reason, message).payer(&claiming.payer);
            let about = Settlement::new(false, claiming.network.clone());
            let settlement = Some(failed(&about, &refusal, transaction));
            finish(Closing::Nothing, Answer::Refuse(Box::new(Refused { refusal, settlement, payment: None })))
        };
        match claim {
            Ok(Claim::New(claimed)) if claiming.recalled => {
                let message = "the payment is for an offer that this request has no more";
                let refusal = refuse(&claimed, Reason::OfferMismatch, message);
                finish(Closing::Release(claimed), Answer::Refuse(Box::new(refusal.into())))
            }
            Ok(Claim::New(claimed)) => {
                let closes = claimed.payment().effects().window.closes;
                if closes.plus(CLOCK_SLACK_SECONDS) <= now {
                    let refusal =
                        refuse(&claimed, Reason::Expired, &format!("valid until {closes}, it is {now}"));
                    return finish(Closing::Release(claimed), Answer::Refuse(Box::new(refusal.into())));
                }
                let request = Box::new(tidied(claimed.payment().to_request()));
                (State::Verifying(Box::new(claimed)), Effect::Verify(request))
            }
            Ok(Claim::Resume(claimed)) if claimed.payment().is_metered() => {
                (State::Running(Box::new(Running { claimed, attempted: true })), Effect::Run)
            }
            Ok(Claim::Resume(claimed)) => {
                let request = Box::new(tidied(claimed.payment().to_request()));
                Self::settle(claimed, request, false, true)
            }
            Ok(Claim::Paid(paid)) => (State::Owing(paid), Effect::Run),
            Ok(Claim::Busy { transaction }) => {
                taken(Reason::PaymentBusy, "this payment is being processed", transaction)
            }
            Ok(Claim::Elsewhere { transaction }) => {
                taken(Reason::PaymentElsewhere, "this payment was presented for another request", transaction)
            }
            Ok(Claim::Spent { transaction }) => {
                taken(Reason::PaymentSpent, "this payment has bought its delivery", transaction)
            }
            Err(_) => {
                let refusal = Refusal::new(Reason::StoreUnavailable, "the payment could not be recorded");
                finish(Closing::Nothing, Answer::Refuse(Box::new(refusal.into())))
            }
        }
    }

    fn verified(claimed: Claimed, verdict: Result<Verdict, FacilitatorError>) -> (State, Effect) {
        let refusal = match verdict {
            Ok(verdict) if verdict.is_valid && verdict.invalid_reason.is_none() => {
                if verdict.payer.as_deref().is_none_or(|payer| is_payer(&claimed, payer)) {
                    let running = Box::new(Running { claimed, attempted: false });
                    return (State::Running(running), Effect::Run);
                }
                refuse(
                    &claimed,
                    Reason::FacilitatorUnavailable,
                    "the facilitator's verdict is about another payer",
                )
            }
            Ok(verdict) => {
                let reason = verdict.invalid_reason.map_or(Reason::InvalidPayload, |code| code.reason());
                refuse(&claimed, reason, "the facilitator found the payment invalid")
            }
            Err(_) => refuse(&claimed, Reason::FacilitatorUnavailable, "the facilitator gave no verdict"),
        };
        finish(Closing::Release(claimed), Answer::Refuse(Box::new(refusal.into())))
    }

    fn settle(claimed: Claimed, request: Box<PaymentRequest>, ran: bool, attempted: bool) -> (State, Effect) {
        let again = request.clone();
        let settling = Settling::new(claimed, again, ran, attempted);
        (State::Settling(Box::new(settling)), Effect::Settle(request))
    }
}

fn finish(closing: Closing, answer: Answer) -> (State, Effect) {
    (State::Finished, Effect::Finish(closing, Box::new(answer)))
}

fn deliver(paid: Box<Paid>) -> (State, Effect) {
    (State::Delivering(Box::new(paid.settlement().clone())), Effect::Deliver(paid))
}

/// The money moved and the store failed: nothing leaves but the transaction's name.
fn unrecorded(settlement: &Settlement, message: &str) -> (State, Effect) {
    let refusal = Refusal::new(Reason::SettlementPending, message);
    let settlement = Some(failed(settlement, &refusal, settlement.transaction.clone()));
    let refused = Refused { refusal, settlement, payment: None };
    finish(Closing::Abandon, Answer::Refuse(Box::new(refused)))
}

/// What the facilitator gets: what the seller has bound, and of the payer's document the members that are known. What
/// the facilitator would read of the others, the seller has not looked at.
fn tidied(mut request: PaymentRequest) -> PaymentRequest {
    let payment = &mut request.payment_payload;
    payment.unknown = Object::new();
    payment.accepted.unknown = request.payment_requirements.unknown.clone();
    if let Some(resource) = &mut payment.resource {
        resource.unknown = Object::new();
    }
    request
}

fn refuse(claimed: &Claimed, reason: Reason, message: &str) -> Refusal {
    claimed.payment().refuse(reason, message)
}

/// `settlement` as a failure for `refusal`, without the facilitator's own words.
fn failed(settlement: &Settlement, refusal: &Refusal, transaction: Option<String>) -> Settlement {
    Settlement {
        error_reason: Some(refusal.code()),
        payer: refusal.payer.clone().or_else(|| settlement.payer.clone()),
        transaction,
        ..Settlement::new(false, settlement.network.clone())
    }
}

fn is_payer(claimed: &Claimed, payer: &str) -> bool {
    let offer = claimed.payment().offer();
    Address::on(&offer.network, payer).is_ok_and(|payer| payer == claimed.payment().effects().payer)
}
