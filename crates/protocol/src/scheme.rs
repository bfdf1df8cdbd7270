//! What a mechanism (a scheme on a family of chains) does for each actor, and the facilitator's trait.

use async_trait::async_trait;

use crate::Network;
use crate::bind::{Bound, Effects, Presented, Verified};
use crate::door::{Address, Amount, UnixTime};
use crate::json::Object;
use crate::money::Price;
use crate::reason::Refusal;
use crate::wire::{Kind, Offer, PaymentRequest, Settlement, Supported, Verdict};

/// What a seller wants for a request, before a mechanism makes an offer of it.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Where to be paid.
    pub network: Network,
    /// How much.
    pub price: Price,
    /// Who is paid.
    pub pay_to: String,
    /// How long a payment may take, in seconds.
    pub max_timeout_seconds: u64,
    /// What the seller adds to the offer's `extra`.
    pub extra: Object,
}

/// Why an [`Ask`] can't become an offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No table knows the asset.
    #[error(
        "no asset {asset} is known on {network}: add it to the assets, or give the price as asset and atomic amount with its EIP-712 name and version"
    )]
    UnknownAsset {
        /// The symbol or address asked for.
        asset: String,
        /// The network asked for.
        network: Network,
    },
    /// The price does not fit the asset.
    #[error("price: {0}")]
    Price(#[from] crate::money::MoneyError),
    /// `pay_to` is no address there.
    #[error("payTo: {0}")]
    PayTo(crate::door::DoorError),
    /// The mechanism needs more than it got.
    #[error("{0}")]
    Incomplete(String),
}

/// A mechanism as the seller sees it.
pub trait SellerScheme: Send + Sync {
    /// The scheme's wire name.
    fn scheme(&self) -> &str;
    /// Whether it works on `network`.
    fn supports(&self, network: &Network) -> bool;
    /// Makes an offer of `ask`; `kind` is what the facilitator says of this scheme and network.
    ///
    /// # Errors
    /// [`AskError`]: what is missing, and where to say it.
    fn offer(&self, ask: &Ask, kind: &Kind) -> Result<Offer, AskError>;
    /// Decodes what the payment would do, without I/O.
    ///
    /// # Errors
    /// A refusal when the payload can't be understood.
    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal>;
    /// The extensions that a challenge with `offer` declares, by key: of those that the facilitator has in
    /// `supported`.
    fn extensions(&self, _offer: &Offer, _supported: &[String]) -> Object {
        Object::new()
    }
}

/// What a payer signed.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The scheme's payload.
    pub payload: Object,
    /// What it does, to be bound against the offer before it leaves.
    pub effects: Effects,
}

/// Why a wallet did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The offer can't be signed as it is.
    #[error("the offer can't be paid: {0}")]
    Offer(String),
    /// The signer failed.
    #[error("the signer failed: {0}")]
    Signer(String),
}

/// A mechanism as the payer sees it: one account on a family of networks.
#[async_trait]
pub trait PayerScheme: Send + Sync {
    /// The scheme's wire name.
    fn scheme(&self) -> &str;
    /// The transfer methods that it signs, as `extra.assetTransferMethod` names them.
    fn methods(&self) -> &[&str] {
        &["eip3009"]
    }
    /// The account that would pay on `network`, if it can.
    fn payer(&self, network: &Network) -> Option<Address>;
    /// Whether this offer could be signed, without signing it.
    ///
    /// # Errors
    /// [`SignError::Offer`]: what it lacks.
    fn check(&self, offer: &Offer) -> Result<(), SignError>;
    /// For how many seconds after it is signed a payment for `offer` may execute at most: what its offer gives, where
    /// the mechanism can end it then.
    fn lives(&self, offer: &Offer) -> u64 {
        offer.max_timeout_seconds
    }
    /// Signs a payment for `offer`, made at `now` and made unique by `entropy`.
    ///
    /// # Errors
    /// [`SignError`].
    async fn sign(&self, offer: &Offer, now: UnixTime, entropy: [u8; 32]) -> Result<Signed, SignError>;
    /// What it adds to the extensions that the challenge `advertised`, by key, for what it just signed: members of
    /// each one's `info`. What the challenge says there stays as it is.
    ///
    /// # Errors
    /// [`SignError`] when the payment can't succeed without and it can't be had.
    async fn extend(
        &self,
        _offer: &Offer,
        _signed: &Signed,
        _advertised: &Object,
    ) -> Result<Object, SignError> {
        Ok(Object::new())
    }
}

