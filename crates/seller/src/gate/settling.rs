//! From the question to settle to what is known of the money.

use tollway_ledger::{Claimed, is_transaction};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::FacilitatorError;
use tollway_protocol::{PaymentRequest, Reason, Settlement};

use super::{Answer, Closing, Effect, Identity, Refused, State, failed, finish, is_payer, refuse};

/// The longest `extra` and `extensions` that are kept of a facilitator's answer, each in bytes of JSON.
const MAX_ADDED: usize = 2048;

#[derive(Debug)]
pub(super) struct Settling {
    claimed: Claimed,
    /// What the facilitator is asked, also a second time.
    request: Box<PaymentRequest>,
    /// Whether the handler has run.
    ran: bool,
    /// The transaction of an earlier answer.
    transaction: Option<String>,
    /// Whether an earlier attempt may have charged.
    attempted: bool,
    /// Whether `settlement_pending` has been asked about again.
    asked_again: bool,
}

impl Settling {
    pub(super) fn new(claimed: Claimed, request: Box<PaymentRequest>, ran: bool, attempted: bool) -> Self {
        let transaction = claimed.transaction().map(str::to_owned);
        Self { claimed, request, ran, transaction, attempted, asked_again: false }
    }

    pub(super) fn answered(self: Box<Self>, answer: Result<Settlement, FacilitatorError>) -> (State, Effect) {
        match answer {
            Ok(mut settlement) if settlement.success => match self.claimed.check(&settlement) {
                Ok(()) => {
                    tidy(&mut settlement);
                    let kept = Box::new(settlement.clone());
                    let state = State::Recording { ran: self.ran, settlement: kept };
                    (state, Effect::Record(self.claimed, Box::new(settlement)))
                }
                Err(_) => self.unknown("the facilitator's answer does not fit the payment"),
            },
            Ok(settlement) => self.not_settled(&settlement),
            Err(FacilitatorError::NotAsked(_)) if !self.attempted => {
                let message = "the facilitator could not be reached; nothing was charged";
                let refusal = refuse(&self.claimed, Reason::FacilitatorUnavailable, message);
                finish(Closing::Release(self.claimed), Answer::Refuse(Box::new(refusal.into())))
            }
            Err(_) => {
                self.unknown("the facilitator gave no answer that says whether the payment was settled")
            }
        }
    }

    fn not_settled(mut self: Box<Self>, settlement: &Settlement) -> (State, Effect) {
        let about_this = settlement.network == self.claimed.payment().offer().network
            && settlement.payer.as_deref().is_none_or(|payer| is_payer(&self.claimed, payer));
        if !about_this {
            return self.unknown("the facilitator's answer does not fit the payment");
        }
        let reason =
            settlement.error_reason.as_ref().map_or(Reason::Other("".into()), tollway_protocol::Code::reason);
        let network = &settlement.network;
        let named = settlement.transaction.clone().filter(|named| is_transaction(network, named));
        let uncharged = match reason {
            Reason::TransactionFailed => named.is_some(),
            _ => !self.attempted && settlement.transaction.is_none() && precedes_broadcast(&reason),
        };
        if uncharged {
            let message = "the payment could not be settled; nothing was charged";
            let refusal = refuse(&self.claimed, reason, message);
            let settlement = Some(failed(settlement, &refusal, named));
            let refused = Refused { settlement, refusal, payment: None };
            return finish(Closing::Release(self.claimed), Answer::Refuse(Box::new(refused)));
        }
        // Every later answer names it, and so does the record.
        self.transaction = named.or(self.transaction);
        self.attempted = true;
        if reason != Reason::SettlementPending {
            return self.unknown("the facilitator can't say whether the payment was settled");
        }
        if settlement.transaction.is_some() && !self.asked_again {
            self.asked_again = true;
            let request = self.request.clone();
            return (State::Settling(self), Effect::Settle(request));
        }
        self.unknown("the settlement is under way")
    }

    /// Not known whether it was charged: the payer is told what is, and to send the same again.
    fn unknown(self: Box<Self>, message: &str) -> (State, Effect) {
        let Self { claimed, transaction, .. } = *self;
        let refusal = refuse(&claimed, Reason::SettlementPending, message);
        let about = Settlement::new(false, claimed.payment().offer().network.clone());
        let settlement = Some(failed(&about, &refusal, transaction.clone()));
        let payment = Some(Box::new(identity(&claimed)));
        let refused = Refused { refusal, settlement, payment };
        finish(Closing::Pending(claimed, transaction), Answer::Refuse(Box::new(refused)))
    }
}

/// Whether a facilitator finds this before it broadcasts anything, so that a refusal for it proves that nothing was
/// charged and nothing will be: if it names no transaction, and nothing was tried before. The balance may be
/// short *because* an earlier attempt was settled, and what has a reason of its own may have broadcast.
///
/// [`Reason::TransactionFailed`] is a proof with its transaction only: a facilitator that says so is held to it.
fn precedes_broadcast(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::InvalidPayload
            | Reason::InvalidOffer
            | Reason::InvalidVersion
            | Reason::UnsupportedScheme
            | Reason::UnsupportedNetwork
            | Reason::SchemeMismatch
            | Reason::NetworkMismatch
            | Reason::OfferMismatch
            | Reason::ExtensionMismatch
            | Reason::AssetMismatch
            | Reason::AssetNotAllowed
            | Reason::RecipientMismatch
            | Reason::AmountMismatch
            | Reason::UnexpectedEffect
            | Reason::Expired
            | Reason::NotYetValid
            | Reason::WindowTooLong
            | Reason::MissingDomain
            | Reason::DomainName
            | Reason::DomainVersion
            | Reason::BadSignature
            | Reason::SignatureForm
            | Reason::FactoryNotAllowed
            | Reason::InsufficientBalance
            | Reason::AllowanceRequired
            | Reason::SpenderMismatch
            | Reason::FacilitatorMismatch
            | Reason::ExceedsPermitted
            | Reason::PermitForm
            | Reason::PermitOwner
            | Reason::PermitAsset
            | Reason::PermitSpender
            | Reason::PermitExpired
            | Reason::PermitAmount
            | Reason::ApprovalForm
            | Reason::ApprovalOwner
            | Reason::ApprovalAsset
            | Reason::ApprovalSpender
            | Reason::ApprovalUnreadable
            | Reason::ApprovalTarget
            | Reason::ApprovalSelector
            | Reason::ApprovalCallee
            | Reason::ApprovalCalldata
            | Reason::ApprovalSigner
            | Reason::ApprovalSignature
            | Reason::AssetNotDeployed
            | Reason::TransferNotSupported
            | Reason::SimulationFailed
            | Reason::ChainUnreachable
            | Reason::FacilitatorUnavailable
            | Reason::PayerSuspended
    )
}

/// Of a facilitator's answer, what is kept and shown to the payer: the members that are known, and what a scheme adds
/// as long as it is short.
fn tidy(settlement: &mut Settlement) {
    settlement.error_message = None;
    settlement.unknown = Object::new();
    for added in [&mut settlement.extra, &mut settlement.extensions] {
        if serde_json::to_vec(added).map_or(usize::MAX, |text| text.len()) > MAX_ADDED {
            *added = Object::new();
        }
    }
}

fn identity(claimed: &Claimed) -> Identity {
    let (offer, effects) = (claimed.payment().offer(), claimed.payment().effects());
    Identity {
        key: effects.key.as_str().to_owned(),
        asset: offer.asset.clone(),
        payer: effects.payer.as_str().to_owned(),
    }
}
