//! Payments that payers have signed.

use tollway_protocol::bind::{Bound, PaymentKey, Presented};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::FacilitatorScheme as _;
use tollway_protocol::wire::{Payment, Version};
use tollway_protocol::{IdempotencyKey, Offer, Refusal};

use crate::side::Side;

/// A payment that was signed.
pub struct Wish<S: Side> {
    /// What was signed.
    pub transfer: S::Transfer,
    /// What came of signing: a signature, or a transaction that has one.
    pub signed: Vec<u8>,
    /// What it is for.
    pub offer: Offer,
    /// Its key in every ledger.
    pub key: PaymentKey,
    /// Whether it is never to be settled.
    pub only_verified: bool,
    /// What whoever presents it names the request by.
    pub asker: Option<IdempotencyKey>,
}

impl<S: Side> Clone for Wish<S> {
    fn clone(&self) -> Self {
        Self {
            transfer: self.transfer.clone(),
            signed: self.signed.clone(),
            offer: self.offer.clone(),
            key: self.key.clone(),
            only_verified: self.only_verified,
            asker: self.asker.clone(),
        }
    }
}

impl<S: Side> Wish<S> {
    /// A payment whose key is not known yet; see [`Wish::bound`], which every one goes through before anybody hears of it.
    #[must_use]
    pub fn new(transfer: S::Transfer, signed: Vec<u8>, offer: Offer) -> Self {
        let key = PaymentKey::stored(String::new());
        Self { transfer, signed, offer, key, only_verified: false, asker: None }
    }

    /// What a facilitator makes of it, whatever the time.
    ///
    /// # Errors
    /// It refuses.
    pub fn bound(&self, facilitator: &S::Facilitator) -> Result<Bound, Refusal> {
        let payment = Payment {
            x402_version: Version,
            resource: None,
            accepted: self.offer.clone(),
            payload: S::payload(self),
            extensions: Object::new(),
            unknown: Object::new(),
        };
        let presented = Presented::new(self.offer.clone(), payment)?;
        let effects = facilitator.effects(&presented)?;
        Ok(presented.bind(effects)?.keyed(self.asker.clone()))
    }
}