/// What became of a settlement: there is no error that could be taken for "not settled".
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The money moved, in this transaction.
    Settled {
        /// The transaction.
        transaction: String,
    },
    /// Of what the payer permitted, this was charged (scheme `upto`). Always the first answer: also when it is asked
    /// again for another amount.
    Charged {
        /// The transaction; none when nothing was to be charged.
        transaction: Option<String>,
        /// Atomic units.
        amount: Amount,
    },
    /// The money did not move and this attempt can't move it any more.
    NotSettled {
        /// Why.
        refusal: Refusal,
        /// The transaction that failed, if one was broadcast.
        transaction: Option<String>,
    },
    /// Not known yet.
    Pending {
        /// The transaction that was broadcast, once there is one.
        transaction: Option<String>,
        /// What is waited for, for people.
        message: String,
    },
}

/// Why a facilitator is not ready for one of its networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{network}: {problem}")]
pub struct NotReady {
    /// The network.
    pub network: Network,
    /// What is wrong and what to do.
    pub problem: String,
}

/// A mechanism as the facilitator sees it: one scheme on one network.
#[async_trait]
pub trait FacilitatorScheme: Send + Sync {
    /// The kind that `/supported` advertises (version 2; the registry adds version 1).
    fn kind(&self) -> Kind;
    /// The network served.
    fn network(&self) -> &Network;
    /// The accounts that send transactions.
    fn signers(&self) -> Vec<String>;
    /// The keys of the protocol's extensions that it understands.
    fn extensions(&self) -> Vec<&'static str> {
        Vec::new()
    }
    /// The time that payments are judged by: the chain's where it is known to differ from `host`.
    fn now(&self, host: UnixTime) -> UnixTime {
        host
    }
    /// Decodes what the payment would do, if its signature is good: [`FacilitatorScheme::verify`] finds that out.
    ///
    /// # Errors
    /// A refusal when the payload can't be understood or is not served.
    fn effects(&self, presented: &Presented) -> Result<Effects, Refusal>;
    /// Asks the chain whether the payment would settle now. Changes nothing.
    ///
    /// # Errors
    /// A refusal; [`crate::Reason::ChainUnreachable`] when it could not be asked.
    async fn verify(&self, payment: &Verified) -> Result<(), Refusal>;
    /// Settles the payment once, however often it is called, and answers by `deadline` from now
    /// whatever the chain does. The work goes on when the caller doesn't wait.
    async fn settle(&self, payment: Bound, deadline: std::time::Duration) -> Outcome;
    /// Finishes what an earlier process left behind.
    async fn recover(&self);
    /// Whether payments can be settled now.
    ///
    /// # Errors
    /// What is wrong.
    async fn ready(&self) -> Result<(), NotReady>;
    /// Waits until nothing is in flight.
    async fn drain(&self);
}

/// Why a facilitator gave no protocol answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FacilitatorError {
    /// The request never left, or was refused before it was looked at: nothing happened.
    #[error("the facilitator could not be asked: {0}")]
    NotAsked(String),
    /// It may or may not have acted: time-out, cut connection, garbled or foreign answer.
    #[error("the facilitator's answer is unknown: {0}")]
    Unknown(String),
}

/// Who verifies and settles; in process or over HTTP is the same to a seller.
#[async_trait]
pub trait Facilitator: Send + Sync {
    /// Would this payment settle now?
    ///
    /// # Errors
    /// [`FacilitatorError`] when there is no verdict.
    async fn verify(&self, request: &PaymentRequest) -> Result<Verdict, FacilitatorError>;
    /// Settle it. May be called again with the same payment.
    ///
    /// # Errors
    /// [`FacilitatorError`] when there is no protocol answer; [`FacilitatorError::Unknown`] says
    /// nothing about the money.
    async fn settle(&self, request: &PaymentRequest) -> Result<Settlement, FacilitatorError>;
    /// What is served.
    ///
    /// # Errors
    /// [`FacilitatorError`].
    async fn supported(&self) -> Result<Supported, FacilitatorError>;
}
