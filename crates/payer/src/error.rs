//! Why a paying call did not return an answer, and what became of the money.

use http::{HeaderMap, StatusCode};
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::SignError;
use tollway_protocol::{Code, Refusal};

use crate::asked::NotAsked;
use crate::choose::Rejected;
use crate::journal::{JournalError, Live};
use crate::policy::PolicyError;

/// A server's answer, bounded.
#[derive(Clone)]
#[non_exhaustive]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The beginning of its body, at most 64 KiB.
    pub body: Vec<u8>,
    /// Whether the body was longer, or was cut.
    pub truncated: bool,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("body", &self.body.len())
            .field("truncated", &self.truncated)
            .finish()
    }
}

/// No offer could be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Declined {
    /// Each offer, with its reason.
    pub rejected: Vec<Rejected>,
    /// What the server said, cleaned.
    pub said: Option<String>,
    /// What may have gone wrong besides.
    pub hint: Option<String>,
}

impl std::fmt::Display for Declined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.rejected.as_slice() {
            [] => f.write_str("the challenge has no offers")?,
            all => {
                f.write_str("no offer can be paid")?;
                for (index, one) in all.iter().enumerate() {
                    write!(f, "{} {one}", if index == 0 { ":" } else { ";" })?;
                    hinted(f, one.why.hint().as_deref())?;
                }
            }
        }
        said(f, self.said.as_deref(), self.hint.as_deref())
    }
}

/// A payment that left and did not buy an answer. It stays in the journal, and its budget stays
/// reserved, until it can't execute any more; the next call for the same request sends it again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Kept {
    /// The payment's id in the journal.
    pub id: String,
    /// Who was paid, as an origin.
    pub origin: String,
    /// What it is, as `0.01 USDC`.
    pub amount: String,
    /// The server's code, if it gave one.
    pub code: Option<Code>,
    /// The server's words, cleaned; never acted on.
    pub said: Option<String>,
    /// The transaction that the server named.
    pub transaction: Option<String>,
    /// When the payment ends; no fresh one is signed for the same request before that.
    pub until: UnixTime,
    /// How often it was sent in this call.
    pub sends: u32,
    /// What may have gone wrong besides, such as a wrong clock.
    pub hint: Option<String>,
    /// The last answer; none when there was none.
    pub answer: Option<Answer>,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}, payment {}", self.amount, self.origin, self.id)?;
        if let Some(answer) = &self.answer {
            write!(f, ", status {}", answer.status.as_u16())?;
        }
        if let Some(code) = &self.code {
            write!(f, ", {}", crate::text::name(code.as_str()))?;
        }
        if let Some(transaction) = &self.transaction {
            write!(f, ", transaction {transaction}")?;
        }
        said(f, self.said.as_deref(), self.hint.as_deref())
    }
}

fn said(f: &mut std::fmt::Formatter<'_>, said: Option<&str>, hint: Option<&str>) -> std::fmt::Result {
    if let Some(said) = said {
        write!(f, " (the server says: {said:?})")?;
    }
    hint.map_or(Ok(()), |hint| write!(f, " ({hint})"))
}

fn hinted(f: &mut std::fmt::Formatter<'_>, hint: Option<&str>) -> std::fmt::Result {
    hint.map_or(Ok(()), |hint| write!(f, ": {hint}"))
}

/// A payment that an earlier call left behind, and that the policy of now does not allow. It was not
/// sent again; it stays in the journal and counts in budgets, since it can still execute.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Withheld {
    /// The payment.
    pub payment: Live,
    /// The first limit that it crosses.
    pub why: PolicyError,
}

impl std::fmt::Display for Withheld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Live { id, amount, asset, valid_before, .. } = &self.payment;
        write!(f, "payment {id} of {amount} {asset}, kept until {valid_before} (Unix time): {}", self.why)?;
        hinted(f, Some(&self.why.hint()))
    }
}

