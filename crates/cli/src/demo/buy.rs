//! The purchase, a step at a time: what `tollway pay` does in one go.

use http::{HeaderMap, StatusCode};
use reqwest::Response;
use serde_json::{Value, json};
use tollway_payer::journal::Outcome;
use tollway_payer::{Asked, InFlight, Journal, Payer, Policy, Purchase, Receipt, Told};
use tollway_protocol::door::Amount;
use tollway_protocol::header::{self, PAYMENT_REQUIRED, PAYMENT_RESPONSE};
use tollway_protocol::money::Money;
use tollway_protocol::{NetworkPattern, Settlement};
use url::Url;

use super::observed::Notes;
use super::side::Side;
use super::tell::{Teller, short};
use crate::exit::{Doing as _, Failure};
use crate::stack::Shop;

/// The most that the demo's payer would pay.
const CAP: &str = "$0.05";

/// What was bought.
pub(super) struct Bought {
    /// For how much.
    pub(super) price: Amount,
}

/// Buys the weather, telling each step.
pub(super) async fn weather(
    teller: &Teller,
    side: &Side,
    shop: &Shop,
    notes: &Notes,
) -> Result<Bought, Failure> {
    let url = Url::parse(&format!("{}/weather", shop.url))?;
    let client = reqwest::Client::new();
    let network = NetworkPattern::new(side.network().as_str())?;
    let policy = Policy::default().cap(&Money::new(CAP)?)?.networks([network.clone()]);
    let payer = Payer::builder(side.wallet()?, Journal::temporary()?).policy(policy).build()?;

    let unpaid = client.get(url.clone()).send().await?;
    let asked = ask(teller, &url, &unpaid)?;
    let purchase = Purchase::new("GET", &url, b"");
    let plan = payer.plan(&asked, &purchase).await?;
    teller.step(
        2,
        "choose",
        "The payer's policy checks the offers, and takes the cheapest that it allows",
        &[
            ("policy", json!(format!("at most {CAP} a payment, known assets only, on {network}"))),
            ("offersRefused", json!(plan.rejected.len())),
            ("price", json!(plan.worth.to_string())),
            ("payTo", json!(plan.offer.pay_to)),
            ("payer", json!(plan.payer.as_str())),
        ],
    )?;

    let flight = payer.prepare(&asked, &purchase).await?;
    let payment = decoded(flight.header().1.as_bytes(), flight.header().0)?;
    teller.step(3, "sign", side.signing(), &side.signed(&plan.offer, &payment)?)?;
    let (name, value) = flight.header();
    teller.step(
        4,
        "pay",
        "The same request again, with the payment in its header",
        &[
            ("request", json!(format!("GET {}", url.path()))),
            ("headerBytes", json!(value.len())),
            (&name.to_uppercase(), short(&payment)),
        ],
    )?;
    let response = client.get(url).header(name, value).send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body: Value = response.json().await?;
    let told = Told::read(status, &headers, b"", side.network());
    facilitator(teller, side, notes, told.receipt.settlement()).await?;
    answer(teller, status, &headers, &body)?;
    finish(flight, status, &told.receipt).await?;
    Ok(Bought { price: plan.offer.amount })
}

/// The facilitator's part, as it saw it and as the chain has it.
async fn facilitator(
    teller: &Teller,
    side: &Side,
    notes: &Notes,
    settlement: Option<&Settlement>,
) -> Result<(), Failure> {
    let hash = settlement.and_then(|settlement| settlement.transaction.clone());
    let noted = |what: &str, member: &str| {
        notes.latest(what).and_then(|note| note.get(member).cloned()).unwrap_or_default()
    };
    let mut seen = vec![
        ("isValid", noted("verify", "isValid")),
        ("rpcRoundTrips", noted("verify", "rpcRoundTrips")),
        ("verifyMilliseconds", noted("verify", "milliseconds")),
        ("settled", noted("settle", "success")),
        ("settleMilliseconds", noted("settle", "milliseconds")),
        ("transaction", json!(hash)),
    ];
    seen.extend(side.landed(hash.as_deref()).await?);
    let says = "The facilitator verifies before the API runs, and settles after it has answered";
    Ok(teller.step(5, "settle", says, &seen)?)
}

fn ask(teller: &Teller, url: &Url, unpaid: &Response) -> Result<Asked, Failure> {
    if unpaid.status() != StatusCode::PAYMENT_REQUIRED {
        return Err(Failure::general(format!(
            "the paid API answered {} to an unpaid request",
            unpaid.status()
        )));
    }
    let value = unpaid.headers().get(PAYMENT_REQUIRED);
    let value = value.ok_or_else(|| Failure::general("the 402 has no PAYMENT-REQUIRED header"))?;
    teller.step(
        1,
        "ask",
        "A request without payment is answered with 402 and what it costs",
        &[
            ("request", json!(format!("GET {url}"))),
            ("status", json!(unpaid.status().as_u16())),
            (&PAYMENT_REQUIRED.to_uppercase(), short(&decoded(value.as_bytes(), PAYMENT_REQUIRED)?)),
        ],
    )?;
    Ok(Asked::read(unpaid.headers(), b"")?)
}

fn answer(teller: &Teller, status: StatusCode, headers: &HeaderMap, body: &Value) -> Result<(), Failure> {
    let receipt = headers.get(PAYMENT_RESPONSE);
    let receipt = receipt.map(|value| decoded(value.as_bytes(), PAYMENT_RESPONSE)).transpose()?;
    let name = PAYMENT_RESPONSE.to_uppercase();
    let seen = [("status", json!(status.as_u16())), ("body", body.clone()), (name.as_str(), json!(receipt))];
    Ok(teller.step(6, "answer", "The answer, with the receipt in its header", &seen)?)
}

async fn finish(flight: InFlight, status: StatusCode, receipt: &Receipt) -> Result<(), Failure> {
    match receipt.settlement().filter(|settlement| settlement.success) {
        Some(settlement) if status.is_success() => {
            Ok(flight.finish(Outcome::Settled, Some(settlement.clone())).await?)
        }
        _ => Err(Failure::general(format!("the payment was answered with {status} and no settlement"))),
    }
}

/// The JSON in a header, as it is on the wire.
fn decoded(value: &[u8], name: &str) -> Result<Value, Failure> {
    let bytes = header::decode_base64(value).doing(|| name.to_owned())?;
    serde_json::from_slice(&bytes).doing(|| name.to_owned())
}
