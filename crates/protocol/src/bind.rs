//! What a payment does, compared with what was asked: the one place where that is decided.
//!
//! A mechanism never says that a payment is good. It decodes what will execute into [`Effects`];
//! [`Presented::bind`] compares them with the offer. A payment goes through the states
//! [`Presented`] → [`Bound`] → [`Verified`]; each can only be made from the one before it.

mod effects;

use crate::IdempotencyKey;
use crate::charge::{Charge, ChargeError, UPTO};
use crate::door::{Address, Amount, UnixTime};
use crate::reason::{Dialect, Reason, Refusal};
use crate::wire::{Offer, Payment};
pub use effects::{Effects, Move, PaymentKey, Window};

/// A payment beside the offer that it says it accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Presented {
    offer: Offer,
    payment: Payment,
    /// What the payer accepted to pay: the offer's amount, or the ceiling of what is charged.
    permitted: Amount,
}

/// A payment whose effects are those that the offer asked for, at whatever time.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    presented: Presented,
    effects: Effects,
    idempotency_key: Option<IdempotencyKey>,
}

/// A payment that does what the offer asked for, and can do it now.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified(Bound);

/// Seconds that a payment must still be valid for when it is judged: it has to reach a block.
pub const MIN_REMAINING_SECONDS: u64 = 6;

/// Seconds by which a payment may be valid for longer than its offer's `maxTimeoutSeconds`, for clocks that differ.
/// What is valid for ever is never known to have failed.
pub const MAX_WINDOW_SLACK_SECONDS: u64 = 3_600;

/// Seconds after which a Solana transaction's blockhash is dead for sure while its cluster makes blocks: it dies with the
/// 150th, after a minute or two.
const BLOCKHASH_SECONDS: u64 = 3_600;
/// The namespace of Solana's clusters.
pub(crate) const SOLANA: &str = "solana";

/// What an offer on Solana tells payers of the chain, anew with every answer: no terms of what is paid.
const HINTS: [&str; 2] = ["recentBlockhash", "lastValidBlockHeight"];

/// Whether `accepted`, as the payer echoed it, is `offer`: every member equal, but for `extra`, where the payer may have
/// added to the seller's, and what it says of Solana's state may be older. Addresses are compared as addresses.
///
/// This is the reference server's rule.
#[must_use]
pub fn accepts(offer: &Offer, accepted: &Offer) -> bool {
    mismatch(offer, accepted).is_none()
}

fn mismatch(offer: &Offer, accepted: &Offer) -> Option<(Reason, &'static str)> {
    let differs = (offer.amount != accepted.amount).then_some((Reason::AmountMismatch, "amount"));
    mismatch_besides(offer, accepted, differs)
}

