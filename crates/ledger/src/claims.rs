//! The seller's half: which request each payment has been taken for, and how far it got.
//!
//! ```text
//! (none) ─claim─▶ claimed ─settling─▶ settling ─settled─▶ settled ─deliver─▶ delivered
//!                    └──release──▶ (none)  └──release, only when nothing was charged──▶ (none)
//! ```
//!
//! `claimed`, `settling` and `settled` rows are held by the process that claimed them, for as long as
//! its lease lives ([`Claims::claim`]). When it dies the next presentation of the same payment for
//! the same request takes the row over in the state it was left in.

use async_trait::async_trait;
use tollway_protocol::bind::{Bound, PaymentKey};
use tollway_protocol::door::{self, UnixTime};
use tollway_protocol::{Network, Offer, Settlement};

use crate::LedgerError;

/// A digest of what a payment buys: method, route, path, query, and the body where it is priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub [u8; 32]);

impl RequestId {
    /// The digest of these parts, each length-prefixed so that no two lists agree by accident.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        use sha2::Digest as _;
        let mut hash = sha2::Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// Which claim of a payment: told from every earlier and later one, and of use after the token is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub(crate) key: PaymentKey,
    pub(crate) number: i64,
}

impl Turn {
    /// The payment.
    #[must_use]
    pub fn key(&self) -> &PaymentKey {
        &self.key
    }
}

/// What is recorded of a payment that was charged or may have been.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalled {
    /// The offer that it was taken for.
    pub offer: Offer,
    /// The transaction, once there is one.
    pub transaction: Option<String>,
}

/// What came of presenting a payment.
#[derive(Debug)]
pub enum Claim {
    /// It is this request's now, and nothing was charged yet.
    New(Claimed),
    /// An earlier process was cut off while settling: whether it was charged is not known. Settle
    /// the same payment again, then deliver.
    Resume(Claimed),
    /// An earlier process was cut off after settling and before delivering: deliver.
    Paid(Box<Paid>),
    /// It is being used by this same request elsewhere, just now.
    Busy {
        /// The transaction, once there is one.
        transaction: Option<String>,
    },
    /// It was taken for another request, or with this key but other terms (amount, recipient), or, once it may
    /// have been charged, with another signature or other extensions: who knows a payment's key from
    /// the chain has not paid.
    Elsewhere {
        /// The transaction, once there is one.
        transaction: Option<String>,
    },
    /// It has bought its delivery.
    Spent {
        /// The transaction that paid.
        transaction: Option<String>,
    },
}

impl Claim {
    /// Which claim this made, if it made one.
    #[must_use]
    pub fn turn(&self) -> Option<Turn> {
        match self {
            Self::New(claimed) | Self::Resume(claimed) => Some(claimed.turn()),
            Self::Paid(paid) => Some(paid.turn()),
            Self::Busy { .. } | Self::Elsewhere { .. } | Self::Spent { .. } => None,
        }
    }
}

/// A payment that is this process's to settle, once, for one request. Only a ledger makes one.
#[derive(Debug)]
pub struct Claimed {
    pub(crate) bound: Bound,
    pub(crate) request: RequestId,
    /// Tells this claim of the row from every earlier and later one.
    pub(crate) turn: i64,
    pub(crate) transaction: Option<String>,
}

impl Claimed {
    /// The payment.
    #[must_use]
    pub fn payment(&self) -> &Bound {
        &self.bound
    }

    /// The request that it was taken for.
    #[must_use]
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// Which claim this is.
    #[must_use]
    pub fn turn(&self) -> Turn {
        Turn { key: self.bound.key().clone(), number: self.turn }
    }

    /// The transaction that an earlier attempt to settle was told of: every later answer names it, or
    /// the one that took its place.
    #[must_use]
    pub fn transaction(&self) -> Option<&str> {
        self.transaction.as_deref()
    }

    /// Checks a facilitator's answer against this payment: successful, on its network, by its payer,
    /// for its amount, naming a transaction. A metered payment may have been charged less, and nothing without a
    /// transaction.
    ///
    /// # Errors
    /// What of it is about something else. Such an answer says nothing about the money.
    pub fn check(&self, settlement: &Settlement) -> Result<(), &'static str> {
        use tollway_protocol::door::Address;
        let (offer, metered) = (self.bound.offer(), self.bound.is_metered());
        let nothing = metered && settlement.amount == Some(door::Amount::ZERO);
        if !settlement.success || settlement.error_reason.is_some() {
            return Err("it is no success");
        }
        if settlement.network != offer.network {
            return Err("it is about another network");
        }
        match &settlement.transaction {
            None if nothing => {}
            None => return Err("it names no transaction"),
            Some(transaction) if !is_transaction(&offer.network, transaction) => {
                return Err("what it names is no transaction");
            }
            Some(_) => {}
        }
        let fits = |amount| amount == offer.amount || (metered && amount < offer.amount);
        if !settlement.amount.is_none_or(fits) {
            return Err("it is about another amount");
        }
        let payer =
            |p: &String| Address::on(&offer.network, p).is_ok_and(|p| p == self.bound.effects().payer);
        if settlement.payer.as_ref().is_some_and(|p| !payer(p)) {
            return Err("it is about another payer");
        }
        Ok(())
    }
}

