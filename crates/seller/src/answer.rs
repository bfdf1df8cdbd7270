//! The gate's own responses: challenges and structured errors.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tollway_protocol::header::{self, PAYMENT_REQUIRED, PAYMENT_RESPONSE, X_PAYMENT_RESPONSE};
use tollway_protocol::json::Object;
use tollway_protocol::reason::{Reason, Refusal, Retry};
use tollway_protocol::{Challenge, Settlement, v1};

use crate::gate::Refused;
use crate::hygiene;

/// A response of ours, before it has its body's type.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// How this client is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    /// Which request this is, in logs and answers.
    pub(crate) id: String,
    /// Whether version 1 clients are served.
    pub(crate) serve_v1: bool,
    /// Whether this client pays in version 1.
    pub(crate) v1: bool,
    /// HEAD: the same headers, no body.
    pub(crate) head: bool,
    /// What `Retry-After` says, in seconds.
    pub(crate) retry_after: u64,
}

/// An error outside of the reason table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
    pub(crate) help: &'static str,
}

pub(crate) const UNPRICED: Problem = Problem {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    code: "price_unavailable",
    message: "the price of this request could not be determined",
    help: "Nothing was charged. Tell the seller, naming the id.",
};
pub(crate) const FAILED: Problem = Problem {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    code: "handler_failed",
    message: "the request could not be completed",
    help: "Send the same payment again, or tell the seller, naming the id.",
};
pub(crate) const NOT_READY: Problem = Problem {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: "facilitator_unavailable",
    message: "payments can't be taken just now",
    help: "Nothing was charged: send the request again after Retry-After.",
};
pub(crate) const TOO_LARGE: Problem = Problem {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    code: "body_too_large",
    message: "the body is larger than this route's price covers",
    help: "Send a smaller body.",
};
pub(crate) const BAD_BODY: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    code: "body_unreadable",
    message: "the body could not be read",
    help: "Send the request again.",
};
pub(crate) const LONG_PATH: Problem = Problem {
    status: StatusCode::URI_TOO_LONG,
    code: "path_too_long",
    message: "the path is longer than a paid route's can be",
    help: "Use a shorter path: it comes back in the challenge's header.",
};
pub(crate) const NO_UPGRADE: Problem = Problem {
    status: StatusCode::NOT_IMPLEMENTED,
    code: "upgrade_not_supported",
    message: "a paid route can't switch protocols",
    help: "Nothing was charged. Ask without Upgrade.",
};