/// The first member that differs, where `amount` is what is to be said of the amounts.
fn mismatch_besides(
    offer: &Offer,
    accepted: &Offer,
    amount: Option<(Reason, &'static str)>,
) -> Option<(Reason, &'static str)> {
    let same_address = |a: &str, b: &str| {
        let on = |text| Address::on(&offer.network, text).ok();
        a == b || on(a).is_some_and(|a| Some(a) == on(b))
    };
    if offer.scheme != accepted.scheme {
        Some((Reason::SchemeMismatch, "scheme"))
    } else if offer.network != accepted.network {
        Some((Reason::NetworkMismatch, "network"))
    } else if amount.is_some() {
        amount
    } else if !same_address(&offer.asset, &accepted.asset) {
        Some((Reason::OfferMismatch, "asset"))
    } else if !same_address(&offer.pay_to, &accepted.pay_to) {
        Some((Reason::RecipientMismatch, "payTo"))
    } else if offer.max_timeout_seconds != accepted.max_timeout_seconds {
        Some((Reason::OfferMismatch, "maxTimeoutSeconds"))
    } else {
        let is_hint = |key: &str| offer.network.namespace() == SOLANA && HINTS.contains(&key);
        let mut terms = offer.extra.0.iter().filter(|(key, _)| !is_hint(key));
        let subset = terms.all(|(key, value)| {
            accepted.extra.get(key).is_some_and(|other| crate::json::is_subset(value, other))
        });
        (!subset).then_some((Reason::OfferMismatch, "extra"))
    }
}

impl Presented {
    /// Sets `payment` beside `offer`, which is the seller's own, never the payer's copy.
    ///
    /// # Errors
    /// The first member in which what the payer accepted differs from the offer.
    pub fn new(offer: Offer, payment: Payment) -> Result<Self, Refusal> {
        let differs = mismatch(&offer, &payment.accepted);
        Self::unless(differs, offer, payment)
    }

    /// Sets `payment` beside what is charged for it when it is settled. With scheme `upto` the amount of `charged` is
    /// that, at most what the payer accepted, and may be zero; with every other scheme this is [`Presented::new`].
    ///
    /// # Errors
    /// As [`Presented::new`]; [`Reason::ExceedsPermitted`] when more is charged than accepted.
    pub fn charged(charged: Offer, payment: Payment) -> Result<Self, Refusal> {
        if charged.scheme != UPTO {
            return Self::new(charged, payment);
        }
        let accepted = &payment.accepted;
        let exceeds = (charged.amount > accepted.amount).then_some((Reason::ExceedsPermitted, "amount"));
        let differs = mismatch_besides(&charged, accepted, exceeds);
        Self::unless(differs, charged, payment)
    }

    fn unless(
        differs: Option<(Reason, &'static str)>,
        offer: Offer,
        payment: Payment,
    ) -> Result<Self, Refusal> {
        match differs {
            None => Ok(Self { permitted: payment.accepted.amount, offer, payment }),
            Some((reason, member)) => {
                let message = format!("the payment accepted an offer whose {member} differs from this one's");
                Err(Refusal::new(reason, message).dialect(Dialect::of_offer(&offer)))
            }
        }
    }

    /// The seller's offer.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// What the payer sent.
    #[must_use]
    pub fn payment(&self) -> &Payment {
        &self.payment
    }

    /// Compares all that the payment would do with the offer, whatever the time.
    ///
    /// # Errors
    /// The first difference.
    pub fn bind(self, effects: Effects) -> Result<Bound, Refusal> {
        match difference(&self.offer, self.permitted, &effects) {
            None => Ok(Bound { presented: self, effects, idempotency_key: None }),
            Some((reason, message)) => {
                Err(effects.refuse(reason, message).dialect(Dialect::of_offer(&self.offer)))
            }
        }
    }
}

fn difference(offer: &Offer, permitted: Amount, effects: &Effects) -> Option<(Reason, String)> {
    let Effects { scheme, network, payer, moves, .. } = effects;
    if *scheme != offer.scheme {
        return Some((
            Reason::SchemeMismatch,
            format!("scheme is {scheme}, the offer's is {}", offer.scheme),
        ));
    }
    if *network != offer.network {
        return Some((
            Reason::NetworkMismatch,
            format!("network is {network}, the offer's is {}", offer.network),
        ));
    }
    let [only] = moves.as_slice() else {
        return Some((
            Reason::UnexpectedEffect,
            format!("{} movements of assets, expected one", moves.len()),
        ));
    };
    if only.from != *payer {
        return Some((
            Reason::UnexpectedEffect,
            format!("{} would be charged, not the payer {payer}", only.from),
        ));
    }
    match (Address::on(&offer.network, &offer.asset), Address::on(&offer.network, &offer.pay_to)) {
        (Err(error), _) => Some((Reason::InvalidOffer, format!("asset: {error}"))),
        (_, Err(error)) => Some((Reason::InvalidOffer, format!("payTo: {error}"))),
        (Ok(asset), _) if asset != only.asset => {
            Some((Reason::AssetMismatch, format!("asset is {}, the offer's is {asset}", only.asset)))
        }
        (_, Ok(pay_to)) if pay_to != only.to => {
            Some((Reason::RecipientMismatch, format!("recipient is {}, the offer's is {pay_to}", only.to)))
        }
        _ if only.amount != permitted => Some((
            Reason::AmountMismatch,
            format!("amount is {}, the offer's is {permitted}: exactly that must be signed for", only.amount),
        )),
        _ => None,
    }
}

impl Bound {
    /// The payment beside its offer.
    #[must_use]
    pub fn presented(&self) -> &Presented {
        &self.presented
    }

    /// The seller's offer.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.presented.offer
    }

    /// What the payer sent.
    #[must_use]
    pub fn payment(&self) -> &Payment {
        &self.presented.payment
    }

    /// What it would do; with scheme `upto`, the most that it could.
    #[must_use]
    pub fn effects(&self) -> &Effects {
        &self.effects
    }

    /// What makes it unique.
    #[must_use]
    pub fn key(&self) -> &PaymentKey {
        &self.effects.key
    }

    /// The same payment, as whoever knows `key` presents it.
    #[must_use]
    pub fn keyed(self, key: Option<IdempotencyKey>) -> Self {
        Self { idempotency_key: key, ..self }
    }

    /// What whoever presents it names the request to settle it by.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.idempotency_key.as_ref()
    }

    /// Checks the window against `now`: open, for [`MIN_REMAINING_SECONDS`] more, and not for much longer than
    /// the offer's `maxTimeoutSeconds` ([`MAX_WINDOW_SLACK_SECONDS`]).
    ///
    /// # Errors
    /// [`Reason::NotYetValid`], [`Reason::Expired`] or [`Reason::WindowTooLong`].
    pub fn at(self, now: UnixTime) -> Result<Verified, Refusal> {
        let Window { opens, closes } = self.effects.window;
        let refuse = |reason, message: String| Err(self.refuse(reason, message));
        if closes < now.plus(MIN_REMAINING_SECONDS) {
            return refuse(
                Reason::Expired,
                format!("valid until {closes}, it is {now} and {MIN_REMAINING_SECONDS} s must remain"),
            );
        }
        let longest = self.offer().max_timeout_seconds.saturating_add(MAX_WINDOW_SLACK_SECONDS);
        if closes > now.plus(longest) && !self.is_timeless() {
            return refuse(
                Reason::WindowTooLong,
                format!("valid until {closes}, it is {now} and {longest} s are the most"),
            );
        }
        if opens > now {
            return refuse(Reason::NotYetValid, format!("valid from {opens}, it is {now}"));
        }
        Ok(Verified(self))
    }

    /// A refusal of this payment, in its offer's dialect.
    #[must_use]
    pub fn refuse(&self, reason: Reason, message: impl Into<String>) -> Refusal {
        self.effects.refuse(reason, message).dialect(Dialect::of_offer(self.offer()))
    }

    /// The request that a facilitator gets for this payment.
    #[must_use]
    pub fn to_request(&self) -> crate::wire::PaymentRequest {
        let Presented { payment, offer, .. } = self.presented.clone();
        crate::wire::PaymentRequest {
            idempotency_key: self.idempotency_key.clone(),
            ..crate::wire::PaymentRequest::new(payment, offer)
        }
    }

    /// By when this payment, presented at `now`, can't execute any more: its window's end. A Solana transaction has no
    /// window and dies with its blockhash, after 150 blocks, a minute or two; it is given what the offer gives, and an
    /// hour more. A delegation (ERC-7710) has no end.
    ///
    /// No proof of death: blocks of a cluster that stands still die later. It is for records that nothing hangs on.
    #[must_use]
    pub fn over_by(&self, now: UnixTime) -> UnixTime {
        let window = self.effects.window;
        if window == Window::ALWAYS && self.offer().network.namespace() == SOLANA {
            return now.plus(self.offer().max_timeout_seconds).plus(BLOCKHASH_SECONDS);
        }
        window.closes
    }

    /// Whether it has no time of its own: see [`Window::ALWAYS`].
    fn is_timeless(&self) -> bool {
        let is_of_such_kind = self.offer().extra.str("assetTransferMethod") == Some("erc7710")
            || self.offer().network.namespace() == SOLANA;
        self.effects.window == Window::ALWAYS && is_of_such_kind
    }

    /// Whether less than the offer's amount may be charged.
    #[must_use]
    pub fn is_metered(&self) -> bool {
        self.offer().scheme == UPTO
    }

    /// The request to settle `charge` of this payment; the whole amount where it is not metered.
    ///
    /// # Errors
    /// [`ChargeError`]: the charge exceeds the offer's amount, or can't be computed.
    pub fn to_charge(&self, charge: Option<&Charge>) -> Result<crate::wire::PaymentRequest, ChargeError> {
        let mut request = self.to_request();
        if let Some(charge) = charge.filter(|_| self.is_metered()) {
            request.payment_requirements.amount = charge.of(self.offer())?;
        }
        Ok(request)
    }
}

impl Verified {
    /// Forgets the time.
    #[must_use]
    pub fn into_bound(self) -> Bound {
        self.0
    }
}

impl std::ops::Deref for Verified {
    type Target = Bound;
    fn deref(&self) -> &Bound {
        &self.0
    }
}