/// Whether `text` can name a transaction on `network`: a hash on EVM, elsewhere up to 128 printable ASCII
/// characters.
#[must_use]
pub fn is_transaction(network: &Network, text: &str) -> bool {
    match network.namespace() {
        "eip155" => door::hex_array::<32>(text).is_ok(),
        _ => (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()),
    }
}

/// A payment that is settled, and not delivered yet: what has to be shown to deliver. Only a ledger
/// makes one.
#[derive(Debug)]
pub struct Paid {
    pub(crate) claimed: Claimed,
    pub(crate) settlement: Settlement,
}

impl Paid {
    /// The settlement that paid.
    #[must_use]
    pub fn settlement(&self) -> &Settlement {
        &self.settlement
    }

    /// The payment.
    #[must_use]
    pub fn payment(&self) -> &Bound {
        &self.claimed.bound
    }

    /// Which claim this is.
    #[must_use]
    pub fn turn(&self) -> Turn {
        self.claimed.turn()
    }
}

/// The right to let one response leave. Only [`Claims::deliver`] makes one.
#[derive(Debug)]
pub struct Delivery {
    pub(crate) settlement: Settlement,
}

impl Delivery {
    /// The settlement that paid for it.
    #[must_use]
    pub fn settlement(&self) -> &Settlement {
        &self.settlement
    }
}

/// The seller's half of a ledger.
///
/// Each call is atomic across every process that shares the store, and durable when it returns: a
/// kill or a power cut after it can't undo it. On [`LedgerError`] the effect may or may not be
/// there; the next [`Claims::claim`] of the same payment finds out. A call that takes a [`Claimed`] or
/// a [`Paid`] and fails, or whose future is dropped, gives the payment back in the state it is in.
#[async_trait]
pub trait Claims: Send + Sync {
    /// Takes the payment for `request`, or says who has it. `keep_until` is when its record may be
    /// forgotten: after the payment can't settle any more.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn claim(
        &self,
        payment: Bound,
        request: RequestId,
        keep_until: UnixTime,
    ) -> Result<Claim, LedgerError>;

    /// What is recorded of the payment with this key, if it was charged or may have been; changes nothing. For a
    /// payment that pays none of the offers that its request has by now: to be claimed for the one it was taken for.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn recall(&self, key: &PaymentKey) -> Result<Option<Recalled>, LedgerError>;

    /// Records that settlement is about to begin. From here on only a proof that nothing was charged
    /// may release the payment.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn settling(&self, claimed: &Claimed) -> Result<(), LedgerError>;

    /// Records that settlement is under way in this transaction, without an outcome yet, and gives the
    /// payment back so that the next presentation can ask again.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn pending(&self, claimed: Claimed, transaction: Option<&str>) -> Result<(), LedgerError>;

    /// Records that it was settled.
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Conflict`] also when `settlement` fails [`Claimed::check`].
    async fn settled(&self, claimed: Claimed, settlement: Settlement) -> Result<Paid, LedgerError>;

    /// Records that the response leaves now. Succeeds once in a payment's life.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn deliver(&self, paid: Paid) -> Result<Delivery, LedgerError>;

    /// Gives a settled payment back undelivered, so that presenting it again delivers.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn undelivered(&self, paid: Paid) -> Result<(), LedgerError>;

    /// Gives the payment back: nothing was charged and nothing will be.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn release(&self, claimed: Claimed) -> Result<(), LedgerError>;

    /// Gives back what a cut-off request held: as [`Claims::release`] from `claimed`, and as
    /// [`Claims::pending`] or [`Claims::undelivered`] from the later states. Does nothing when a later claim has
    /// the payment. When it fails, the ledger does it as soon as its store can be used again.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn abandon(&self, turn: &Turn) -> Result<(), LedgerError>;

    /// Forgets what may be forgotten at `now`; returns how many.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn forget(&self, now: UnixTime) -> Result<u64, LedgerError>;
}