/// Why a paying call did not return an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayError {
    /// The unpaid request failed. Nothing was paid.
    #[error("the request to {origin} failed before anything was paid: {error}")]
    Send {
        /// Who was asked.
        origin: String,
        /// How; without the URL.
        error: reqwest::Error,
    },
    /// Time ran out before a payment was sent. Nothing was paid.
    #[error("time ran out before anything was paid")]
    TimedOut,
    /// The client could not be built.
    #[error("the HTTP client can't be built: {0}")]
    Client(reqwest::Error),
    /// A 402 that is not of x402, or can't be read. Nothing was paid.
    #[error("{why}")]
    NotAsked {
        /// Which.
        why: NotAsked,
        /// The answer.
        answer: Box<Answer>,
    },
    /// No offer is inside the policy and payable with the wallet. Nothing was paid.
    #[error("{0}")]
    Declined(Declined),
    /// A limit that counts other payments too. Nothing was paid.
    #[error("{}: {}", .0, .0.hint())]
    Policy(PolicyError),
    /// An earlier call signed a payment for this request that the policy of now does not allow. It
    /// was not sent again, and none was signed in its place.
    #[error(
        "what an earlier call signed for this request is outside the policy now, and was not sent again: {0}"
    )]
    Withheld(Box<Withheld>),
    /// The request's body is a stream, which can't be sent again. Nothing was paid.
    #[error("the request's body is a stream and can't be sent again with a payment: give it as bytes")]
    StreamedBody,
    /// The request had a payment header already. Nothing was sent.
    #[error("the request carries a payment header already: leave paying to the payer")]
    AlreadyPaying,
    /// The request was redirected in a way that can't be repeated safely. Nothing was paid.
    #[error(
        "the request was redirected to {to}, and a {method} can't be repeated there safely: request the final URL"
    )]
    Redirected {
        /// The origin that asked for payment.
        to: String,
        /// The method.
        method: String,
    },
    /// The journal can't be used. Nothing was paid.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The wallet did not sign. Nothing was paid.
    #[error(transparent)]
    Sign(SignError),
    /// The wallet signed something else than the offer. It was thrown away; nothing was paid.
    #[error("what the wallet signed is not what was offered, and was not sent: {0}")]
    SignedWrong(Refusal),
    /// The system gave no random numbers. Nothing was paid.
    #[error("no entropy: {0}")]
    Entropy(String),
    /// The server refused the payment. It may still be used until it ends.
    #[error("the payment was refused, and is kept because it can execute until {until} (Unix time): {0}", until = .0.until)]
    Refused(Box<Kept>),
    /// The server says that the payment has bought something before.
    #[error("the payment has been used before: {0}; the next call pays anew")]
    Spent(Box<Kept>),
    /// The server says that the payment is under way.
    #[error(
        "the payment is being settled; it is kept, and the next call for this request sends it again: {0}"
    )]
    Pending(Box<Kept>),
    /// The server says that the payment has settled, and failed to deliver what it bought.
    #[error(
        "the payment is settled, but what it bought was not delivered; it is kept, and the next call for this request sends it again to have it delivered, and does not pay twice: {0}"
    )]
    Undelivered(Box<Kept>),
    /// The payment was sent; whether it was used is not known.
    #[error(
        "the payment's outcome is not known; it is kept, and the next call for this request sends it again: {0}"
    )]
    Unknown(Box<Kept>),
}

impl PayError {
    /// The payment that left, if one did in this call.
    #[must_use]
    pub fn kept(&self) -> Option<&Kept> {
        match self {
            Self::Refused(kept)
            | Self::Spent(kept)
            | Self::Pending(kept)
            | Self::Undelivered(kept)
            | Self::Unknown(kept) => Some(kept),
            _ => None,
        }
    }

    /// The server's answer, if that is what the error is about.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::NotAsked { answer, .. } => Some(answer),
            other => other.kept().and_then(|kept| kept.answer.as_ref()),
        }
    }
}
