//! Sends a payment that is on disk, and reads what became of it.

use http::HeaderValue;
use reqwest::{Request, Response};
use tokio::time::{Instant, timeout_at};
use tollway_protocol::header::{PAYMENT_SIGNATURE, X_PAYMENT};

use crate::answer::{Meaning, Receipt, Told};
use crate::asked::MAX_BODY;
use crate::error::{Answer, Kept, PayError};
use crate::flight::InFlight;
use crate::http_client::{Attempt, Paid, Purchased};
use crate::journal::{Live, Outcome, State};

impl Attempt {
    /// Sends the payment; again if its outcome is not known, and never another one.
    pub(crate) async fn deliver(&self, flight: InFlight) -> Result<Paid, PayError> {
        let limits = self.payer.inner.limits;
        let mut payment = flight.summary();
        let mut settled = payment.state == State::Settled;
        let window = Instant::now().checked_add(limits.resend_within);
        let until = [self.deadline, window].into_iter().flatten().min();
        let (mut sends, mut pause) = (0u32, limits.pause);
        loop {
            sends = sends.saturating_add(1);
            let sent = self.by_deadline(self.payer.inner.execute(self.paid_request(&flight)?)).await;
            let heard = match sent {
                // Whether a request that failed has arrived is not known.
                None | Some(Err(_)) => None,
                Some(Ok(response)) => {
                    let (status, headers) = (response.status(), response.headers());
                    let told = Told::read(status, headers, b"", &payment.network);
                    if let Meaning::Done(outcome) = told.meaning {
                        return Ok(done(flight, payment, response, told.receipt, outcome, sends).await);
                    }
                    let answer = bounded(response, self.deadline).await;
                    let told = Told::read(answer.status, &answer.headers, &answer.body, &payment.network);
                    Some((answer, told))
                }
            };
            let meaning = heard.as_ref().map_or(Meaning::Unknown { again: true }, |(_, told)| told.meaning);
            settled |= meaning == Meaning::Undelivered;
            if let Some(named) = heard.as_ref().and_then(|(_, told)| told.transaction.clone()) {
                payment.transaction = Some(named);
            }
            let wait = heard.as_ref().and_then(|(_, told)| told.retry_after).unwrap_or(pause);
            let room = Instant::now().checked_add(wait).zip(until).is_some_and(|(next, until)| next < until);
            if !meaning.again() || sends >= limits.sends || !room {
                // What a server says later does not take the money back.
                let meaning =
                    if settled && meaning != Meaning::Spent { Meaning::Undelivered } else { meaning };
                return Err(self.kept(flight, payment, heard, meaning, sends).await);
            }
            tracing::debug!(id = payment.id, sends, "payment will be sent again");
            tokio::time::sleep(wait).await;
            pause = pause.saturating_mul(2);
        }
    }

    /// The request with the payment, which is marked so that it is not logged or indexed.
    fn paid_request(&self, flight: &InFlight) -> Result<Request, PayError> {
        let mut request = self.copy.as_ref().and_then(Request::try_clone).ok_or(PayError::StreamedBody)?;
        let (name, value) = flight.header();
        let mut value = HeaderValue::from_str(value).map_err(|_| PayError::AlreadyPaying)?;
        value.set_sensitive(true);
        for other in [PAYMENT_SIGNATURE, X_PAYMENT] {
            request.headers_mut().remove(other);
        }
        request.headers_mut().insert(name, value);
        Ok(request)
    }

    async fn kept(
        &self,
        flight: InFlight,
        payment: Live,
        heard: Option<(Answer, Told)>,
        meaning: Meaning,
        sends: u32,
    ) -> PayError {
        let (answer, told) = heard.unzip();
        let (code, said) = told.map_or((None, None), |told| (told.code, told.said));
        let kept = Box::new(Kept {
            id: payment.id,
            origin: payment.origin,
            amount: format!("{} {}", payment.amount, payment.asset),
            transaction: payment.transaction,
            said,
            until: payment.valid_before,
            sends,
            hint: self.hint.clone(),
            answer,
            code: code.clone(),
        });
        count(meaning);
        let reason = code.map(|code| code.to_string());
        let recorded = match meaning {
            Meaning::Spent => flight.spent(kept.transaction.clone()).await,
            _ => flight.keep(meaning.state(), reason, kept.transaction.clone()).await,
        };
        if let Err(error) = recorded {
            // The payment is live on disk as it was; that is the safe side.
            tracing::error!(id = kept.id, %error, "what a server said of a payment could not be recorded");
        }
        match meaning {
            Meaning::Spent => PayError::Spent(kept),
            Meaning::Refused => PayError::Refused(kept),
            Meaning::Pending => PayError::Pending(kept),
            Meaning::Undelivered => PayError::Undelivered(kept),
            Meaning::Done(_) | Meaning::Unknown { .. } => PayError::Unknown(kept),
        }
    }
}

async fn done(
    flight: InFlight,
    payment: Live,
    response: Response,
    receipt: Receipt,
    outcome: Outcome,
    sends: u32,
) -> Paid {
    let resent = flight.is_resent();
    count(Meaning::Done(outcome));
    let unrecorded = flight.finish(outcome, receipt.settlement().cloned()).await.err();
    if let Some(error) = &unrecorded {
        tracing::error!(id = payment.id, %error, "a payment's end could not be recorded");
    }
    let unrecorded = unrecorded.map(|error| error.to_string());
    Paid { response, payment: Some(Purchased { payment, receipt, resent, sends, unrecorded }) }
}

fn count(meaning: Meaning) {
    metrics::counter!("tollway_payer_payments_total", "outcome" => meaning.label()).increment(1);
}

/// An answer with the beginning of its body, as far as it comes before the deadline.
pub(crate) async fn bounded(mut response: Response, deadline: Option<Instant>) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let (mut body, mut truncated) = (Vec::new(), false);
    loop {
        let chunk = match deadline {
            Some(deadline) => timeout_at(deadline, response.chunk()).await.ok(),
            None => Some(response.chunk().await),
        };
        match chunk {
            Some(Ok(Some(chunk))) => {
                let room = MAX_BODY.saturating_sub(body.len());
                body.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
                if chunk.len() > room {
                    truncated = true;
                    break;
                }
            }
            Some(Ok(None)) => break,
            Some(Err(_)) | None => {
                truncated = true;
                break;
            }
        }
    }
    Answer { status, headers, body, truncated }
}