impl Voice {
    pub(crate) fn problem(&self, problem: Problem) -> Own {
        let Problem { status, code, message, help } = problem;
        let mut headers = HeaderMap::new();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            self.retry(&mut headers);
        }
        self.own(
            status,
            headers,
            &json!({"error": code, "code": code, "message": message, "help": help, "id": self.id}),
        )
    }

    /// A refusal with its reason's status; 402 and 412 with a fresh challenge.
    pub(crate) fn refuse(&self, refused: Refused, challenge: impl FnOnce(&str) -> Challenge) -> Own {
        let Refused { refusal, settlement, payment } = refused;
        let row = refusal.reason.row();
        let code = if self.v1 { v1::v1_code(&refusal.code()) } else { refusal.code() };
        let code = code.as_str().to_owned();
        let status = StatusCode::from_u16(row.http).unwrap_or(StatusCode::PAYMENT_REQUIRED);
        let mut headers = HeaderMap::new();
        if let Some(settlement) = &settlement {
            self.receipt(&mut headers, settlement);
        }
        if matches!(row.retry, Retry::Same | Retry::Later) {
            self.retry(&mut headers);
        }
        let mut said = Object::new()
            .with("code", machine(&code))
            .with("message", refusal.message.clone())
            .with("help", row.help)
            .with("id", self.id.clone());
        let payable = matches!(status, StatusCode::PAYMENT_REQUIRED | StatusCode::PRECONDITION_FAILED);
        if refusal.reason != Reason::PaymentRequired && payable {
            said = said.with("invalidReason", code.clone());
        }
        if let Some(settlement) = &settlement {
            said = said.with("network", settlement.network.as_str());
            said = said.with("transaction", settlement.transaction.clone());
            said = said.with("payer", settlement.payer.clone());
        }
        if let Some(payment) = payment {
            said = said.with("payment", payment.key.clone()).with("asset", payment.asset.clone());
            said = said.with("payer", payment.payer.clone());
        }
        if payable {
            return self.challenge(status, headers, &challenge(&code), said);
        }
        let error = machine(&code);
        self.own(status, headers, &Value::Object(said.with("error", error).0))
    }

    fn challenge(
        &self,
        status: StatusCode,
        mut headers: HeaderMap,
        challenge: &Challenge,
        said: Object,
    ) -> Own {
        let Some(value) = header_value(&header::encode(challenge)).filter(|v| v.len() <= header::MAX_HEADER)
        else {
            if fits_without_path(challenge) {
                return self.problem(LONG_PATH);
            }
            tracing::error!(id = self.id, "the challenge does not fit into a header: offer less");
            return self.problem(UNPRICED);
        };
        headers.insert(HeaderName::from_static(PAYMENT_REQUIRED), value);
        let old = self.serve_v1.then(|| v1::Challenge::of(challenge)).filter(|old| !old.accepts.is_empty());
        let body = match old {
            Some(old) => Object::of(&old),
            None => Object::of(challenge),
        };
        let mut body = body.map(|body| body.0).unwrap_or_default();
        for (key, value) in said.0 {
            body.entry(key).or_insert(value);
        }
        self.own(status, headers, &Value::Object(body))
    }

    /// Writes the settlement's header in this client's version: the members that are known, and what the scheme
    /// added when it fits.
    pub(crate) fn receipt(&self, headers: &mut HeaderMap, settlement: &Settlement) {
        let mut settlement = Settlement { unknown: Object::new(), ..settlement.clone() };
        let write = |settlement: &Settlement| {
            if self.v1 {
                (X_PAYMENT_RESPONSE, header::encode(&v1::Settlement::of(settlement)))
            } else {
                (PAYMENT_RESPONSE, header::encode(settlement))
            }
        };
        let (name, mut text) = write(&settlement);
        if text.len() > header::MAX_HEADER {
            (settlement.extra, settlement.extensions) = (Object::new(), Object::new());
            text = write(&settlement).1;
        }
        // Base64 is always a header value.
        if let Some(value) = header_value(&text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }

    fn retry(&self, headers: &mut HeaderMap) {
        headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after));
    }

    fn own(&self, status: StatusCode, mut headers: HeaderMap, body: &Value) -> Own {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        hygiene::no_store(&mut headers);
        let body = if self.head { Bytes::new() } else { Bytes::from(body.to_string()) };
        Own { status, headers, body }
    }
}

impl Voice {
    pub(crate) fn of(id: String, method: &Method, serve_v1: bool, retry_after: u64) -> Self {
        Self { id, serve_v1, v1: false, head: method == Method::HEAD, retry_after }
    }
}

/// The answer to OPTIONS: that it was heard. What may be done from other origins, a CORS layer says.
pub(crate) fn options() -> Own {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Own { status: StatusCode::NO_CONTENT, headers, body: Bytes::new() }
}

/// A code for programs: some of the reference's codes are sentences.
fn machine(code: &str) -> String {
    code.to_lowercase().replace(' ', "_")
}

/// Whether it is the path that makes a challenge too long.
fn fits_without_path(challenge: &Challenge) -> bool {
    let mut short = challenge.clone();
    short.resource.url = short.resource.url.chars().take(128).collect();
    header::encode(&short).len() <= header::MAX_HEADER
}

/// The answer to a request without a payment.
pub(crate) fn unpaid() -> Refused {
    Refused::from(Refusal::new(Reason::PaymentRequired, "no payment came with the request"))
}

fn header_value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}
