//! A payment that pays none of its request's offers, but may have been charged for one of those that it had before.

use tollway_ledger::LedgerError;
use tollway_protocol::bind::{Bound, PaymentKey, Presented};
use tollway_protocol::{Payment, Reason, Refusal, Settlement};

use crate::gate::Refused;
use crate::present::{Offered, Presentation, bind_to};
use crate::seller::Seller;

/// What the ledger knows of such a payment.
pub(crate) enum Recall {
    /// Nothing: it was never charged.
    Nothing,
    /// It was taken for this offer, and is to be gone on with.
    Bound(Box<Bound>),
    /// It can't be gone on with; what is known of it.
    Refused(Box<Refused>),
}

/// Looks a payment up that binds to none of `offers`: prices move and offers go, and a payer who was told to send the
/// same payment again must not be asked for another. Changes nothing.
pub(crate) async fn recall(seller: &Seller, presented: &Presentation, offers: &[Offered]) -> Recall {
    for candidate in candidates(seller, presented, offers) {
        let Some(key) = key(&candidate) else { continue };
        match seller.shared.ledger.recall(&key).await {
            Ok(None) => {}
            Ok(Some(recalled)) => {
                let Offered { scheme, .. } = candidate.offered;
                let offered = Offered { offer: recalled.offer, scheme };
                let network = offered.offer.network.clone();
                let bound = again(presented, &offered)
                    .and_then(|payment| bind_to(&offered, payment).ok())
                    .filter(|bound| *bound.key() == key);
                return match bound {
                    Some(bound) => Recall::Bound(Box::new(bound)),
                    None => elsewhere(Settlement {
                        transaction: recalled.transaction,
                        ..Settlement::new(false, network)
                    }),
                };
            }
            // With the store away nobody can say that it was not charged.
            Err(error) => return unavailable(&error),
        }
    }
    Recall::Nothing
}

/// A payment with an offer that it can be decoded against.
struct Candidate {
    offered: Offered,
    payment: Payment,
}

fn candidates(seller: &Seller, presented: &Presentation, offers: &[Offered]) -> Vec<Candidate> {
    match presented {
        Presentation::Nothing => Vec::new(),
        Presentation::V2(payment) => {
            let offer = &payment.accepted;
            let scheme = seller.scheme(&offer.scheme, &offer.network).cloned();
            let offered = scheme.map(|scheme| Offered { offer: offer.clone(), scheme });
            let candidate = |offered| Candidate { offered, payment: Payment::clone(payment) };
            offered.into_iter().map(candidate).collect()
        }
        // It does not say what it accepted: the asset is taken to be one of today's.
        Presentation::V1(payment) => offers
            .iter()
            .filter(|offered| payment.may_accept(&offered.offer))
            .filter_map(|offered| {
                let payment = payment.to_v2(&offered.offer).ok()?;
                Some(Candidate { offered: offered.clone(), payment })
            })
            .collect(),
    }
}

fn key(candidate: &Candidate) -> Option<PaymentKey> {
    let Candidate { offered, payment } = candidate;
    let presented = Presented::new(offered.offer.clone(), payment.clone()).ok()?;
    Some(offered.scheme.effects(&presented).ok()?.key)
}

fn again(presented: &Presentation, offered: &Offered) -> Option<Payment> {
    match presented {
        Presentation::Nothing => None,
        Presentation::V2(payment) => Some(Payment::clone(payment)),
        Presentation::V1(payment) => payment.to_v2(&offered.offer).ok(),
    }
}

fn elsewhere(about: Settlement) -> Recall {
    let refusal = Refusal::new(Reason::PaymentElsewhere, "this payment was presented with another offer");
    let settlement = Some(Settlement { error_reason: Some(refusal.code()), ..about });
    Recall::Refused(Box::new(Refused { refusal, settlement, payment: None }))
}

fn unavailable(error: &LedgerError) -> Recall {
    tracing::error!(%error, "a payment could not be looked up");
    let refusal = Refusal::new(Reason::StoreUnavailable, "the payment could not be looked up");
    Recall::Refused(Box::new(refusal.into()))
}
