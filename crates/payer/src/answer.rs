//! What a server's answer to a payment says about the money.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use serde_json::Value as Json;
use tollway_protocol::door;
use tollway_protocol::header::{self, PAYMENT_REQUIRED, PAYMENT_RESPONSE, X_PAYMENT_RESPONSE};
use tollway_protocol::{Code, Network, Reason, Settlement, json, v1};

use crate::asked::MAX_BODY;
use crate::journal::{Outcome, State};
use crate::text;

/// What the server said of the settlement.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Receipt {
    /// A settlement, on the network that was paid on; look at its `success`.
    Told(Box<Settlement>),
    /// Nothing.
    Missing,
    /// Something that can't be read, or that is about another network.
    Unreadable(String),
}

impl Receipt {
    /// The settlement, if there is one.
    #[must_use]
    pub fn settlement(&self) -> Option<&Settlement> {
        match self {
            Self::Told(settlement) => Some(settlement),
            _ => None,
        }
    }

    fn read(headers: &HeaderMap, network: &Network) -> Self {
        let unreadable = |error: &dyn std::fmt::Display| Self::Unreadable(text::prose(&error.to_string()));
        let read = if let Some(value) = headers.get(PAYMENT_RESPONSE) {
            header::decode::<Settlement>(value.as_bytes()).map_err(|error| unreadable(&error))
        } else if let Some(value) = headers.get(X_PAYMENT_RESPONSE) {
            header::decode::<v1::Settlement>(value.as_bytes())
                .map_err(|error| unreadable(&error))
                .and_then(|old| old.to_v2(network).map_err(|error| unreadable(&error)))
        } else {
            return Self::Missing;
        };
        match read {
            Ok(settlement) if settlement.network != *network => {
                unreadable(&format_args!("the settlement is on {}", settlement.network))
            }
            Ok(settlement) => Self::Told(Box::new(text::settlement(settlement))),
            Err(unreadable) => unreadable,
        }
    }
}

/// Everything in an answer that says something about the payment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Told {
    /// The settlement.
    pub receipt: Receipt,
    /// The code of the refusal.
    pub code: Option<Code>,
    /// The server's words, cleaned; never acted on.
    pub said: Option<String>,
    /// The transaction that it named.
    pub transaction: Option<String>,
    pub(crate) meaning: Meaning,
    pub(crate) retry_after: Option<Duration>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The request was answered.
    Done(Outcome),
    /// The server refused the payment.
    Refused,
    /// The payment has bought something before.
    Spent,
    /// It settled, and what it bought was not delivered: send it again.
    Undelivered,
    /// It is under way: send it again.
    Pending,
    /// Not known; `again` when sending it again may tell.
    Unknown { again: bool },
}

impl Meaning {
    pub(crate) fn again(self) -> bool {
        matches!(self, Self::Pending | Self::Undelivered | Self::Unknown { again: true })
    }

    pub(crate) fn state(self) -> State {
        match self {
            Self::Refused => State::Refused,
            Self::Undelivered => State::Settled,
            _ => State::Unknown,
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Done(Outcome::Settled) => "settled",
            Self::Done(_) => "served",
            Self::Refused => "refused",
            Self::Spent => "spent",
            Self::Pending => "pending",
            Self::Undelivered => "undelivered",
            Self::Unknown { .. } => "unknown",
        }
    }
}

impl Told {
    /// Reads the answer to a payment on `network`; `body` is not needed for a success.
    #[must_use]
    pub fn read(status: StatusCode, headers: &HeaderMap, body: &[u8], network: &Network) -> Self {
        let receipt = Receipt::read(headers, network);
        let settlement = receipt.settlement();
        let body: Option<Json> = json::decode(body, MAX_BODY).ok();
        let challenge: Option<Json> = headers
            .get(PAYMENT_REQUIRED)
            .and_then(|value| header::decode_base64(value.as_bytes()).ok())
            .and_then(|bytes| json::decode(&bytes, header::MAX_HEADER).ok());
        let member = |document: &Option<Json>, names: &[&str]| {
            let find = |name: &&str| document.as_ref()?.get(name)?.as_str().filter(|text| !text.is_empty());
            names.iter().find_map(find).map(str::to_owned)
        };
        let code = settlement
            .and_then(|settlement| settlement.error_reason.clone())
            .or_else(|| member(&body, &["errorReason", "code", "error"]).map(|code| Code::new(&code)))
            .or_else(|| member(&challenge, &["error"]).map(|code| Code::new(&code)));
        let said = settlement
            .and_then(|settlement| settlement.error_message.clone())
            .or_else(|| member(&body, &["errorMessage", "message", "detail", "error"]))
            .or_else(|| member(&challenge, &["error"]))
            .map(|said| text::prose(&said));
        let transaction = settlement
            .and_then(|settlement| settlement.transaction.clone())
            .or_else(|| member(&body, &["transaction"]))
            .map(|transaction| text::id(&transaction))
            .filter(|transaction| !transaction.is_empty());
        let retry_after = headers.get(http::header::RETRY_AFTER).and_then(|value| wait(value.as_bytes()));
        let meaning =
            meaning(status, settlement, code.as_ref(), transaction.is_some(), retry_after.is_some());
        Self { receipt, code, said, transaction, meaning, retry_after }
    }
}

fn meaning(
    status: StatusCode,
    settlement: Option<&Settlement>,
    code: Option<&Code>,
    names_transaction: bool,
    says_when: bool,
) -> Meaning {
    let settled = settlement.is_some_and(|settlement| settlement.success);
    if status.is_success() {
        return Meaning::Done(if settled { Outcome::Settled } else { Outcome::Served });
    }
    if settled {
        return match status.as_u16() {
            // A 402 that says "paid" contradicts itself.
            402 => Meaning::Unknown { again: false },
            // The same payment may be delivered on later.
            408 | 409 | 425 | 429 | 500..=599 => Meaning::Undelivered,
            _ => Meaning::Done(Outcome::Settled),
        };
    }
    let reason = code.map(Code::reason);
    match (status.as_u16(), reason) {
        (402 | 409 | 425 | 503, Some(Reason::SettlementPending | Reason::PaymentBusy)) => Meaning::Pending,
        // The next call pays anew: a bare word is not enough, since the payment can still execute.
        (402 | 409, Some(Reason::PaymentSpent)) if names_transaction => Meaning::Spent,
        (402 | 409, Some(Reason::PaymentSpent | Reason::PaymentElsewhere)) => Meaning::Refused,
        (402, Some(Reason::ChainUnreachable | Reason::StoreUnavailable | Reason::FacilitatorUnavailable)) => {
            Meaning::Unknown { again: true }
        }
        (402 | 412, _) => Meaning::Refused,
        (409, _) => Meaning::Unknown { again: says_when },
        (425 | 429 | 502..=504, _) => Meaning::Unknown { again: true },
        _ => Meaning::Unknown { again: false },
    }
}

/// `Retry-After`: seconds or a date.
fn wait(value: &[u8]) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?.trim();
    if let Ok(seconds) = door::decimal_u64(value) {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// What a server's clock says, when it is far from ours: a hint for people.
pub(crate) fn clock_hint(headers: &HeaderMap, now: u64) -> Option<String> {
    let date = headers.get(http::header::DATE)?.to_str().ok()?;
    let theirs = httpdate::parse_http_date(date).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let apart = theirs.abs_diff(now);
    let which = if theirs > now { "behind" } else { "ahead of" };
    (apart > 60).then(|| {
        format!(
            "this computer's clock is {apart} s {which} the server's: a wrong clock makes payments invalid"
        )
    })
}
